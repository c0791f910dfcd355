"""Files of embeddings by anybody, models, and `siamkit evaluate`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

import siamkit
from siamkit.cli import main
from siamkit.comparison.embedding_set import from_file
from siamkit.comparison.inputs import labeled, read_embeddings, with_labels
from siamkit.errors import DataError, ModelError

DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(size=(24, 3)).astype("float32") + np.repeat(np.arange(6), 4)[:, None] * 2
LABELS = np.repeat(np.arange(6), 4)


def write(folder: Path, ending: str) -> Path:
    file = folder / f"vectors{ending}"
    if ending == ".npy":
        np.save(file, ROWS)
    elif ending == ".npz":
        np.savez(file, x=ROWS, y=LABELS)
    else:
        lists = [row.tolist() for row in ROWS]
        parquet.write_table(
            pa.table({"id": [str(n) for n in range(24)], "label": LABELS, "embedding": lists}), file
        )
    return file


@pytest.mark.parametrize("ending", [".npy", ".npz", ".parquet"])
def test_vectors_are_read_from_any_file(tmp_path: Path, ending: str) -> None:
    found = from_file(write(tmp_path, ending))
    np.testing.assert_allclose(found.embeddings, ROWS)
    assert found.embeddings.dtype == np.float32
    assert found.name == "vectors"
    assert found.ids == (tuple(str(n) for n in range(24)) if ending == ".parquet" else None)
    if ending == ".npy":
        with pytest.raises(
            DataError, match="'vectors' has embeddings without labels; pass them with --labels"
        ):
            labeled(found)
        np.save(tmp_path / "labels.npy", LABELS)
        found, _ = labeled(found, tmp_path / "labels.npy")
    assert found.labels is not None
    assert found.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": ROWS}, r"should contain an array x \(n, dim\) of embeddings, or a and b of pairs, got z"),
        ({"x": ROWS[0]}, r"numbers \(n, dim\) or of pairs \(n, 2, dim\), got float64 of shape \(3,\)"),
        ({"x": ROWS, "y": LABELS[:5]}, "has 24 embeddings but 5 labels"),
        ({"x": np.array([["a"]])}, r"got <U1 of shape \(1, 1\)"),
        ({"x": np.array([[None]])}, "cannot be read as a file of embeddings: it holds Python objects"),
    ],
)
def test_files_that_hold_no_embeddings_are_told(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        from_file(tmp_path / "a.npz")


def test_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; a file of embeddings ends in \.npy"):
        from_file(tmp_path / "none.npy")
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(DataError, match=r"should end in \.npy, \.npz, \.parquet"):
        from_file(tmp_path / "a.txt")
    (tmp_path / "a.npy").write_bytes(b"not an array")
    with pytest.raises(DataError, match="cannot be read as a file of embeddings"):
        from_file(tmp_path / "a.npy")
    parquet.write_table(pa.table({"embedding": [[1.0, 2.0], [1.0]]}), tmp_path / "ragged.parquet")
    with pytest.raises(DataError, match=r"embeddings of one length, got \[2, 1\]"):
        from_file(tmp_path / "ragged.parquet")
    parquet.write_table(pa.table({"vector": [[1.0]]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"should have a column embedding, .* got vector"):
        from_file(tmp_path / "other.parquet")
    with pytest.raises(ModelError, match="needs data to embed"):
        read_embeddings("best.keras")


def told(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_labels_that_do_not_fit_are_a_mistake_of_the_user(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", LABELS[:3])
    result = told(write(tmp_path, ".npy"), "--labels", tmp_path / "labels.npy", "--group", "geometry")
    assert result.exit_code == 2
    assert "labels should have the shape (24,), one for each embedding, got (3,)" in result.stderr
    result = told(write(tmp_path, ".npz"), "--group", "geometrie")
    assert result.exit_code == 2
    assert "groups should be some of retrieval" in result.stderr


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_labels_come_from_a_table_and_are_matched_by_its_ids(tmp_path: Path, suffix: str) -> None:
    order = DRAW.permutation(24)
    columns = {"id": [str(row) for row in order], "label": [f"00{LABELS[row]}" for row in order]}
    path = tmp_path / f"labels{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
    elif suffix == ".jsonl":
        rows = zip(*columns.values(), strict=True)
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    else:
        comma = "," if suffix == ".csv" else "\t"
        rows = [comma.join(columns), *(comma.join(row) for row in zip(*columns.values(), strict=True))]
        path.write_text("\n".join(rows) + "\n")
    expected = [f"00{label}" for label in LABELS]
    assert labeled(from_file(write(tmp_path, ".parquet")), path)[1].tolist() == expected
    # Without ids of the embeddings, labels are in the order of the rows.
    assert labeled(from_file(write(tmp_path, ".npy")), path)[1].tolist() == columns["label"]
    files = [write(tmp_path, ".parquet"), tmp_path / "second.parquet"]
    files[1].write_bytes(files[0].read_bytes())
    sets = [from_file(file) for file in files]
    assert with_labels([replace(each, labels=None) for each in sets], path)[1].tolist() == expected


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("l.csv", "p,q\na,b\n", r"should have a column label .* one column only, got p, q"),
        ("l.csv", "id,label\n0,a\n1,b\n", "has no label for 22 of 24 ids: '2', '3', '4', '5' or 18 others"),
        ("l.csv", "id,label\n0,a\n0,b\n", "several rows with one id"),
        ("l.txt", "a\nb\n", r"labels should be a .npy file, or a table \(.csv, .* with a column label, got"),
        ("l.csv", "label\na\nb\n", r"labels should have the shape \(24,\), .* got \(2,\)"),
        ("none.csv", None, "none.csv does not exist"),
    ],
)
def test_labels_in_a_table_that_do_not_fit_are_told(
    tmp_path: Path, name: str, content: str | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=sentence):
        labeled(from_file(write(tmp_path, ".parquet")), tmp_path / name)


def test_labels_of_python_objects_are_told_in_words(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array(["a", 1], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"it holds Python objects; save numbers, or texts as np.asarray"):
        labeled(from_file(write(tmp_path, ".npy")), tmp_path / "labels.npy")


# ---------------------------------------------------------------- with Keras


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_file_of_vectors_is_judged_as_by_the_api(tmp_path: Path) -> None:
    import siamkit

    result = told(write(tmp_path, ".npz"), "--metric", "euclidean", "--json")
    assert result.exit_code == 0, result.output
    expected = siamkit.evaluate(ROWS, LABELS, "euclidean")
    assert json.loads(result.stdout) == pytest.approx(
        {name: None if np.isnan(value) else value for name, value in expected.items()}
    )
    shown = told(write(tmp_path, ".npz"), "--group", "retrieval").stdout
    assert "map_at_r" in shown
    assert "hubness" not in shown


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_model_is_judged_by_its_own_metric_and_at_its_own_threshold(tmp_path: Path) -> None:
    import siamkit

    model = siamkit.build("mlp", "euclidean", "triplet", embedding_dim=4, input_shape=(3,))
    model.threshold = 0.25
    model.save(tmp_path / "model.keras")
    result = told(tmp_path / "model.keras", write(tmp_path, ".npz"), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    vectors = model.embed(ROWS)
    expected = siamkit.evaluate(vectors, LABELS, "euclidean")
    for name in ("map_at_r", "threshold", "false_accepts", "f1", "hubness"):
        assert found[name] == pytest.approx(expected[name], abs=1e-5), name
    at_own = siamkit.evaluate(vectors, LABELS, "euclidean", threshold=0.25)
    assert found["own_threshold"] == at_own["threshold"] == 0.25
    for name in ("far", "frr", "false_accepts", "false_rejects", "precision", "recall", "f1", "accuracy"):
        assert found[f"{name}_at_own_threshold"] == pytest.approx(at_own[name]), name
    shown = told(tmp_path / "model.keras", write(tmp_path, ".npz"), "--threshold", "f1").stdout
    assert "\nat the threshold " in shown
    assert "chosen from these pairs for f1" in shown
    assert "at the model's own threshold 0.25" in shown
    assert shown.count("false_accepts") == 2
    assert found["parameters"] == model.count_params()
    result = told(tmp_path / "model.keras")
    assert result.exit_code == 2
    assert "needs data to embed" in result.stderr
    result = told(tmp_path / "model.keras", write(tmp_path, ".npz"), "--metric", "cosine")
    assert "its threshold 0.25 is of its own metric, so it is left out." in " ".join(result.stdout.split())
    assert "own threshold" not in result.stdout


@pytest.mark.keras
@pytest.mark.one_backend
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "mahalanobis"])
def test_embedded_vectors_are_compared_by_the_metric_of_their_model(tmp_path: Path, metric: str) -> None:
    import siamkit

    model = siamkit.build("mlp", metric, "triplet", embedding_dim=4, input_shape=(3,), threshold=0.25)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "items.npy", ROWS)
    np.save(tmp_path / "labels.npy", LABELS)
    for command in (
        ["embed", "model.keras", "items.npy", "-o", "vectors.parquet"],
        ["evaluate", "vectors.parquet", "--labels", "labels.npy", "--json"],
        ["evaluate", "vectors.parquet", "--labels", "labels.npy"],
    ):
        paths = [str(tmp_path / each) if "." in each else each for each in command]
        result = CliRunner().invoke(main, paths)
        assert result.exit_code == 0, result.output
        if "--json" in command:
            found = json.loads(result.stdout)
    vectors = model.embed(ROWS)
    used = "cosine" if metric == "mahalanobis" else model.metric  # its weights are not in the file
    expected = siamkit.evaluate(vectors, LABELS, used)
    assert found["map_at_r"] == pytest.approx(expected["map_at_r"])
    assert found["roc_auc"] == pytest.approx(expected["roc_auc"], abs=1e-5)
    assert ("own_threshold" in found) == (metric != "mahalanobis")
    note = "its model compares by mahalanobis, whose weights are not in the file"
    assert (note in " ".join(result.stdout.split())) == (metric == "mahalanobis")


def broken(folder: Path, name: str, content: Any) -> Path:
    file = folder / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, pa.Table):
        parquet.write_table(content, file)
    else:
        np.savez(file, **content)
    return file


VECTORS = [row.tolist() for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.npy", b"", "cannot be read as a file of embeddings: No data left"),
        ("empty.npz", b"", "cannot be read as a file of embeddings"),
        ("cut.npz", b"PK\x03\x04", "cannot be read as a file of embeddings: File is not a zip"),
        (
            "scalar.parquet",
            pa.table({"embedding": [1.0, 2.0]}),
            "a list of numbers in each row, got d",
        ),
        (
            "null.parquet",
            pa.table({"embedding": pa.nulls(3)}),
            "a list of numbers in each row, got null",
        ),
        (
            "labels.npz",
            {"x": ROWS, "y": np.ones((24, 2))},
            r"one label for each embedding, got the shape \(24",
        ),
        ("ids.npz", {"x": ROWS, "ids": np.array("a")}, r"one id for each embedding, got the shape \(\)"),
        (
            "about.parquet",
            pa.table({"embedding": VECTORS}).replace_schema_metadata({"siamkit": "["}),
            "cannot be read as a file of embeddings",
        ),
        (
            "listed.parquet",
            pa.table({"embedding": VECTORS}).replace_schema_metadata({"siamkit": "[1]"}),
            "the description that siamkit wrote into it is damaged",
        ),
    ],
)
def test_broken_files_of_embeddings_are_refused_in_a_sentence(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        from_file(broken(tmp_path, name, content))


def test_a_file_under_another_s_ending_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, ROWS)
    with pytest.raises(DataError, match="it contains a single array, not named ones"):
        from_file(tmp_path / "single.npz")
    np.savez(tmp_path / "labels.npz", y=LABELS)
    with pytest.raises(DataError, match=r"labels should be a .npy file, or a table"):
        labeled(from_file(write(tmp_path, ".npy")), tmp_path / "labels.npz")


def test_json_of_sizes_has_no_word_that_json_lacks(tmp_path: Path) -> None:
    # Rounded to bits all pairs are as far apart: nothing correlates with that.
    a, b = np.eye(4, 2), np.eye(4, 2) + np.array([0, 0.1])
    np.savez(tmp_path / "pairs.npz", a=a, b=b, y=[0.1, 0.2, 0.3, 0.4])
    told = CliRunner().invoke(main, ["evaluate", str(tmp_path / "pairs.npz"), "--sizes", "--json"])
    assert told.exit_code == 0, told.output
    json.loads(told.stdout, parse_constant=lambda word: pytest.fail(word))


def test_sizes_of_what_has_no_figure_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", a=ROWS, b=ROWS + 1, y=np.ones(24))
    told = CliRunner().invoke(main, ["evaluate", str(tmp_path / "pairs.npz"), "--sizes"])
    assert told.exit_code == 2
    assert told.stderr == "Error: roc_auc is undefined for these pairs, so sizes cannot be compared\n"


def test_large_numbers_are_rounded_to_the_largest_of_half_precision(tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", x=ROWS * 1e6, y=LABELS)
    told = CliRunner().invoke(main, ["evaluate", str(tmp_path / "large.npz"), "--sizes"])
    assert told.exit_code == 0, told.output


def test_paths_that_lead_to_no_file_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder; a file of embeddings ends in \.npy"):
        read_embeddings(tmp_path)
    with pytest.raises(DataError, match=r"as embeddings, a model or a study: .* too long"):
        read_embeddings("a" * 5000 + ".npz")


def test_items_without_label_are_left_out_on_request(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(24), 5).astype(object)
    good = rng.normal(size=(24, 4))[labels.astype(int)] + rng.normal(0, 0.5, (120, 4))
    worse = good + rng.normal(0, 0.5, good.shape)
    missing = labels.copy()
    missing[[3, 40, 77]] = [None, np.nan, None]
    keep = np.array([label is not None and label == label for label in missing])
    options = {"metric": "euclidean", "resamples": 200}
    with pytest.raises(DataError, match="should not be missing, but 3 of 120 are"):
        siamkit.compare(good, worse, labels=missing, **options)
    found = siamkit.compare(good, worse, labels=missing, drop_missing=True, **options)
    expected = siamkit.compare(good[keep], worse[keep], labels=labels[keep].astype(int), **options)
    assert found.differences == expected.differences
    assert "3 of 120 items have no label and are left out." in found.notes
    rows = np.flatnonzero(keep)
    shown = [each.id for each in next(iter(found.disagreements.values()))]
    assert shown == [str(rows[int(each.id)]) for each in next(iter(expected.disagreements.values()))]

    np.save(tmp_path / "good.npy", good.astype("float32"))
    table = pd.DataFrame(
        {"label": pd.array([None if label is None else label for label in missing], "Int64")}
    )
    table.to_parquet(tmp_path / "labels.parquet")
    arguments = [
        "evaluate",
        str(tmp_path / "good.npy"),
        "--labels",
        str(tmp_path / "labels.parquet"),
        "--json",
    ]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 2
    assert "should have a value in every row, got none in 3 of 120" in refused.stderr
    done = CliRunner().invoke(main, [*arguments, "--drop-missing", "--metric", "euclidean"])
    assert done.exit_code == 0, done.output
    measures = siamkit.evaluate(good[keep].astype("float32"), labels[keep].astype(int), "euclidean")
    assert json.loads(done.stdout)["map_at_r"] == pytest.approx(measures["map_at_r"])
    assert "3 of 120 items have no label" in done.stderr


def test_pairs_of_one_kind_have_a_note(tmp_path):
    pairs = np.random.default_rng(0).normal(size=(6, 2, 3)).astype("float32")
    np.savez(tmp_path / "pairs.npz", a=pairs[:, 0], b=pairs[:, 1], y=np.ones(6, int))
    done = CliRunner().invoke(main, ["evaluate", str(tmp_path / "pairs.npz")])
    assert done.exit_code == 0, done.output
    assert "All pairs are alike: rates, AUC and a threshold need pairs of both kinds." in " ".join(
        done.output.split()
    )
