"""The shape of embeddings, against shapes whose rank and width are known."""

import math
import warnings

import numpy as np
import pytest

from siamkit.errors import DataError
from siamkit.evaluation import effective_rank, evaluate_labels, geometry, spread
from siamkit.evaluation.distances import Cosine, Euclidean

RNG = np.random.default_rng(0)


class Manhattan:
    orientation = "distance"

    def __call__(self, a, b):
        return np.abs(a - b).sum(-1)

    def matrix(self, a, b):
        return self(a[:, None], b[None])


def slowly(rows):
    """Roy & Vetterli's formula from the singular values themselves."""
    centred = np.asarray(rows, float) - np.mean(rows, axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    shares = singular / singular.sum()
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))


def test_one_point_has_no_rank_and_no_width():
    for point in (np.full((50, 8), 0.3, "float32"), np.zeros((50, 8)), RNG.normal(size=(1, 8))):
        assert effective_rank(point) == 0
        assert spread(point) < 1e-7
    # Rounding is no direction: a point that float32 has jittered in its last place.
    base = np.full((200, 8), 1 / math.sqrt(8), "float32")
    jittered = np.nextafter(base, np.where(RNG.random((200, 8)) < 0.5, 0, 1).astype("float32"))
    assert effective_rank(jittered) == 0


def test_a_line_has_one_direction_wherever_it_lies():
    line = np.outer(RNG.normal(size=300), RNG.normal(size=16)) + 5
    assert effective_rank(line) == pytest.approx(1, abs=1e-6)
    assert effective_rank(line.astype("float32")) == pytest.approx(1, abs=1e-4)


def test_two_tight_clusters_have_one_direction_and_all_the_width():
    clusters = np.repeat([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], 50, axis=0)
    clusters = clusters + RNG.normal(0, 1e-4, clusters.shape)
    assert effective_rank(clusters) == pytest.approx(1, abs=0.01)
    assert spread(clusters) == pytest.approx(1, abs=1e-3)
    # Orthogonal ones: the mean of two unit vectors has length √½.
    assert spread(np.repeat(np.eye(2), 50, axis=0)) == pytest.approx(math.sqrt(0.5))


def test_equal_axes_count_each_and_unequal_ones_less():
    cross = np.concatenate([np.eye(6), -np.eye(6)])
    assert effective_rank(cross) == pytest.approx(6)
    # Singular values 3 : 1 give p = (3/4, 1/4).
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank([[3, 0], [-3, 0], [0, 1], [0, -1]]) == pytest.approx(expected)
    assert 60 < effective_rank(RNG.normal(size=(20000, 64))) <= 64


def test_it_is_the_formula_of_the_paper_on_any_shape_and_scale():
    for rows in (
        RNG.normal(size=(40, 10)) * np.geomspace(1, 1e-3, 10) + 100,
        RNG.normal(size=(5, 30)),  # fewer items than dimensions: rank 4 at most
        1e-5 * RNG.normal(size=(200, 3)),
    ):
        assert effective_rank(rows) == pytest.approx(slowly(rows), rel=1e-6)
    assert effective_rank(RNG.normal(size=(5, 30))) <= 4


def test_chunks_and_views_change_nothing(monkeypatch):
    rows = RNG.normal(size=(101, 6)).astype("float32") + 3
    whole = geometry.shape_measures(rows)
    monkeypatch.setattr(geometry, "CHUNK", 40)
    assert geometry.shape_measures(rows) == pytest.approx(whole)
    assert whole == {"effective_rank": effective_rank(rows), "spread": spread(rows)}
    assert geometry.shape_measures(rows[:100].reshape(50, 2, 6)) == pytest.approx(
        geometry.shape_measures(rows[:100])
    )


