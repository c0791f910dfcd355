"""What a comparison shows in a notebook: its table, its figures, its words."""

from __future__ import annotations

import html.parser
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import siamkit
from siamkit.stats.compression import Size, SizeCurve, size_curve

DRAW = np.random.default_rng(0)
LABELS = np.repeat(np.arange(24), 4)
GOOD = (DRAW.normal(size=(24, 8))[LABELS] + DRAW.normal(0, 0.8, (96, 8))).astype("float32")
WORSE = (GOOD + DRAW.normal(0, 1.0, GOOD.shape)).astype("float32")
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def found():
    return siamkit.compare(
        WORSE, GOOD, GOOD * 2, labels=LABELS, metric="euclidean", names=("worse", "good", EVIL),
        items=[np.full((8, 8), row, np.uint8) if row % 2 else f"{EVIL} {row}" for row in range(96)],
    )  # fmt: skip


def test_the_table_holds_a_row_a_difference(found):
    frame = found.to_frame()
    assert len(frame) == len(found.differences) == 6
    for (_, row), difference, (a, b) in zip(frame.iterrows(), found.differences, found.pairs, strict=True):
        assert (row["a"], row["b"], row["measure"]) == (a, b, difference.measure)
        assert row["value_b"] - row["value_a"] == pytest.approx(row["difference"])
        assert (row["low"], row["high"]) == (difference.low, difference.high)
        assert row["significant"] == (row["low"] > 0 or row["high"] < 0)
        assert row["verdict"] == difference.verdict(a, b)
    assert frame["significant"].any()
    assert not frame["significant"].all()


def test_the_figure_draws_each_difference_with_its_interval_and_zero(found):
    measure = found.plot()
    drawn = {}
    for trace in measure.data:
        assert trace.name in ("significant", "not significant")
        for y, x, more, less in zip(
            trace.y, trace.x, trace.error_x.array, trace.error_x.arrayminus, strict=True
        ):
            drawn[y] = (x - less, x, x + more, trace.name == "significant")
    assert len(drawn) == 6
    first = found.differences[0]
    assert drawn["map_at_r: good - worse"] == pytest.approx(
        (first.low, first.difference, first.high, first.significant)
    )
    assert {trace.marker.symbol for trace in measure.data} == {"circle", "circle-open"}  # not by colour alone
    assert [line.x0 for line in measure.layout.shapes] == [0]
    assert not [words for trace in measure.data for words in (*trace.y, *trace.text) if "<" in words]


class Parsed(html.parser.HTMLParser):
    """Tags that were opened and closed, pictures, and text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.images, self.text, self.tags = [], [], [], set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_in_a_notebook_it_says_and_shows_all_and_escapes_what_it_holds(found):
    parsed = Parsed(found._repr_html_())
    assert parsed.open == []
    assert "script" not in parsed.tags
    text = " ".join(" ".join(parsed.text).split())
    for sentence in found.verdicts():
        assert sentence in text
    assert "✓ right" in text
    assert "✗ wrong" in text
    value = found.values["good"]["map_at_r"]
    assert f"good map_at_r {value.value:.4f} {value.low:.4f} {value.high:.4f}" in text
    queries = found.disagreements["worse", "good"]
    for row in queries[0].rows:
        if row % 2:
            assert any(image["src"] == found.thumbnails[row][0].source for image in parsed.images)
        else:
            assert f"{EVIL} {row}" in text
    assert all(image["alt"] for image in parsed.images)
    import base64

    source = parsed.images[0]["src"]
    assert source.startswith("data:image/png;base64,")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    assert (picture == int(parsed.images[0]["alt"])).all()


def test_of_what_it_has_no_looks_it_shows_ids_and_of_pairs_both_sides():
    pairs = np.stack([WORSE, GOOD], axis=1)
    sides = [("left", f"right {n}") for n in range(96)]
    found = siamkit.compare(pairs, pairs + 1, labels=LABELS % 2, items=sides)
    text = " ".join(" ".join(Parsed(found._repr_html_()).text).split())
    row = found.disagreements["A", "B"][0].query
    assert re.search(rf"left (not )?alike .*(right|wrong) right {row} ", text)
    plain = siamkit.compare(WORSE, GOOD, labels=LABELS)
    row = plain.disagreements["A", "B"][0].query
    assert f" {row} " in " ".join(Parsed(plain._repr_html_()).text)


def test_sizes_are_drawn_with_their_front():
    curve = size_curve(GOOD, LABELS, siamkit.evaluation.distances.Euclidean(), dims=[2, 4])
    again = curve.with_sizes([Size("retrained", 4, 16, {"map_at_r": 0.999})])
    assert [each.how for each in again if each.pareto_optimal][-1:] != ["pca"]
    # By hand: on the front is what nothing at most as large beats or equals.
    for each in again:
        beaten = any(
            other.bytes_per_vector <= each.bytes_per_vector
            and other.measures["map_at_r"] >= each.measures["map_at_r"]
            and (other.bytes_per_vector, other.measures) != (each.bytes_per_vector, each.measures)
            for other in again
        )
        assert each.pareto_optimal == (not beaten), each
    measure = again.plot()
    traces = {trace.name: trace for trace in measure.data}
    assert set(traces) == {"Pareto front", *(each.how for each in again)}
    assert list(traces["retrained"].x) == [16]
    assert list(traces["retrained"].y) == [0.999]
    assert list(traces["pca"].x) == [8, 16]
    on_front = sorted(
        (each.bytes_per_vector, each.measures["map_at_r"]) for each in again if each.pareto_optimal
    )
    line = traces["Pareto front"]
    assert list(zip(line.x, line.y, strict=True)) == on_front
    assert line.line.shape == "hv"
    symbols = [trace.marker.symbol for trace in measure.data if trace.name != "Pareto front"]
    assert len(set(symbols)) == len(symbols)  # not by colour alone
    frame = again.to_frame()
    assert frame.loc[frame["how"] == "retrained", "map_at_r"].tolist() == [0.999]
    assert len(frame) == len(again)
    assert isinstance(again, SizeCurve)


def test_comparing_imports_neither_plotly_nor_pandas():
    code = (
        "import sys, numpy as np, siamkit\n"
        "rows = np.random.default_rng(0).normal(size=(60, 3))\n"
        "siamkit.compare(rows, rows[:, :2], labels=np.arange(60) % 20)\n"
        "assert not {'plotly', 'pandas', 'jinja2'} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
