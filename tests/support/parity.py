"""Our losses beside a reference in PyTorch: value and gradient, the reference in float64 on any backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch
from gradients import value_and_gradient, value_and_gradient_at_once
from hypothesis import HealthCheck, Phase, settings

EAGER = keras.backend.backend() == "torch"  # the others compile anew for each shape

# A fixed choice of examples: a hinge within rounding of its corner must not fail a run now and then.
few = settings(
    max_examples=8 if EAGER else 3,
    # Made smaller, an example that fails would be compiled anew a hundred times.
    phases=list(Phase) if EAGER else [Phase.generate],
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

TOLERANCE = 1e-4


def reference(function: Callable[..., Any], *inputs: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Value and gradients of a torch function of float64 tensors."""
    leaves = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in inputs]
    value = function(*leaves)
    if not value.requires_grad:  # nothing to compare by: a constant 0
        return float(value), [np.zeros_like(each, dtype="float64") for each in inputs]
    gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
    return float(value.detach().sum()), [
        np.zeros(leaf.shape) if g is None else g.numpy() for g, leaf in zip(gradients, leaves, strict=True)
    ]


def ours(
    loss: Any, labels: Any, embeddings: np.ndarray, variables: Sequence[Any] = ()
) -> tuple[float, list[np.ndarray]]:
    """Value and gradients of a loss with its metric, by the embeddings and then by each Keras variable."""
    return value_and_gradient(lambda x: loss(labels, x), embeddings.astype("float32"), variables=variables)


def ours_at_once(
    loss: Any, labels: Any, embeddings: np.ndarray, variables: Sequence[Any] = ()
) -> tuple[float, list[np.ndarray]]:
    """As `ours`, compiled as a whole on JAX: for shapes that one test alone has."""
    return value_and_gradient_at_once(
        lambda x: loss(labels, x), embeddings.astype("float32"), variables=variables
    )


def assert_parity(
    got: tuple[float, list[np.ndarray]],
    expected: tuple[float, list[np.ndarray]],
    tolerance: float = TOLERANCE,
) -> None:
    """Relative error of the value, and of each gradient as a whole."""
    assert abs(got[0] - expected[0]) <= tolerance * max(abs(expected[0]), 1e-2), (got[0], expected[0])
    assert len(got[1]) == len(expected[1])
    for mine, theirs in zip(got[1], expected[1], strict=True):
        error = np.linalg.norm(mine - theirs)
        assert error <= tolerance * max(np.linalg.norm(theirs), 1e-2), (error, np.linalg.norm(theirs))
