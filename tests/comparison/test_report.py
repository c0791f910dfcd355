"""The page of a comparison and that of a dimension curve."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import siamkit
from siamkit.cli import main
from siamkit.comparison.single import curve_document
from siamkit.evaluation.distances import Euclidean
from siamkit.report.model import Gallery
from siamkit.report.render.html import render_html
from siamkit.stats.compression import size_curve

DRAW = np.random.default_rng(0)
LABELS = np.repeat(np.arange(24), 4)
GOOD = (DRAW.normal(size=(24, 8))[LABELS] + DRAW.normal(0, 0.8, (96, 8))).astype("float32")
WORSE = (GOOD + DRAW.normal(0, 1.0, GOOD.shape)).astype("float32")
EVIL = "<script>alert('x')</script>"


def gallery(document):
    [part] = [part for section in document.sections for part in section.blocks if isinstance(part, Gallery)]
    return part


def test_a_page_says_what_the_comparison_says():
    found = siamkit.compare(WORSE, GOOD, labels=LABELS, metric="euclidean", names=("worse", "good"))
    document = found.document()
    assert list(document.lead) == found.verdicts()
    tables = document.tables()
    first = found.differences[0]
    assert tables["differences"].rows[0][:5] == (
        "good - worse", "map_at_r", first.difference, first.low, first.high
    )  # fmt: skip
    assert {row[-1] for row in tables["differences"].rows} <= {"yes", "no"}
    assert (tables["differences"].rows[0][-1] == "yes") == first.significant
    value = found.values["good"]["recall_at_1"]
    assert ("good", "recall_at_1", value.value, value.low, value.high) in tables["values"].rows
    assert tables["similarities"].rows[0][1] == found.similarities[0].cka


def test_queries_stand_beside_what_both_find_and_the_page_marks_it_as_the_comparison_does():
    images = [np.full((8, 8), row, np.uint8) for row in range(96)]
    found = siamkit.compare(WORSE, GOOD, labels=LABELS, metric="euclidean", items=images)
    document = found.document()
    queries = found.disagreements["A", "B"]
    shown = gallery(document).queries
    assert len(shown) == len(queries)
    items = document.items
    for each, (why, query, both) in zip(queries, shown, strict=True):
        assert why == f"A {each.scores[0]:.3f}, B {each.scores[1]:.3f}"
        assert [items.ids[place] for place in (query, *both)] == [each.id, *(each.nearest_ids or ())]
        # By their labels the page knows what is right.
        assert tuple(items.labels[place] == items.labels[query] for place in both) == each.correct
        assert items.images is not None
        expected = [found.thumbnails[row][0].image for row in each.rows]
        assert [items.images[place] for place in (query, *both)] == expected


def test_of_pairs_the_other_side_stands_as_each_takes_it():
    pairs = np.stack([GOOD, GOOD[::-1]], axis=1)
    noisy = pairs + DRAW.normal(0, 2, pairs.shape)
    apart = np.linalg.norm(GOOD - GOOD[::-1], axis=1)
    alike = (apart < np.median(apart)).astype(int)
    sides = [(f"left {row}", f"right {row}") for row in range(96)]
    found = siamkit.compare(noisy, pairs, labels=alike, metric="euclidean", items=sides)
    document = found.document()
    items = document.items
    assert items.texts is not None
    for each, (_, query, both) in zip(found.disagreements["A", "B"], gallery(document).queries, strict=True):
        assert items.labels[query] == ("alike" if alike[each.query] else "not alike")
        assert items.texts[query] == f"left {each.query}"
        assert [items.texts[place] for place in both] == [f"right {each.query}"] * 2
        assert tuple(items.labels[place] == items.labels[query] for place in both) == each.correct


def test_of_graded_pairs_the_two_sides_are_in_a_table():
    pairs = np.stack([GOOD, GOOD[::-1]], axis=1)
    scores = -np.linalg.norm(GOOD - GOOD[::-1], axis=1)
    sides = [(f"left {row}", f"right {row}") for row in range(96)]
    found = siamkit.compare(
        pairs + DRAW.normal(0, 2, pairs.shape), pairs, labels=scores, metric="euclidean", items=sides
    )
    each = found.disagreements["A", "B"][0]
    expected = (f"left {each.query} · right {each.query}", float(scores[each.query]), *each.scores)
    assert found.document().tables()["disagreements-0"].rows[0] == expected


class Parsed(html.parser.HTMLParser):
    """What a page refers to, and the data it holds."""

    def __init__(self, page):
        super().__init__()
        self.links, self.data, self._held = [], {}, None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [given[name] for name in ("src", "href") if name in given]
        self._held = given.get("id") if given.get("type") == "application/json" else None

    def handle_data(self, data):
        if self._held:
            self.data[self._held] = json.loads(data)
            self._held = None


def test_a_page_escapes_what_it_holds_and_fetches_nothing():
    texts = [f"{EVIL} {row}" for row in range(96)]
    found = siamkit.compare(WORSE, GOOD, labels=LABELS, names=("worse", EVIL), items=texts)
    page = render_html(found.document())
    assert EVIL not in page
    parsed = Parsed(page)
    assert all(link.startswith("#") for link in parsed.links)
    assert set(parsed.data["items"]["texts"]) <= set(texts)
    assert parsed.data["chart-differences"]["data"]


def test_sizes_on_a_page():
    curve = size_curve(GOOD, LABELS, Euclidean(), dims=[4])
    document = curve_document("vectors", curve)
    whole = curve[0]
    assert (
        f"The whole embedding takes 32 bytes per vector and reaches {whole.measures['map_at_r']:.4f}"
        in document.lead[0]
    )
    rows = document.tables()["sizes"].rows
    assert [row[:3] for row in rows] == [(each.how, each.dim, each.bytes_per_vector) for each in curve]
    smallest = min((each for each in curve if each.pareto_optimal), key=lambda each: each.bytes_per_vector)
    assert (
        f"the smallest Pareto-optimal one takes {smallest.bytes_per_vector:g} ({smallest.how}"
        in document.lead[0]
    )


@pytest.mark.parametrize("where", ["page.html", "new/page.html"])
def test_the_commands_write_pages(tmp_path: Path, where: str):
    for name, rows in (("old", WORSE), ("new", GOOD)):
        np.savez(tmp_path / f"{name}.npz", x=rows, y=LABELS)
    files = [str(tmp_path / f"{name}.npz") for name in ("old", "new")]
    page = tmp_path / where
    told = CliRunner().invoke(main, ["compare", *files, "--metric", "euclidean", "--html", str(page)])
    assert told.exit_code == 0, told.output
    assert f"page  {page}" in told.stdout
    assert "new is better in map_at_r by" in page.read_text()
    told = CliRunner().invoke(
        main, ["evaluate", files[0], "--metric", "euclidean", "--sizes", "--html", str(page)]
    )
    assert told.exit_code == 0, told.output
    assert "Quality of old against size" in page.read_text()


def test_a_page_that_cannot_be_is_told_before_anything_is_compared(tmp_path: Path):
    (tmp_path / "file").write_text("")
    told = CliRunner().invoke(main, ["compare", "a.npy", "b.npy", "--html", str(tmp_path / "file/page.html")])
    assert told.exit_code == 2
    assert "cannot be written" in told.stderr
    told = CliRunner().invoke(main, ["evaluate", "a.npy", "--html", str(tmp_path / "page.html")])
    assert told.exit_code == 2
    assert "--html needs --sizes" in told.stderr
