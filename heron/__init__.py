"""Split federated learning with backprop-free clients.

A network is cut in two. Clients hold the first layers and a small auxiliary network and learn with forward passes
only; a Main Server trains the rest by backpropagation; a Fed Server averages the clients (HERON-SFL, Kou et al.,
arXiv 2601.09076). Start with `heron.train` for your own network and data, with `heron.zo` for a zeroth-order
optimiser without federation, or with the command line: `heron --help`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heron.training import TrainResult, train

__version__ = "0.1.0"
__all__ = ["TrainResult", "__version__", "train"]


def __getattr__(name: str) -> Any:
    # `heron.zo` alone should not import federation, and `heron --help` should not import torch.
    if name in {"TrainResult", "train"}:
        from heron import training

        return getattr(training, name)
    raise AttributeError(f"module 'heron' has no attribute {name!r}")
