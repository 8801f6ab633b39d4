"""Forms of examples for the tests of tables."""

from heron.data.example_rows import ExampleForm
from heron.data.pixels import Pixels

NUMBERS = ExampleForm((4,), "float32", (), "int64")
SMALL_IMAGES = ExampleForm((1, 2, 2), "float32", (), "int64", pixels=Pixels(16))
COLOUR = ExampleForm((3, 2, 2), "float32", (), "int64", pixels=Pixels(255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1)))
TEXTS = ExampleForm((9,), "int64", (9,), "int64", is_text=True)
