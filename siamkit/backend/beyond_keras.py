"""What Keras does not offer, on the backend that Keras runs on: gradients, compilation, memory, exports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from types import FrameType
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from siamkit.backend.select import Function, backend_module, float32_scope
from siamkit.errors import ModelError


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


def with_gradient_of(other: Function, function: Function) -> Function:
    """Return a function of tensors with the gradient of another, which computes the same with fewer digits.

    Args:
        other: function that has the gradient; JAX and TensorFlow compute of it what the gradient needs.
        function: function that has the value. Both read no variables.
    """

    def in_float32(function: Function) -> Function:
        def call(*inputs: Any) -> Any:
            with float32_scope():  # it may be traced after the scope of the caller
                return function(*inputs)

        return call

    return backend_module().with_gradient_of(in_float32(other), in_float32(function))


def run_recorded(
    owner: Any, key: Hashable, function: Function, inputs: Sequence[Any], variables: Sequence[Any] = ()
) -> Any:
    """Return the result of a function of tensors; on torch by a recording once it was called often enough.

    Only for functions whose result depends on nothing else, and that change nothing but the variables.

    Args:
        owner: the object that the function belongs to; its recordings are deleted with it.
        key: what else the function depends on.
        function: function of the inputs.
        inputs: tensors.
        variables: Keras variables that the function reads, and perhaps assigns to.
    """
    pure = with_changes(function, len(inputs), variables)
    return backend_module().run_recorded(owner, key, lambda: function(*inputs), pure, inputs, variables)


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
    pure = with_changes(function, inputs, variables)
    return lambda *values: pure(*values)[0]


def with_changes(
    function: Function, inputs: int, variables: Sequence[Any]
) -> Callable[..., tuple[Any, list[Any]]]:
    """Return the function as `stateless` does; it also returns each variable's new value, None for no change.

    Args:
        function: function of the inputs.
        inputs: number of inputs.
        variables: Keras variables that the function reads or assigns to.
    """

    def call(*values: Any) -> tuple[Any, list[Any]]:
        with keras.StatelessScope(state_mapping=list(zip(variables, values[inputs:], strict=True))) as scope:
            before = [scope.get_current_value(variable) for variable in variables]
            result = function(*values[:inputs])
            after = [scope.get_current_value(variable) for variable in variables]
        return result, [None if new is old else new for old, new in zip(before, after, strict=True)]

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


def is_readable(value: Any) -> bool:
    """Return whether Python may read a tensor's values: nothing waits for it, and nothing is compiled."""
    backend = backend_module()
    return not backend.EAGER_COMPILES and is_concrete(value) and not backend.is_on_accelerator(value)


