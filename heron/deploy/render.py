"""Files of a deployment: those that are the same for all parties, and those that are rendered with a few values."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def script(name: str) -> bytes:
    """A script, unchanged; the values that differ between parties are in their env files."""
    return (Path(__file__).parent / "templates" / name).read_bytes()


def render(name: str, **facts: Any) -> bytes:
    """A template rendered with some values."""
    environment = Environment(
        loader=PackageLoader("heron.deploy", "templates"),
        autoescape=False,  # noqa: S701 - shell and Markdown
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(**facts).encode()
