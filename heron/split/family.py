"""A model family, as a section of settings that can build the network and cut it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn.functional import cross_entropy

from heron.checked import Checked
from heron.data import Tokenizer
from heron.randomness import build_seeded
from heron.seeds import derive_seed
from heron.split.cut import ordered_children
from heron.split.model import ClientPart, SplitModel


class ModelFamily(Checked, ABC, section="split"):
    """Base of the model families: frozen dataclasses whose fields are the keys of a TOML file's section `[split]`.

    A new family is a file with such a class, and a row of `MODELS` in heron/config/families.py.

    Attributes:
        model: key of `MODELS`; a field with one possible value.
        cut: the place of the cut: the client's last layer, or its number of blocks.
        reads_text: whether the network is a language model, so that `load_tokenizer` returns its tokenizer.
        predicts: what its outputs are scores of, `classes` or `tokens`.
    """

    reads_text: ClassVar[bool] = False
    predicts: ClassVar[Literal["classes", "tokens"]] = "classes"
    model: str
    cut: Any

    @abstractmethod
    def network(self, *, random_weights: bool = False) -> SplitModel:
        """Make the cut network; new weights are drawn from torch's generator.

        Args:
            random_weights: whether weights that would have to be loaded may be random, because only costs are asked
                for.

        Raises:
            HeronError: if the network is not available or cannot be cut like this.
        """

    def build(self, seed: int, *, random_weights: bool = False) -> SplitModel:
        """Build the cut network of a run; initial weights depend on the seed alone.

        Args:
            seed: seed of the run.
            random_weights: as for `network`.
        """
        return build_seeded(lambda: self.network(random_weights=random_weights), derive_seed("init", seed))

    def build_client(self, seed: int, *, with_auxiliary: bool = True) -> ClientPart:
        """Build what a client holds, without any tensor of the server's; the same values as those of `build`.

        Args:
            seed: seed of the run.
            with_auxiliary: whether the client has a local loss and needs the auxiliary network for it.
        """
        split = self.build(seed)
        return ClientPart(split.client, split.auxiliary if with_auxiliary else None)

    @property
    def criterion(self) -> Callable[[Any, Tensor], Tensor]:
        """Mean loss over the examples of a batch: (outputs, labels) -> shape ()."""
        return cross_entropy

    def neighbours(self, count: int) -> Sequence[str] | Sequence[int]:
        """List other places for the cut, in the network's order; the family may refuse some of them.

        Args:
            count: number of places before the cut, and after it.
        """
        with FakeTensorMode():
            split = self.build(0, random_weights=True)
        names = [*ordered_children(split.client), *ordered_children(split.server)]
        own = names.index(self.cut)
        return names[max(0, own - count) : own] + names[own + 1 : own + 1 + count]

    @property
    def pretrained_source(self) -> str | None:
        """Name of the pre-trained model whose weights are loaded; None where all weights are drawn."""
        return None

    def load_tokenizer(self) -> Tokenizer | None:
        """Return the model's tokenizer, for data sets of texts; None if it reads no text."""
        return None
