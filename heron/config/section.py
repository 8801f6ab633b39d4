"""What sections of a configuration are made of: strict models and numbers in range."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from heron.config.sizes import size

PositiveInt = Annotated[int, Field(ge=1, lt=2**31)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**31)]
Probability = Annotated[float, Field(ge=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NumBytes = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(size)]


class Section(BaseModel):
    """A section: every key given, none unknown, types as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
