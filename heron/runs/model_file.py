"""The file of a trained model, as safetensors."""

from safetensors.torch import save

from heron.split import SplitModel


def model_bytes(split: SplitModel) -> bytes:
    """The joined model {theta_c, theta_s} as the content of a file of safetensors.

    Args:
        split: the cut network, on any device; tensors that share memory are written one by one.
    """
    joined = split.joined_state_dict()
    return save({name: tensor.cpu().contiguous().clone() for name, tensor in joined.items()})
