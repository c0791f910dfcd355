"""TensorFlow; see `select.Backend`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

EAGER_COMPILES = False
FULL_FLOAT32 = False  # whether TF32 is allowed


def version_and_devices() -> tuple[str, list[str]]:
    devices = tf.config.list_physical_devices()
    return tf.__version__, [device.name.removeprefix("/physical_device:").lower() for device in devices]


def is_on_accelerator(tensor: Any) -> bool:
    return "CPU" not in tensor.device


def gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*leaves: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            value = function(*leaves)
        gradients = tape.gradient(value, leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return value, [tf.convert_to_tensor(gradient) for gradient in gradients]

    return run


def with_gradient_of(other: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*leaves: Any) -> tuple[Any, Callable[[Any], Any]]:
        def by_leaves(slope: Any) -> Any:
            own = [tf.identity(leaf) for leaf in leaves]  # one tensor given twice has two gradients
            with tf.GradientTape() as tape:
                tape.watch(own)
                value = other(*own)
            return tape.gradient(value, own, slope)

        return function(*leaves), by_leaves

    return tf.custom_gradient(call)  # type: ignore[no-any-return]


def run_recorded(owner: Any, key: Any, function: Callable[[], Any], *_: Any) -> Any:
    return function()  # a training step is compiled as a whole


def search_rows(ascending: Any, values: Any, right: bool) -> Any:
    # Compiled by XLA, `tf.searchsorted` compares each value with the whole row.
    compare = tf.less_equal if right else tf.less
    size = tf.shape(ascending)[1]
    count = tf.zeros(tf.shape(values), "int32")
    for bit in reversed(range((ascending.shape[1] or 2**24).bit_length())):
        more = count + 2**bit
        number = tf.gather(ascending, tf.minimum(more, size) - 1, batch_dims=1)
        count = tf.where((more <= size) & compare(number, values), more, count)
    return count


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, jit_compile=True)  # type: ignore[no-any-return]


def mapped(function: Callable[..., Any], xs: Any, shared: Any, variables: Any, by_xs: bool) -> Any:
    # In a loop, a recomputed function must not read variables; gradients are by its arguments only.
    trained = [variable for variable in variables if variable.trainable]
    # Not `value`, which mixed precision rounds.
    values = {id(variable): tf.convert_to_tensor(variable._value) for variable in variables}
    shared = [tf.convert_to_tensor(tensor) for tensor in shared]

    def recomputed(row: list[Any]) -> Any:
        given = [*row, *shared]
        moving = [i for i, tensor in enumerate(given) if by_xs and tensor.dtype.is_floating]

        def run(*leaves: Any) -> Any:
            moved = dict(zip(moving, leaves, strict=False))
            weights = dict(zip(map(id, trained), leaves[len(moving) :], strict=True))
            state = [(variable, (values | weights)[id(variable)]) for variable in variables]
            with keras.StatelessScope(state):
                return function(*(moved.get(i, tensor) for i, tensor in enumerate(given)))

        leaves = [*(given[i] for i in moving), *(values[id(variable)] for variable in trained)]
        return tf.recompute_grad(run)(*leaves)

    return tf.map_fn(recomputed, xs, parallel_iterations=1, fn_output_signature=tf.float32)


def is_concrete(tensor: Any) -> bool:
    return not tf.is_symbolic_tensor(tensor)


def release_memory() -> None:
    pass  # TensorFlow keeps what it reserved until the process exits


def free_memory(tensor: Any) -> float:
    return 0.0  # a tf.data.Dataset takes the batches of a loader as arrays of the host


def gather(tensor: Any, rows: Any) -> Any:
    return tf.gather(tensor, rows)


def precision() -> Any:
    return tf.config.experimental.tensor_float_32_execution_enabled()


def set_precision(precision: Any) -> None:
    tf.config.experimental.enable_tensor_float_32_execution(precision)


def float32_scope() -> AbstractContextManager[Any]:
    return nullcontext()  # TensorFlow has only the switch for the whole process


def run_saved_model(path: str, items: Any) -> Any:
    """Return the embeddings from the endpoint `serve` of a SavedModel; see `beyond_keras.run_saved_model`."""
    fields = {name: tf.constant(leaf) for name, leaf in items.items()} if isinstance(items, dict) else items
    loaded = tf.saved_model.load(path)  # must stay referenced: its variables are deleted with it
    return loaded.serve(fields).numpy()


def checked_dataset(dataset: Any, check: Callable[[Any, int], Any]) -> Any:
    """Return a tf.data.Dataset whose targets pass a check; see `beyond_keras.checked_tf_dataset`."""

    def check_batch(*batch: Any) -> Any:
        if len(batch) < 2:
            return batch[0]
        views = len(batch[0]) if isinstance(batch[0], (tuple, list)) else 1

        def on_host(target: Any) -> bool:
            check(target, views)
            return True

        passed = tf.numpy_function(on_host, [batch[1]], tf.bool)
        with tf.control_dependencies([passed]):
            return (batch[0], tf.identity(batch[1]), *batch[2:])

    return dataset.map(check_batch)
