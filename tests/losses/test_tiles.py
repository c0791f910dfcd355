"""Losses that compare a few rows or classes at a time: the same values and gradients as all at once."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from parity import EAGER, assert_parity, ours_at_once

import siamkit
from siamkit.errors import ComponentError
from siamkit.losses import _batch
from siamkit.losses._batch import rows_of_tile
from siamkit.losses._specs import LOSSES

pytestmark = pytest.mark.keras

ROWS, DIM, CLASSES, CHUNK = 11, 4, 7, 3  # the last tile is not full
TILED = {spec.name: spec for spec in LOSSES if "chunk_size" in spec.params}
# One of each way in which tiles are put together; the others share their code.
EACH_WAY = [
    "nt_xent",
    "sup_con",
    "info_nce",
    "multiple_negatives_ranking",
    "siglip",
    "arcface",
    "proxy_anchor",
]


def batch(name):
    """Return targets and embeddings."""
    spec, rng = TILED[name], np.random.default_rng(3)
    if spec.supervision[0] == "labels":
        return rng.integers(0, CLASSES, ROWS), rng.normal(size=(ROWS, DIM))
    return None, rng.normal(size=(ROWS, 3, DIM))


def both(name, metric="cosine", y=None, e=None, **params):
    """Return value and gradients (embeddings, weights of loss and metric) in tiles and at once."""
    found = []
    for chunk_size in (CHUNK, None):
        facts = {"num_classes": CLASSES} if "num_classes" in TILED[name].needs else {}
        loss = siamkit.get_loss(name, metric=metric, chunk_size=chunk_size, **facts, **params)
        target, points = batch(name) if e is None else (y, e)
        loss(target, points.astype("float32"))
        weights = [*([] if loss.state is None else loss.state.variables), *loss.metric.variables]
        rng = np.random.default_rng(4)
        for weight in weights:
            weight.assign(rng.normal(size=weight.shape))
        found.append(ours_at_once(loss, target, points, weights))
    return found


@pytest.mark.parametrize("name", sorted(TILED) if EAGER else EACH_WAY)
def test_tiles_have_the_value_and_gradients_of_all_at_once(name):
    smoothing = {"label_smoothing": 0.1} if "label_smoothing" in TILED[name].params else {}
    assert_parity(*both(name, **smoothing), tolerance=1e-5)


def test_a_metric_with_weights_has_their_gradient():
    kernel = both("multiple_negatives_ranking", "bilinear", symmetric=True)
    assert len(kernel[0][1]) == 2
    assert_parity(*kernel, tolerance=1e-5)


@pytest.mark.parametrize("mining", ["hard", "semihard", "multi_similarity"] if EAGER else ["semihard"])
def test_pairs_are_mined_in_tiles(mining):
    assert_parity(*both("nt_xent", "euclidean", mining=mining), tolerance=1e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "labels", [[0] * 8, list(range(8)), [0] * 7 + [1]], ids=["one class", "no positives", "a singleton"]
)
def test_awkward_batches_in_tiles(labels):
    e = np.random.default_rng(1).normal(size=(8, DIM))
    for name in ("nt_xent", "sup_con"):
        assert_parity(*both(name, y=np.array(labels), e=e), tolerance=1e-5)


def test_a_memory_is_compared_in_tiles():
    rng, values = np.random.default_rng(5), []
    batches = [(rng.integers(0, 3, 5), rng.normal(size=(5, DIM)).astype("float32")) for _ in range(3)]
    for chunk_size in (2, None):
        inner = {"nt_xent": {"chunk_size": chunk_size}}
        loss = siamkit.get_loss("cross_batch_memory", loss=inner, memory_size=9, metric="cosine")
        values.append([float(ops.convert_to_numpy(loss(*each))) for each in batches])
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert all(values[0])


@pytest.mark.one_backend
def test_matryoshka_cuts_what_tiles_compare():
    y, e = batch("nt_xent")
    values = [
        float(
            siamkit.get_loss(
                "matryoshka", loss={"nt_xent": {"chunk_size": size}}, metric="cosine", dims=[4, 2]
            )(y, e)
        )
        for size in (CHUNK, None)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_step_with_micro_batches_and_tiles_is_a_step_of_all_at_once(policy):
    x = np.random.default_rng(6).normal(size=(12, 3)).astype("float32")
    y, weights = np.arange(12) % 3, []
    for options, chunk_size in ((({"micro_batch": 4}), 5), ({}, None)):
        keras.utils.set_random_seed(7)
        layers = [keras.layers.Dense(8, "tanh", dtype=policy), keras.layers.Dense(DIM, dtype=policy)]
        model = siamkit.Siamese(keras.Sequential([keras.Input((3,)), *layers]), "cosine")
        model.compile(
            keras.optimizers.SGD(1.0), siamkit.get_loss("sup_con", chunk_size=chunk_size), **options
        )
        model.train_on_batch(x, y)
        weights.append([ops.convert_to_numpy(weight) for weight in model.trainable_variables])
    for tiled, whole in zip(*weights, strict=True):
        error = np.linalg.norm(tiled - whole) / np.linalg.norm(whole)
        assert error < (1e-5 if policy == "float32" else 2e-2)


def test_many_scores_are_compared_in_tiles_by_themselves(monkeypatch):
    sizes = []
    in_tiles = _batch.in_tiles
    monkeypatch.setattr(_batch, "DENSE", 100)
    monkeypatch.setattr(_batch, "TILE", 50)
    monkeypatch.setattr(_batch, "has_accelerator", lambda: False)
    monkeypatch.setattr(_batch, "in_tiles", lambda *given: sizes.append(given[3]) or in_tiles(*given))
    y, e = batch("nt_xent")
    loss = siamkit.get_loss("nt_xent", metric="cosine")
    many = loss(y, e)
    assert sizes == [4]  # of the 50 // 11
    monkeypatch.setattr(_batch, "DENSE", 1000)
    assert float(many) == pytest.approx(float(loss(y, e)), rel=1e-5)
    assert len(sizes) == 1


@pytest.mark.one_backend
def test_how_many_rows_a_tile_has(monkeypatch):
    monkeypatch.setattr(_batch, "has_accelerator", lambda: False)
    assert rows_of_tile(None, 2896, 2896) is None
    assert rows_of_tile(None, 8192, 8192) == 512
    assert rows_of_tile(None, 50_000, 512) == 7143  # classes: 7 tiles, not 6.1 of 8,192
    assert rows_of_tile(None, 2, 10**8) == 1
    assert rows_of_tile(None, None, 8192) is None  # TensorFlow does not know the batch
    assert rows_of_tile(100, 50, 50) is None
    assert rows_of_tile(7, 50, 50) == rows_of_tile(7, None, None) == 7
    monkeypatch.setattr(_batch, "has_accelerator", lambda: True)
    assert rows_of_tile(None, 8192, 8192) is None
    assert rows_of_tile(None, 16_384, 16_384) == 4096


@pytest.mark.one_backend
@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, "auto", True])
def test_a_chunk_size_that_is_not_a_number_of_rows_is_refused(chunk_size):
    from siamkit.losses.batch_softmax import NTXent

    with pytest.raises(ComponentError, match="chunk_size should be a whole number of at least 1, got"):
        NTXent(chunk_size=chunk_size)
    with pytest.raises(ComponentError, match="chunk_size"):
        siamkit.get_loss("arcface", num_classes=3, chunk_size=chunk_size)


@pytest.mark.one_backend
def test_nothing_of_a_tile_is_kept_for_the_gradient():
    import torch

    n, kept = 512, []
    labels = torch.arange(n, dtype=torch.int32) % 4
    points = torch.randn(n, DIM, requires_grad=True)
    for chunk_size in (8, None):
        loss = siamkit.get_loss("nt_xent", metric="cosine", chunk_size=chunk_size)
        storages: dict[int, int] = {}

        def pack(tensor, storages=storages):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss(labels, points)
        kept.append(sum(storages.values()))
    assert kept[0] < n * n < kept[1]  # bytes: less than a quarter of the scores


@pytest.mark.one_backend
def test_torch_does_not_record_tiles(monkeypatch):
    import torch

    from siamkit.backend import _torch_recordings

    monkeypatch.setattr(_torch_recordings, "RECORD_AFTER", 0)
    y, e = batch("nt_xent")
    target, points = torch.tensor(y), torch.tensor(e, dtype=torch.float32, requires_grad=True)
    loss = siamkit.get_loss("nt_xent", metric="cosine", chunk_size=CHUNK)
    values = [loss(target, points).item() for _ in range(3)]
    assert list(_torch_recordings._recordings[loss].values()) == [None]
    assert values[0] == values[1] == values[2]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends know the batch")
def test_tiles_of_a_batch_whose_size_tensorflow_does_not_know():
    import tensorflow as tf

    y, e = batch("nt_xent")
    loss = siamkit.get_loss("nt_xent", metric="cosine", chunk_size=CHUNK)
    signature = [tf.TensorSpec([None], "int32"), tf.TensorSpec([None, DIM], "float32")]
    for jit_compile in (False, True):
        unknown = tf.function(loss, input_signature=signature, jit_compile=jit_compile)
        assert float(unknown(y, e)) == pytest.approx(float(loss(y, e)), rel=1e-5)
