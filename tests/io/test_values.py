"""Labels and targets from any container mean what the same values mean in NumPy, or are refused."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamkit.errors import DataError
from siamkit.io.targets import as_labels, class_ids, graded_targets, is_graded, pair_targets, whole_labels
from siamkit.io.values import as_array, as_vectors, column_and_missing

# Every container of a list of labels, none of which is missing.
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "column vector": lambda values: np.array(values)[:, None],
    "objects": lambda values: np.array([*values, None], dtype=object)[:-1],
    "masked array": np.ma.masked_array,
    "pandas": pd.Series,
    "pandas objects": lambda values: pd.Series(values, dtype=object),
    "pandas category": lambda values: pd.Series(values).astype("category"),
    "pandas nullable": lambda values: pd.Series(values).convert_dtypes(),
    "pandas Index": pd.Index,
    "frame of one column": lambda values: pd.DataFrame({"label": values}),
    "polars": pl.Series,
    "polars category": lambda values: pl.Series(map(str, values)).cast(pl.Categorical),
    "arrow": pa.array,
    "chunks of arrow": lambda values: pa.chunked_array([values[:1], values[1:]]),
    "arrow dictionary": lambda values: pa.array(values).dictionary_encode(),
}
NUMBERS_ONLY = {
    "big-endian": lambda values: np.array(values, dtype=">i8"),
    "decimals": lambda values: [decimal.Decimal(value) for value in values],
}
TEXTS_ONLY = {
    "bytes": lambda values: np.array([value.encode() for value in values]),
    "pandas str": lambda values: pd.Series(values, dtype="string"),
}

numbers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=12)
texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=12
)


def classes(labels):
    """The first item of each item's class: what labels mean, whatever they are called."""
    labels = list(labels)
    return [labels.index(label) for label in labels]


@pytest.mark.parametrize("container", [*CONTAINERS, *NUMBERS_ONLY])
@given(values=numbers)
def test_whole_numbers_in_a_container_are_the_classes_that_they_were(container, values):
    labels = as_labels({**CONTAINERS, **NUMBERS_ONLY}[container](values))
    assert classes(labels.tolist()) == classes(values)
    if container != "polars category":
        assert labels.tolist() == values


@pytest.mark.parametrize("container", [*CONTAINERS, *TEXTS_ONLY])
@given(values=texts)
def test_texts_in_a_container_are_the_classes_that_they_were(container, values):
    labels = as_labels({**CONTAINERS, **TEXTS_ONLY}[container](values))
    assert labels.tolist() == values


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2, np.nan, 1], dtype=object),
        np.array([1.0, 2.0, np.nan, 1.0]),
        [1, 2, float("nan"), 1],
        [1, 2, None, 1],
        ["a", "b", None, "a"],
        ["a", "b", np.nan, "a"],
        np.array(["2020-01-01", "2021-01-01", "NaT", "2020-01-01"], dtype="datetime64[D]"),
        [pd.Timestamp(2020, 1, 1), pd.Timestamp(2021, 1, 1), pd.NaT, pd.Timestamp(2020, 1, 1)],
        [1, 2, pd.NA, 1],
        np.ma.masked_array([1, 2, 9, 1], mask=[0, 0, 1, 0]),
        pd.Series([1, 2, None, 1]),
        pd.Series([2**60, 2**60 + 1, None, 2**60], dtype="Int64"),
        pd.Series(["a", "b", None, "a"], dtype="category"),
        pd.Series(["a", "b", pd.NA, "a"], dtype="string"),
        pl.Series([2**60, 2**60 + 1, None, 2**60]),
        pa.array(["a", "b", None, "a"]),
        [decimal.Decimal(1), decimal.Decimal(2), decimal.Decimal("NaN"), decimal.Decimal(1)],
    ],
    ids=lambda values: type(values).__name__,
)
def test_missing_labels_of_any_kind_are_refused_or_left_out(values):
    with pytest.raises(DataError, match=r"not be missing, but 1 of 4 are; the first is in row 2"):
        as_labels(values)
    labels, missing = column_and_missing(values)
    assert missing.tolist() == [False, False, True, False]
    assert classes(labels[~missing].tolist()) == [0, 1, 0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, "1"], "one type, got the whole number 1 in row 0 and the text '1' in row 1"),
        (np.array([True, "yes"], dtype=object), "the truth value True in row 0 and the text 'yes'"),
        (["a\0", "a"], "should not end in a NUL character"),
        ([1.0, 0.5], "whole numbers or texts, got 0.5 in row 1"),
        (np.array([2**24 + 2], dtype=np.float32), "float32 are rounded above 16777216"),
        (np.array([2.0**60]), "float64 are rounded above"),
        (np.array([np.inf]), "got inf in row 0"),
        ([{}, {}], "should be numbers or texts, got {} in row 0"),
        (np.eye(3), r"shape \(n,\), one for each item, got \(3, 3\); turn one-hot rows into ids"),
        (np.array([1j]), "should be whole numbers or texts, got complex128"),
        ([b"\xff", b"a"], r"should be numbers or texts, got b'\\xff' in row 0"),
    ],
)
def test_labels_that_could_mean_something_else_are_refused(values, words):
    with pytest.raises(DataError, match=words):
        whole_labels(values)


