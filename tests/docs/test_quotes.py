"""Numbers that pages quote are those of the tables of benchmarks, and these are those of the trainings."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
QUOTES = {
    "docs/explanation/recipe.md": "recipe.md",
}
NUMBER = re.compile(r"[+-]0\.\d{3} ± 0\.\d{3}|(?<![\d.+-])0\.\d{3}(?!\d)")


def benchmark(name: str) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py")))


def numbers(text: str) -> list[str]:
    return NUMBER.findall(text)


@pytest.mark.parametrize("page", QUOTES)
def test_every_number_of_a_page_is_in_the_table_that_it_quotes(page: str) -> None:
    quoted = numbers((ROOT / page).read_text(encoding="utf-8"))
    known = numbers((RESULTS / QUOTES[page]).read_text(encoding="utf-8"))
    assert len(quoted) > 5
    assert set(quoted) <= set(known)


def test_the_effects_of_the_recipe_are_those_of_its_trainings() -> None:
    recipe = benchmark("recipe")
    rows = [json.loads(line) for line in (RESULTS / "recipe.jsonl").read_text().splitlines()]
    committed = (RESULTS / "recipe.md").read_text(encoding="utf-8")
    found = re.search(r"by cosine, have (.*)\.\n", committed)
    assert found is not None
    raw = {data: float(value) for value, data in re.findall(r"(0\.\d+) \((\w+)\)", found[1])}
    chosen = "## The chosen recipe"  # its last column has more digits of the items' own scores
    made, there = (text.partition(chosen) for text in (recipe.page(rows, raw), committed))
    assert made[0] == there[0]
    columns = [
        [line.rpartition("|")[0].rpartition("|")[0] for line in text[2].splitlines()]
        for text in (made, there)
    ]
    assert columns[0] == columns[1]


def test_the_page_of_two_commands_is_that_of_its_runs() -> None:
    rows = [json.loads(line) for line in (RESULTS / "reach.jsonl").read_text().splitlines()]
    assert benchmark("reach").page(rows) == (RESULTS / "reach.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "level"), [("cosine schedule", 1), ("light augmentation", 0)])
def test_the_design_is_balanced(name: str, level: int) -> None:
    recipe = benchmark("recipe")
    recipes = list(recipe.design())
    assert len({tuple(levels.values()) for levels in recipes}) == 16
    with_it = [levels for levels in recipes if levels[name] == level]
    assert len(with_it) == 8
    for other in recipe.INGREDIENTS:
        if other != name:
            assert sum(levels[other] for levels in with_it) == 4
