"""A zeroth-order optimiser for any torch module, without federation."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from heron.errors import ConfigError
from heron.randomness import borrowed_process
from heron.seeds import derive_seed
from heron.tensors import as_tensor
from heron.zo.arguments import check_arguments
from heron.zo.flat import LossFunction
from heron.zo.flat_parameters import FlatParameters
from heron.zo.kernels import KernelName
from heron.zo.probes import Estimator
from heron.zo.step_checks import (
    StepLoss,
    check_finite,
    check_repeatable,
    check_resolution,
    check_response,
    check_untouched,
)
from heron.zo.steps import RuleState, StepRecord, UpdateRule

# After so many steps in a row without a response to probes the loss is checked again.
_SILENT_STEPS = 10


class ZerothOrder:
    """Trains a module from losses alone: no gradients, no cached activations.

    A step costs one clean forward (the loss to log, and the only pass that running statistics follow), P probe
    forwards (central: 2 P; jvp: P with tangents) and P + 1 passes over the trainable parameters (central: 2 P + 1). The
    first step costs one more forward, which checks that the loss is one function of the parameters.

    Every pass of a step draws the same random numbers from the generators of torch, NumPy and Python, so that Dropout
    has one mask a step; afterwards they are as before, and other threads that borrow them wait meanwhile. The module
    may be changed between steps: whatever values its parameters have then are trained on. `release` gives the
    parameters storage of their own.

    Args:
        module: the module to train; its trainable parameters become views of one flat buffer.
        rule: update rule, e.g. `Adam(learning_rate=1e-3)`.
        estimator: probes, smoothing radius, distribution and scheme.
        seed: seed of the directions; step n, probe p uses `derive_seed("direction", seed, n, p)`.
        kernel: what passes over the parameters; `"auto"` takes the fastest that can.

    Attributes:
        flat: the flat parameters.
        state: state of the update rule.
        estimator: probes, smoothing radius, distribution and scheme of the next steps.
        seed: seed of the directions.

    Raises:
        ConfigError: if the kernel is not installed, or cannot do its work.
        SplitError: if the module cannot be trained, see `FlatParameters`.

    Examples:
        >>> from torch.nn.functional import mse_loss
        >>> from heron.zo import SGD, Estimator, ZerothOrder
        >>> model, x = nn.Linear(4, 1), torch.ones(8, 4)
        >>> optimizer = ZerothOrder(model, rule=SGD(0.05), estimator=Estimator(num_probes=4))
        >>> losses = [float(optimizer.step(lambda: mse_loss(model(x), x[:, :1]))) for _ in range(50)]
        >>> losses[-1] < losses[0]
        True
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        rule: UpdateRule,
        estimator: Estimator | None = None,
        seed: int = 0,
        kernel: KernelName = "auto",
    ) -> None:
        check_arguments(module, rule, estimator, seed)
        self.flat = FlatParameters(module, kernel=kernel)
        self._rule = rule
        self.estimator = estimator or Estimator()
        self.flat.kernel_for(self.estimator.distribution)  # now rather than at the first step, should it be refused
        self.seed = seed
        self.state = rule.init(self.flat.theta)
        self._record: StepRecord | None = None
        self._is_checked = False
        self._num_silent = 0

    @property
    def rule(self) -> UpdateRule:
        """Update rule; assign one of the same kind for another learning rate, e.g. at every step of a schedule.

        Raises:
            ConfigError: if a rule of another kind is assigned, whose state would be another.
        """
        return self._rule

    @rule.setter
    def rule(self, rule: UpdateRule) -> None:
        if type(rule) is not type(self._rule):
            raise ConfigError(
                f"expected an update rule of the kind {type(self._rule).__name__}, found {type(rule).__name__}; make "
                f"a new ZerothOrder for another"
            )
        self._rule = rule

    @property
    def last_step(self) -> StepRecord | None:
        """Seeds and projected gradients of the latest step: enough to replay it elsewhere with `replay_`."""
        return self._record

    @torch.no_grad()
    def step(self, loss_fn: LossFunction) -> Tensor:
        """Take one step.

        Args:
            loss_fn: returns the scalar loss of the module at its present parameters, on one fixed batch.

        Returns:
            The clean loss, shape ().

        Raises:
            ConfigError: if the loss is not one number, writes parameters, is another at the same parameters, or does
                not depend on them.
            SplitError: if the module's parameters are no longer those that were taken, see `FlatParameters.adopt_`.
            TrainingError: if a loss is not finite; the parameters are then as before.
        """
        self.flat.adopt_()
        device = self.flat.theta.device
        with borrowed_process(device if device.type == "cuda" else "cpu") as seed_all:
            clean_loss, self._record = self._probe(StepLoss(loss_fn, seed_all, self._seed("dropout")))
        self.state = self._rule.replay_(self.state, self.flat, [self._record], self.estimator.distribution)
        self._is_checked = True
        return clean_loss

    def release(self) -> None:
        """Give the module's parameters storage of their own, e.g. to save or share parts of it; a next step takes it.

        Until then they are views of one buffer: `torch.save` of a layer would write all of it, and safetensors'
        `save_model` refuses.
        """
        self.flat.release_()

    def state_dict(self) -> dict[str, Any]:
        """Return what continues the training together with the module's own state: seed, step count and moments."""
        return {"seed": self.seed, "num_steps": self.state.num_steps, "moments": dict(self.state.moments)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a result of `state_dict`, whose moments are copied.

        Raises:
            ConfigError: if it is of another rule, or of other parameters.
        """
        found = {name: tuple(moment.shape) for name, moment in state["moments"].items()}
        expected = {name: tuple(moment.shape) for name, moment in self.state.moments.items()}
        if found != expected:
            raise ConfigError(f"expected the moments {expected} of this rule and module, found {found}")
        for name, moment in self.state.moments.items():
            moment.copy_(as_tensor(state["moments"][name]))
        self.seed = int(state["seed"])
        self.state = RuleState(int(state["num_steps"]), self.state.moments)

    def _probe(self, loss: StepLoss) -> tuple[Tensor, StepRecord]:
        """Compute the clean loss and the projected gradients, checked."""
        versions = self.flat.versions()
        clean_loss = loss().detach()
        if not self._is_checked:
            check_repeatable(self.flat, loss, clean_loss)
            check_resolution(self.flat, self.estimator, clean_loss)
        seeds = tuple(self._seed("direction", probe) for probe in range(self.estimator.num_probes))
        projected_gradients_P = self.estimator.projected_gradients_(self.flat, loss, seeds, clean_loss)
        check_untouched(self.flat, versions)
        check_finite(self.flat, clean_loss, projected_gradients_P, self.state.num_steps)
        self._check_response(loss, clean_loss, projected_gradients_P)
        return clean_loss, StepRecord(seeds, projected_gradients_P.to(self.flat.theta.device))

    def _seed(self, purpose: str, *counters: int) -> int:
        """Derive a seed of the present step."""
        return derive_seed(purpose, self.seed, self.state.num_steps, *counters)

    def _check_response(self, loss: StepLoss, clean_loss: Tensor, projected_gradients_P: Tensor) -> None:
        self._num_silent = 0 if projected_gradients_P.any() else self._num_silent + 1
        if self._num_silent == _SILENT_STEPS or (self._num_silent and not self._is_checked):
            check_response(self.flat, loss, clean_loss, self.estimator)
