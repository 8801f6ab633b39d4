"""A classifier of texts in three parts, and its construction from the few settings of a run.

    client      embedding, blocks 0 .. b-1
    auxiliary   the mean over positions, in a causal model a normalisation, one linear layer
    server      blocks b .., the pooled vector, the head of the library's own model

The parts consist of the modules of `transformers`; what one position says of another, and which positions are padding,
is in `heron.lm.masked`.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from heron.lm.adaptation import Adaptation
from heron.lm.cutting import check_blocks
from heron.lm.encoders import reader_of
from heron.lm.masked import MaskedBlock, MaskedEmbedding, Pool, Pooling, mean_head
from heron.lm.pretrained_classifier import classifier_config, load_classifier, pad_of
from heron.split import ClientPart, SplitModel, build_in_any_mode


class ClassifierSplit(SplitModel):
    """A cut classifier of texts.

    Args:
        whole: the model of `transformers` whose modules form client and server.
        client: its first part.
        server: the rest.
        auxiliary: the auxiliary network.
        pooling: the place of a text's meaning.
    """

    def __init__(
        self, whole: Any, client: nn.Module, server: nn.Module, auxiliary: nn.Module, pooling: Pooling
    ) -> None:
        super().__init__(client, server, auxiliary)
        self._whole = (whole,)  # a tuple hides it from torch, which would register it as a third part
        self.pooling = pooling

    @property
    def whole(self) -> Any:
        """The model of `transformers` whose modules client and server share."""
        return self._whole[0]


@dataclass(frozen=True)
class ClassifierPlan:
    """A classifier of texts, and where it is cut.

    Attributes:
        source: a directory that `save_pretrained` wrote, one in `models/` next to the data, or a name on the hub.
        num_client_blocks: blocks on the client, b, in [1, number of blocks).
        num_classes: C.
        pooling: the place of a text's meaning: `mean` or `first` for an encoder, `last` for a causal model.
        adaptation: which weights train; those of the head do in any case.
    """

    source: str
    num_client_blocks: int
    num_classes: int
    pooling: Pooling = "mean"
    adaptation: Adaptation = field(default_factory=Adaptation)

    def build(self, *, random_weights: bool = False) -> ClassifierSplit:
        """Load the model and cut it.

        Args:
            random_weights: whether to draw weights from torch's generator instead of loading pre-trained ones; those
                of a head that the model lacks, and of the auxiliary network, always are.

        Returns:
            A network from tokens (B, T), int64, padded on the right, to scores (B, C).

        Raises:
            HeronError: if the model is not available or cannot be cut like this.
        """
        config = self._config(known_sizes=random_weights)

        def made() -> nn.ModuleList:
            auxiliary = self._auxiliary(config)  # first: what is drawn later depends on the number of blocks
            model = load_classifier(self.source, config, random_weights=random_weights)
            self._adapt_(model)
            return nn.ModuleList([auxiliary, model])

        auxiliary, whole = build_in_any_mode(made)
        model: Any = whole
        reader = reader_of(config)
        blocks = self._layers(model)
        names = list(blocks)[self.num_client_blocks :]
        head = reader.head[self.pooling](model)
        server = OrderedDict({name: blocks[name] for name in names} | {"pool": Pool(self.pooling)} | dict(head))
        return ClassifierSplit(model, self._client(model, blocks), nn.Sequential(server), auxiliary, self.pooling)

    def build_client(self, *, with_auxiliary: bool) -> ClientPart:
        """Load a client's part; no block of the server is read.

        Args:
            with_auxiliary: whether the client has the auxiliary network.

        Returns:
            Parts with the values of those of `build`.

        Raises:
            HeronError: if the model is not available or cannot be cut like this.
        """
        config = self._config()
        auxiliary = self._auxiliary(config)
        model = load_classifier(self.source, config, num_blocks=self.num_client_blocks)
        self._adapt_(model)
        return ClientPart(self._client(model, self._layers(model)), auxiliary if with_auxiliary else None)

    def _config(self, *, known_sizes: bool = False) -> Any:
        config = classifier_config(self.source, self.num_classes, self.pooling, known_sizes=known_sizes)
        check_blocks(config.num_hidden_layers, self.num_client_blocks, 0)
        return config

    def _auxiliary(self, config: Any) -> nn.Sequential:
        return mean_head(config.hidden_size, config.num_labels, is_causal=reader_of(config).is_causal)

    def _adapt_(self, model: Any) -> None:
        head = reader_of(model.config).head[self.pooling](model)
        self.adaptation.apply_(model, model.config, list(head.values()))

    def _layers(self, model: Any) -> dict[str, nn.Module]:
        reader = reader_of(model.config)
        blocks = reader.blocks(model)
        return {f"block{index}": MaskedBlock(reader.wrap(model, layer)) for index, layer in enumerate(blocks)}

    def _client(self, model: Any, blocks: dict[str, nn.Module]) -> nn.Sequential:
        embedding = MaskedEmbedding(reader_of(model.config).embed(model), pad_of(model.config))
        own = list(blocks)[: self.num_client_blocks]
        return nn.Sequential(OrderedDict({"embedding": embedding} | {name: blocks[name] for name in own}))
