"""A data set, as a section of settings that can load itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from heron.checked import Checked
from heron.data.pixels import Pixels

if TYPE_CHECKING:
    from heron.data.splits import Splits

Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True)
class ExampleShape:
    """Shapes of one example, known before any is read: costs depend on nothing else.

    Attributes:
        inputs: shape of one input.
        labels: shape of one label; () for a class.
        dtype: name of the inputs' element type.
        labels_dtype: name of the labels' element type.
    """

    inputs: tuple[int, ...]
    labels: tuple[int, ...] = ()
    dtype: str = "float32"
    labels_dtype: str = "int64"


@dataclass(frozen=True)
class Tokenizer:
    """The tokens of a language model, for data sets of texts.

    Attributes:
        encode: function from a text to tokens, without special tokens.
        end_token: token that ends a sequence and pads the inputs of a batch.
        max_length: number of positions of the model.
        source: name of the model in errors.
        pad_token: token that pads texts to be classified, which no text contains; None for a model that classifies
            none.
        first_tokens: function from a text and a number n to the first n tokens, special ones included; None
            for a model that classifies none.
    """

    encode: Tokenize
    end_token: int
    max_length: int
    source: str
    pad_token: int | None = None
    first_tokens: Callable[[str, int], list[int]] | None = None


class DataSet(Checked, ABC, section="data"):
    """Base of the data sets: frozen dataclasses whose fields are the keys of a TOML file's section `[data]`.

    A new data set is a file with such a class, and a row of `DATA_SETS`.

    Attributes:
        name: key of `DATA_SETS`; a field with one possible value.
        files: files that it reads, relative to the data folder (`heron.data.folder`).
        source: sentence or two for a person who has to provide the files.
        title: name for a person.
        licence: terms of the data as their source states them; empty if unknown.
        hub_name: name on the Hugging Face hub; empty for none.
        is_on_hub: whether absent files are fetched from the hub.
        pixels: scaling of inputs that are pixels; None for other inputs.
        needs_tokenizer: whether examples are texts, which only a language model's tokenizer can turn into numbers.
    """

    name: str
    files: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = ""
    title: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    hub_name: ClassVar[str] = ""
    is_on_hub: ClassVar[bool] = False
    pixels: ClassVar[Pixels | None] = None
    needs_tokenizer: ClassVar[bool] = False

    @property
    @abstractmethod
    def example(self) -> ExampleShape:
        """Shapes of one example; sequences have their largest length."""

    @abstractmethod
    def load(self, seed: int, tokenizer: Tokenizer | None = None, root: Path | None = None) -> "Splits":
        """Load the three splits.

        Args:
            seed: seed of the run. The validation split may depend on it, the test split does not.
            tokenizer: the model's, where `needs_tokenizer`; others ignore it.
            root: the data folder, in place of the default of `heron.data.folder`.

        Returns:
            Training, validation and test examples.

        Raises:
            DataError: if the data are not available or not as they should be, or a field is out of range.
            MissingExtraError: if a library that reads them is not installed.
        """
