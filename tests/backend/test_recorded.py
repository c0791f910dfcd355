"""Losses that torch replays from a recording: the values and gradients of the calls that run as written."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest

import siamkit
from siamkit.registry.catalog import CORE
from siamkit.registry.registry import components

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1], "int32")
OTHERS = np.array([2, 2, 0, 1, 1, 0, 0, 0], "int32")


def numbers(loss):
    state = [] if loss.state is None else loss.state.variables
    return [keras.ops.convert_to_numpy(variable).copy() for variable in state]


@pytest.fixture
def recorded(monkeypatch):
    """Record at the first call, with results of any size in used memory; return the recordings by loss."""
    from siamkit.backend import _torch_recordings

    monkeypatch.setattr(_torch_recordings, "RECORD_AFTER", 0)
    monkeypatch.setattr(_torch_recordings, "LARGE", 0)
    return _torch_recordings._recordings


def points(seed=0, count=8):
    import torch

    return torch.tensor(np.random.default_rng(seed).normal(size=(count, 4)), dtype=torch.float32)


def step(loss, labels, x):
    """The value, the gradient by the embeddings and those by the loss's weights."""
    import torch

    x = x.clone().requires_grad_()
    variables = [] if loss.state is None else [v.value for v in loss.state.trainable_variables]
    value = loss(torch.tensor(labels), x)
    gradients = torch.autograd.grad(value, [x, *variables], allow_unused=True)
    return [value.detach(), *(torch.zeros(()) if g is None else g for g in gradients)]


def torch_close(result, expected):
    np.testing.assert_allclose(result.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def graphs(recordings, loss):
    return [
        each for each in recordings.get(loss, {}).values() if each is not None and not isinstance(each, int)
    ]


def over_labels():
    for entry in components().catalog("loss").all():
        spec = entry.spec
        if (
            entry.origin.distribution == CORE
            and "labels" in spec.supervision
            and not {"loss", "losses"} & set(spec.params)
        ):
            yield spec.name


WRAPPED = {
    "cross_batch_memory": {"loss": "triplet", "memory_size": 20},
    "matryoshka": {"loss": "nt_xent", "dims": [4, 2]},
    "weighted_sum": {"first": "contrastive", "second": "dynamic_soft_margin"},
}


@pytest.mark.parametrize("name", sorted({*over_labels(), *WRAPPED}))
def test_a_recorded_loss_has_the_value_and_gradients_of_the_loss_as_written(name, recorded, monkeypatch):
    from siamkit.backend import _torch_recordings

    spec = components().find("loss", name).spec
    metric = "cosine" if spec.orientation == "similarity" else "euclidean"
    metric = "snr" if name == "snr_contrastive" else metric
    facts = {"num_classes": 3} if "num_classes" in spec.needs else {}
    loss = siamkit.get_loss(name, metric=metric, **facts, **WRAPPED.get(name, {}))
    for _ in range(2):  # the first call makes its weights
        step(loss, LABELS, points())
    assert graphs(recorded, loss)
    cases = [
        (LABELS, points(1)),
        (OTHERS, points(2)),
        (np.zeros(8, "int32"), points(3)),
        (OTHERS, 0 * points()),
    ]
    state = [] if loss.state is None else loss.state.variables
    start = numbers(loss)

    def all_steps():
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        # The state after each step is one of its results: a memory, a histogram.
        return [
            [
                *(result.numpy() for result in step(loss, *case)),
                *([] if loss.state is None else numbers(loss)),
            ]
            for case in cases
        ]

    got = all_steps()
    monkeypatch.setattr(_torch_recordings, "RECORD_AFTER", 10**9)
    recorded.pop(loss)
    for results, expected in zip(got, all_steps(), strict=True):
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)


def test_a_changed_parameter_or_metric_is_recorded_anew(recorded):
    loss = siamkit.get_loss("triplet", metric="euclidean", margin=0.1)
    before = [step(loss, LABELS, points())[0] for _ in range(2)]
    loss.margin = 3.0
    after = step(loss, LABELS, points())[0]
    torch_close(before[1], before[0])
    assert before[0] < after
    torch_close(after, step(siamkit.get_loss("triplet", metric="euclidean", margin=3.0), LABELS, points())[0])
    loss.bind(siamkit.get_metric("manhattan"))
    other = siamkit.get_loss("triplet", metric="manhattan", margin=3.0)
    assert step(loss, LABELS, points())[0] != after
    torch_close(step(loss, LABELS, points())[0], step(other, LABELS, points())[0])


