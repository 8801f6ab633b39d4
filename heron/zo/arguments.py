"""Arguments of `ZerothOrder` that have another type, refused before the module is touched."""

from typing import Annotated, Any

from annotated_types import Ge, Lt
from torch import nn

from heron.errors import ConfigError, SplitError
from heron.ranges import MisfitError, fitting, shown
from heron.zo.probes import Estimator

_AnySeed = Annotated[int, Ge(-(2**63)), Lt(2**63)]


def check_arguments(module: Any, rule: Any, estimator: Any, seed: Any) -> None:
    """Refuse what is no module, update rule, estimator or seed.

    Args:
        module: the module to train.
        rule: its update rule.
        estimator: its estimator; None for the default.
        seed: seed of the directions.

    Raises:
        SplitError: if the module is none.
        ConfigError: naming another argument, with what to give in place of what was given.
    """
    if not isinstance(module, nn.Module):
        raise SplitError(f"module: expected a torch.nn.Module, found {shown(module)}; give the network itself")
    if isinstance(rule, type) or not (hasattr(rule, "init") and hasattr(rule, "replay_")):
        raise ConfigError(f"rule: expected an update rule, found {shown(rule)}; write heron.zo.Adam(1e-3)")
    if not (estimator is None or isinstance(estimator, Estimator)):
        raise ConfigError(
            f"estimator: expected heron.zo.Estimator, found {shown(estimator)}; write Estimator(scheme='central')"
        )
    try:
        fitting(_AnySeed, seed)
    except MisfitError as misfit:
        raise ConfigError(f"seed: {misfit}") from None
