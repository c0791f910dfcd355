"""The kit can fail: for each check of a dataset, a wrong dataset that it catches, and only it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import siamkit
from siamkit.testing import cases, conformance

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
Y = np.array([0, 0, 1, 1, 2, 2])
CALLS = itertools.count()


def right(part="train"):
    return siamkit.Dataset((X,), Y, "labels", "vector")


def spec(factory, **changes):
    told = {"supervision": "labels", "inputs": ("vector",), "summary": "a planted dataset"}
    return siamkit.DatasetSpec(**{"name": "planted", "factory": factory, **told, **changes})


def failing(planted, **options):
    told = {}
    for case in cases(planted, **options):
        try:
            case.run()
        except AssertionError as error:
            told[case.check.__name__] = str(error)
    return told


def test_a_right_dataset_passes():
    part = siamkit.Choice("train", options=("train", "test"), help="part to read")
    assert failing(spec(right, params={"part": part})) == {}


def labelled(x=X, y=Y, **more):
    return lambda: siamkit.Dataset((x,), y, "labels", "vector", **more)


def pairs(y):
    return lambda: siamkit.Dataset((X, X[::-1].copy()), y, "pairs", "vector")


WRONG = {
    "another supervision": (pairs(Y % 2), "kinds", r"write supervision=\('pairs',\) into the spec"),
    "one item again and again": (labelled(np.zeros_like(X)), "items", "should have items that differ"),
    "equal ids": (
        labelled(ids=np.array(["a", "a", "b", "c", "d", "e"])),
        "items",
        "'a' 2 times; leave out ids=",
    ),
    "few items": (labelled(X[:3], Y[:3]), "items", "should have 4 items or more, got 3"),
    "ids as labels": (labelled(y=np.arange(6)), "targets", "labels are the classes, not the ids, of items"),
    "one class": (labelled(y=np.zeros(6, int)), "targets", "two classes or more, got one"),
    "other items each time": (lambda: labelled(X + next(CALLS))(), "determinism", "sort what a folder lists"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_dataset_is_caught_by_one_check_which_names_a_remedy(name):
    factory, check, words = WRONG[name]
    told = failing(spec(factory))
    assert list(told) == [check]
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(told[check])


def test_pairs_that_are_all_alike_have_nothing_to_learn():
    told = failing(spec(pairs(np.ones(6, int)), supervision="pairs"))
    assert list(told) == ["targets"]
    assert "should have targets that differ" in told["targets"]


def test_a_factory_that_returns_something_else_or_fails_is_named():
    assert "returns a siamkit.Dataset, got tuple" in failing(spec(lambda: (X, Y)))["kinds"]
    assert (
        "reading the dataset 'planted' fails with ZeroDivisionError" in failing(spec(lambda: 1 / 0))["items"]
    )
    assert (
        "should have one default"
        in failing(
            spec(right, params={"part": siamkit.Choice("test", options=("train", "test"), help="part")})
        )["spec_matches_factory"]
    )


def test_a_dataset_that_reads_a_file_is_checked_with_one(tmp_path):
    np.savez(tmp_path / "small.npz", x=X, y=Y)
    assert failing("npz", kind="dataset", params={"path": str(tmp_path / "small.npz")}) == {}
    with pytest.raises(pytest.skip.Exception, match=r"cannot make up; give params=\{'path': \.\.\.\}"):
        next(case for case in cases("npz") if case.check.__name__ == "items").run()


test_digits = conformance("digits")
