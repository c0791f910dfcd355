"""Comparing embedding sets on pairs: against scikit-learn, SciPy and slow loops."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import bootstrap, pearsonr, spearmanr
from sklearn.metrics import roc_auc_score

import siamkit
from siamkit.cli import main
from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.comparison.inputs import read_embeddings
from siamkit.errors import DataError
from siamkit.stats.pair_measures import pair_scores

DRAW = np.random.default_rng(0)
ALIKE = DRAW.integers(0, 2, 300)
FIRST = DRAW.normal(size=(300, 5)).astype("float32")
SECOND = np.where(ALIKE[:, None] == 1, FIRST, DRAW.normal(size=(300, 5)))
GOOD = np.stack([FIRST, SECOND + DRAW.normal(0, 0.7, (300, 5))], axis=1).astype("float32")
WORSE = (GOOD + DRAW.normal(0, 1, GOOD.shape)).astype("float32")
SCORES = np.linalg.norm(FIRST - SECOND, axis=1) * -1.0 + DRAW.normal(0, 0.1, 300)


def distances(pairs):
    return np.array([np.sqrt(sum((x - y) ** 2)) for x, y in pairs.astype(float)])


def slow_eer(near, alike):
    """Where the polygon through the points of the ROC curve crosses FAR = FRR, from left to right."""
    far, frr = [0.0], [1.0]
    for at in sorted(set(near)):
        far.append(np.mean(near[alike == 0] <= at))
        frr.append(np.mean(near[alike == 1] > at))
    for i in range(1, len(far)):
        if far[i] >= frr[i]:
            gap, after = frr[i - 1] - far[i - 1], far[i] - frr[i]
            return far[i - 1] + (far[i] - far[i - 1]) * gap / (gap + after)
    raise AssertionError


def test_the_figures_of_pairs_are_scikit_learns_and_those_of_a_slow_loop():
    found = siamkit.compare(WORSE, GOOD, labels=ALIKE, metric="euclidean", names=("worse", "good"))
    assert [each.measure for each in found.differences] == ["roc_auc", "eer"]
    assert found.over == "pairs"
    for name, pairs in (("worse", WORSE), ("good", GOOD)):
        values = found.values[name]
        assert values["roc_auc"].value == pytest.approx(roc_auc_score(ALIKE, -distances(pairs)))
        assert values["eer"].value == pytest.approx(slow_eer(distances(pairs), ALIKE))
    assert "good is better in roc_auc by" in found.verdicts()[0]
    assert "good is better in eer by" in found.verdicts()[1]  # it is lower


def test_the_interval_of_pairs_that_share_nothing_is_scipys():
    found = siamkit.compare(WORSE, GOOD, labels=ALIKE, metric="euclidean", measures=["roc_auc"])
    a, b = distances(WORSE), distances(GOOD)

    def difference(rows):
        return roc_auc_score(ALIKE[rows], -b[rows]) - roc_auc_score(ALIKE[rows], -a[rows])

    rows = (np.arange(300),)
    theirs = bootstrap(
        rows, difference, vectorized=False, n_resamples=1000, method="percentile", random_state=0
    ).confidence_interval
    [mine] = found.differences
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_correlations_of_graded_pairs_are_scipys():
    found = siamkit.compare(WORSE, GOOD, labels=SCORES, metric="euclidean")
    for name, pairs in (("A", WORSE), ("B", GOOD)):
        values = found.values[name]
        assert values["spearman"].value == pytest.approx(spearmanr(-distances(pairs), SCORES)[0], abs=1e-6)
        assert values["pearson"].value == pytest.approx(pearsonr(-distances(pairs), SCORES)[0], abs=1e-6)
    assert found.differences[0].difference > 0
    assert found.disagreements["A", "B"][0].correct is None


def test_pairs_that_share_items_are_drawn_by_their_items():
    # All pairs of 40 items: 780 of them, but no more than 40 that tell anything of their own.
    items = DRAW.normal(size=(40, 5)) + np.repeat(DRAW.normal(0, 2, (2, 5)), 20, axis=0)
    i, j = np.triu_indices(40, 1)
    alike = (i // 20 == j // 20).astype(int)
    noisy = items + DRAW.normal(0, 1, items.shape)
    both = [np.stack([each[i], each[j]], axis=1) for each in (noisy, items)]
    asked = {"labels": alike, "metric": "euclidean", "measures": ["roc_auc"]}
    found = siamkit.compare(*both, **asked)
    assert found.over == "items"
    assert found.differences[0].units == 40
    assert found.similarities[0].items == 40
    apart = siamkit.compare(*both, over="pairs", **asked)
    assert apart.differences[0].units == 780
    assert found.differences[0].half_width > 1.5 * apart.differences[0].half_width


def test_items_that_are_known_count_though_their_vectors_differ_by_a_bit():
    nudged = GOOD.copy()
    nudged[1, 0] = np.nextafter(nudged[0, 0], 9, dtype="float32")
    items = np.arange(600).reshape(300, 2)
    items[1, 0] = 0
    told = EmbeddingSet("told", nudged, ALIKE, None, "euclidean", items=items)
    other = EmbeddingSet("other", WORSE, ALIKE, None, "euclidean")
    assert siamkit.compare(told, other).over == "items"
    untold = EmbeddingSet("untold", nudged, ALIKE, None, "euclidean")
    assert siamkit.compare(untold, other).over == "pairs"


def test_the_score_of_a_pair_is_its_share_of_the_auc():
    near = np.round(distances(GOOD), 1)  # so that some are equal
    scores = pair_scores(near, ALIKE.astype(float))
    for row in range(0, 300, 7):
        others = near[ALIKE[row] != ALIKE]
        sign = 1 if ALIKE[row] else -1
        slow = np.mean([(sign * d > sign * near[row]) + 0.5 * (d == near[row]) for d in others])
        assert scores[row] == pytest.approx(slow)
    auc = roc_auc_score(ALIKE, -near)
    assert scores[ALIKE == 1].mean() == pytest.approx(auc)
    assert scores[ALIKE == 0].mean() == pytest.approx(auc)
    graded = pair_scores(np.array([1.0, 2.0, 3.0]), np.array([5.0, 1.0, 4.0]))
    assert graded.tolist() == [1.0, 0.5, 0.5]  # by similarity ranked 3, 2, 1; by score 3, 1, 2


def test_the_pairs_that_two_differ_most_on_are_marked_right_or_wrong():
    own = EmbeddingSet("own", GOOD, ALIKE, None, "euclidean", threshold=2.0)
    found = siamkit.compare(EmbeddingSet("other", WORSE, ALIKE, None, "euclidean"), own)
    queries = found.disagreements["other", "own"]
    assert len(queries) == 20
    assert {each.scores[1] > each.scores[0] for each in queries} == {True, False}
    for each in queries:
        assert each.label == ALIKE[each.query]
        assert each.correct[1] == ((distances(GOOD)[each.query] <= 2.0) == bool(ALIKE[each.query]))
        assert each.nearest is None


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_without_a_threshold_pairs_are_judged_at_the_one_that_suits_them_best(metric):
    found = siamkit.compare(WORSE, GOOD, labels=ALIKE, metric=metric, most=600)
    near = distances(GOOD) if metric == "euclidean" else np.array([-cosine(*pair) for pair in GOOD])
    rates = [balanced(near <= at) for at in near]
    at = near[int(np.argmax(rates))]
    queries = found.disagreements["A", "B"]
    assert len(queries) > 200
    for each in queries:
        assert each.correct[1] == ((near[each.query] <= at) == bool(ALIKE[each.query]))


def cosine(x, y):
    return x @ y / np.sqrt((x @ x) * (y @ y))


def balanced(accepted):
    return (np.mean(accepted[ALIKE == 1]) + np.mean(~accepted[ALIKE == 0])) / 2


def test_pairs_are_matched_by_their_ids_and_keep_their_items():
    items = np.stack([np.arange(300) // 3, 100 + np.arange(300)], axis=1)
    ids = tuple(map(str, range(300)))
    order = DRAW.permutation(300)
    one = EmbeddingSet("one", GOOD, ALIKE, ids, "euclidean", items=items)
    other = EmbeddingSet("other", WORSE[order], ALIKE[order], tuple(str(row) for row in order), "euclidean")
    turned = EmbeddingSet("one", GOOD[order], ALIKE[order], other.ids, "euclidean", items=items[order])
    straight = EmbeddingSet("other", WORSE, ALIKE, ids, "euclidean")
    expected = siamkit.compare(one, straight).differences
    assert siamkit.compare(one, other).differences == expected
    for mine, theirs in zip(siamkit.compare(straight, turned).differences, expected, strict=True):
        assert mine.units == theirs.units == 400
        assert (mine.low, mine.high) == pytest.approx((-theirs.high, -theirs.low))


def refused(message, *inputs, **asked):
    with pytest.raises(DataError, match=message):
        siamkit.compare(*inputs, **asked)


def test_what_cannot_be_compared_is_refused_in_a_sentence(tmp_path):
    refused("A embed pairs and B items", GOOD, FIRST, labels=ALIKE)
    refused("over items or pairs, got 'classes'", GOOD, WORSE, labels=ALIKE, over="classes")
    refused("over queries or classes, got 'items'", FIRST, FIRST, labels=ALIKE, over="items")
    refused("'map_at_r' does not exist for pairs", GOOD, WORSE, labels=ALIKE, measures=["map_at_r"])
    refused(r"roc_auc needs targets 1", GOOD, WORSE, labels=SCORES, measures=["roc_auc"])
    refused(r"needs targets 1 \(alike\) and 0 \(not alike\), got \[1.0\]", GOOD, WORSE, labels=np.ones(300))
    words = np.where(ALIKE == 1, "same", "other")
    refused("should be 1 .* or scores; got other, same", GOOD, WORSE, labels=words)
    np.savez(tmp_path / "a.npz", a=FIRST, b=FIRST[:, :3])
    refused(r"of the same shape, got \(300, 5\) and \(300, 3\)", tmp_path / "a.npz", GOOD, labels=ALIKE)


def test_files_of_pairs_are_judged_and_compared_without_keras(tmp_path: Path):
    np.savez(tmp_path / "old.npz", a=WORSE[:, 0], b=WORSE[:, 1], y=ALIKE)
    np.save(tmp_path / "new.npy", GOOD)
    np.save(tmp_path / "alike.npy", ALIKE)
    code = """
