"""Tables: columns of numbers and texts, checked, prepared, and kept through saving."""

from __future__ import annotations

import json

import numpy as np
import pytest

from siamkit.data import Dataset, fit_preprocessor, load_preprocessor
from siamkit.data.preprocessing.columns import ColumnEncoder
from siamkit.errors import DataError

ROWS = {
    "price": np.array([1.0, np.nan, 3.0, 5.0]),
    "colour": np.array(["red", "", "blue", "red"], object),
    "size": np.array([7, 7, 7, 7]),
    "city": np.array(["Bonn", "Ulm", None, "Ulm"], object),
}


def labelled(view):
    return Dataset((view,), np.arange(4) % 2, "labels", "tabular")


def fitted(view=ROWS):
    return fit_preprocessor(labelled(view))


def test_numbers_are_scaled_without_the_missing_ones_and_texts_become_codes():
    encoder = fitted()
    assert isinstance(encoder, ColumnEncoder)
    prepared = encoder(ROWS)
    assert {name: each.dtype.name for name, each in prepared.items()} == {
        "numeric": "float32",
        "missing": "float32",
        "categorical": "int32",
    }
    # Of 1, 3 and 5 the mean is 3 and the deviation √(8/3); the missing one is 0, a constant too.
    step = 2 / np.sqrt(8 / 3)
    np.testing.assert_allclose(prepared["numeric"], [[-step, 0], [0, 0], [0, 0], [step, 0]], rtol=1e-6)
    assert prepared["missing"].tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]
    # 0 is missing; red is commoner than blue, Ulm than Bonn.
    assert prepared["categorical"].tolist() == [[2, 3], [0, 2], [3, 0], [2, 2]]


def test_what_training_did_not_show_is_unknown_or_missing():
    rows = {
        "price": np.array([3.0, None], object),
        "colour": np.array(["green", None], object),
        "size": np.array([9.0, np.nan]),
        "city": np.array(["Bonn", np.nan], object),
        "more": np.zeros(2),
    }
    prepared = fitted()(rows)
    np.testing.assert_allclose(prepared["numeric"], [[0, 2], [0, 0]])
    assert prepared["missing"].tolist() == [[0, 0], [1, 1]]
    assert prepared["categorical"].tolist() == [[1, 3], [0, 0]]


def test_shape_and_facts_tell_of_the_columns_in_plain_json():
    encoder = fitted()
    assert encoder.input_shape == {"numeric": (2,), "missing": (2,), "categorical": (2,)}
    columns = encoder.facts["columns"]
    assert columns == {"numeric": ["price", "size"], "categorical": {"colour": 4, "city": 4}}
    assert json.loads(json.dumps(columns)) == columns
    assert fit_preprocessor(Dataset((np.eye(3),), np.arange(3), "labels", "vector")).facts == {
        "columns": {"numeric": ["0", "1", "2"], "categorical": {}}
    }


def test_keys_without_columns_are_left_out():
    numeric, texts = fitted({"a": ROWS["price"]}), fitted({"b": ROWS["colour"]})
    assert set(numeric({"a": np.ones(1)})) == set(numeric.input_shape) == {"numeric", "missing"}
    assert set(texts({"b": np.array(["x"])})) == set(texts.input_shape) == {"categorical"}


def test_a_column_with_nothing_in_it_is_missing_and_finite():
    prepared = fitted({"a": np.full(4, np.nan), "b": np.array([""] * 4)})({"a": np.ones(1), "b": ["x"]})
    assert {name: each.tolist() for name, each in prepared.items()} == {
        "numeric": [[1]],
        "missing": [[0]],
        "categorical": [[1]],
    }


def test_rare_texts_beyond_the_cap_are_as_unknown():
    texts = np.array(["a"] * 3 + ["b"] * 2 + ["c", "d"], object)
    encoder = ColumnEncoder.fit([{"t": texts}], max_texts=2)
    assert encoder.facts["columns"]["categorical"] == {"t": 4}
    assert encoder({"t": np.array(["a", "b", "c", "d", ""])})["categorical"].ravel().tolist() == [
        2,
        3,
        1,
        1,
        0,
    ]


def test_all_views_are_fitted_on_and_must_hold_the_same_columns():
    left, right = (
        {"n": np.zeros(4), "t": np.array(["a"] * 4)},
        {"t": np.array(["b"] * 4), "n": np.full(4, 2.0)},
    )
    encoder = fit_preprocessor(Dataset((left, right), np.arange(4) % 2, "pairs", "tabular"))
    assert encoder(left)["numeric"].tolist() == [[-1]] * 4
    assert encoder(right)["categorical"].tolist() == [[3]] * 4
    for other, sentence in (
        ({"n": np.zeros(4)}, "the same columns, got n, t and n"),
        (
            {"n": np.array(["x"] * 4), "t": np.array(["a"] * 4)},
            "column 'n' should hold numbers or texts in all",
        ),
    ):
        with pytest.raises(DataError, match=sentence):
            fit_preprocessor(Dataset((left, other), np.arange(4) % 2, "pairs", "tabular"))