def test_the_gradient_of_a_recorded_loss_can_be_differentiated(recorded):
    import torch

    loss = siamkit.get_loss("nt_xent", metric="cosine", temperature=0.5)
    labels = torch.tensor(LABELS)

    def penalty(x):
        (slope,) = torch.autograd.grad(loss(labels, x), x, create_graph=True)
        return (slope**2).sum()

    step(loss, LABELS, points())
    x = points().requires_grad_()
    (got,) = torch.autograd.grad(penalty(x), x)
    assert graphs(recorded, loss)
    h = 1e-2
    for index in np.ndindex(3, 2):
        moved = torch.zeros(8, 4)
        moved[index] = h
        ends = [penalty((points() + sign * moved).requires_grad_()).detach() for sign in (1, -1)]
        assert float(got[index]) == pytest.approx(float(ends[0] - ends[1]) / (2 * h), rel=0.05, abs=2e-3)


def test_a_recorded_loss_that_changes_its_state_does_so_when_training_only(recorded):
    import torch

    loss = siamkit.get_loss("cross_batch_memory", metric="euclidean", loss="contrastive", memory_size=20)
    for _ in range(2):
        step(loss, LABELS, points())
    before = numbers(loss)
    for _ in range(2):
        loss(torch.tensor(LABELS), points(1).requires_grad_(), training=False)
    assert len(graphs(recorded, loss)) == 2
    for old, new in zip(before, numbers(loss), strict=True):
        np.testing.assert_array_equal(old, new)
    x = points(1).requires_grad_()
    value = loss(torch.tensor(LABELS), x)
    for _ in range(3):  # the memory that the value was computed with is overwritten before its gradient's
        step(loss, OTHERS, points(2))
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    (got,) = torch.autograd.grad((slope**2).sum(), x)
    for variable, number in zip(loss.state.variables, before, strict=True):
        variable.assign(number)
    recorded.pop(loss)
    x = points(1).requires_grad_()
    (slope,) = torch.autograd.grad(loss(torch.tensor(LABELS), x), x, create_graph=True)
    (expected,) = torch.autograd.grad((slope**2).sum(), x)
    torch.testing.assert_close(got, expected)


def test_sums_over_triplets_are_recorded_for_each_number_of_positives(recorded, monkeypatch):
    from siamkit.backend import _torch_recordings
    from siamkit.losses import _mining

    loss = siamkit.get_loss("angular", metric="cosine")
    for labels, count in (
        (LABELS, 1),
        (OTHERS, 2),
        (np.zeros(8, "int32"), 3),
        (LABELS, 3),
        (LABELS[::-1].copy(), 3),
    ):
        got = [step(loss, labels, points(4)) for _ in range(2)][1]
        assert len(graphs(recorded, loss)) == count
        with monkeypatch.context() as patch:
            patch.setattr(_torch_recordings, "RECORD_AFTER", 10**9)
            patch.setattr(_mining.TripletSumLoss, "size_of", lambda *_: None)
            other = siamkit.get_loss("angular", metric="cosine")
            for result, expected in zip(got, step(other, labels, points(4)), strict=True):
                torch_close(result, expected)


def test_triplets_that_are_sorted_have_one_recording_whatever_the_size_of_classes(recorded, monkeypatch):
    from siamkit.losses import _mining

    monkeypatch.setattr(_mining, "BLOCK", 1)
    loss = siamkit.get_loss("triplet", metric="euclidean")
    for counts in ([8, 8], [6, 5, 5], [7, 7, 2], [15, 1]):
        labels = np.repeat(np.arange(len(counts), dtype="int32"), counts)
        for _ in range(2):
            step(loss, labels, points(count=16))
        assert len(graphs(recorded, loss)) == 1