def test_fractions_are_classes_to_evaluate_but_not_to_learn_from():
    assert as_labels([0.5, 1.0, 0.5]).tolist() == [0.5, 1.0, 0.5]


def test_large_ids_of_several_numeric_types_stay_distinct():
    assert as_labels([2**63, -1, 2**63 + 1]).tolist() == [str(2**63), "-1", str(2**63 + 1)]
    assert as_labels([2**53, 2**53 + 1, 1.0]).tolist() == [2**53, 2**53 + 1, 1]
    ids = [decimal.Decimal(2**53), decimal.Decimal(2**53 + 1)]
    assert len(set(as_labels(ids).tolist())) == 2
    (numbered,) = class_ids(as_labels([2**63, 2**63 + 1, 2**63]))
    assert numbered.tolist() == [0, 1, 0]


def test_lists_of_numbers_for_vectors_are_read_as_numpy_reads_them():
    assert as_array([[1, 0.5], [2, 3]]).astype(float).tolist() == [[1.0, 0.5], [2.0, 3.0]]
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    assert as_vectors(frame, 2).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert as_vectors(pd.Series([[1.0, 2.0], [3.0, 4.0]]), 2).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert as_vectors(pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}), 2).tolist() == [
        [1.0, 3.0],
        [2.0, 4.0],
    ]


@pytest.mark.parametrize("values", [[0, 1], [False, True], [0.0, 1.0], pd.Series([0, 1], dtype="Int64")])
def test_targets_of_pairs_are_0_and_1_in_any_container(values):
    targets = pair_targets(values)
    assert (targets.dtype, targets.tolist()) == (np.int32, [0, 1])
    assert not is_graded(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([-1, 1], r"got -1, 1; pass \(targets > 0\).astype\(int\)"),
        ([1, 2], r"got 1, 2; pass \(targets == 2\).astype\(int\) if 2 means alike"),
        ([0, 255], r"got 0, 255; pass \(targets > 0\)"),
        ([1, 2, 3, 4, 5], r"got 1, 2, 3, 4, 5; pass \(targets >= limit\).* such as cosent"),
        (["no", "yes"], r"got no, yes; pass \(targets == 'yes'\)"),
        ([0, 0.5, 1], "got 0.0, 0.5, 1.0"),
    ],
)
def test_other_targets_of_pairs_are_refused_with_how_to_convert_them(values, words):
    with pytest.raises(DataError, match=words):
        pair_targets(values)


def test_the_conversion_that_is_proposed_gives_targets_of_pairs():
    for values in ([-1, 1, 1], [1, 2, 2], [0, 255, 255]):
        targets = np.array(values)
        with pytest.raises(DataError) as raised:
            pair_targets(targets)
        expression = str(raised.value).partition("pass ")[2].partition(" if ")[0]
        assert pair_targets(eval(expression, {"targets": targets})).tolist() == [0, 1, 1]


def test_two_whole_numbers_that_could_be_pairs_or_scores_are_refused():
    with pytest.raises(DataError, match="if these are scores"):
        is_graded([-1, 1, -1])
    assert is_graded([0.25, 0.75])
    assert is_graded([1, 2, 3])


def test_scores_are_finite_numbers():
    assert graded_targets(pd.Series([1, 2, 3], dtype="Int64")).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(DataError, match="scores should be finite, got inf in row 1"):
        graded_targets([0.0, np.inf])
    with pytest.raises(DataError, match="scores should be numbers, got bad, good"):
        graded_targets(["good", "bad"])


@pytest.mark.parametrize("missing", [np.timedelta64("NaT"), np.datetime64("NaT"), None, float("nan")])
def test_a_missing_value_of_any_kind_among_objects_is_missing(missing):
    values = np.array([1, 2, missing, 4], dtype=object)
    _, mask = column_and_missing(values)
    assert mask.tolist() == [False, False, True, False]
