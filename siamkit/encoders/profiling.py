"""The cost of an encoder: its parameters, the arithmetic of one item, and the time of one item."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from siamkit.errors import ComponentError

Sizes = Sequence[int | None]
Rule = Callable[[Any, Sequence[Sizes], Sizes], int]


@dataclass(frozen=True)
class Cost:
    """The cost of an encoder.

    Args:
        parameters: the number of its weights, trainable or not.
        flops: floating-point operations of a forward pass of one item.
    """

    parameters: int
    flops: int


def cost(encoder: keras.Model) -> Cost:
    """Return the parameters of an encoder, and the FLOPs of its forward pass of one item.

    flops = 2 Σ multiplications that are summed up: a multiply-add counts 2. The products of dense,
    convolutional and recurrent layers and of attention are counted, over the layers of a functional or
    sequential model and of the models nested in it. As in PyTorch's own counter, small terms are left out:
    biases, activations, normalisation, pooling, softmax, embedding look-ups, and operations outside layers.
    Padding counts like any token. A variable size (None) counts as 1.

    A custom layer may have a method `flops(input_shape) -> int`, with the shape as `build` gets it (a list of
    shapes if it takes several tensors). Other layers of an unknown kind, and encoders that are not functional
    models, count 2 x parameters x positions, where positions is the product of all axes but batch and
    features, of the input or the output, whichever is larger.

    Args:
        encoder: a built Keras model.

    Raises:
        ComponentError: the encoder is not a Keras model, or is not built.

    Example:
        >>> import siamkit
        >>> from siamkit.encoders import cost
        >>> encoder = siamkit.get_encoder("mlp", input_shape=(10,), embedding_dim=4, depth=1, width=8)
        >>> cost(encoder)  # 10 x 8 and 8 x 4 weights
        Cost(parameters=124, flops=224)
    """
    if not isinstance(encoder, keras.Model) or not encoder.built:
        raise ComponentError(f"cost takes a built keras.Model, got {encoder!r:.80}")
    # A model that was never called has no shapes; then only its weights count.
    return Cost(int(encoder.count_params()), _flops(encoder, [(None, None)], (None, None)))


def _flops(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    """Return the FLOPs of a layer for one item, from the shapes `(batch, …)` of its inputs and output."""
    stated = getattr(layer, "flops", None)
    if callable(stated):
        return int(stated(inputs[0] if len(inputs) == 1 else inputs))
    graph = layer._functional if isinstance(layer, keras.Sequential) else layer
    if hasattr(graph, "_nodes_by_depth"):
        return sum(_flops(*call) for call in _calls(graph))
    for kinds, rule in _RULES.items():
        if isinstance(layer, kinds):
            return rule(layer, inputs, output)
    positions = max(_size(shape[1:-1]) for shape in (*inputs, output))
    return 2 * sum(_size(weight.shape) for weight in getattr(layer, "weights", ())) * positions


def _calls(graph: Any) -> Iterator[tuple[Any, list[Sizes], Sizes]]:
    """Yield each call of a layer in a functional model, with its shapes; a shared layer once per call."""
    # From the model's nodes: a layer's own list also has its calls in other models.
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:
            if node.input_tensors:
                yield node.operation, [x.shape for x in node.input_tensors], node.outputs[0].shape


def _size(shape: Sizes) -> int:
    return math.prod(1 if size is None else int(size) for size in shape)


def _nothing(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    return 0


def _each_output(kernel: str) -> Rule:
    """Return the rule of layers whose kernel `(…, in, out)` makes all features of each output position."""

    def rule(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
        shape = getattr(layer, kernel).shape
        return 2 * _size(shape) * (_size(output[1:]) // int(shape[-1]))

    return rule


def _depthwise(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    # A kernel (…, in, multiplier) makes in x multiplier features.
    shape = layer.kernel.shape
    return 2 * _size(shape) * (_size(output[1:]) // _size(shape[-2:]))


def _separable(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    kernels = _size(layer.depthwise_kernel.shape) + _size(layer.pointwise_kernel.shape)
    return 2 * kernels * (_size(output[1:]) // int(layer.filters))


def _transposed(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    # A kernel (…, out, in) is applied at each position of the input.
    shape = layer.kernel.shape
    return 2 * _size(shape) * (_size(inputs[0][1:]) // int(shape[-1]))


def _einsum(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    operands, result = layer.equation.split("->")
    summed = [
        size
        for letter, size in zip(operands.split(",")[1], layer.kernel.shape, strict=True)
        if letter not in result
    ]
    return 2 * _size(output[1:]) * _size(summed)


def _recurrent(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    steps = _size(inputs[0][1:2])
    return 2 * steps * (_size(layer.cell.kernel.shape) + _size(layer.cell.recurrent_kernel.shape))


def _bidirectional(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    return sum(_flops(half, inputs, output) for half in (layer.forward_layer, layer.backward_layer))


def _at_each_step(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    one = [(shape[0], *shape[2:]) for shape in inputs]
    return _size(output[1:2]) * _flops(layer.layer, one, (output[0], *output[2:]))


def _attention(layer: Any, inputs: Sequence[Sizes], output: Sizes) -> int:
    """Return the FLOPs of queries times keys and weights times values, and of the projections of heads."""
    queries, keys = (_size(shape[1:-1]) for shape in inputs[:2])
    if not isinstance(layer, layers.MultiHeadAttention):
        return 2 * queries * keys * (_size(inputs[-1][-1:]) + _size(inputs[1][-1:]))
    size_of = {
        name: _size(getattr(layer, f"{name}_dense").kernel.shape)
        for name in ("query", "key", "value", "output")
    }
    projections = queries * (size_of["query"] + size_of["output"]) + keys * (
        size_of["key"] + size_of["value"]
    )
    return 2 * projections + 2 * queries * keys * int(layer.num_heads * (layer.key_dim + layer.value_dim))


_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_RULES: Mapping[Any, Rule] = {
    layers.Dense: _each_output("kernel"),
    (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose): _transposed,
    (layers.DepthwiseConv1D, layers.DepthwiseConv2D): _depthwise,
    (layers.SeparableConv1D, layers.SeparableConv2D): _separable,
    _CONVOLUTIONS: _each_output("kernel"),
    layers.EinsumDense: _einsum,
    (layers.SimpleRNN, layers.LSTM, layers.GRU): _recurrent,
    layers.Bidirectional: _bidirectional,
    layers.TimeDistributed: _at_each_step,
    (layers.MultiHeadAttention, layers.Attention): _attention,
    (
        layers.Embedding,
        layers.BatchNormalization,
        layers.GroupNormalization,
        layers.LayerNormalization,
        layers.Normalization,
        layers.PReLU,
        layers.RMSNormalization,
    ): _nothing,
}


# ------------------------------------------------------------------ time


BATCH, TIMED = 256, 7


def ms_per_item(encoder: keras.Model, items: Any) -> float:
    """Return milliseconds for an item: the median over a few full batches, after one to warm up.

    The time depends on the machine and on its other load.

    Args:
        encoder: a built Keras model.
        items: prepared items, an array or a dict of arrays; the first 256 are embedded repeatedly.
    """
    size = len(next(iter(items.values()))) if isinstance(items, dict) else len(items)
    size = min(BATCH, size)
    batch = {key: leaf[:size] for key, leaf in items.items()} if isinstance(items, dict) else items[:size]
    encoder.predict_on_batch(batch)  # compiles
    seconds = []
    for _ in range(TIMED):
        start = time.perf_counter()
        encoder.predict_on_batch(batch)  # returns NumPy, so it waits for the device
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds) / size
