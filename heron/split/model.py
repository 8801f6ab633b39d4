"""The cut network: client part f_c, auxiliary network f_a, server part f_s.

    z = f_c(x; theta_c)        smashed data, ONE tensor with the batch dimension first
    f_a(z; theta_a)            the client's outputs, from which its local loss is computed
    f_s(z; theta_s)            the rest of the network, on the Main Server

The global model of HERON-SFL (Kou et al., arXiv 2601.09076, Alg. 1) is {theta_c, theta_s}: f_s(f_c(x)).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heron.errors import SplitError


class ClientPart(nn.Module):
    """A client's own part of a cut network: what a device holds, without the server's part.

    Args:
        client: f_c.
        auxiliary: f_a; None for algorithms whose clients have none.
        local_heads: heads of the layer groups below the last; None where all layers learn from one loss.

    Attributes:
        client: f_c.
        auxiliary: f_a or None.
        local_heads: the local heads or None.
    """

    client: nn.Module
    auxiliary: nn.Module | None
    local_heads: nn.Module | None

    def __init__(
        self, client: nn.Module, auxiliary: nn.Module | None = None, local_heads: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.client = client
        self.register_module("auxiliary", auxiliary)
        self.register_module("local_heads", local_heads)


class SplitModel(nn.Module):
    """A network in two parts, with an optional auxiliary network.

    The parts are held, not copied: other owners of the same modules see them train.

    Args:
        client: f_c, maps inputs (B, ...) to smashed data (B, *smashed_shape).
        server: f_s, maps smashed data to outputs.
        auxiliary: f_a, maps smashed data to outputs; None for algorithms whose clients have none.
        smashed_shape: shape of one example's smashed data, if known.
        local_heads: heads of the client's layer groups below the last (`heron.split.layer_groups`), which training
            adds.

    Attributes:
        client: f_c.
        auxiliary: f_a or None.
        server: f_s.
        local_heads: the local heads or None.
        smashed_shape: shape of one example's smashed data, or None.

    Raises:
        SplitError: if a part is not an `nn.Module`.
    """

    client: nn.Module
    auxiliary: nn.Module | None
    server: nn.Module
    local_heads: nn.Module | None

    def __init__(
        self,
        client: nn.Module,
        server: nn.Module,
        auxiliary: nn.Module | None = None,
        *,
        smashed_shape: torch.Size | None = None,
        local_heads: nn.Module | None = None,
    ) -> None:
        super().__init__()
        for name, part in (("client", client), ("auxiliary", auxiliary), ("server", server)):
            if not isinstance(part, nn.Module) and not (part is None and name == "auxiliary"):
                raise SplitError(f"expected an nn.Module as {name} part, found {type(part).__name__}; wrap it in one")
        self.client = client
        self.register_module("auxiliary", auxiliary)
        self.server = server
        self.register_module("local_heads", local_heads)
        self.smashed_shape = smashed_shape

    def forward(self, inputs: Tensor) -> Tensor:
        """The global model: f_s(f_c(x)), inputs of shape (B, ...)."""
        outputs: Tensor = self.server(self.client(inputs))
        return outputs

    def joined_state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers of the global model, without the auxiliary network.

        Names are those of the uncut network if the model comes from `heron.split.cut`, so that
        `uncut.load_state_dict(split.joined_state_dict())` works. If the two parts use one name for different tensors
        (parts written by hand), all names carry the prefix `client.` or `server.` instead.

        Returns:
            Tensors by name; they share memory with the model.
        """
        client, server = self.client.state_dict(), self.server.state_dict()
        if client.keys().isdisjoint(server):
            return {**client, **server}
        prefixed = {f"client.{name}": tensor for name, tensor in client.items()}
        return prefixed | {f"server.{name}": tensor for name, tensor in server.items()}

    def load_joined_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy tensors into both parts: the inverse of `joined_state_dict`.

        Args:
            state: tensors under the names that `joined_state_dict` returns.

        Raises:
            SplitError: if a name or shape does not fit; then nothing is changed.
        """
        own = self.joined_state_dict()
        expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if expected != found:
            odd = min(set(expected.items()) ^ set(found.items()))[0]
            raise SplitError(
                f"state does not fit at {odd!r}: expected shape {expected.get(odd)}, found {found.get(odd)}; load "
                f"the state of the same network"
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])