def test_what_the_values_decide_and_what_others_trace_runs_as_written(recorded, monkeypatch):
    import torch

    from siamkit.losses import _mining

    monkeypatch.setattr(_mining, "BLOCK", 1)  # as many blocks as the class with most items needs
    for most_blocks, most_recorded, recordings in ((4, 2**22, 1), (1, 2**22, 0), (4, 100, 0)):
        monkeypatch.setattr(_mining, "MOST_BLOCKS", most_blocks)
        monkeypatch.setattr(_mining, "RECORDED", most_recorded)
        loss = siamkit.get_loss("angular", metric="cosine")
        values = [step(loss, LABELS, points()) for _ in range(3)]
        for result, expected in zip(values[2], values[0], strict=True):
            torch_close(result, expected)
        assert len(graphs(recorded, loss)) == recordings
    # Angular in a loop; triplets block by block, without a loop and in one.
    for name, most_blocks, most_recorded in (
        ("nt_xent", 1, 0),
        ("angular", 1, 0),
        ("triplet", 4, 10**6),
        ("triplet", 4, 0),
    ):
        monkeypatch.setattr(_mining, "MOST_BLOCKS", most_blocks)
        monkeypatch.setattr(_mining, "RECORDED", most_recorded)
        loss = siamkit.get_loss(name, metric="cosine")
        for _ in range(2):  # the first call builds the metric
            gradient = torch.func.grad(lambda x, loss=loss: loss(torch.tensor(LABELS), x))(points())
        assert not graphs(recorded, loss)
        np.testing.assert_allclose(gradient, step(loss, LABELS, points())[1], rtol=1e-5, atol=1e-6)


def test_a_loss_is_recorded_after_some_calls_and_for_a_few_shapes_only():
    from siamkit.backend import _torch_recordings

    loss = siamkit.get_loss("contrastive", metric="euclidean")
    step(loss, LABELS, points())  # builds the metric
    for call in range(_torch_recordings.RECORD_AFTER + 1):
        assert not graphs(_torch_recordings._recordings, loss), call
        step(loss, LABELS, points())
    assert len(graphs(_torch_recordings._recordings, loss)) == 1
    for count in range(2, 4 + _torch_recordings.MOST_RECORDINGS):
        step(loss, np.arange(count, dtype="int32"), points(count=count))
    assert len(_torch_recordings._recordings[loss]) == _torch_recordings.MOST_RECORDINGS


def test_a_loss_of_another_package_is_never_recorded(recorded):
    class Counting(siamkit.Loss):
        calls = 0

        def call(self, y_true, y_pred):
            self.calls += 1
            return keras.ops.mean(self.pairwise_distances(y_pred, y_pred))

    loss = Counting()
    loss.bind(siamkit.get_metric("euclidean"))
    for _ in range(3):
        step(loss, LABELS, points())
    assert loss.calls == 3


def test_a_loss_around_one_of_another_package_is_never_recorded(recorded):
    class Other(siamkit.losses.BatchLoss):
        def compare(self, pairs):
            return keras.ops.mean(self.distances(pairs))

    inner = Other()
    loss = siamkit.get_loss("weighted_sum", metric="euclidean", first=inner, second="triplet")
    for _ in range(3):
        step(loss, LABELS, points())
    assert not graphs(recorded, loss)


def test_a_recording_computes_nothing_twice_and_keeps_constants():
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from siamkit.backend._torch_recordings import _simplify

    def wasteful(x):
        mask = (x > 0).detach()
        kept = torch.where(mask, torch.where(x > 0, x, 0.0), 1.0)
        apart = torch.ones_like(x).cumsum(0) * (kept * 1.0).t().t()
        return apart + x.neg().neg() * mask.float(), torch.where(mask, x, 0.0) * mask.float()

    graph = make_fx(wasteful)(torch.ones(2, 2))
    _simplify(graph)
    operations = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert len(operations) == 7, operations  # a mask, its numbers, two choices, two products and a sum
    x = torch.tensor([[-1.0, 2.0], [float("nan"), 0.5]])
    for result, expected in zip(graph(x), wasteful(x), strict=True):
        assert torch.allclose(result, expected, equal_nan=True)


def test_a_recording_takes_indices_that_cannot_be_negative_as_they_are():
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from siamkit.backend._torch_recordings import _simplify

    def chosen(x, index):
        nearest = keras.ops.argmax(x, axis=1)[:, None]
        order = keras.ops.argsort(x, axis=1)
        return [keras.ops.take_along_axis(x, each, axis=1) for each in (nearest, order, index[:, None])]

    x, index = torch.randn(4, 3), torch.tensor([-1, 2, 0, -3])
    graph = make_fx(chosen)(x, index)
    _simplify(graph)
    names = [str(node.target) for node in graph.graph.nodes]
    assert names.count("aten.lt.Scalar") == 1  # of the index that the caller gives
    for result, expected in zip(graph(x, index), chosen(x, index), strict=True):
        assert torch.equal(result, expected)