import sys
from siamkit.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
assert not {"keras", "torch", "jax", "tensorflow"} & set(sys.modules)
"""

    def run(*arguments):
        asked = [sys.executable, "-c", code, *arguments, "--metric", "euclidean", "--json"]
        ran = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    measures = run("evaluate", "old.npz")
    assert measures["roc_auc"] == pytest.approx(roc_auc_score(ALIKE, -distances(WORSE)))
    assert measures["pairs_alike"] == ALIKE.sum()
    assert run("evaluate", "new.npy", "--labels", "alike.npy")["pairs_unlike"] == 300 - ALIKE.sum()
    compared = run("compare", "old.npz", "new.npy")
    assert "new is better in roc_auc by" in compared["verdicts"][0]


def test_the_command_shows_pairs(tmp_path: Path):
    for name, pairs in (("old", WORSE), ("new", GOOD)):
        np.savez(tmp_path / f"{name}.npz", x=pairs, y=ALIKE)
    files = [str(tmp_path / f"{name}.npz") for name in ("old", "new")]
    told = CliRunner().invoke(main, ["compare", *files])
    assert told.exit_code == 0, told.output
    assert "new is better in roc_auc by" in told.stdout
    assert "Largest disagreements" in told.stdout
    shown = CliRunner().invoke(main, ["evaluate", files[0], "--group", "verification"]).stdout
    assert "pairs_alike" in shown


# ---------------------------------------------------------------- with Keras


@pytest.mark.keras
@pytest.mark.one_backend
@pytest.mark.parametrize("towers", [1, 2])
def test_a_model_embeds_both_sides_of_pairs(tmp_path: Path, towers: int) -> None:
    encoders = [siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3, width=8) for _ in range(towers)]
    model = siamkit.Siamese(encoders if towers == 2 else encoders[0], "euclidean")
    model.save(tmp_path / "model.keras")
    rows = np.random.default_rng(1).integers(0, 300, (400, 2))  # items that come again
    alike = ALIKE[rows[:, 0]]
    np.savez(tmp_path / "pairs.npz", a=FIRST[rows[:, 0]], b=FIRST[rows[:, 1]], y=alike)
    found = read_embeddings(tmp_path / "model.keras", tmp_path / "pairs.npz")
    assert found.embeddings.shape == (400, 2, 3)
    for side in (0, 1):
        expected = model.embed(FIRST[rows[:, side]], side=min(side, towers - 1))
        np.testing.assert_allclose(found.embeddings[:, side], expected, atol=1e-5)
    assert found.labels is not None
    assert found.labels.tolist() == alike.tolist()
    assert found.items is not None
    same = found.items.ravel()[:, None] == found.items.ravel()
    expected = rows.ravel()[:, None] == rows.ravel()
    if towers == 2:  # an item on the one side is another than on the other
        side = np.tile([0, 1], 400)
        expected &= side[:, None] == side
    np.testing.assert_array_equal(same, expected)


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_model_is_judged_on_a_table_of_pairs_as_by_the_api(tmp_path: Path) -> None:
    from siamkit.data import fit_preprocessor
    from siamkit.data.sources import table

    words = ["red", "green", "blue", "fish", "bird", "tree"]
    draw = np.random.default_rng(2)
    lines = [",".join([*draw.choice(words, 2), f"{draw.random():.3f}"]) for _ in range(60)]
    (tmp_path / "pairs.csv").write_text("\n".join(["left,right,target", *lines]))
    data = table(tmp_path / "pairs.csv")
    preprocessor = fit_preprocessor(data)
    encoder = siamkit.get_encoder(
        "bag",
        input_shape=preprocessor.input_shape,
        embedding_dim=4,
        vocabulary_size=preprocessor.facts["vocabulary_size"],
    )
    model = siamkit.Siamese(encoder, "cosine", preprocessor=preprocessor)
    model.save(tmp_path / "model.keras")
    result = CliRunner().invoke(
        main, ["evaluate", str(tmp_path / "model.keras"), str(tmp_path / "pairs.csv"), "--json"]
    )
    assert result.exit_code == 0, result.output
    similar = model.compare(*data.views)
    expected = pearsonr(similar, data.target)[0]  # ranks would turn on the last bits of equal words
    assert json.loads(result.stdout)["pearson"] == pytest.approx(expected, abs=1e-4)