def test_saved_and_loaded_it_does_the_same(tmp_path):
    before = fitted()
    before.save(tmp_path)
    after = load_preprocessor(tmp_path)
    assert (after.config(), after.input_shape, after.facts) == (
        before.config(),
        before.input_shape,
        before.facts,
    )
    for name, values in before(ROWS).items():
        np.testing.assert_array_equal(after(ROWS)[name], values)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"numeric": ["price"], "categorical": {}}, "one number per numeric column"),
        ({"numeric": "ab", "categorical": {}}, "numeric should be a list of texts, got 'ab'"),
        ({"numeric": ["price", "size"], "categorical": {"city": [1]}}, "'city' should be a list of texts"),
        ({"numeric": ["price", "size"], "categorical": 3}, "is damaged"),
        ({"numeric": ["price", "size"]}, "is damaged"),
    ],
)
def test_a_changed_file_is_refused(tmp_path, config, sentence):
    fitted().save(tmp_path)
    path = tmp_path / "preprocessor.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"config": config}))
    with pytest.raises(DataError, match=sentence):
        load_preprocessor(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"price": np.array(["1", "x"])}, "column 'price' should hold numbers, NaN where missing, got '1'"),
        ({"price": np.array([1.0, np.inf])}, "column 'price' should hold finite numbers, got inf in item 1"),
        ({"colour": np.array([1, 2])}, "column 'colour' should hold texts, .* got int64"),
        ({"colour": np.array(["a", 3], object)}, "column 'colour' should hold .* got 3"),
        ({"colour": np.array(["a"])}, "the same length"),
        ({"colour": np.array([["a"], ["b"]])}, r"column 'colour' .* got shape \(2, 1\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_a_sentence(change, sentence):
    rows = {name: values[:2] for name, values in ROWS.items()} | change
    with pytest.raises(DataError, match=sentence):
        fitted()(rows)


def test_a_missing_column_and_an_array_are_refused():
    rows = {("prices" if name == "price" else name): values for name, values in ROWS.items()}
    with pytest.raises(DataError, match="has no column 'price'; did you mean 'prices'"):
        fitted()(rows)
    with pytest.raises(DataError, match=r"a dict of columns, each .* got ndarray"):
        fitted()(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (np.zeros((4, 2)), "view 1 should be a dict of columns, each .* got ndarray"),
        ({}, "no fields"),
        ({"a": np.zeros((4, 1))}, r"column 'a' of view 1 .* got shape \(4, 1\)"),
        ({"a": np.array([0, 1, np.inf, 2])}, "column 'a' of view 1 .* finite numbers, got inf in item 2"),
        ({"a": np.array(["x", None, 3, ""], object)}, "column 'a' of view 1 .* got 3"),
        ({"a": np.zeros(4, complex)}, "numbers or texts .* got complex128"),
        ({"a": [1, 2, 3, 4]}, "numbers or texts .* got list"),
        ({"a": np.zeros(4), "b": np.zeros(3)}, "one length, got 'a' 4, 'b' 3"),
    ],
)
def test_views_that_are_no_table_are_refused_in_a_sentence(view, sentence):
    with pytest.raises(DataError, match=sentence):
        labelled(view)


def test_tables_can_be_taken_split_and_told_apart():
    data = labelled(ROWS)
    part = data.take(np.array([2, 0]))
    assert part.views[0]["city"].tolist() == [None, "Bonn"]
    empty = labelled(ROWS | {"city": np.array(["Bonn", "Ulm", "", "Ulm"])})
    word = labelled(ROWS | {"city": np.array(["Bonn", "Ulm", "None", "Ulm"])})
    assert empty.fingerprint() == data.fingerprint() != word.fingerprint()


def test_prepared_rows_become_columns_again():
    prepare = fitted()
    restored = prepare.restored(prepare({**ROWS, "city": np.array(["Bonn", "Ulm", None, "Rom"], object)}))
    np.testing.assert_allclose(restored["price"], ROWS["price"])
    np.testing.assert_allclose(restored["size"], ROWS["size"])
    assert restored["colour"].tolist() == ["red", "", "blue", "red"]
    assert restored["city"].tolist() == ["Bonn", "Ulm", "", "?"]
