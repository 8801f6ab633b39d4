"""The client of split learning proper: its gradient comes back from the Main Server."""

import torch

from heron.client.first_order import FirstOrderClient
from heron.client.step import StepGenerator, StepKey, StepResult
from heron.data import Batch


class SplitClient(FirstOrderClient):
    """Uploads z = f_c(x), receives d loss / d z and backpropagates it through the client part."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Forward, wait for the cut gradient, backward.

        With micro-batches the forward pass is made twice, so that one micro-batch's activations are alive at a time;
        without, its graph waits for the answer. No variable holds smashed data while it waits: with the cut gradient
        that would be two maps.
        """
        seed = key.seed("dropout")
        size = self._local.micro_batch
        if size is None:
            parcel, edge = self._local.graph_pass(batch, seed)
            gradient = yield parcel.pop()
            torch.autograd.backward(edge, gradient, inputs=self._trained())
        else:
            with torch.no_grad():
                parcel = [self._local.smash_pass(batch, seed)]
            gradient = yield parcel.pop()
            assert gradient is not None  # a coupled round answers every upload
            with torch.enable_grad(), self._local.randomness(seed):
                pieces = zip(self._local.pieces(batch), torch.split(gradient, size), strict=True)
                for (inputs, _, _), piece in pieces:
                    torch.autograd.backward(self._local.smash(inputs), piece, inputs=self._trained())
        self._update(key)
        return StepResult(None)
