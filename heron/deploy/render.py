"""The files of a deployment that are the same for everyone, and those that differ in a few values."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def script(name: str) -> bytes:
    """A script as it is; what differs between parties is in their env files."""
    return (Path(__file__).parent / "templates" / name).read_bytes()


def render(name: str, **facts: Any) -> bytes:
    """A text with some facts put in."""
    environment = Environment(
        loader=PackageLoader("heron.deploy", "templates"),
        autoescape=False,  # noqa: S701 - shell and Markdown
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(**facts).encode()
