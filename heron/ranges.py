"""Types of settings with the range of their values, readable by any validator that knows `annotated_types`."""

import math
from typing import Annotated

from annotated_types import Ge, Gt, Lt

PositiveInt = Annotated[int, Ge(1), Lt(2**31)]
NonNegativeInt = Annotated[int, Ge(0), Lt(2**31)]
Probability = Annotated[float, Ge(0), Lt(1)]
PositiveFloat = Annotated[float, Gt(0), Lt(math.inf)]
NonNegativeFloat = Annotated[float, Ge(0), Lt(math.inf)]
