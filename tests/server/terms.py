"""Terms of a toy run, for Fed Servers without a network."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from heron.arrays import dtype_name
from heron.wire.groups import Clients, Settings
from heron.wire.terms import TensorTerm, Terms, UploadTerm
from tests.settings import changed


def terms_of(
    model: Mapping[str, Tensor], *, buffers: Collection[str] = (), replayed: Collection[str] = (), **settings: Any
) -> Terms:
    """Terms about these tensors: averaged buffers, replayed tensors, and the rest, which is trained."""
    tensors = tuple(
        TensorTerm(
            name,
            tuple(tensor.shape),
            dtype_name(tensor),
            "buffer" if name in buffers else "replayed" if name in replayed else "trained",
        )
        for name, tensor in model.items()
    )
    upload = UploadTerm((1,), "float32", (), "int64", 2)
    return Terms("heron", changed(Settings(clients=Clients()), **settings), tensors, upload)
