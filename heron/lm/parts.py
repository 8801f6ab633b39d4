"""A cut language model on disk, one file per part, so that a client loads only the parts that it runs.

DIR/manifest.json          the cut, and the size of every file
DIR/config.json, ...       configuration and tokenizer, as `transformers` writes them
DIR/client.safetensors     embedding and first blocks
DIR/auxiliary.safetensors  the auxiliary network, without what it shares with the client
DIR/server.safetensors     the rest
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from heron.errors import SplitError
from heron.lm.adaptation import Adaptation
from heron.lm.cutting import cut_causal_lm
from heron.lm.layers import CausalBlock
from heron.lm.pretrained import load_causal_lm, load_tokenizer
from heron.split import ClientPart

_MANIFEST = "manifest.json"
_FORMAT = "heron-parts-1"


def write_parts(source: str, directory: Path, *, num_client_blocks: int, num_auxiliary_blocks: int) -> dict[str, Any]:
    """Cut a pre-trained model and write its parts.

    Args:
        source: a directory that `save_pretrained` wrote, or a name on the hub.
        directory: target directory, created if absent; files of the same names are replaced. A failed write leaves no
            manifest, so its files are not read.
        num_client_blocks: blocks on the client, b.
        num_auxiliary_blocks: blocks of the auxiliary network, a.

    Returns:
        The manifest; `bytes` holds the size of every part's file.

    Raises:
        HeronError: if the model is not available or cannot be cut like this.
    """
    model = load_causal_lm(source).requires_grad_(False)
    tokenizer = load_tokenizer(source, model.config.vocab_size)
    split = cut_causal_lm(model, num_client_blocks, num_auxiliary_blocks)
    assert split.auxiliary is not None  # every language model is cut with one
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MANIFEST).unlink(missing_ok=True)
    held = {tensor.data_ptr() for tensor in split.client.state_dict().values()}
    parts = {
        "client": split.client.state_dict(),
        "auxiliary": {
            name: tensor for name, tensor in split.auxiliary.state_dict().items() if tensor.data_ptr() not in held
        },
        "server": split.server.state_dict(),
    }
    for name, tensors in parts.items():
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, directory / _file(name))
    model.config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    manifest = {
        "format": _FORMAT,
        "cut": num_client_blocks,
        "auxiliary_blocks": num_auxiliary_blocks,
        "bytes": {name: (directory / _file(name)).stat().st_size for name in parts},
    }
    (directory / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def is_parts(directory: Path) -> bool:
    """Return whether a directory contains the parts of a model instead of a whole one."""
    return (directory / _MANIFEST).is_file()


def check_cut(directory: Path, num_client_blocks: int, num_auxiliary_blocks: int | None) -> None:
    """Refuse parts of another cut.

    Args:
        directory: a directory that `write_parts` wrote.
        num_client_blocks: b.
        num_auxiliary_blocks: a; None where the auxiliary network is not needed.

    Raises:
        SplitError: if the parts are of another cut, or no file says of which.
    """
    manifest = _read_manifest(directory)
    found = manifest["cut"], manifest["auxiliary_blocks"]
    if found[0] != num_client_blocks or num_auxiliary_blocks not in (found[1], None):
        raise SplitError(
            f"expected parts with split.cut={num_client_blocks} and split.auxiliary_blocks={num_auxiliary_blocks} in "
            f"{directory}, found {found[0]} and {found[1]}; write the parts again with `heron split-model`"
        )


def load_client_parts(
    directory: Path, adaptation: Adaptation | None = None, *, with_auxiliary: bool = True
) -> ClientPart:
    """Load a client's part from a directory that `write_parts` wrote; nothing of the server is read or built.

    Args:
        directory: the directory.
        adaptation: which weights train; LoRA of rank 8 in attention by default.
        with_auxiliary: whether to load the auxiliary network.

    Returns:
        The part; an unembedding that the model ties is the embedding's own tensor.

    Raises:
        SplitError: if a file is absent, damaged, or belongs to another cut.
        MissingExtraError: if `transformers` or `peft` is not installed.
    """
    manifest = _read_manifest(directory)
    with torch.device("meta"):
        whole = load_causal_lm(str(directory), random_weights=True).requires_grad_(False)
        split = cut_causal_lm(whole, manifest["cut"], manifest["auxiliary_blocks"])
    client, auxiliary = split.client, split.auxiliary
    assert auxiliary is not None  # every language model is cut with one
    is_tied = auxiliary.get_parameter("unembedding.weight") is client.get_parameter("embedding.tokens.weight")
    _fill_(client, _read_part(directory, "client"), "client")
    if with_auxiliary:
        shared = {"unembedding.weight": client.get_parameter("embedding.tokens.weight")} if is_tied else {}
        # The tensors read get no variable, so that each wide one is freed once it is stored narrow.
        _fill_(auxiliary, _read_part(directory, "auxiliary") | shared, "auxiliary")
    parts = ClientPart(client, auxiliary if with_auxiliary else None).requires_grad_(True)
    _make_rotations_(parts)
    (adaptation or Adaptation()).apply_(parts, whole.config)
    return parts


def _fill_(part: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Replace the meta tensors of a part by tensors with data."""
    try:
        part.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise SplitError(
            f"expected the tensors of this cut in {_file(name)}, found others ({reason}); write the parts again"
        ) from error


def _make_rotations_(parts: nn.Module) -> None:
    """Compute the constants of rotary positions off the meta device; no file contains them."""
    blocks = [block for block in parts.modules() if isinstance(block, CausalBlock) and block.rotary is not None]
    if blocks:
        of_all: Any = blocks[0].rotary  # all blocks of a model share one
        made = type(of_all)(of_all.config)
        for block in blocks:
            block.rotary = made


def _read_part(directory: Path, name: str) -> dict[str, Tensor]:
    path = directory / _file(name)
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
        # Each tensor maps the file by itself, so its pages are freed when the tensor has been stored narrow.
        return {key: _read_tensor(path, key) for key in names}
    except (OSError, SafetensorError) as error:
        raise SplitError(
            f"expected a complete {_file(name)} in {directory}, found none ({error}); write the parts again with "
            f"`heron split-model`"
        ) from error


def _read_tensor(path: Path, name: str) -> Tensor:
    with safe_open(path, "pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = manifest["format"] == _FORMAT and isinstance(manifest["cut"], int)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SplitError(f"expected parts that `heron split-model` wrote, found no readable {path}") from error
    if not known or not isinstance(manifest.get("auxiliary_blocks"), int):
        raise SplitError(f"expected the format {_FORMAT} in {path}, found another; write the parts again")
    return dict(manifest)


def _file(part: str) -> str:
    return f"{part}.safetensors"
