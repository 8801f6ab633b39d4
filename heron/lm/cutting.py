"""A causal language model in three parts.

    client      embedding, blocks 0 .. b-1
    auxiliary   blocks b .. b+a-1, the last normalisation, the unembedding: copies of the server's
    server      blocks b .., the last normalisation, the unembedding

(HERON-SFL, Kou et al., arXiv 2601.09076, Sec. 5: GPT-2 on E2E.) The parts consist of the modules of `transformers`;
none of them is reimplemented.
"""

from collections import OrderedDict
from typing import Any, cast

from torch import nn

from heron.errors import SplitError
from heron.lm.families import Family, family_of
from heron.lm.layers import Unembedding
from heron.lm.token_head import TokenHead, copy_trainable
from heron.split import ClientPart, SplitModel


class CausalLmSplit(SplitModel):
    """A cut causal language model.

    Args:
        whole: the model of `transformers` whose modules form client and server.
        client: its first part.
        server: the rest.
        auxiliary: the auxiliary network.
    """

    def __init__(self, whole: Any, client: nn.Module, server: nn.Module, auxiliary: nn.Module) -> None:
        super().__init__(client, server, auxiliary)
        self._whole = (whole,)  # a tuple hides it from torch, which would register it as a third part

    @property
    def whole(self) -> Any:
        """The model of `transformers` whose modules client and server share."""
        return self._whole[0]


def cut_causal_lm(model: Any, num_client_blocks: int, num_auxiliary_blocks: int) -> CausalLmSplit:
    """Cut a model after a block.

    Client, auxiliary network and server share the frozen tensors; each has its own copy of the trainable ones. If the
    model ties embedding and unembedding, the client keeps them as one tensor.

    Args:
        model: a causal language model of `transformers`; the parts take over its modules.
        num_client_blocks: b, in [1, number of blocks).
        num_auxiliary_blocks: a, from 0 to the server's number of blocks.

    Returns:
        The cut model; inputs are token ids (B, T), int64, padded on the right, outputs `TokenLogits`.

    Raises:
        SplitError: if the family has no adapter, or a number is out of range.
    """
    family = family_of(model.config)
    blocks = family.blocks(model)
    check_blocks(len(blocks), num_client_blocks, num_auxiliary_blocks)
    layers = OrderedDict((f"block{index}", family.wrap(model, layer)) for index, layer in enumerate(blocks))
    names = list(layers)
    head = _head(model, family)
    embedding = family.embed(model)
    client = OrderedDict[str, nn.Module](embedding=embedding)
    client.update((name, layers[name]) for name in names[:num_client_blocks])
    server = OrderedDict({name: layers[name] for name in names[num_client_blocks:]} | head)
    first = names[num_client_blocks : num_client_blocks + num_auxiliary_blocks]
    auxiliary = copy_trainable(TokenHead(OrderedDict({name: layers[name] for name in first} | head)))
    tied = embedding.tokens.weight
    if cast("Unembedding", head["unembedding"]).weight is tied:
        cast("Unembedding", auxiliary.unembedding).weight = tied
        if tied.requires_grad:
            server["unembedding"] = Unembedding(nn.Parameter(tied.detach().clone()))
    return CausalLmSplit(model, nn.Sequential(client), nn.Sequential(server), auxiliary)


def client_part(model: Any, num_client_blocks: int, *, with_auxiliary: bool) -> ClientPart:
    """Make a client's part of a model that has its blocks and those of the auxiliary network only.

    Names and values are those of `cut_causal_lm`. Nothing is copied, because no server shares the tensors.

    Args:
        model: a causal language model of `transformers` with b + a blocks; the part takes over its modules.
        num_client_blocks: b.
        with_auxiliary: whether to make the auxiliary network of the blocks after b and the head.

    Raises:
        SplitError: if the family has no adapter.
    """
    family = family_of(model.config)
    layers = {f"block{index}": family.wrap(model, layer) for index, layer in enumerate(family.blocks(model))}
    names = list(layers)
    client = OrderedDict[str, nn.Module](embedding=family.embed(model))
    client.update((name, layers[name]) for name in names[:num_client_blocks])
    if not with_auxiliary:
        return ClientPart(nn.Sequential(client))
    auxiliary = OrderedDict({name: layers[name] for name in names[num_client_blocks:]} | _head(model, family))
    return ClientPart(nn.Sequential(client), TokenHead(auxiliary))


def _head(model: Any, family: Family) -> dict[str, nn.Module]:
    """The layers that turn the last block's hidden states into scores."""
    output = model.get_output_embeddings()
    if getattr(output, "bias", None) is not None:
        raise SplitError("expected an unembedding without a bias, found one with a bias; choose another model")
    norm = family.norm(model)
    return {"norm": norm if norm is not None else nn.Identity(), "unembedding": Unembedding(output.weight)}


def check_blocks(num_blocks: int, num_client: int, num_auxiliary: int) -> None:
    """Refuse a cut that a model does not have.

    Args:
        num_blocks: number of the model's blocks.
        num_client: b.
        num_auxiliary: a.

    Raises:
        SplitError: if a number is out of range.
    """
    if not 1 <= num_client < num_blocks:
        raise SplitError(
            f"expected split.cut from 1 to {num_blocks - 1}, the model has {num_blocks} blocks and the server keeps at "
            f"least one; found {num_client}"
        )
    if not 0 <= num_auxiliary <= num_blocks - num_client:
        raise SplitError(
            f"expected split.auxiliary_blocks from 0 to {num_blocks - num_client}, copies of the server's, found "
            f"{num_auxiliary}"
        )
