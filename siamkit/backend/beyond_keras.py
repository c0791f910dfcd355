"""What Keras does not offer, on the backend that Keras runs on: gradients, compilation, memory, exports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import keras
import numpy as np
from keras import ops

from siamkit.backend.select import Function, backend_module


def value_and_gradient(
    function: Function, *inputs: Any, variables: Sequence[Any] = ()
) -> tuple[float, list[np.ndarray]]:
    """Return a scalar function's value, and its gradient by each input and then by each Keras variable.

    The variables keep their values, whatever the function assigns to them.

    Args:
        function: scalar function that takes one tensor for each input.
        *inputs: arrays or tensors of floating point, whose dtypes are preserved.
        variables: Keras variables that the function reads.

    Returns:
        The value, and float64 arrays.

    Example:
        >>> value, (gradient,) = value_and_gradient(lambda x: x * x, 3.0)
        >>> value, float(gradient)
        (9.0, 6.0)
    """
    return gradient_function(function, len(inputs), variables)(*inputs, *(v.value for v in variables))


def gradient_function(
    function: Function,
    inputs: int,
    variables: Sequence[Any] = (),
    compile: Callable[[Function], Function] | None = None,
) -> Callable[..., tuple[float, list[np.ndarray]]]:
    """Return `value_and_gradient` as a function of the inputs and the variables' values.

    Args:
        function: scalar function of the inputs.
        inputs: number of inputs.
        variables: Keras variables that the function reads.
        compile: the function that compiles it, `compiled` or `compiled_if_eager_compiles`.
    """
    run = backend_module().gradient(stateless(function, inputs, variables))
    if compile is not None:
        run = compile(run)

    def call(*values: Any) -> tuple[float, list[np.ndarray]]:
        value, gradients = run(*(ops.convert_to_tensor(value) for value in values))
        return float(value), [np.asarray(ops.convert_to_numpy(g), dtype="float64") for g in gradients]

    return call


def value_and_gradients(function: Function) -> Function:
    """Return a function of tensors that gives a scalar function's value and its gradients, as tensors.

    It works inside compiled functions and loops. No gradient passes through what it returns.
    """
    return backend_module().gradient(function)


def search_rows(ascending: Any, values: Any, right: bool = False) -> Any:
    """Return how many numbers of the same row are below each value, `(n, m)` int.

    Args:
        ascending: `(n, k)`, each row in ascending order.
        values: `(n, m)`.
        right: whether numbers equal to the value count too.
    """
    return backend_module().search_rows(ascending, values, right)


def stateless(function: Function, inputs: int, variables: Sequence[Any]) -> Function:
    """Return the function with the variables' values as further arguments after its inputs."""

    def call(*values: Any) -> Any:
        state = list(zip(variables, values[inputs:], strict=True))
        with keras.StatelessScope(state_mapping=state):
            return function(*values[:inputs])

    return call


def compiled(function: Function) -> Function:
    """Return a function of tensors, compiled by XLA on JAX and TensorFlow, unchanged on torch."""
    return backend_module().compiled(function)


def compiled_if_eager_compiles(function: Function) -> Function:
    """Return a function of tensors, compiled on JAX only: JAX compiles each operation in eager calls."""
    return compiled(function) if backend_module().EAGER_COMPILES else function


def is_concrete(value: Any) -> bool:
    """Return whether a value is known now: an array, or a tensor outside traced code."""
    if isinstance(value, keras.KerasTensor):
        return False
    return not ops.is_tensor(value) or backend_module().is_concrete(value)


def checked_tf_dataset(dataset: Any, check: Callable[[Any, int], Any]) -> Any:
    """Return a tf.data.Dataset of batches `(x, y, …)` whose targets pass a check, on any backend.

    Args:
        dataset: the dataset.
        check: function of a target, as an array, and the number of views in its batch; it raises an error.
    """
    from siamkit.backend import _tensorflow

    return _tensorflow.checked_dataset(dataset, check)


def running_model(*methods: str) -> keras.Model | None:
    """Return the Keras model of which one of these methods is running now, eagerly or while it is traced.

    Keras does not say to a loss or a metric which model calls it, or whether inside a step. All backends
    trace a step by running it, so the stack knows.
    """
    variables = _variables_of(methods)
    return None if variables is None else variables["self"]


def running_argument(name: str, *methods: str) -> Any:
    """Return an argument of the innermost of these methods of a Keras model that is running, or None."""
    return (_variables_of(methods) or {}).get(name)


def _variables_of(methods: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the variables of the innermost of these methods of a Keras model on the stack."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name in methods and isinstance(frame.f_locals.get("self"), keras.Model):
            return frame.f_locals
        frame = frame.f_back
    return None


def release_memory() -> None:
    """Return an accelerator's cached memory to other processes, if the backend can."""
    backend_module().release_memory()


# ------------------------------------------------------------------ exports


def write_torch_onnx(encoder: keras.Model, path: str, items: Any) -> None:
    """Write an encoder on torch as ONNX for any number of items, traced by torch.export.

    For any number of items, Keras itself traces by the older TorchScript, which then cannot express a layer
    normalisation.

    Args:
        encoder: a Keras model.
        path: the file to write.
        items: a few items, an array or a dict of arrays.
    """
    from siamkit.backend import _torch

    _torch.write_onnx(encoder, path, items)


def run_saved_model(path: str, items: Any) -> np.ndarray:
    """Return the embeddings that the endpoint `serve` of a SavedModel gives, on TensorFlow."""
    from siamkit.backend import _tensorflow

    return np.asarray(_tensorflow.run_saved_model(path, items))