def encoded_in_parts(encoder: keras.Model, x: Any, size: int, training: bool | None) -> Any:
    """Return a batch's embeddings, computed in micro-batches, with the memory of one micro-batch.

    GradCache (Gao et al. 2021, https://arxiv.org/abs/2101.06983): a gradient by the embeddings becomes one by
    the encoder's weights micro-batch by micro-batch; each is encoded again for it, with the same random
    numbers. So a loss of all embeddings has its exact gradient.

    Args:
        encoder: a Keras model.
        x: a view of n items, a tensor or a dict of tensors.
        size: number of items of a micro-batch.
        training: as in a call of the encoder.

    Returns:
        `(n, dim)` float32.

    Raises:
        ModelError: the encoder has layers that see the batch as a whole.
    """
    count = ops.shape(tree.flatten(x)[0])[0]
    if isinstance(count, int) and count <= size:
        return encoder(x, training=training)
    parts = -(-count // size)
    leaves = [_in_parts(leaf, parts, size) for leaf in tree.flatten(x)]
    seeds = [each for each in encoder.non_trainable_variables if each.name == "seed_generator_state"]
    # A state is a seed and the number of draws from it: each micro-batch has draws of its own.
    draws = ops.stack([ops.zeros_like(ops.arange(parts)), DRAWS * ops.arange(parts)], axis=1)
    states = [seed.value + ops.cast(draws, seed.dtype) for seed in seeds]

    def encode(*rows: Any) -> Any:
        views, state = tree.pack_sequence_as(x, rows[: len(leaves)]), rows[len(leaves) :]
        with _InnerScope(list(zip(seeds, state, strict=True)), collect_losses=True) as scope:
            embeddings = ops.cast(encoder(views, training=training), "float32")
            _check_repeatable(encoder, scope, seeds)
        return embeddings

    embeddings = backend_module().mapped(encode, [*leaves, *states], [], encoder.variables, by_xs=False)
    for seed in seeds if training else ():
        seed.assign(seed.value + ops.cast(ops.stack([0, DRAWS * parts]), seed.dtype))
    return ops.reshape(embeddings, (-1, embeddings.shape[-1]))[:count]


DRAWS = 1009
"""How many draws of one random generator a micro-batch may need; prime, so that strides do not coincide."""


def _in_parts(leaf: Any, parts: Any, size: int) -> Any:
    """Return an array `(n, …)` as `(parts, size, …)`; the last item fills the last part."""
    count = ops.shape(leaf)[0]
    if not isinstance(count, int) or count % size:
        leaf = ops.take(leaf, ops.minimum(ops.arange(parts * size), count - 1), axis=0)
    return ops.reshape(leaf, (-1, size, *leaf.shape[1:]))


class _InnerScope(keras.StatelessScope):
    """A scope for some variables; others have their values of the scope around it, as in a JAX step."""

    def get_current_value(self, variable: Any) -> Any:
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            value = self.original_scope.get_current_value(variable)
        return value


def _check_repeatable(encoder: keras.Model, scope: keras.StatelessScope, seeds: Sequence[Any]) -> None:
    """Raise ModelError if a call of the encoder did more than return embeddings and draw random numbers."""
    changed = scope.state_mapping.keys() - {id(seed) for seed in seeds}
    if not changed and not scope.losses:
        return
    paths = [each.path for each in encoder.variables if id(each) in changed]
    if paths:
        reason = f"changes its variable {paths[0]!r} in each call, as batch normalisation does"
        remedy = "use layer or group normalisation, freeze that layer (layer.trainable = False)"
    elif changed:
        reason = "draws random numbers without a keras.random.SeedGenerator of its own"
        remedy = "give the layer that draws one"
    else:
        reason = "adds a loss of its activations"
        remedy = "remove activity_regularizer and add_loss from its layers"
    error: Any = ModelError(
        f"the encoder {encoder.name!r} {reason}, so micro-batches would not give the gradients of the whole "
        f"batch; {remedy}, or leave out micro_batch"
    )
    error._keras_call_info_injected = True  # else Keras adds a page on the call to the sentence
    raise error


@cache
def has_accelerator() -> bool:
    """Return whether the backend has another device than the CPU; also while code is traced."""
    _, devices = backend_module().version_and_devices()
    return any(not device.startswith("cpu") for device in devices)


def sorts_slowly() -> bool:
    """Return whether sorting a matrix takes longer than a hundred passes over it, as XLA does on a CPU."""
    return keras.backend.backend() != "torch" and not has_accelerator()


def in_tiles(
    function: Function, tiled: Sequence[Any], shared: Sequence[Any], size: int, variables: Sequence[Any] = ()
) -> Any:
    """Return a function's results for consecutive tiles of n rows, `(tiles, …)`, with the memory of one tile.

    As in GradCache, a gradient computes each tile again, so that nothing of it is kept until then.

    Args:
        function: function of the numbers of a tile's rows, `(size,)` int32, of these rows of each array, and
            of what is shared; it returns float32. The last row is repeated to fill the last tile, under
            numbers from n on.
        tiled: arrays of n rows each.
        shared: tensors that each tile needs as a whole.
        size: number of rows of a tile.
        variables: Keras variables that the function reads.

    Example:
        >>> from keras import ops
        >>> x, weight = ops.arange(5, dtype="float32"), ops.ones(1)
        >>> sums = in_tiles(lambda rows, x, weight: ops.sum(weight * x), [x], [weight], size=2)
        >>> [float(total) for total in sums]      # 0 + 1, 2 + 3, 4 + 4
        [1.0, 5.0, 8.0]
    """
    count = ops.shape(tiled[0])[0]
    tiles = -(-count // size)
    leaves = [_in_parts(ops.convert_to_tensor(leaf), tiles, size) for leaf in tiled]
    firsts = ops.cast(size * ops.arange(tiles), "int32")
    constants = [*shared, *(variable.value for variable in variables)]

    def of_tile(first: Any, *given: Any) -> Any:
        arguments, values = given[: len(given) - len(variables)], given[len(given) - len(variables) :]
        with _InnerScope(list(zip(variables, values, strict=True))):
            return function(first + ops.arange(size, dtype="int32"), *arguments)

    return backend_module().mapped(of_tile, [firsts, *leaves], constants, [], by_xs=True)


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


# ------------------------------------------------------------------ items on the device

ITEMS_SHARE = 0.1
"""The share of an accelerator's free memory that items may take; the rest is for training."""


class DeviceArray:
    """An array in the device's memory; indexed by rows it gives a tensor that is gathered there.

    Args:
        array: `(n, …)`.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._tensor = ops.convert_to_tensor(array)

    def __getitem__(self, rows: np.ndarray) -> Any:
        return backend_module().gather(self._tensor, rows)


class DeviceItems:
    """The arrays of items that are in the device's memory: those that were asked for last.

    They are copied once, as long as the same arrays are asked for; others take their place.
    """

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._copies: list[DeviceArray] = []

    def copies(self, arrays: Sequence[np.ndarray]) -> list[DeviceArray] | None:
        """Return the arrays in the device's memory; None if they stay on the host.

        They stay there without an accelerator; if they take more than a tenth of its free memory; if Keras
        divides batches among devices, or copies tensors to the host (TensorFlow); and if a value is NaN or
        infinite, since batches of the host are checked for these.

        Args:
            arrays: arrays that do not change while they are used.
        """
        if [*map(id, arrays)] != [*map(id, self._arrays)]:
            self._arrays, self._copies = [], []  # released before the next are copied
            is_divided = keras.distribution.distribution() is not None
            if is_divided or sum(array.nbytes for array in arrays) > ITEMS_SHARE * free_memory():
                return None
            if not all(np.isfinite(array.sum(dtype=np.float64)) for array in arrays):
                return None
            self._arrays, self._copies = [*arrays], [*map(DeviceArray, arrays)]
        return self._copies


def free_memory() -> float:
    """Return how many bytes this process may still take of an accelerator; see `Backend.free_memory`."""
    return backend_module().free_memory(ops.zeros(1))


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