def test_a_recording_leaves_out_what_only_carries_a_gradient():
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from siamkit.backend._torch_recordings import _simplify

    def squares(x, y):
        plain = x @ y
        value = (2.0 * x).detach() + (plain - plain.detach())
        return value, *torch.autograd.grad(value.sum(), [x, y])

    x, y = torch.randn(3, 3, requires_grad=True), torch.randn(3, 3, requires_grad=True)
    graph = make_fx(squares)(x, y)
    with torch.no_grad():
        _simplify(graph)
    assert sum("mm" in str(node.target) for node in graph.graph.nodes) == 2  # those of the gradient
    for result, expected in zip(graph(x, y), squares(x, y), strict=True):
        torch.testing.assert_close(result, expected)


def test_the_exponential_of_a_recording_is_0_where_it_would_be_subnormal():
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from siamkit.backend._torch_recordings import _simplify

    x = torch.tensor([0.0, -80.0, -86.0, -95.0, -3e38, -float("inf"), float("nan"), 90.0, 1.5])
    graph = make_fx(torch.exp)(x)
    _simplify(graph)
    expected = torch.exp(x)
    expected[3] = 0.0
    assert torch.equal(graph(x).nan_to_num(7.0), expected.nan_to_num(7.0))


def test_large_results_are_written_over_those_that_are_no_longer_needed(monkeypatch):
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from siamkit.backend import _torch_recordings

    monkeypatch.setattr(_torch_recordings, "LARGE", 0)

    def chain(x):
        a = x * 2.0  # read again at the end, as a view
        b = torch.exp(a)
        c = torch.where(b > 1.0, b, x)  # over b
        d = c + c.t()  # reads c as a view too, so not over it
        return d.sqrt(), d + a.t()  # over c and d

    x = torch.rand(3, 3)
    graph = make_fx(chain)(x)
    _torch_recordings._reuse_memory(graph)
    kept = x.clone()
    for result, expected in zip(graph(x), chain(x), strict=True):
        assert torch.equal(result, expected)
    assert torch.equal(x, kept)
    memory = {node.name: node.kwargs["out"].name for node in graph.graph.nodes if "out" in node.kwargs}
    assert memory == {"where": "exp", "sqrt": "where", "add_1": "add"}


def test_what_a_recording_shortens_and_writes_over_gives_the_same_results(monkeypatch):
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from siamkit.backend import _torch_recordings
    from siamkit.backend._torch_recordings import _reuse_memory, _simplify

    monkeypatch.setattr(_torch_recordings, "LARGE", 0)

    def unusual(x):
        cube = x.reshape(3, 3, 3)
        turned = cube.permute(1, 2, 0).permute(1, 2, 0)  # twice, and not as before
        low = torch.exp(x - 200)
        same = torch.exp(x - 200)  # computed twice; below the normal numbers
        product = cube @ torch.ones(3, 5)  # a view of a product of matrices, of which the schema is silent
        flat = x @ torch.full((3, 5), 2.0)
        return turned.clone(), low + same, product + flat.reshape(3, 3, 5), torch.rand(3) - torch.rand(3)

    x = torch.randn(9, 3)
    graph = make_fx(unusual)(x)
    with torch.no_grad():
        _simplify(graph)
        _reuse_memory(graph)
    *found, difference = graph(x.clone())
    *expected, _ = unusual(x)
    for result, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(result, wanted, atol=1e-37, rtol=1e-6)
    assert (found[1] == 0).all()
    assert difference.abs().max() > 0


@pytest.mark.parametrize("name", ["contrastive", "cross_batch_memory"])
def test_the_recordings_of_a_loss_are_deleted_with_it(name, recorded):
    loss = siamkit.get_loss({name: WRAPPED.get(name)}, metric="euclidean")
    for _ in range(3):
        step(loss, LABELS, points())
    assert graphs(recorded, loss)
    alive, count = weakref.ref(loss), len(recorded)
    del loss
    gc.collect()
    assert alive() is None
    assert len(recorded) == count - 1
