"""Value and gradient of a function of tensors, on whichever backend runs: Keras has no such function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def value_and_gradient(
    function: Callable[..., Any], *inputs: Any, variables: Sequence[Any] = ()
) -> tuple[float, list[np.ndarray]]:
    """A scalar function's value, and its gradient by each input and then by each Keras variable.

    Args:
        function: of as many tensors as there are inputs.
        *inputs: arrays or tensors, whose dtypes are kept.
        variables: Keras variables that the function reads.
    """
    leaves = [ops.convert_to_tensor(each) for each in (*inputs, *(v.value for v in variables))]

    def call(*values: Any) -> Any:
        state = list(zip(variables, values[len(inputs) :], strict=True))
        with keras.StatelessScope(state_mapping=state):
            return function(*values[: len(inputs)])

    value, gradients = _BACKENDS[keras.backend.backend()](call, leaves)
    return float(value), [np.asarray(ops.convert_to_numpy(g), dtype="float64") for g in gradients]


def _jax(function: Callable[..., Any], leaves: list[Any]) -> tuple[Any, Any]:
    import jax

    return jax.value_and_grad(function, argnums=tuple(range(len(leaves))))(*leaves)


def _tensorflow(function: Callable[..., Any], leaves: list[Any]) -> tuple[Any, Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(leaves)
        value = function(*leaves)
    return value, tape.gradient(value, leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _torch(function: Callable[..., Any], leaves: list[Any]) -> tuple[Any, Any]:
    import torch

    with torch.enable_grad():
        leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
        value = function(*leaves)
        gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    return value.detach(), [
        torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, gradients, strict=True)
    ]


_BACKENDS = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
