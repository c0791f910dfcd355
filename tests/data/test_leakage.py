"""What parts of a split have in common: planted copies are found, strangers are not taken for copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from siamkit.data import Dataset, leakage
from siamkit.data._sketches import Images, Numbers, Texts, Tokens
from siamkit.data.dataset import Leaf
from siamkit.data.leakage import find_overlap

Array = np.ndarray[Any, Any]


def parts(kind: str, train: Leaf, test: Leaf) -> dict[str, Dataset]:
    """Two parts of labelled items, the test's with names of their own."""
    return {
        "train": labelled(kind, train, "a"),
        "test": labelled(kind, test, "b"),
    }


def labelled(kind: str, leaf: Leaf, name: str) -> Dataset:
    n = len(next(iter(leaf.values())) if isinstance(leaf, dict) else leaf)
    return Dataset((leaf,), np.arange(n) % 3, "labels", kind, ids=np.array([f"{name}{i}" for i in range(n)]))


def found(given: dict[str, Dataset], **asked: Any) -> tuple[int, int]:
    (between,) = find_overlap(given, **asked)["between"]
    return between["exact"], between["near"]


def pictures(number: int, seed: int = 0) -> Array:
    """Photographs of nothing: some blobs of light each, 24 × 30 pixels, three colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :30]
    images = np.zeros((number, 24, 30, 3))
    for image in images:
        for _ in range(6):
            cy, cx, size, light = (
                rng.uniform(2, 22),
                rng.uniform(2, 28),
                rng.uniform(1, 5),
                rng.uniform(40, 200, 3),
            )
            image += light * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * size**2))[..., None]
    return np.clip(images, 0, 255).astype("uint8")


# ------------------------------------------------------------------ images


def altered(images: Array, how: str) -> Array:
    rng = np.random.default_rng(1)
    wide = images.astype(float)
    changed = {
        "noise": lambda: wide + rng.normal(0, 4, wide.shape),
        "darker": lambda: 0.7 * wide + 10,
        "moved by one": lambda: np.roll(wide, 1, axis=2),
        "moved across": lambda: np.roll(wide, (1, -1), axis=(1, 2)),
    }[how]()
    return np.clip(np.round(changed), 0, 255).astype("uint8")


@pytest.mark.parametrize("how", ["noise", "darker", "moved by one", "moved across"])
def test_an_altered_image_is_found_among_strangers(how: str) -> None:
    train, strangers = pictures(200), pictures(60, seed=7)
    test = np.concatenate([strangers, altered(train[20:60], how)])
    assert found(parts("image", train, test)) == (0, 40)
    examples = find_overlap(parts("image", train, test))["between"][0]["examples"]
    assert examples[:2] == [["a20", "b60", "near"], ["a21", "b61", "near"]]


def test_copies_of_images_are_exact_and_blank_ones_are_alike_only_to_themselves() -> None:
    train, test = pictures(30), pictures(10, seed=7)
    test[3], test[4] = train[7], 0
    assert found(parts("image", train, test)) == (1, 0)
    train[0] = 255
    assert found(parts("image", train, test)) == (1, 0)
    train[0] = 0
    assert found(parts("image", train, test)) == (2, 0)


def test_images_without_channels_and_large_ones_are_looked_at_too() -> None:
    grey = pictures(50)[..., 0]
    assert found(parts("image", grey[:40], np.roll(grey[:5], 1, axis=2))) == (0, 5)
    large = np.kron(pictures(50), np.ones((1, 9, 9, 1), "uint8"))
    noisy = np.clip(large[:5] + np.random.default_rng(0).normal(0, 3, large[:5].shape), 0, 255)
    test = np.concatenate([noisy.astype("uint8"), large[40:]])
    assert found(parts("image", large[:40], test)) == (0, 5)


# ----------------------------------------------------------------- numbers


def test_equal_vectors_are_those_that_sets_have_in_common() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 3, (300, 5)), rng.integers(0, 3, (100, 5))
    there = {tuple(row) for row in train.tolist()}
    expected = sum(tuple(row) in there for row in test.tolist())
    assert 20 < expected < 100
    assert found(parts("vector", train, test))[0] == expected


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_a_vector_changed_in_its_last_digits_is_found_whatever_the_scales(scale: float) -> None:
    rng = np.random.default_rng(0)
    scales = scale * np.array([1, 100, 0.01, 1, 1, 1, 1, 5])
    train, strangers = rng.normal(size=(500, 8)), rng.normal(size=(100, 8))
    test = np.concatenate([strangers, train[:30] + rng.normal(0, 1e-3, (30, 8))])
    assert found(parts("vector", train * scales, test * scales)) == (0, 30)


def test_it_is_found_where_every_item_was_copied_before_the_split() -> None:
    # The fault that is made most often: the data are enlarged first and split then.
    rng = np.random.default_rng(0)
    items = rng.normal(size=(200, 12))
    copies = np.concatenate([items + rng.normal(0, 1e-3, items.shape) for _ in range(5)])
    rng.shuffle(copies)
    assert found(parts("vector", copies[:800], copies[800:]))[1] >= 199


@pytest.mark.parametrize("features", [1, 2, 3, 4, 8, 600])
def test_strangers_are_not_taken_for_copies(features: int) -> None:
    rng = np.random.default_rng(0)
    n = 400 if features == 600 else 8000
    train, test = rng.normal(size=(n, features)), rng.normal(size=(n // 4, features))
    exact, near = found(parts("vector", train, test))
    assert exact == 0
    assert near <= n / 4 / 1000  # chance in four dimensions, seldom


def test_strangers_that_lie_dense_are_not_taken_for_copies_either() -> None:
    # Eight numbers that are three in truth: at 1 % of the median distance there are many neighbours.
    rng = np.random.default_rng(0)
    items = rng.normal(size=(10_000, 3)) @ rng.normal(size=(3, 8))
    assert found(parts("vector", items[:8000], items[8000:])) == (0, 0)
    copies = items[:50] + rng.normal(0, 1e-5, (50, 8))
    assert found(parts("vector", items[:8000], np.concatenate([items[8000:], copies]))) == (0, 50)


def test_series_tables_and_records_are_looked_at_by_their_numbers_and_texts() -> None:
    rng = np.random.default_rng(0)
    series = rng.normal(size=(60, 20, 2))
    assert found(parts("series", series[:50], series[:10] + 1e-4)) == (0, 10)
    assert found(parts("series", series[:50], series[50:])) == (0, 0)
    towns = np.array(["Rome", "Oslo", "Bern"], dtype=object)
    table = {
        **{name: rng.normal(size=80) for name in "abcd"},
        "town": towns[rng.integers(0, 3, 80)],
        "age": np.where(rng.random(80) < 0.2, np.nan, rng.normal(40, 10, 80)),
    }
    train, test = (
        {name: values[rows] for name, values in table.items()} for rows in (slice(60), slice(50, 80))
    )
    assert found(parts("tabular", train, test)) == (10, 0)
    test = {**test, "a": test["a"] + 1e-5}
    assert found(parts("tabular", train, test)) == (0, 10)
    test = {**test, "town": np.array(["Lima"] * 30, dtype=object)}
    assert found(parts("tabular", train, test)) == (0, 0)
    record = {"place": rng.normal(size=(40, 2)), "picture": rng.normal(size=(40, 3, 3))}
    test = {name: values[:4] for name, values in record.items()}
    assert found(parts("records", record, test)) == (4, 0)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_items_and_constant_ones_will_do(n: int) -> None:
    train, test = np.zeros((n, 5)), np.ones((2, 5))
    assert found(parts("vector", train, test)) == (0, 0)
    assert found(parts("vector", train, train[:1])) == (1, 0)


# ------------------------------------------------------------------- texts


SENTENCES = [
    f"On {day} the {who} sold {what} to a stranger who had come from {where}."
    for day in ("Monday", "Friday")
    for who in ("baker's wife", "blacksmith", "old gardener")
    for what in ("seven loaves of bread", "a rusty horseshoe")
    for where in ("beyond the mountains", "the sea")
]


def test_texts_are_the_same_whatever_their_dress_and_nearly_with_a_letter_wrong() -> None:
    train = np.array(SENTENCES, dtype=object)
    test = [
        SENTENCES[0].upper() + "  ",
        SENTENCES[5].replace("a stranger", "a strangr"),
        "Something else entirely happened on that day, and nobody ever heard of it again.",
        "",
    ]
    assert found(parts("text", train, np.array(test, dtype=object))) == (1, 1)
    words = np.array(["recieve", "abandoned", "abandons"], dtype=object)
    near = np.array(["receive", "abandon", "Abandons"], dtype=object)
    assert found(parts("text", words, near)) == (1, 0)


def test_tokens_are_the_same_or_nearly_by_what_follows_what() -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(1, 500, (40, 60))
    test = np.concatenate([train[:6], rng.integers(1, 500, (5, 60))])
    test[2:6, 7] = 501
    assert found(parts("tokens", train, test)) == (2, 4)
    short = np.pad(train[:, :8], ((0, 0), (0, 10)))
    changed = short.copy()
    changed[:, 0] = 501
    assert found(parts("tokens", short, changed)) == (0, 0)


# ------------------------------------------------------------------- pairs


def test_a_pair_counts_where_one_of_its_items_is_on_either_side_elsewhere() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6))
    train = Dataset((x[:20], x[20:40]), np.arange(20) % 2, "pairs", "vector")
    left, right = x[40:50].copy(), x[50:60].copy()
    left[0], right[1] = x[25], x[3]  # on the other side there
    left[2], right[2] = x[30], x[10]  # a pair there, turned round
    left[3] = x[25] + 1e-5
    test = Dataset((left, right), np.arange(10) % 2, "pairs", "vector")
    (between,) = find_overlap({"train": train, "test": test})["between"]
    assert (between["exact"], between["near"], between["whole"]) == (3, 1, 1)
    assert between["crossed"] == 3


def test_shared_items_are_shown_by_their_content() -> None:
    def pairs(left: list[str], right: list[str]) -> Dataset:
        return Dataset(
            (np.array(left, object), np.array(right, object)), np.arange(len(left)) % 2, "pairs", "text"
        )

    given = {
        "train": pairs(["red hat", "blue hat", "cap"], ["hats", "hats", "caps"]),
        "test": pairs(["green hat", "Red  Hat", "boots"], ["hats", "x", "y" * 99]),
    }
    record = find_overlap(given)
    (between,) = record["between"]
    assert between["examples"] == [["1", "0", "exact"], ["0", "1", "exact"]]
    assert between["items"] == ["'hats'", "'Red Hat'"]
    # Linked: the two hats of train, its right item in test, and the red hat there: 4 of 6 pairs.
    assert record["largest"] == pytest.approx({"components": 4 / 6, "left": 2 / 6, "right": 3 / 6})


@pytest.mark.parametrize(
    ("leaf", "kind", "words"),
    [
        (np.array([[1.5, 2, 0]]), "vector", "numbers 1.5 2 0"),
        (np.array([[4, 9, 0, 0]]), "tokens", "tokens 4 9"),
        ({"name": np.array(["Ann"]), "age": np.array([7.0])}, "tabular", "name Ann, age 7.0"),
        (np.zeros((1, 4, 4)), "image", None),
        (np.array(["long " * 40]), "text", "'" + ("long " * 40)[:58] + "…"),
    ],
)
def test_items_in_a_few_words(leaf: Any, kind: str, words: str | None) -> None:
    assert leakage.describe_item(leaf, 0, kind) == words


# --------------------------------------------------------------- the record


def test_classes_are_counted_and_those_that_training_saw() -> None:
    x = np.random.default_rng(0).normal(size=(9, 5))
    whole = Dataset((x,), np.array(list("aabbccdde")), "labels", "vector")
    rows = {"train": [0, 1, 2, 4], "valid": [3, 5], "test": [6, 7, 8]}
    record = find_overlap({part: whole.take(np.array(each)) for part, each in rows.items()})
    assert record["classes"] == {"train": 3, "valid": 2, "test": 2}
    assert record["seen"] == {"train": 3, "valid": 2, "test": 0}
    assert [each["parts"] for each in record["between"]] == [
        ["train", "valid"],
        ["train", "test"],
        ["valid", "test"],
    ]


def test_a_cap_is_told_and_keeps_what_is_exact() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(300, 6))
    test = np.concatenate([train[:50], train[50:100] + 1e-5])
    given = parts("vector", train, test)
    record = find_overlap(given, {"train": 100, "test": 40})
    assert record["looked_at"] == {"train": 100, "test": 40}
    (between,) = record["between"]
    assert between["exact"] == 50
    assert 0 < between["near"] < 20
    assert len(between["examples"]) == leakage.MAX_EXAMPLES
    assert find_overlap(given, {"train": 100, "test": 40}) == record


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train = pictures(40)
    given = parts("image", train, np.concatenate([altered(train[:9], "noise"), train[9:12], pictures(9, 7)]))
    whole = find_overlap(given)
    assert found(given) == (3, 9)
    monkeypatch.setattr(leakage, "MAX_BLOCK_VALUES", 100)
    assert find_overlap(given) == whole


def test_each_kind_of_input_has_its_sketch() -> None:
    from siamkit.data._sketches import sketch_of
    from siamkit.registry.specs import INPUTS

    items = np.ones((3, 4))
    kinds = {kind: type(sketch_of(kind, items)) for kind in INPUTS}
    assert {kind for kind, sketch in kinds.items() if sketch is Numbers} == {
        "series",
        "tabular",
        "records",
        "vector",
    }
    assert (kinds["image"], kinds["text"], kinds["tokens"]) == (Images, Texts, Tokens)
