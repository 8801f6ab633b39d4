"""A network cut in two, with an auxiliary network beside the server part."""

from torch import Tensor, nn


class SplitModel(nn.Module):
    """Client part, auxiliary network and server part; called as a whole it is the global model.

    The client holds `client` and `auxiliary`, the Main Server `server`. Smashed data is one tensor with the batch as
    its first dimension: z = f_c(x).

    Args:
        client: f_c, from inputs (B, ...) to smashed data (B, ...).
        server: f_s, from smashed data to outputs.
        auxiliary: f_a, from smashed data to outputs; None for algorithms that need none.
    """

    def __init__(self, client: nn.Module, server: nn.Module, auxiliary: nn.Module | None = None) -> None:
        super().__init__()
        self.client = client
        self.auxiliary = auxiliary
        self.server = server

    def forward(self, inputs: Tensor) -> Tensor:
        """f_s(f_c(x)): what a user of the trained network calls, shape (B, C)."""
        outputs: Tensor = self.server(self.client(inputs))
        return outputs

    def joined_state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers of the global model; the auxiliary network is left behind."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("auxiliary.")}
