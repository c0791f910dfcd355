"""Splits: disjoint, covering, fair, and the same for the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection import examples

from siamkit.data import Dataset, split
from siamkit.data.splits import PARTS, labelled_rows, rank_in_group, rows_of_large_classes
from siamkit.errors import DataError


def labelled(target, **columns):
    target = np.asarray(target)
    columns = {name: np.asarray(values) for name, values in columns.items()}
    return Dataset((np.zeros((len(target), 1)),), target, "labels", "vector", columns)


def parts(made):
    return [getattr(made, part) for part in PARTS]


TEN = labelled(np.repeat(np.arange(10), 5))


def test_ranks_count_within_groups():
    assert rank_in_group(np.array([5, 7, 5, 5, 7])).tolist() == [0, 0, 1, 2, 1]


@settings(max_examples=examples(40))
@given(st.lists(st.integers(0, 4), min_size=3, max_size=60), st.integers(0, 99), st.booleans())
def test_split_by_item_is_disjoint_covering_sorted_and_fair_to_classes(target, seed, whole):
    share = 0.2 if whole else 0.15
    data = labelled(target)
    made = split(data, train=0.6, valid=share, test=share, seed=seed)
    joined = np.concatenate(parts(made))
    assert len(set(joined.tolist())) == len(joined)
    assert not whole or len(joined) == len(data)
    for part, fraction in zip(parts(made), (0.6, share, share), strict=True):
        assert np.array_equal(part, np.sort(part))
        assert len(part) >= 1
        assert abs(len(part) - fraction * len(data)) < 2 or len(data) < 10
        if len(data) >= 10:
            for name in set(target):
                fair = len(part) * target.count(name) / len(data)
                assert abs(np.sum(data.target[part] == name) - fair) <= 2.01


def test_the_same_seed_gives_the_same_split_whatever_the_global_state():
    first = split(TEN, seed=3)
    np.random.seed(0)
    again, other = split(TEN, seed=3), split(TEN, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(parts(first), parts(again), strict=True))
    assert not np.array_equal(first.train, other.train)


def test_item_split_takes_each_class_alike():
    made = split(TEN, train=0.6, valid=0.2, test=0.2)
    assert np.bincount(TEN.target[made.train]).tolist() == [3] * 10
    assert np.bincount(TEN.target[made.test], minlength=10).tolist() == [1] * 10


def test_pairs_are_shared_out_by_kind():
    target = np.array([1] * 5 + [0] * 15)
    view = np.zeros((20, 1))
    made = split(Dataset((view, view), target, "pairs", "vector"))
    assert [int(target[part].sum()) for part in parts(made)] == [3, 1, 1]


def test_class_split_holds_classes_apart():
    made = split(TEN, by="class", seed=1)
    classes = [set(TEN.target[part].tolist()) for part in parts(made)]
    assert [len(each) for each in classes] == [6, 2, 2]
    assert set.union(*classes) == set(range(10))
    assert made.record["values"] == {
        part: sorted(map(str, each)) for part, each in zip(PARTS, classes, strict=True)
    }
    assert [len(part) for part in parts(made)] == [30, 10, 10]
    assert len({tuple(split(TEN, by="class", seed=seed).record["values"]["test"]) for seed in range(9)}) > 3


@pytest.mark.parametrize("test", [0.2, [3, "7"]])
def test_each_class_is_in_one_fold_or_in_test(test):
    made = split(TEN, by="class", test=test, folds=3, seed=4)
    classes = [set(TEN.target[rows].tolist()) for rows in (*made.folds, made.test)]
    assert sorted(label for each in classes for label in each) == list(range(10))
    assert [len(each) for each in classes] == [3, 3, 2, 2]
    assert sorted(np.concatenate([*made.folds, made.test])) == list(range(50))
    assert made.valid.tolist() == made.folds[0].tolist()
    assert made.train.tolist() == sorted(np.concatenate(made.folds[1:]))
    assert [set(map(int, names)) for names in made.record["folds"]] == classes[:3]
    assert {int(name) for name in made.record["values"]["train"]} == classes[1] | classes[2]
    assert made.record["counts"] == {"train": 25, "valid": 15, "test": 10}
    assert json.loads(json.dumps(made.record)) == made.record
    if test != 0.2:
        assert classes[3] == {3, 7}
    again = split(TEN, by="class", test=test, folds=3, seed=4)
    assert [rows.tolist() for rows in again.folds] == [rows.tolist() for rows in made.folds]
    assert len({split(TEN, by="class", folds=3, seed=seed).folds[0].tobytes() for seed in range(9)}) > 3


def test_a_limit_is_that_of_each_fold():
    made = split(TEN, by="class", folds=4, limit={"valid": 6, "test": 4}, seed=2)
    assert [len(rows) for rows in made.folds] == [6, 6, 6, 6]
    assert np.unique(TEN.target[made.valid], return_counts=True)[1].tolist() == [3, 3]
    assert (len(made.train), len(made.test)) == (18, 4)


def test_every_part_gets_a_class_where_there_are_three():
    made = split(labelled([0, 0, 1, 1, 2, 2, 3]), by="class", train=0.8, valid=0.1, test=0.1)
    assert [len(each) for each in made.record["values"].values()] == [2, 1, 1]
    with pytest.raises(DataError, match="at least 3 classes, got 2"):
        split(labelled([0, 0, 1, 1]), by="class")


def test_listed_classes_compare_as_texts():
    made = split(TEN, by="class", train=["0", 1, 2, 3], valid=[4, "5"], test=[6, 7, 8])
    assert set(TEN.target[made.train]) == {0, 1, 2, 3}
    assert set(TEN.target[made.valid]) == {4, 5}
    assert set(TEN.target[made.test]) == {6, 7, 8}
    assert made.record["shares"]["train"] == ["0", "1", "2", "3"]


def test_column_split_keeps_the_rows_of_one_value_together():
    who = np.repeat(list("abcdefghij"), 3)
    made = split(labelled(np.arange(30) % 2, who=who), by="who")
    groups = [set(who[part]) for part in parts(made)]
    assert [len(each) for each in groups] == [6, 2, 2]
    assert len(set.union(*groups)) == 10


def test_a_column_of_parts_is_taken_as_given():
    rows = ["test", "train", "valid", "train"]
    made = split(labelled([0, 1, 0, 1], part=rows), by="part")
    assert [part.tolist() for part in parts(made)] == [[1, 3], [2], [0]]
    with pytest.raises(DataError, match="the valid part is empty"):
        split(labelled([0, 1, 0], part=["train", "test", "train"]), by="part")


def test_limit_caps_a_part_alike_for_each_class():
    made = split(TEN, limit={"train": 20}, seed=2)
    full = split(TEN, seed=2)
    assert np.bincount(TEN.target[made.train]).tolist() == [2] * 10
    assert set(made.train) < set(full.train)
    assert np.array_equal(made.test, full.test)
    assert made.record["limit"] == {"train": 20}
    assert made.record["counts"]["train"] == 20


def test_the_record_is_fit_for_json():
    record = split(TEN, by="class", seed=5, limit={"test": 3}).record
    assert json.loads(json.dumps(record)) == record
    assert (record["by"], record["seed"]) == ("class", 5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"train": 0.9}, "sum to at most 1, got 1.3"),
        ({"train": 0}, "train should be a fraction above 0 and up to 1, got 0"),
        ({"valid": 1.5}, "valid should be a fraction"),
        ({"valid": True}, "valid should be a fraction"),
        ({"train": [0, 1]}, "train should be a fraction"),
        ({"by": "klass"}, "did you mean 'class'"),
        ({"by": "x"}, "choose from class, components, item"),
        ({"by": {"side": "middle"}}, r"by should be a name, {side: left} or {side: right}, got .*middle"),
        ({"by": {"side": "left"}}, "only pairs have a left side, these are labels"),
        ({"by": "components"}, "at least 3 groups of rows that share no items, got 1 by components"),
        ({"by": "class", "train": ["0"], "valid": ["1"], "test": ["22"]}, "no class is '22'"),
        ({"by": "class", "train": [0, 1], "valid": [1], "test": [2]}, "'1' .* got it in train and valid"),
        ({"by": "class", "train": [0, 1], "valid": 0.2, "test": [2]}, "valid should be a list"),
        ({"by": "class", "train": [0, 1], "valid": [], "test": [2]}, "the valid part is empty"),
        ({"limit": {"validation": 3}}, "did you mean 'valid'"),
        ({"limit": {"train": 0}}, "limit of train should be a whole number from 1, got 0"),
        ({"folds": 4}, "folds divide classes, so they need by: class, got by: item"),
        ({"by": "class", "folds": 1}, "folds should be a whole number from 2, got 1"),
        ({"by": "class", "folds": 5}, "5 folds need 2 classes each: 10 that are not in test, got 8"),
        ({"by": "class", "folds": 2, "test": [7, "x"]}, "no class is 'x'"),
        ({"by": "class", "folds": 2, "limit": {"train": 9}}, "limit valid, which is the limit of each fold"),
        ({"seed": -1}, "seed should be a whole number from 0, got -1"),
    ],
)
def test_what_cannot_be_split_so_is_refused(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        split(TEN, **arguments)


def test_only_labelled_data_split_by_class():
    view = np.zeros((6, 1))
    with pytest.raises(DataError, match="only labelled data have classes, these are scores") as caught:
        split(Dataset((view, view), np.arange(6), "scores", "vector"), by="class")
    assert str(caught.value).endswith("from components, item. For pairs also {side: left} or {side: right}.")
    with pytest.raises(DataError, match="no column 'klass'") as caught:
        split(Dataset((view, view), np.arange(6), "scores", "vector"), by="klass")
    assert "'class'" not in str(caught.value)


def pairs_of(rows):
    left, right = (np.array([str(row[side]) for row in rows], object) for side in (0, 1))
    return Dataset((left, right), np.arange(len(rows)) % 2, "pairs", "text")


PAIRS = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), min_size=3, max_size=80)
RULES = {"left": {"side": "left"}, "right": {"side": "right"}, "components": "components"}


@settings(max_examples=examples(150))
@given(PAIRS, st.sampled_from(sorted(RULES)), st.integers(0, 99), st.sampled_from([0.2, 0.15]))
def test_no_item_of_the_held_side_and_no_component_is_in_two_parts(rows, rule, seed, share):
    left, right = [{a} for a, _ in rows], [{b} for _, b in rows]
    held = {"left": left, "right": right, "components": [{a, b} for a, b in rows]}[rule]
    groups = merged(held)
    data, shares = pairs_of(rows), {"train": 0.6, "valid": share, "test": share}
    if len(groups) < 3:
        with pytest.raises(DataError, match="at least 3 groups"):
            split(data, by=RULES[rule], seed=seed, **shares)
        return
    made = split(data, by=RULES[rule], seed=seed, **shares)
    assert made.record["by"] == (rule if rule == "components" else f"{rule} side")
    items = [set().union(*(held[row] for row in part)) for part in parts(made)]
    assert len(set().union(*items)) == sum(map(len, items))  # disjoint
    assert sum(made.record["groups"].values()) <= len(groups)
    # Each part has at most one group too many, and lacks at most what the other parts have too much.
    largest = max(sum(row <= group for row in held) for group in groups)
    for part, fraction in zip(parts(made), shares.values(), strict=True):
        assert len(part) >= 1
        assert -3 * largest < len(part) - fraction * len(rows) < largest
    again = split(data, by=RULES[rule], seed=seed, **shares)
    assert all(np.array_equal(a, b) for a, b in zip(parts(made), parts(again), strict=True))


def merged(sets):
    """Return sets merged until they are disjoint, by comparing each with all others."""
    groups = []
    for each in sets:
        each = set(each)
        for group in [group for group in groups if group & each]:
            groups.remove(group)
            each |= group
        groups.append(each)
    return groups


def test_many_small_groups_give_the_fractions_nearly_exactly():
    rows = [(n // 3, 1000 + n) for n in range(900)]  # 300 left items of 3 pairs each
    made = split(pairs_of(rows), by={"side": "left"}, seed=1)
    assert [len(part) for part in parts(made)] == [540, 180, 180]
    assert made.record["groups"] == {"train": 180, "valid": 60, "test": 60}
    other = split(pairs_of(rows), by={"side": "left"}, seed=2)
    assert not np.array_equal(made.test, other.test)


def test_a_large_group_leaves_the_fractions_as_they_are():
    rows = [(0, 5000 + n) for n in range(50)] + [(n, 1000 + n) for n in range(1, 51)]
    for seed in range(5):
        made = split(pairs_of(rows), by="components", seed=seed)
        assert [len(part) for part in parts(made)] == [60, 20, 20]
        assert 0 in made.train


def test_a_plain_name_stays_a_column():
    view = np.array(list("abcabc"), object)
    made = split(
        Dataset((view, view), np.arange(6) % 2, "pairs", "text", {"left": np.array([1, 2, 3, 1, 2, 3])}),
        by="left",
    )
    assert made.record["by"] == "left"
    assert sorted(name for names in made.record["values"].values() for name in names) == ["1", "2", "3"]


def test_identical_labelled_items_stay_together_by_components():
    x = np.repeat(np.arange(10.0), 2)[:, None]
    data = Dataset((x,), np.arange(20) // 10, "labels", "vector")
    made = split(data, by="components", seed=3)
    assert [len(part) for part in parts(made)] == [12, 4, 4]
    items = [set(x[part, 0]) for part in parts(made)]
    assert sum(map(len, items)) == 10


def test_rows_of_large_classes():
    data = labelled(["a", "b", "a", "c", "b", "a"])
    assert rows_of_large_classes(data, 2).tolist() == [0, 1, 2, 4, 5]
    assert rows_of_large_classes(data, 3).tolist() == [0, 2, 5]
    with pytest.raises(DataError, match="every class has fewer than 4 items"):
        rows_of_large_classes(data, 4)


def test_too_few_items_for_three_parts_are_refused():
    with pytest.raises(DataError, match="at least 3 items, got 2"):
        split(labelled([0, 1]))


def test_a_share_of_each_class_keeps_its_labels():
    codes = np.repeat([0, 1, 2, 3], [100, 30, 5, 1])
    some, more = (labelled_rows(codes, share, seed=3) for share in (0.1, 0.5))
    assert np.bincount(codes[some]).tolist() == [10, 3, 2, 1]
    assert np.bincount(codes[more]).tolist() == [50, 15, 2, 1]
    assert set(some) <= set(more)
    assert labelled_rows(codes, 1.0, seed=3).tolist() == list(range(136))
    assert labelled_rows(codes, 0.0, seed=3).tolist() == []
    assert set(labelled_rows(codes, 0.1, seed=4)) != set(some)
