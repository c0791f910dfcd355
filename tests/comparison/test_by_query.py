"""Comparing embedding sets: what is matched, what is said, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet
from scipy.stats import bootstrap

import siamkit
from siamkit.cli import main
from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.errors import DataError


def clouds(classes=24, items=8, noise=0.7, seed=0):
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), items)
    rows = draw.normal(size=(classes, 6))[labels] + draw.normal(0, noise, (len(labels), 6))
    return rows.astype("float32"), labels


GOOD, LABELS = clouds()
WORSE = (GOOD + np.random.default_rng(1).normal(0, 0.7, GOOD.shape)).astype("float32")


def by_query(rows, metric="euclidean"):
    """MAP@R of each query, one at a time."""
    found = []
    for i in range(len(rows)):
        distances = np.linalg.norm(rows - rows[i], axis=1)
        order = [j for j in np.argsort(distances, kind="stable") if j != i]
        hits = LABELS[order] == LABELS[i]
        total = hits.sum()
        found.append(sum(hits[:r].mean() for r in range(1, total + 1) if hits[r - 1]) / total)
    return np.array(found)


def test_a_difference_that_is_there_is_found_with_scipys_interval():
    found = siamkit.compare(
        WORSE, GOOD, labels=LABELS, metric="euclidean", names=("worse", "good"), measures=["map_at_r"],
        over="queries",
    )  # fmt: skip
    [difference] = found.differences
    expected = by_query(GOOD) - by_query(WORSE)
    assert difference.difference == pytest.approx(expected.mean(), abs=1e-6)
    theirs = bootstrap((expected,), np.mean, method="percentile", random_state=0).confidence_interval
    assert (difference.low, difference.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert found.verdicts()[0].startswith("good is better in map_at_r by 0.")
    assert found.values["good"]["map_at_r"].value == pytest.approx(by_query(GOOD).mean(), abs=1e-6)
    assert difference.p < 0.001


def test_the_same_up_to_a_turn_is_no_difference_and_alike():
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    found = siamkit.compare(GOOD, GOOD @ turn, labels=LABELS, metric="euclidean")
    assert found.over == "classes"
    assert "No significant difference in map_at_r" in found.verdicts()[0]
    [likeness] = found.similarities
    assert likeness.cka == pytest.approx(1, abs=1e-4)
    assert likeness.procrustes == pytest.approx(0, abs=1e-2)
    assert likeness.neighbor_overlap == pytest.approx(1, abs=1e-3)
    assert likeness.rank_correlation == pytest.approx(1, abs=1e-5)
    assert found.disagreements["A", "B"] == []


def test_many_comparisons_are_corrected_together():
    found = siamkit.compare(WORSE, GOOD, GOOD * 1.01, labels=LABELS, metric="euclidean")
    assert len(found.differences) == len(found.pairs) == 6
    for difference in found.differences:
        assert difference.p_adjusted >= difference.p
    assert [*found.values] == ["A", "B", "C"]


def test_disagreements_are_of_both_kinds_and_the_widest_first():
    found = siamkit.compare(WORSE, GOOD, labels=LABELS, metric="euclidean", most=8)
    queries = found.disagreements["A", "B"]
    gaps = [each.scores[1] - each.scores[0] for each in queries]
    assert len(queries) == 8
    assert [abs(gap) for gap in gaps] == sorted((abs(gap) for gap in gaps), reverse=True)
    assert min(gaps) < 0 < max(gaps)
    expected = by_query(GOOD) - by_query(WORSE)
    assert max(gaps) == pytest.approx(expected.max(), abs=1e-6)
    widest = queries[int(np.argmax(gaps))]
    assert widest.label == LABELS[widest.query]


def test_with_few_classes_it_says_what_the_intervals_do_not_hold_over():
    rows, labels = clouds(classes=5, items=20)
    found = siamkit.compare(rows, rows[:, :3], labels=labels, metric="euclidean", baselines=None)
    assert found.over == "queries"
    assert found.notes == [
        "With only 5 classes the intervals are over queries: they do not cover other classes. "
        "That takes 20 classes or more."
    ]
    with pytest.raises(DataError, match="20"):
        siamkit.compare(rows, rows[:, :3], labels=labels, metric="euclidean", over="classes")


def test_a_class_of_one_item_has_no_query_and_is_none_to_draw():
    rows, labels = clouds(classes=20, items=3)
    found = siamkit.compare(rows[2:], rows[2:, :3], labels=labels[2:], metric="euclidean")
    assert found.over == "queries"
    assert found.notes[0].startswith("With only 19 classes")


def test_items_are_matched_by_their_ids():
    order = np.random.default_rng(3).permutation(len(GOOD))[:-10]
    ids = tuple(f"item {n}" for n in range(len(GOOD)))
    whole = EmbeddingSet("whole", GOOD, LABELS, ids, "euclidean")
    some = EmbeddingSet("some", WORSE[order], LABELS[order], tuple(ids[row] for row in order), "euclidean")
    found = siamkit.compare(whole, some, baselines=None)
    kept = np.sort(order)
    expected = siamkit.compare(GOOD[kept], WORSE[kept], labels=LABELS[kept], metric="euclidean")
    assert found.differences == expected.differences
    assert found.notes == ["Compared on the 182 items that all inputs have, of 192."]


def refused(message, *inputs, **asked):
    with pytest.raises(DataError, match=message):
        siamkit.compare(*inputs, **asked)


def test_what_cannot_be_compared_is_refused_in_a_sentence(tmp_path):
    refused("at least two embeddings, got 1", GOOD, labels=LABELS)
    refused("no input has labels; pass them", GOOD, WORSE, metric="euclidean")
    refused("different numbers of them: A 192, B 191", GOOD, WORSE[1:], labels=LABELS, metric="euclidean")
    refused(r"shape \(192,\), one for each item, got \(191,\)", GOOD, WORSE, labels=LABELS[1:])
    refused(
        r"numbers \(n, dim\), or of pairs \(n, 2, dim\), got float32 of shape \(6,\)",
        GOOD,
        GOOD[0],
        labels=LABELS,
    )
    refused(
        "queries have no score in 'roc_auc'; choose from ", GOOD, WORSE, labels=LABELS, measures=["roc_auc"]
    )
    one = EmbeddingSet("a", GOOD, LABELS, None)
    refused("distinct names, got a, a", one, one)
    other = EmbeddingSet("b", GOOD, np.roll(LABELS, 1), None)
    refused(r"'a' and 'b' disagree about the labels of 24 items, the first is item 0 \(0, 23\)", one, other)
    named = EmbeddingSet("c", GOOD, LABELS, tuple("x" * len(GOOD)))
    refused(
        "'c' has several items",
        named,
        EmbeddingSet("d", GOOD, LABELS, tuple(map(str, range(192)))),
    )
    refused("does not exist; a file of embeddings", tmp_path / "a.npy", GOOD, labels=LABELS)


def test_files_of_embeddings_need_no_keras(tmp_path: Path):
    np.savez(tmp_path / "old.npz", x=WORSE, y=LABELS)
    lists = [row.tolist() for row in GOOD]
    parquet.write_table(pa.table({"label": LABELS, "embedding": lists}), tmp_path / "new.parquet")
    code = (
        "import sys, siamkit; found = siamkit.compare('old.npz', 'new.parquet'); print(found); "
        "assert not {'keras', 'torch', 'jax', 'tensorflow'} & set(sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "new is better in map_at_r by" in ran.stdout


def test_the_command_says_what_the_library_says(tmp_path: Path):
    np.save(tmp_path / "old.npy", WORSE)
    np.save(tmp_path / "new.npy", GOOD)
    np.save(tmp_path / "labels.npy", LABELS)
    files = [str(tmp_path / name) for name in ("old.npy", "new.npy")]
    asked = ["compare", *files, "--labels", str(tmp_path / "labels.npy"), "--metric", "euclidean"]
    told = CliRunner().invoke(main, asked)
    assert told.exit_code == 0, told.output
    found = siamkit.compare(*files, labels=LABELS, metric="euclidean")
    shown = " ".join(told.stdout.split())  # sentences are broken between words
    for sentence in found.verdicts():
        assert sentence in shown
    for word in ("CKA", "Largest disagreements old and new", "intervals over classes"):
        assert word in shown
    stored = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
    assert stored["verdicts"] == found.verdicts()
    assert stored["differences"][0]["difference"] == found.differences[0].difference
    wrong = CliRunner().invoke(main, ["compare", files[0], "--labels", str(tmp_path / "labels.npy")])
    assert wrong.exit_code == 2
    assert "at least two embeddings, got 1" in wrong.stderr


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path: Path):
    for folder, rows in (("old", WORSE), ("new", GOOD)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "vectors.npy", rows)
    np.save(tmp_path / "other.npy", GOOD)
    np.savez(tmp_path / "other.npz", x=WORSE)
    files = [tmp_path / name for name in ("old/vectors.npy", "new/vectors.npy", "other.npy", "other.npz")]
    found = siamkit.compare(*files, labels=LABELS, metric="euclidean", measures=["map_at_r"])
    assert found.names == ("old/vectors.npy", "new/vectors.npy", "other.npy", "other.npz")
    found = siamkit.compare(*files[1:3], labels=LABELS, metric="euclidean", measures=["map_at_r"])
    assert found.names == ("vectors", "other")
    found = siamkit.compare(*files[:2], labels=LABELS, names=("one", "two"), measures=["map_at_r"])
    assert found.names == ("one", "two")
    refused("distinct names, got", files[0], files[0], labels=LABELS)


def test_classes_are_the_same_as_numbers_of_any_kind():
    a, b = EmbeddingSet("a", GOOD, LABELS, None), EmbeddingSet("b", WORSE, LABELS.astype(float), None)
    assert siamkit.compare(a, b).names == ("a", "b")
    wide = EmbeddingSet("c", WORSE, np.stack([LABELS, LABELS], 1), None)
    refused(r"labels should have the shape \(192,\), one for each item, got \(192, 2\)", a, wide)
    missing = np.array([None, *LABELS[1:]])
    refused("labels should not be missing, but 1 of 192 are", GOOD, WORSE, labels=missing)
    refused("labels should not be missing, but 1 of 192 are", GOOD, WORSE, labels=[np.nan, *LABELS[1:]])


def test_a_depth_that_is_no_number_is_no_figure():
    refused("queries have no score in 'recall_at_²'", GOOD, WORSE, labels=LABELS, measures=["recall_at_²"])


def test_json_has_no_word_that_json_lacks(tmp_path: Path):
    np.savez(tmp_path / "good.npz", x=GOOD, y=LABELS)
    np.savez(tmp_path / "none.npz", x=np.zeros_like(GOOD), y=LABELS)
    told = CliRunner().invoke(
        main, ["compare", *(str(tmp_path / name) for name in ("good.npz", "none.npz")), "--json"]
    )
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout, parse_constant=lambda word: pytest.fail(word))
    assert found["similarities"][0]["cka"] is None


def test_a_page_of_files_whose_names_are_no_text_is_written(tmp_path: Path):
    np.savez(tmp_path / "good.npz", x=GOOD, y=LABELS)
    np.savez(tmp_path / "bad\udcff.npz", x=WORSE, y=LABELS)
    files = [str(tmp_path / name) for name in ("good.npz", "bad\udcff.npz")]
    told = CliRunner().invoke(main, ["compare", *files, "--html", str(tmp_path / "page.html")])
    assert told.exit_code == 0, told.output
    assert "bad?" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_cannot_take_a_folder_s_place(tmp_path: Path):
    np.savez(tmp_path / "good.npz", x=GOOD, y=LABELS)
    np.savez(tmp_path / "worse.npz", x=WORSE, y=LABELS)
    files = [str(tmp_path / name) for name in ("good.npz", "worse.npz")]
    told = CliRunner().invoke(main, ["compare", *files, "--html", str(tmp_path)])
    assert told.exit_code == 2
    assert told.stderr == f"Error: {str(tmp_path)!r} cannot be written: it is a folder\n"
