"""docs/components.md is what the registry says, and names for each component what it is checked against."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

# The tables of references are in tests that need a backend.
pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

WRITER = Path(__file__).parents[2] / "docs" / "components.py"


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("components_page", WRITER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_components_is_up_to_date(writer):
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(), "run python docs/components.py"


def test_no_reference_is_told_for_a_component_that_is_not_there(writer):
    known = writer.checked()
    for kind, names in known.items():
        assert set(names) == {e.spec.name for e in writer.built_in(kind)}


def test_the_readme_counts_the_components(writer):
    kinds = {"losses": "loss", "metrics": "metric", "encoders": "encoder"}
    numbers = ", ".join(f"{len(list(writer.built_in(kind)))} {plural}" for plural, kind in kinds.items())
    readme = (WRITER.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"**[{numbers}](docs/components.md)**" in readme
