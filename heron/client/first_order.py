"""Clients with an exactly trained part: on a loss of their own, or on the gradient at the cut.

The part may be all of the client, or the modules above an order boundary, with zeroth order on the linear surrogate of
that part below (docs/methods.md). With r = f_below(x; v) and delta = d l / d r from the part above,

    L(v) = <delta, f_below(x; v)>,    grad L(v) = grad_v l   at the clean point,

so that a step costs one forward, the backward pass of the part above, and q forwards of the part below.
"""

from heron.client.learner import Learner
from heron.client.step import StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey


class LocalLossClient(Learner):
    """A client that learns exactly from a loss of its own, l(f_a(f_c(x)), y), and from probes below a boundary."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one clean forward, the backward pass of the exact part, then the probes below it."""
        assert self._exact is not None  # the algorithm's orders say so
        clean = self._exact.forward(batch, key)
        yield clean.take_smashed()
        finished = clean.finish()
        self.update_exact(key)
        if self.probed is None or finished.surrogate is None:
            return StepResult(finished.loss)
        self.probed.learn(finished.surrogate.loss, finished.surrogate.anchor, key)
        return StepResult(finished.loss, self.probed.sent())


class SplitClient(Learner):
    """The client of split learning proper: uploads z = f_c(x) and backpropagates d loss / d z, which comes back."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make a forward pass, wait for the cut gradient, and a backward pass."""
        assert self._exact is not None  # the algorithm's orders say so
        clean = self._exact.forward(batch, key)
        gradient = yield clean.take_smashed()
        assert gradient is not None  # a coupled round answers every upload
        clean.finish(gradient)
        del gradient
        self.update_exact(key)
        return StepResult(None)
