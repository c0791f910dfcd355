"""Checks of a metric."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from keras import ops

from siamkit.testing import _common as common
from siamkit.testing._numbers import (
    AT_ZERO,
    TOO_LARGE,
    Probe,
    close,
    finite,
    frozen,
    numpy,
    policy,
    require,
    while_doing,
    worst,
)
from siamkit.testing._subject import BATCH, DIM, Subject, points

OTHER = BATCH - 3  # rows on the other side of a matrix, which is not square
A, B = points((BATCH, DIM), 0), points((BATCH, DIM), 1)
SIZES = (1e-4, 1e2, 1e4)
"""Lengths of points that embeddings have without normalisation, at the start of a training or after it."""

_WEIGHTS = np.random.default_rng(9).uniform(0.5, 1.5, size=(BATCH, BATCH)).astype("float32")


def _rows(metric: Any, a: Any, b: Any) -> np.ndarray:
    return numpy(frozen(metric, a, b))


def _matrix(metric: Any, a: Any, b: Any) -> np.ndarray:
    return numpy(frozen(metric.matrix, a, b))


@lru_cache(maxsize=1)
def _probe(subject: Subject) -> Probe:
    """Return a probe: a scalar of the row-by-row and the matrix form, and its gradient."""
    metric = subject.ready()

    def total(a: Any, b: Any) -> Any:
        weights = ops.convert_to_tensor(_WEIGHTS)
        rows = ops.sum(metric(a, b) * weights[0])
        return rows + ops.sum(metric.matrix(a, b[:OTHER]) * weights[:, :OTHER])

    return Probe(str(subject), total, ("the left side", "the right side"), metric.trainable_variables)


def shapes(subject: Subject) -> None:
    """Check that rows give `(n,)`, and the matrix form `(n, m)`, in float32."""
    metric = subject.ready()
    for what, asked, shape in (
        ("rows", lambda: metric(A, B), (BATCH,)),
        ("a matrix", lambda: metric.matrix(A, B[:OTHER]), (BATCH, OTHER)),
    ):
        with while_doing(f"comparing {what} by {subject}"):
            values = frozen(asked)
        got = tuple(values.shape)
        require(got == shape, f"{subject} should give {shape} for {what}, got shape {got}")
        dtype = str(values.dtype).rpartition(".")[2].strip("'<> ")
        require("float32" in str(values.dtype), f"{subject} should give float32 for {what}, got {dtype}")


def orientation(subject: Subject) -> None:
    """Check that values are within the range, and that a point is most similar to itself."""
    metric, spec = subject.ready(), subject.spec
    # Of one length, so that products too are largest between a point and itself.
    x = points((BATCH, DIM), 2, unit=True) * np.float32(0.7)
    own, values = _rows(metric, x, x), _matrix(metric, x, x[:OTHER])
    everything = np.concatenate(
        [own, _rows(metric, A, -A), values.ravel(), _matrix(metric, A, B[:OTHER]).ravel()]
        + [rows[np.isfinite(rows)] for rows in (_rows(metric, *_sized(size)) for size in SIZES)]
    )
    low, high = spec.range
    slack = 1e-5 * max([1.0, *(abs(end) for end in spec.range if np.isfinite(end))])
    require(
        everything.min() >= low - slack and everything.max() <= high + slack,
        f"{subject} should give values from {low:g} to {high:g}, "
        f"got from {everything.min():.6g} to {everything.max():.6g}",
    )
    sign = 1 if spec.orientation == "distance" else -1
    others = np.where(np.eye(BATCH, OTHER, dtype=bool), np.inf, sign * values)
    end = "lowest" if spec.orientation == "distance" else "highest"
    require(
        (sign * own <= others.min(axis=1) + 1e-4).all() and (sign * (values.mean() - own.mean()) > 1e-3),
        f"{subject} is a {spec.orientation} and should be {end} between equal points, got "
        f"{own.mean():.4g} between equal and {values.mean():.4g} between all on average",
    )


def _sized(size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides with lengths around a size."""
    return A * np.float32(size), B * np.float32(size)


def scales(subject: Subject) -> None:
    """Check that small and large points give finite values and gradients, and differ from one another."""
    metric = subject.ready()
    for size in SIZES:
        a, b = _sized(size)
        where = f" between points of length {size:g}"
        _probe(subject).require_finite(where, a, b, remedy=TOO_LARGE if size > 1 else AT_ZERO)
        values = _matrix(metric, a, b[:OTHER])
        require(
            np.ptp(values) > 1e-6 * np.abs(values).max(),
            f"{subject}{where} should give different values, got {values.max():.4g} between all; divide "
            "points by their size before comparing it with a constant, as siamkit.metrics.unit does",
        )


