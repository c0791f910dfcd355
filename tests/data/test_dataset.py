"""Datasets: what they refuse, what they take, and that nothing of it needs Keras."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from siamkit.data import Dataset, length, take
from siamkit.errors import DataError

VECTORS = np.arange(8, dtype=np.float32).reshape(4, 2)


def labelled(target, **more):
    return Dataset((VECTORS,), np.asarray(target), "labels", "vector", **more)


def test_importing_the_package_imports_no_backend():
    code = (
        "import sys, siamkit.data, siamkit.data.sources; "
        "print([m for m in ('keras', 'torch', 'jax', 'tensorflow', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_leaf_is_taken_by_indices_of_any_shape():
    leaf = {"a": VECTORS, "b": np.arange(4)}
    taken = take(leaf, np.array([[3, 0], [1, 1]]))
    assert taken["a"].shape == (2, 2, 2)
    assert taken["b"].tolist() == [[3, 0], [1, 1]]
    assert length(leaf) == 4


def test_codes_are_contiguous_int32_in_the_order_of_the_classes():
    data = labelled([70, -5, 70, 12])
    assert data.classes.tolist() == [-5, 12, 70]
    assert data.codes.tolist() == [2, 0, 2, 1]
    assert data.codes.dtype == np.int32


def test_names_and_integral_floats_are_labels():
    assert labelled(np.array(["b", "a", "b", "a"], dtype=object)).codes.tolist() == [1, 0, 1, 0]
    assert labelled([1.0, 2.0, 1.0, 2.0]).target.dtype == np.int64


def test_ids_are_counted_unless_given():
    assert labelled([0, 1, 0, 1]).ids.tolist() == ["0", "1", "2", "3"]
    assert labelled([0, 1, 0, 1], ids=np.array([7, 8, 9, 10])).ids.tolist() == ["7", "8", "9", "10"]


def test_take_takes_everything_alike():
    data = labelled([5, 6, 5, 7], columns={"who": np.array(["a", "b", "c", "d"])}).take(np.array([3, 1]))
    assert data.views[0].tolist() == [[6, 7], [2, 3]]
    assert data.target.tolist() == [7, 6]
    assert data.codes.tolist() == [1, 0]
    assert data.columns["who"].tolist() == ["d", "b"]
    assert data.ids.tolist() == ["3", "1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"views": (VECTORS,), "target": np.arange(3)}, "view 1 holds 4 items but the target 3"),
        ({"views": (VECTORS,), "target": None}, "labels need a target"),
        ({"views": (VECTORS, VECTORS), "target": np.arange(4)}, "labels need 1 views, got 2"),
        ({"views": (VECTORS[:0],), "target": np.arange(0)}, "empty"),
        ({"views": (VECTORS,), "target": np.array([0, 1, np.nan, 1])}, "got nan for item 2"),
        ({"views": (VECTORS,), "target": np.array([0, 1, 0.5, 1])}, "whole numbers or texts, got 0.5"),
        ({"views": (VECTORS,), "target": np.array(["a", None, "b", "b"], object)}, "texts, got None"),
        ({"views": (VECTORS,), "target": VECTORS}, "one value per item"),
        ({"views": (VECTORS,), "target": np.arange(4), "columns": {"c": np.arange(5)}}, "column 'c' 5"),
        ({"views": (VECTORS,), "target": np.arange(4), "ids": np.arange(2)}, "ids 2"),
        ({"views": (VECTORS,), "target": np.arange(4), "input": "vectors"}, "did you mean 'vector'"),
        ({"views": (VECTORS,), "target": np.arange(4), "supervision": "label"}, "did you mean 'labels'"),
        ({"views": (VECTORS,), "target": np.arange(4), "input": "image"}, r"should hold numbers \(n, height"),
        ({"views": (VECTORS,), "target": np.arange(4), "input": "tokens"}, "whole numbers .* got float32"),
        ({"views": ([1, 2, 3, 4],), "target": np.arange(4)}, "NumPy array of items, got list"),
        ({"views": (np.array([[1.0], [np.nan], [0], [0]]),), "target": np.arange(4)}, "infinity in item 1"),
        (
            {"views": ({"a": VECTORS, "b": np.arange(3)},), "target": np.arange(4), "input": "records"},
            "'a' 4, 'b' 3",
        ),
        ({"views": ({},), "target": np.arange(4), "input": "tabular"}, "no fields"),
        ({"views": (VECTORS,) * 2, "target": np.array([0, 1, 2, 1]), "supervision": "pairs"}, "got 2"),
        ({"views": (VECTORS, VECTORS[:3]), "target": np.arange(4) % 2, "supervision": "pairs"}, "view 2 3"),
        ({"views": (VECTORS,) * 3, "target": np.arange(4), "supervision": "triplets"}, "no target"),
        ({"views": (), "target": None, "supervision": "views"}, "views need one or more views, got 0"),
        (
            {"views": (VECTORS,) * 2, "target": np.array(list("abcd")), "supervision": "scores"},
            "hold numbers",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        Dataset(**{"supervision": "labels", "input": "vector", **arguments})


def test_only_labels_have_classes():
    with pytest.raises(DataError, match="these are scores"):
        _ = Dataset((VECTORS, VECTORS), np.arange(4), "scores", "vector").codes


def test_the_fingerprint_is_of_the_content_and_not_of_how_it_is_stored():
    data = labelled([0, 1, 0, 1])
    print_of = data.fingerprint()
    strided = Dataset((np.repeat(VECTORS, 2, axis=1)[:, ::2],), data.target, "labels", "vector")
    swapped = Dataset((VECTORS.astype(">f4"),), data.target, "labels", "vector")
    assert strided.fingerprint() == swapped.fingerprint() == print_of
    assert labelled([0, 1, 0, 1], ids=np.array(list("abcd"))).fingerprint() == print_of


def test_the_fingerprint_changes_with_values_target_dtype_and_order():
    other = VECTORS.copy()
    other[3, 1] += 1
    prints = [
        Dataset((view,), np.array(target), "labels", "vector").fingerprint()
        for view, target in (
            (VECTORS, [0, 1, 0, 1]),
            (other, [0, 1, 0, 1]),
            (VECTORS, [0, 1, 1, 1]),
            (VECTORS.astype(np.float64), [0, 1, 0, 1]),
            (VECTORS[::-1], [0, 1, 0, 1]),
        )
    ]
    assert len(set(prints)) == 5


def test_the_fingerprint_of_texts_keeps_their_borders():
    def prints(texts, dtype):
        return Dataset((np.array(texts, dtype=dtype),), np.array([0, 1]), "labels", "text").fingerprint()

    assert prints(["ab", "c"], object) == prints(["ab", "c"], "U9")
    assert prints(["ab", "c"], object) != prints(["a", "bc"], object)


def test_the_fingerprint_is_the_same_in_chunks(monkeypatch):
    data = labelled([0, 1, 0, 1])
    whole = data.fingerprint()
    monkeypatch.setattr("siamkit.data.dataset._HASH_BYTES", 8)
    assert data.fingerprint() == whole


@pytest.mark.parametrize(
    "labels", [np.array([2**25, 2**25 + 4], "float32"), np.array([2.0**53, 2.0**53 + 2])]
)
def test_float_ids_that_may_be_rounded_are_refused(labels):
    with pytest.raises(DataError, match="are rounded above"):
        Dataset((np.ones((2, 3)),), labels, "labels", "vector")


def test_missing_targets_are_counted():
    with pytest.raises(DataError, match="got nan for item 1, the first of 2 among 4"):
        Dataset((np.ones((4, 3)),), np.array([1, np.nan, np.nan, 2]), "labels", "vector")
