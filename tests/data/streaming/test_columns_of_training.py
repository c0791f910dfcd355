"""A model finds the columns that it was trained on again; names that data do not use are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from siamkit.data import fit_preprocessor, load_preprocessor
from siamkit.data.sources import table
from siamkit.data.streaming import Chunk, StreamRequest
from siamkit.data.streaming.open import open_items
from siamkit.errors import DataError
from siamkit.study.config.load import load_study
from siamkit.study.worker.prepared_data import prepare_data

TEXTS = "name,title,score,note\n" + "".join(
    f"red shoe {n},{'red' if n % 2 else 'blue'} boot {n},{n % 2},n{n}\n" for n in range(40)
)


def write(folder: Path, text: str, source: str, search: str) -> Path:
    (folder / "data.csv").write_text(text)
    study = folder / "study.yaml"
    study.write_text(
        f"version: 1\nname: s\ndata: {{path: data.csv, {source[1:-1]}}}\n"
        f"search: {search}\nbudget: {{trials: 1}}\n"
    )
    return study


def chunks(data: Path, **request: object) -> tuple[list[Chunk], bool]:
    with open_items(data, None, StreamRequest(**request)) as stream:  # type: ignore[arg-type]
        return list(stream.chunks), stream.pairs


def test_the_columns_of_pairs_are_found_again(tmp_path: Path) -> None:
    study = write(
        tmp_path, TEXTS, "{left: name, right: title, target: score}",
        "{encoder: bag, metric: cosine, loss: contrastive}",
    )  # fmt: skip
    prepared, _ = prepare_data(load_study(study))
    prepared.preprocessor.save(tmp_path / "stored")
    stored = load_preprocessor(tmp_path / "stored")
    assert stored.columns == {"left": ["name"], "right": ["title"], "target": ["score"]}
    for side, first in ((0, "red shoe 0"), (1, "blue boot 0")):
        (chunk,), pairs = chunks(tmp_path / "data.csv", preprocessor=stored, side=side, with_targets=True)
        assert pairs
        assert chunk.items[0] == first  # type: ignore[index]
        assert chunk.labels[:2] == ["0", "1"]
    # A table with one of the sides holds items, and one with the usual names holds pairs.
    (tmp_path / "one.csv").write_text("name,price,label\nred shoe,3,a\nblue shoe,4,b\n")
    (chunk,), pairs = chunks(tmp_path / "one.csv", preprocessor=stored)
    assert (list(chunk.items), chunk.labels, pairs) == (["red shoe", "blue shoe"], ["a", "b"], False)
    (tmp_path / "usual.csv").write_text("left,right,target\na,b,1\n")
    assert chunks(tmp_path / "usual.csv", preprocessor=stored)[1]
    # Named columns come first.
    (chunk,), pairs = chunks(tmp_path / "data.csv", preprocessor=stored, columns=("note",))
    assert (chunk.items[0], pairs) == ("n0", False)  # type: ignore[index]
    (tmp_path / "other.csv").write_text("text,price\nred,3\n")
    with pytest.raises(DataError, match=r"choose the columns of .* with columns \(--columns\): text, price"):
        chunks(tmp_path / "other.csv", preprocessor=stored)


def test_the_columns_of_labelled_rows_are_found_again(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n % 7}.5,kind {n % 4},{n}\n" for n in range(40))
    study = write(
        tmp_path, "width,height,kind,row\n" + rows, '{features: "width, height", label: kind}',
        "{encoder: mlp, metric: cosine, loss: triplet}",
    )  # fmt: skip
    preprocessor = prepare_data(load_study(study))[0].preprocessor
    (chunk,), _ = chunks(tmp_path / "data.csv", preprocessor=preprocessor, with_targets=True)
    assert np.asarray(chunk.items).shape == (40, 2)
    assert chunk.labels[:3] == ["kind 0", "kind 1", "kind 2"]


def test_tabular_pairs_are_pairs_again_under_the_names_of_the_left_side(tmp_path: Path) -> None:
    rows = "".join(f"{'ab'[n % 2]},{n},{'ab'[n // 2 % 2]},{n + 1},{n % 2}\n" for n in range(40))
    study = write(
        tmp_path, "city,age,city2,age2,same\n" + rows,
        '{left: "city, age", right: "city2, age2", target: same}',
        "{encoder: tabular, metric: cosine, loss: contrastive}",
    )  # fmt: skip
    preprocessor = prepare_data(load_study(study))[0].preprocessor
    (chunk,), pairs = chunks(tmp_path / "data.csv", preprocessor=preprocessor, side=1, with_targets=True)
    assert pairs
    assert isinstance(chunk.items, Mapping)
    assert chunk.items["city"][:4].tolist() == ["a", "a", "b", "b"]
    assert chunk.items["age"][:4].tolist() == [1, 2, 3, 4]
    assert chunk.labels[:4] == ["0", "1", "0", "1"]
    with pytest.raises(
        DataError, match=r"the model takes the columns .*age.*, so columns \(--columns\) would"
    ):
        chunks(tmp_path / "data.csv", preprocessor=preprocessor, columns=("city", "age"))


def test_names_that_the_data_do_not_have_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "items.npy", np.zeros((4, 2)))
    for option, value in {"columns": ("a",), "label": "kind", "id": "key"}.items():
        with pytest.raises(
            DataError, match=rf"no columns with names, so {option} '.*' \(--{option}\) would be"
        ):
            chunks(tmp_path / "items.npy", **{option: value})
    with (
        pytest.raises(DataError, match=r"no columns with names, so label 'kind'"),
        open_items("digits", None, StreamRequest(label="kind")),
    ):
        pass
    with (
        pytest.raises(DataError, match=r"'digits' reads no file, so 'other.csv' would be ignored"),
        open_items("other.csv", "digits", StreamRequest()),
    ):
        pass


def test_a_preprocessor_without_columns_is_stored_as_before(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("left,right,target\n" + "a b,a c,1\nd e,f g,0\n" * 4)
    fit_preprocessor(table(tmp_path / "data.csv")).save(tmp_path / "stored")
    assert "columns" not in (tmp_path / "stored" / "preprocessor.json").read_text()
    assert load_preprocessor(tmp_path / "stored").columns == {}
