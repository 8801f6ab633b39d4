"""Types of settings with the range of their values, readable by any validator that knows `annotated_types`."""

import math
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt, Unit

PositiveInt = Annotated[int, Ge(1), Lt(2**31)]
NonNegativeInt = Annotated[int, Ge(0), Lt(2**31)]
Seed = Annotated[int, Ge(0), Lt(2**63)]
NumThreads = Annotated[int, Ge(1), Le(1024)]
# Bytes; a configuration may also contain a text such as `64MiB`.
NumBytes = Annotated[int, Ge(0), Lt(2**63), Unit("B")]
Probability = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Ge(0), Le(1)]
HalfShare = Annotated[float, Ge(0), Lt(0.5)]
PositiveFloat = Annotated[float, Gt(0), Lt(math.inf)]
NonNegativeFloat = Annotated[float, Ge(0), Lt(math.inf)]
