"""Checks of a loss under one supervision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops

from siamkit.errors import SiamkitError
from siamkit.testing import _common as common
from siamkit.testing._numbers import (
    AT_ZERO,
    TOO_LARGE,
    CannotCheck,
    Probe,
    close,
    frozen,
    number,
    numpy,
    require,
    while_doing,
)
from siamkit.testing._subject import BATCH, CLASSES, DIM, Subject


def _value(loss: Any, y: Any, embeddings: Any, weight: Any = None) -> float:
    """Return the loss without changing its state."""
    return number(frozen(loss, y, embeddings, weight))


def shapes(subject: Subject) -> None:
    """Check that `call` gives a scalar or `(batch,)`, the loss a float32 scalar; `y` may be a column."""
    loss, (y, embeddings) = subject.ready(), subject.batch()
    with while_doing(f"calling {subject}"):
        inner = _shape_of_call(loss, y, embeddings)
        value = frozen(loss, y, embeddings)
        column = _value(loss, y[:, None], embeddings)
    require(
        inner in ((), (BATCH,)), f"{subject} should give a scalar or {(BATCH,)} in call, got shape {inner}"
    )
    require(
        tuple(value.shape) == () and "float32" in str(value.dtype),
        f"{subject} should give a float32 scalar, got {value.dtype} of shape {tuple(value.shape)}",
    )
    require(
        close(column, number(value)),
        f"{subject} should take y as a column too and give {number(value):.6g}, got {column:.6g}",
    )


def _shape_of_call(loss: Any, y: Any, embeddings: Any) -> tuple[int, ...]:
    """Return the shape that `call` returns when the loss is computed, which prepares its arguments."""
    plain, heard = loss.call, []

    def call(*args: Any, **kwargs: Any) -> Any:
        values = plain(*args, **kwargs)
        heard.append(tuple(values.shape))
        return values

    loss.call = call
    try:
        frozen(loss, y, embeddings)
    finally:
        loss.call = plain
    return heard[-1] if heard else ()


def sample_weight(subject: Subject) -> None:
    """Check that a sample weight is applied, or refused with a message."""
    loss, (y, embeddings) = subject.ready(), subject.batch()
    ones, halves = np.ones(BATCH, dtype="float32"), np.zeros(BATCH, dtype="float32")
    halves[:2] = 0.5
    try:
        even, halved = (_value(loss, y, embeddings, each) for each in (ones, halves))
    except SiamkitError as refusal:
        require("weight" in str(refusal), f"{subject} should refuse a sample weight by name, got {refusal}")
        return
    except Exception as error:
        raise AssertionError(
            f"{subject} should honour a sample weight or refuse it by a siamkit error, "
            f"got {type(error).__name__}: {error}"
        ) from error
    plain, first = _value(loss, y, embeddings), _value(loss, y[:2], embeddings[:2])
    require(close(even, plain), f"{subject} should give {plain:.6g} where all weigh 1, got {even:.6g}")
    require(
        close(halved, first),
        f"{subject} should give {first:.6g} where only two rows weigh something, got {halved:.6g}",
    )


@lru_cache(maxsize=1)
def _probe(subject: Subject) -> Probe:
    """Return a probe: the loss as a function of embeddings and target, and its gradient."""
    loss, (y, _) = subject.ready(), subject.batch()
    integral = y.dtype.kind == "i"

    def function(embeddings: Any, target: Any) -> Any:
        # The target comes as float, as all inputs of a probe do; ids this small survive it.
        target = ops.stop_gradient(target)
        return loss(ops.cast(target, "int32") if integral else target, embeddings)

    state = getattr(loss, "state", None)
    variables = [] if state is None else state.trainable_variables
    return Probe(str(subject), function, ("the embeddings", "_target"), variables)


def gradients(subject: Subject) -> None:
    """Check that value and gradient are finite, by the embeddings and by the state's weights."""
    y, embeddings = subject.batch()
    _probe(subject).require_finite("", embeddings, y.astype("float32"))


def finite_differences(subject: Subject) -> None:
    """Check the gradient against finite differences, by the embeddings and by the state's weights."""
    y = subject.batch()[0].astype("float32")
    _probe(subject).require_differences_agree(lambda k: [subject.batch(40 + k)[1], y])


def edge_cases(subject: Subject) -> None:
    """Check that unusual batches give finite values and gradients, and 0 if nothing can be compared."""
    y, embeddings = subject.batch()
    probe, labelled = _probe(subject), subject.supervision == "labels"
    for name, target, x in (
        _labelled(y, embeddings) if labelled else _given(subject.supervision, y, embeddings)
    ):
        value = probe.require_finite(f" on {name}", x, target.astype("float32"), remedy=AT_ZERO)
        nothing = name == "a batch of 1" and labelled and not probe.variables
        require(
            not nothing or abs(value) < 1e-6,
            f"{subject} should be 0 on a batch of 1, where nothing can be compared, got {value:.4g}",
        )