def test_half_precision_is_summed_in_double():
    rows = (RNG.normal(size=(3000, 4)) * 0.5 + 30).astype("float16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert effective_rank(rows) == pytest.approx(slowly(rows), rel=1e-4)


@pytest.mark.parametrize("rows", [np.zeros(3), np.zeros((0, 3)), [[np.nan, 1.0]], np.zeros((2, 0))])
def test_what_is_no_embedding_is_refused(rows):
    with pytest.raises(DataError, match="embeddings"):
        effective_rank(rows)


# ---------------------------------------------------------------- pairs and neighbours


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_figures_of_pairs_equal_loops_over_all_of_them():
    rows, ids = RNG.normal([3, 0, 0, 0, 0], size=(40, 5)), np.repeat(np.arange(4), [5, 7, 12, 16])
    found = geometry.geometry_measures(rows.astype("float32"), ids)
    spheric, pairs = unit(rows), [(i, j) for i in range(40) for j in range(40) if i != j]
    squares = {(i, j): ((spheric[i] - spheric[j]) ** 2).sum() for i, j in pairs}
    whole = {(i, j): ((rows[i] - rows[j]) ** 2).sum() for i, j in pairs}
    alike = [pair for pair in pairs if ids[pair[0]] == ids[pair[1]]]
    apart = [pair for pair in pairs if ids[pair[0]] != ids[pair[1]]]
    assert found["alignment"] == pytest.approx(np.mean([squares[pair] for pair in alike]), rel=1e-5)
    assert found["uniformity"] == pytest.approx(
        math.log(np.mean([math.exp(-2 * square) for square in squares.values()])), rel=1e-5
    )
    cosines = [spheric[i] @ spheric[j] for i, j in pairs]
    assert found["anisotropy"] == pytest.approx(np.mean(cosines), rel=1e-5)
    ratio = math.sqrt(np.mean([whole[pair] for pair in alike]) / np.mean([whole[pair] for pair in apart]))
    assert found["class_ratio"] == pytest.approx(ratio, rel=1e-5)
    norms = np.linalg.norm(rows, axis=1)
    assert found["norm_spread"] == pytest.approx(norms.std() / norms.mean(), rel=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize("lengths", ["equal", "nearly equal", "any"])
def test_what_the_search_and_the_pairs_show_is_not_computed_again(monkeypatch, metric, lengths):
    rng = np.random.default_rng(5)
    rows = unit(rng.normal(size=(400, 6)))
    rows *= (
        1
        if lengths == "equal"
        else rng.uniform(*((0.98, 1.02) if "nearly" in lengths else (0.2, 3)), (400, 1))
    )
    rows = rows.astype("float32")
    rows[11] = rows[12]
    rows[13] = 0 if lengths == "any" else rows[13]
    expected = geometry.geometry_measures(rows)
    searched, search = [], geometry.nearest_neighbors
    monkeypatch.setattr(
        geometry,
        "nearest_neighbors",
        lambda some, *rest, **more: searched.append(len(some)) or search(some, *rest, **more),
    )
    plain = {"cosine": Cosine(), "euclidean": Euclidean(), "manhattan": Manhattan()}[metric]
    groups = ("retrieval", "verification", "geometry")
    found = evaluate_labels(rows, np.arange(400) % 100, plain, ks=(1,), groups=groups).measures
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    few = {"equal": 2, "nearly equal": 400, "any": 401}[lengths]  # not all lengths allow a proof
    assert (
        sum(searched) == 400 if metric == "manhattan" else sum(searched) < (few if metric == "cosine" else 1)
    )


def test_far_from_zero_the_class_ratio_keeps_its_digits():
    rows, ids = RNG.normal(size=(200, 4)), np.repeat(np.arange(10), 20)
    near = geometry.geometry_measures(rows.astype("float32"), ids)["class_ratio"]
    far = geometry.geometry_measures((rows + 1000).astype("float32"), ids)["class_ratio"]
    assert far == pytest.approx(near, rel=1e-3)


@pytest.mark.parametrize("dimension", [1, 2, 5, 10])
def test_the_intrinsic_dimension_of_a_bent_sheet_is_found(dimension):
    sheet = RNG.uniform(size=(3000, dimension))
    bent = np.concatenate([np.sin(sheet @ RNG.normal(size=(dimension, 30))), sheet], axis=1)
    found = geometry.geometry_measures(bent.astype("float32"))["intrinsic_dimension"]
    assert found == pytest.approx(dimension, rel=0.15)


def test_a_sphere_filled_evenly_is_uniform_and_one_direction_is_not():
    filled = unit(RNG.normal(size=(3000, 64)))
    found = geometry.geometry_measures(filled.astype("float32"))
    assert found["uniformity"] == pytest.approx(-4 + 8 / 64, abs=0.03)  # E exp(4 u·u') is about exp(8 / dim)
    assert abs(found["anisotropy"]) < 0.003
    narrow = geometry.geometry_measures((filled + 10).astype("float32"))
    assert narrow["anisotropy"] > 0.9
    assert narrow["uniformity"] > -0.3


def test_twins_zeros_and_single_items_are_no_error():
    found = geometry.geometry_measures(np.zeros((6, 3), "float32"), np.array([0, 0, 1, 1, 2, 2]))
    assert math.isnan(found["intrinsic_dimension"])
    assert found["norm_spread"] == 0
    found = geometry.geometry_measures(np.eye(3, dtype="float32"), np.arange(3))
    assert math.isnan(found["alignment"])


def test_of_many_items_a_sample_says_nearly_the_same(monkeypatch):
    rows = RNG.normal(size=(3000, 6)).astype("float32")
    whole = geometry.geometry_measures(rows)
    monkeypatch.setattr(geometry, "SAMPLE", 1000)
    some = geometry.geometry_measures(rows)
    assert some["uniformity"] == pytest.approx(whole["uniformity"], abs=0.02)
    assert some["intrinsic_dimension"] == pytest.approx(whole["intrinsic_dimension"], rel=0.15)
    assert some == geometry.geometry_measures(rows)


@pytest.mark.keras
@pytest.mark.one_backend
def test_judging_tells_the_shape_and_the_time_only_where_asked():
    import siamkit
    from siamkit.data import Dataset
    from siamkit.study.worker.judge import judge

    model = siamkit.build("mlp", "cosine", "contrastive", embedding_dim=4, input_shape=(6,))
    part = Dataset((RNG.normal(size=(40, 6)).astype("float32"),), np.arange(40) % 4, "labels", "vector")
    scores = judge(model, part)
    measures, embeddings = scores.measures, scores.embeddings
    assert measures["effective_rank"] == effective_rank(embeddings)
    assert measures["spread"] == spread(embeddings)
    assert "ms_per_item" not in measures
    timed = judge(model, part, groups=("retrieval", "speed")).measures
    assert 0 < timed["ms_per_item"] < 1000


STUDY = """\
version: 1
baselines: null
name: shapes
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}
fixed: {batch_size: 16, epochs: 2, embedding_dim: 4}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}
  metric: cosine
  loss: {triplet: {margin: 0.2, mining: all}}
objectives: {effective_rank: maximize, ms_per_item: minimize, bytes_per_vector: minimize}
budget: {trials: 1}
confirm: null
"""


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_study_may_have_them_as_objectives_and_measures_time_once(tmp_path):
    import pyarrow.parquet as pq

    import siamkit

    np.savez(
        tmp_path / "items.npz", x=RNG.normal(size=(80, 6)).astype("float32"), y=np.repeat(np.arange(4), 20)
    )
    (tmp_path / "study.yaml").write_text(STUDY)
    (trial,) = siamkit.tune(tmp_path / "study.yaml", progress="none").trials
    assert trial.outcome == "complete"
    assert 1 <= trial.measures["effective_rank"] <= 4
    assert trial.measures["bytes_per_vector"] == 16
    history = pq.read_table(tmp_path / "runs" / "shapes" / trial.folder / "history.parquet").to_pydict()
    times = [value for value in history["ms_per_item"] if value is not None]
    assert times == [trial.measures["ms_per_item"]]  # of the epoch that is kept
    assert {"spread", "effective_rank"} <= set(history)
