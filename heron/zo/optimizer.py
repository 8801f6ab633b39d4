"""A zeroth-order optimiser for any torch module, without federation."""

import torch
from torch import Tensor, nn

from heron.seeds import derive_seed
from heron.tensors import as_tensor
from heron.zo.flat import LossFunction
from heron.zo.flat_parameters import FlatParameters
from heron.zo.kernels import KernelName
from heron.zo.probes import Estimator
from heron.zo.steps import StepRecord, UpdateRule


class ZerothOrder:
    """Trains a module from losses alone: no gradients, no cached activations.

    A step costs one clean forward (the loss to log, and the only pass that running statistics follow), P probe
    forwards (central: 2 P; jvp: P with tangents) and P + 1 passes over the trainable parameters (central: 2 P + 1).

    Args:
        module: the module to train; its trainable parameters become views of one flat buffer.
        rule: update rule, e.g. `Adam(learning_rate=1e-3)`.
        estimator: probes, smoothing radius, distribution and scheme.
        seed: seed of the directions; step n, probe p uses `derive_seed("direction", seed, n, p)`.
        kernel: what passes over the parameters; `"auto"` takes the fastest that can.

    Attributes:
        flat: the flat parameters.
        state: state of the update rule.

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
        self.flat = FlatParameters(module, kernel=kernel)
        self.rule = rule
        self.estimator = estimator or Estimator()
        self.flat.kernel_for(self.estimator.distribution)  # now rather than at the first step, should it be refused
        self.seed = seed
        self.state = rule.init(self.flat.theta)
        self._record: StepRecord | None = None

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
        """
        self.flat.adopt_()
        clean_loss = as_tensor(loss_fn()).detach()
        seeds = tuple(
            derive_seed("direction", self.seed, self.state.num_steps, probe)
            for probe in range(self.estimator.num_probes)
        )
        projected_gradients_P = self.estimator.projected_gradients_(self.flat, loss_fn, seeds, clean_loss)
        self._record = StepRecord(seeds, projected_gradients_P)
        self.state = self.rule.replay_(self.state, self.flat, [self._record], self.estimator.distribution)
        return clean_loss