def scales(subject: Subject) -> None:
    """Check that small and large embeddings give finite values and gradients, unless all are unit vectors."""
    if subject.spec.normalized:
        raise CannotCheck(f"{subject} takes embeddings of unit length")
    y, embeddings = subject.batch()
    for size in (1e-4, 1e2):
        _probe(subject).require_finite(
            f" on embeddings of length {size:g}",
            embeddings * np.float32(size),
            y.astype("float32"),
            remedy=TOO_LARGE if size > 1 else AT_ZERO,
        )


def _labelled(y: np.ndarray, x: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    zero, one_zero = np.zeros_like(x), x.copy()
    one_zero[0] = 0
    apart = np.eye(CLASSES, DIM, dtype="float32")[y] * 3
    yield "a batch of 1", y[:1], x[:1]
    yield "one class alone", np.zeros_like(y), x
    yield "nothing but single items", np.arange(BATCH, dtype="int32"), x
    yield "a single item among another class", np.eye(1, BATCH, dtype="int32")[0], x
    yield "equal rows", y, np.repeat(x[:1], BATCH, axis=0)
    yield "all-zero rows", y, zero
    yield "a zero row", y, one_zero
    yield "classes far apart", y, apart


def _given(supervision: str, y: np.ndarray, x: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    one_zero = x.copy()
    one_zero[0] = 0
    yield "a batch of 1", y[:1], x[:1]
    yield "equal views", y, np.repeat(x[:, :1], x.shape[1], axis=1)
    yield "equal rows", y, np.repeat(x[:1], BATCH, axis=0)
    yield "all-zero rows", y, np.zeros_like(x)
    yield "a zero row", y, one_zero
    if supervision in ("pairs", "scores"):
        yield "nothing alike", np.zeros_like(y), x
        yield "everything alike", np.ones_like(y), x
    if supervision == "triplets":
        yield "negatives equal to the anchor", y, x[:, [0, 1, 0]]


def class_ids(subject: Subject) -> None:
    """Check that only the equality of class ids matters, unless the loss has a proxy for each."""
    if subject.supervision != "labels" or "num_classes" in subject.spec.needs:
        raise CannotCheck(f"{subject} takes no class ids, or takes them as the numbers of its proxies")
    loss, (y, embeddings) = subject.ready(), subject.batch()
    expected = _value(loss, y, embeddings)
    for name, ids in (
        ("not contiguous", (7, 100, 31)),
        ("negative", (-1, -5, 3)),
        ("large", (2**40, 2**40 + 1, 5)),
    ):
        with while_doing(f"calling {subject} with class ids that are {name}"):
            got = _value(loss, np.array(ids)[y], embeddings)
        require(
            close(got, expected),
            f"{subject} should give {expected:.6g} also where class ids are {name}, got {got:.6g}",
        )


def dtypes(subject: Subject) -> None:
    """Check that the loss of bfloat16 and float16 embeddings is computed in float32."""
    loss, (y, embeddings) = subject.ready(), subject.batch()
    for name in ("bfloat16", "float16"):
        rounded = ops.cast(embeddings, name)
        with while_doing(f"calling {subject} with {name} embeddings"):
            value = frozen(loss, y, rounded)
        require("float32" in str(value.dtype), f"{subject} should give float32 for {name}, got {value.dtype}")
        expected = _value(loss, y, numpy(rounded).astype("float32"))
        require(
            close(number(value), expected, 1e-4),
            f"{subject} should compute {name} embeddings in float32 and give {expected:.6g}, "
            f"got {number(value):.6g}",
        )


def jit(subject: Subject) -> None:
    """Check that compiled and eager values and gradients agree; compiled, the target is a tensor."""
    y, embeddings = subject.batch()
    _probe(subject).require_same_compiled(embeddings, y.astype("float32"))


def nan(subject: Subject) -> None:
    """Check that the loss is NaN if all embeddings, or those of one item, are NaN."""
    loss, (y, embeddings) = subject.ready(), subject.batch()
    one = embeddings.copy()
    one[0] = np.nan
    for name, spoilt in (("NaN", np.full_like(embeddings, np.nan)), ("one item's NaN", one)):
        value = _value(loss, y, spoilt)
        require(np.isnan(value), f"{subject} should give NaN for {name}, got {value:.4g}")


def determinism(subject: Subject) -> None:
    """Check that the same seed and inputs give the same result."""
    y, embeddings = subject.batch()
    common.require_repeatable(subject, lambda loss: np.array(_value(loss, y, embeddings)))


def config(subject: Subject) -> None:
    """Check that the config is plain JSON, has every parameter, and makes an equal component."""
    common.require_whole_config(subject)
    loss, (y, embeddings) = subject.ready(), subject.batch()
    again = type(loss).from_config(loss.get_config())
    again.bind(loss.metric)
    if loss.state is not None:
        again.state(keras.KerasTensor((1, DIM)))
        again.state.set_weights(loss.state.get_weights())
    a, b = (_value(each, y, embeddings) for each in (loss, again))
    require(close(a, b), f"from_config of {subject} should make one of the same value, {a:.6g}, got {b:.6g}")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    common.spec_matches_factory,
    shapes,
    sample_weight,
    gradients,
    finite_differences,
    edge_cases,
    scales,
    class_ids,
    dtypes,
    jit,
    nan,
    determinism,
    config,
    common.training,
)
