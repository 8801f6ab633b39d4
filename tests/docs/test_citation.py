"""CITATION.cff cites the version that `pyproject.toml` names, under its licence."""

import re
import tomllib

import heron
from tests.docs.typed import ROOT


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    values = dict(re.findall(r"^([\w-]+): +(.+)$", citation, flags=re.MULTILINE))
    assert values["version"] == project["version"] == heron.__version__
    assert values["license"] == project["license"]
    assert values["cff-version"] == "1.2.0"
    assert {"message", "title"} <= values.keys()
