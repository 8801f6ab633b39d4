"""A cut language model on disk, a file per part: a client never loads what it neither trains nor runs.

DIR/manifest.json          where it was cut, and the size of every file
DIR/config.json, ...       configuration and tokenizer, as `transformers` writes them
DIR/client.safetensors     embedding and first blocks
DIR/auxiliary.safetensors  the auxiliary network, without what it shares with the client
DIR/server.safetensors     the rest
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heron.errors import SplitError
from heron.lm.adaptation import Adaptation
from heron.lm.cutting import cut_causal_lm
from heron.lm.pretrained import load_causal_lm, load_tokenizer

_MANIFEST = "manifest.json"
_FORMAT = "heron-parts-1"


def write_parts(source: str, directory: Path, *, num_client_blocks: int, num_auxiliary_blocks: int) -> dict[str, Any]:
    """Cut a pre-trained model and write its parts.

    Args:
        source: a directory that `save_pretrained` wrote, or a name on the hub.
        directory: where to; an existing file of the same name is replaced.
        num_client_blocks: blocks on the client, b.
        num_auxiliary_blocks: blocks of the auxiliary network, a.

    Returns:
        The manifest.

    Raises:
        HeronError: if the model cannot be had or cannot be cut like this.
    """
    model = load_causal_lm(source).requires_grad_(False)
    tokenizer = load_tokenizer(source, model.config.vocab_size)
    split = cut_causal_lm(model, num_client_blocks, num_auxiliary_blocks)
    assert split.auxiliary is not None  # a language model has one
    directory.mkdir(parents=True, exist_ok=True)
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
    (directory / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def load_client_parts(directory: Path, adaptation: Adaptation | None = None) -> nn.ModuleDict:
    """What a client holds, from a directory that `write_parts` wrote; nothing of the server is read or made.

    Args:
        directory: the directory.
        adaptation: what trains; LoRA of rank 8 in attention by default.

    Returns:
        The parts `client` and `auxiliary`; an unembedding that the model ties is the embedding's own tensor.

    Raises:
        SplitError: if a file is absent, damaged, or belongs to another cut.
    """
    manifest = _read_manifest(directory)
    with torch.device("meta"):
        whole = load_causal_lm(str(directory), random_weights=True).requires_grad_(False)
        split = cut_causal_lm(whole, manifest["cut"], manifest["auxiliary_blocks"])
    assert split.auxiliary is not None
    client = _filled(split.client, _read_part(directory, "client"), "client")
    shared = {"unembedding.weight": client.get_parameter("embedding.tokens.weight")}
    saved = _read_part(directory, "auxiliary")
    auxiliary = _filled(split.auxiliary, saved if shared.keys() & saved.keys() else saved | shared, "auxiliary")
    parts = nn.ModuleDict({"client": client, "auxiliary": auxiliary}).requires_grad_(True)
    (adaptation or Adaptation()).apply_(parts, whole.config)
    return parts


def _filled(part: nn.Module, tensors: dict[str, Tensor], name: str) -> nn.Module:
    """A part on the meta device with its tensors in place; constants of its layers are computed anew."""
    try:
        part.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise SplitError(
            f"expected the tensors of this cut in {_file(name)}, found others ({reason}); write the parts again"
        ) from error
    for module in part.modules():
        if any(buffer.is_meta for buffer in module.buffers(recurse=False)):
            module.__init__(module.config)  # type: ignore[misc]
    return part


def _read_part(directory: Path, name: str) -> dict[str, Tensor]:
    try:
        return load_file(directory / _file(name))
    except (OSError, SafetensorError) as error:
        raise SplitError(
            f"expected a complete {_file(name)} in {directory}, found none ({error}); write the parts again with "
            f"`heron split-model`"
        ) from error


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / _MANIFEST
    try:
        manifest = json.loads(path.read_text())
        known = manifest["format"] == _FORMAT and isinstance(manifest["cut"], int)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SplitError(f"expected parts that `heron split-model` wrote, found no readable {path}") from error
    if not known or not isinstance(manifest.get("auxiliary_blocks"), int):
        raise SplitError(f"expected the format {_FORMAT} in {path}, found another; write the parts again")
    return dict(manifest)


def _file(part: str) -> str:
    return f"{part}.safetensors"
