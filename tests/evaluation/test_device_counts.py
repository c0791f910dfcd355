"""Pairs counted where the backend computes their distances, as on an accelerator."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

import siamkit
from siamkit.errors import DataError
from siamkit.evaluation import scan, verification
from siamkit.evaluation.scan import Queries
from siamkit.evaluation.verification import PairCounts

pytestmark = pytest.mark.keras


@pytest.fixture
def on_device(monkeypatch):
    """Count where the backend computes, as on an accelerator, in tiles of 20 x 20 or fewer."""
    monkeypatch.setattr(verification, "on_accelerator", lambda: True)
    monkeypatch.setattr("siamkit.evaluation.distances.CHUNK", 400)


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("most", [2**31 - 1, 500])
@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("name", ["cosine", "euclidean"])
def test_pairs_are_counted_on_an_accelerator_as_by_hand(monkeypatch, name, within, most):
    monkeypatch.setattr(scan, "MOST_COUNTED", most)
    metric = siamkit.get_metric(name)
    rng = np.random.default_rng(3)
    items = rng.normal(size=(53, 4)).astype("float32")
    ids = rng.integers(0, 5, len(items))
    gallery, gallery_ids = (items, ids) if within else (items[:31] * 3, ids[:31] + 10**12 * (ids[:31] > 3))
    queries = Queries(metric, items, ids, gallery, gallery_ids, within, np.zeros(0, np.int64))
    counts = PairCounts()
    counts.finish(queries)
    centers, alike, unlike = counts.histogram.counts()
    values = keras.ops.convert_to_numpy(metric.matrix(items, gallery)).astype(np.float64)
    distances = -values if name == "cosine" else values
    pairs = np.triu(np.ones(values.shape, bool), 1) if within else np.ones(values.shape, bool)
    same = ids[:, None] == gallery_ids
    assert alike.sum() == same[pairs].sum()
    assert unlike.sum() == (~same)[pairs].sum()
    # The bins are finer than the rounding of a product, so pairs are compared in their order.
    found = np.repeat(centers, alike + unlike)
    np.testing.assert_allclose(found, np.sort(distances[pairs]), atol=1e-6 + counts.histogram.width)
    np.testing.assert_allclose(
        np.repeat(centers, alike), np.sort(distances[pairs & same]), atol=1e-6 + counts.histogram.width
    )


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("other", [[1.5e38, 1.5e38], [1.5e38, -1.5e38]], ids=["infinity", "nan"])
def test_distances_that_are_not_finite_are_refused_on_an_accelerator(other):
    items = np.array([[1.0, 0], [1.5e38, 1.5e38], [0, 1]], np.float32)
    ids = np.array([0, 0, 1])
    queries = Queries(siamkit.get_metric("dot"), items, ids, items, ids, True, np.zeros(0, np.int64))
    PairCounts().finish(queries)  # an item is not compared with itself
    items = np.array([[1.0, 0], [1.5e38, 1.5e38], other], np.float32)
    with pytest.raises(DataError, match="Dot returned NaN or infinity"):
        PairCounts().finish(replace(queries, vectors=items, gallery=items))


@pytest.mark.usefixtures("on_device")
def test_one_item_has_no_pairs_on_an_accelerator():
    items, ids = np.ones((1, 2), np.float32), np.zeros(1, np.int64)
    counts = PairCounts()
    counts.finish(Queries(siamkit.get_metric("cosine"), items, ids, items, ids, True, np.zeros(0, np.int64)))
    assert counts.curve() is None