def forms_agree(subject: Subject) -> None:
    """Check that rows and matrix agree: before and after the metric is built, and under mixed precision."""
    first = subject.ready()
    expected = _matrix(first, A, B[:OTHER])
    for name in ("float32", "mixed_bfloat16", "mixed_float16"):
        with policy(name), while_doing(f"comparing by {subject} under {name}"):
            metric = subject.make()
            # Not built: the matrix form comes first, and again once the weights are known.
            require(
                _matrix_of(metric).shape == expected.shape,
                f"{subject} should give a matrix before it is built",
            )
            metric.set_weights(first.get_weights())
            matrix = _matrix_of(metric)
            rows = np.stack([numpy(metric(A, np.tile(b, (BATCH, 1)))) for b in B[:OTHER]], axis=1)
        require(
            close(rows, matrix, 1e-4, 1e-4),
            f"{subject} under {name} should give the same by rows and as a matrix, got {worst(rows, matrix)}",
        )
        require(
            close(matrix, expected),
            f"{subject} should compute in float32 under {name} too, got {worst(matrix, expected)}",
        )


def _matrix_of(metric: Any) -> np.ndarray:
    return numpy(metric.matrix(A, B[:OTHER]))


def gradients(subject: Subject) -> None:
    """Check that the gradient is finite."""
    _probe(subject).require_finite("", A, B)


def finite_differences(subject: Subject) -> None:
    """Check the gradient against finite differences, by both sides and by the weights."""
    _probe(subject).require_differences_agree(
        lambda k: [points((BATCH, DIM), 20 + k), points((BATCH, DIM), 30 + k)]
    )


def edge_cases(subject: Subject) -> None:
    """Check that equal, zero, constant, and close but far-off points give finite values and gradients."""
    constant = np.repeat(A[:, :1], DIM, axis=1)
    far = np.float32(1000.0)
    for name, a, b in (
        ("equal points", A, A),
        ("opposite points", A, -A),
        ("zero rows", np.zeros_like(A), np.zeros_like(A)),
        ("a zero row against others", np.zeros_like(A), B),
        ("constant rows", constant, constant),
        ("close points far from the origin", A * np.float32(1e-2) + far, B * np.float32(1e-2) + far),
    ):
        _probe(subject).require_finite(f" on {name}", a, b, remedy=AT_ZERO)


def dtypes(subject: Subject) -> None:
    """Check that bfloat16 and float16 embeddings are compared in float32."""
    metric = subject.ready()
    for name in ("bfloat16", "float16"):
        a, b = ops.cast(A, name), ops.cast(B, name)
        with while_doing(f"comparing {name} embeddings by {subject}"):
            got = frozen(metric, a, b)
        require("float32" in str(got.dtype), f"{subject} should give float32 for {name}, got {got.dtype}")
        expected = _rows(metric, numpy(a).astype("float32"), numpy(b).astype("float32"))
        require(
            close(numpy(got), expected, 1e-4),
            f"{subject} should compute {name} embeddings in float32, got {worst(numpy(got), expected)}",
        )


def jit(subject: Subject) -> None:
    """Check that compiled and eager values and gradients agree."""
    _probe(subject).require_same_compiled(A, B)


def nan(subject: Subject) -> None:
    """Check that NaN in an embedding gives NaN values."""
    metric = subject.ready()
    spoilt = A.copy()
    spoilt[0] = np.nan
    for form, values in (
        ("by rows", _rows(metric, spoilt, B)),
        ("as a matrix", _matrix(metric, spoilt, B[:OTHER])[0]),
    ):
        bad = values[:1] if form == "by rows" else values
        require(np.isnan(bad).all(), f"{subject} {form} should give NaN for NaN, got {bad[0]:.4g}")
        require(
            form != "by rows" or finite(values[1:]), f"{subject} should keep NaN to its row, got {values}"
        )


def determinism(subject: Subject) -> None:
    common.require_repeatable(subject, lambda metric: _matrix(metric, A, B[:OTHER]))


def config(subject: Subject) -> None:
    common.require_whole_config(subject)
    metric = subject.ready()
    again = type(metric).from_config(metric.get_config())
    _matrix(again, A, B[:OTHER])
    again.set_weights(metric.get_weights())
    a, b = _matrix(metric, A, B[:OTHER]), _matrix(again, A, B[:OTHER])
    require(close(a, b), f"from_config of {subject} should make one of the same values, got {worst(b, a)}")


CHECKS = (
    common.spec_matches_factory,
    shapes,
    orientation,
    forms_agree,
    gradients,
    finite_differences,
    edge_cases,
    scales,
    dtypes,
    jit,
    nan,
    determinism,
    config,
    common.training,
)
