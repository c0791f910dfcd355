"""The cost of encoders: by hand, and by PyTorch's own counter."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import siamkit
from siamkit.encoders.profiling import Cost, cost
from siamkit.errors import ComponentError

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]


def flops(*parts, shape, dtype=None):
    return cost(keras.Sequential([keras.Input(shape, dtype=dtype), *parts])).flops


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Dense(3, activation="relu"), (5,), 2 * 5 * 3),
        (layers.Dense(3), (7, 5), 7 * 2 * 5 * 3),
        (layers.Conv1D(4, 3, padding="same"), (10, 2), 10 * 4 * 2 * 3 * 2),
        (layers.Conv2D(4, 3, strides=2), (9, 9, 2), 16 * 4 * 2 * 9 * 2),
        # Two groups: each filter sees half of the channels.
        (layers.Conv1D(4, 3, groups=2), (12, 6), 10 * 4 * 2 * 3 * 3),
        (layers.Conv1DTranspose(4, 3, strides=2), (5, 2), 5 * 2 * 2 * 3 * 4),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 4), 9 * 8 * 2 * 9),
        (layers.SeparableConv1D(5, 3), (6, 4), 4 * (4 * 2 * 3 + 5 * 2 * 4)),
        # At each of 6 steps 4 gates of 3 units see 2 inputs and 3 units; a GRU has 3 gates.
        (layers.LSTM(3), (6, 2), 6 * 4 * 3 * 2 * (2 + 3)),
        (layers.LSTM(3, return_sequences=True), (6, 2), 6 * 4 * 3 * 2 * (2 + 3)),
        (layers.GRU(3), (6, 2), 6 * 3 * 3 * 2 * (2 + 3)),
        (layers.SimpleRNN(3), (6, 2), 6 * 3 * 2 * (2 + 3)),
        (layers.Bidirectional(layers.LSTM(3)), (6, 2), 2 * 6 * 4 * 3 * 2 * (2 + 3)),
        (layers.TimeDistributed(layers.Conv1D(4, 3)), (5, 6, 2), 5 * 4 * 4 * 2 * 3 * 2),
        (layers.EinsumDense("btd,dhe->bthe", (6, 2, 3)), (6, 4), 6 * 2 * 3 * 2 * 4),
        (layers.EinsumDense("bk,kd->bkd", (5, 3)), (5,), 5 * 3 * 2),
        (layers.EinsumDense("...d,de->...e", 3), (6, 4), 6 * 3 * 2 * 4),
        (layers.LayerNormalization(), (6, 4), 0),
        (layers.BatchNormalization(), (6, 4), 0),
        (layers.MaxPooling1D(2), (6, 4), 0),
    ],
)
def test_a_layer_costs_its_multiply_adds_twice(layer, shape, expected):
    assert flops(layer, shape=shape) == expected


def test_attention_costs_its_projections_and_both_its_products():
    query, value = keras.Input((5, 6)), keras.Input((7, 4))
    layer = layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=8)
    encoder = keras.Model([query, value], layer(query, value))
    projections = 5 * 6 * 6 + 7 * 4 * 6 + 7 * 4 * 16 + 5 * 16 * 6
    assert cost(encoder).flops == 2 * projections + 2 * 5 * 7 * 2 * (3 + 8)
    encoder = keras.Model([query, value], layers.Attention()([layers.Dense(4)(query), value]))
    assert cost(encoder).flops == 2 * 5 * 6 * 4 + 2 * 5 * 7 * (4 + 4)


def test_embeddings_are_looked_up_for_nothing_but_counted_as_parameters():
    encoder = siamkit.get_encoder(
        "lstm", input_shape=(6,), embedding_dim=4, vocabulary_size=100, units=3, token_dim=2
    )
    assert cost(encoder) == Cost(
        100 * 2 + 4 * 3 * (2 + 3 + 1) + 4 * (3 + 1), 6 * 4 * 3 * 2 * (2 + 3) + 2 * 3 * 4
    )


def test_a_shared_layer_counts_once_a_call_and_its_parameters_once():
    x = keras.Input((5,))
    layer = layers.Dense(5, use_bias=False)
    encoder = keras.Model(x, layer(layer(x)))
    assert cost(encoder) == Cost(25, 2 * 2 * 25)
    layer(keras.Input((5,)))  # in another model
    assert cost(encoder) == Cost(25, 2 * 2 * 25)


def test_nested_models_are_walked_and_a_model_may_have_been_called_elsewhere():
    inner = keras.Sequential([keras.Input((8, 2)), layers.Conv1D(4, 3), layers.Flatten()])
    x = keras.Input((8, 2))
    encoder = keras.Model(x, layers.Dense(3)(inner(x)))
    before = cost(encoder)
    assert before.flops == 6 * 4 * 2 * 3 * 2 + 2 * 24 * 3
    model = siamkit.Siamese(encoder, "cosine")
    model((np.zeros((2, 8, 2), "float32"),) * 2)
    encoder(keras.Input((8, 2)))
    assert cost(encoder) == before


class Scale(layers.Layer):
    """A weight for each feature, whose cost nobody knows."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],))

    def call(self, x):
        return x * self.scale


class Told(Scale):
    def flops(self, input_shape):
        assert input_shape == (None, 6, 4)
        return 24


def test_an_unknown_layer_counts_its_weights_at_each_position_unless_it_tells():
    assert flops(Scale(), shape=(6, 4)) == 2 * 4 * 6
    assert flops(Told(), shape=(6, 4)) == 24


def test_a_subclassed_model_counts_its_weights_and_an_unbuilt_one_is_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Own()
    for bad in (model, "cnn"):
        with pytest.raises(ComponentError, match=r"cost takes a built keras.Model, got "):
            cost(bad)
    model(np.zeros((2, 5), "float32"))
    assert cost(model) == Cost(18, 2 * 18)


# What a sum of products by hand gives for each encoder that mixes several kinds of layers.
TABLE = {"numeric": (3,), "missing": (3,), "categorical": (2,)}
COLUMNS = {"numeric": ["p", "q", "r"], "categorical": {"c": 4, "d": 5}}


def test_a_tabular_encoder_costs_its_dense_layers():
    encoder = siamkit.get_encoder(
        "tabular", input_shape=TABLE, embedding_dim=4, columns=COLUMNS, category_dim=2, depth=1, width=8
    )
    # The table of categories, the hidden layer, the projection and the shortcut around it.
    weights = 10 * 8 + 8 * 4 + 10 * 4
    assert cost(encoder) == Cost(9 * 2 + weights + 8 + 4, 2 * weights)


NETS = {
    "mlp": ((10,), {}),
    "cnn": ((12, 12, 3), {"filters": 4}),
    "ft_transformer": ((5,), {"columns": None, "token_dim": 8, "heads": 2}),
}


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="PyTorch's counter counts PyTorch's operations"
)
@pytest.mark.parametrize("name", NETS)
def test_pytorch_counts_the_same(name):
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    shape, params = NETS[name]
    encoder = siamkit.get_encoder(name, input_shape=shape, embedding_dim=6, **params)
    x = torch.zeros((1, *shape))
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(x)
    assert cost(encoder).flops == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="PyTorch's counter counts PyTorch's operations"
)
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.LSTM, (6, 5)),
        (layers.GRU, (6, 5)),
        (layers.Conv1DTranspose, (6, 5)),
        (layers.SeparableConv2D, (6, 6, 4)),
    ],
)
def test_pytorch_counts_the_same_of_single_layers(layer, shape):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    made = layer(7, 3) if "Conv" in layer.__name__ else layer(7)
    encoder = keras.Sequential([keras.Input(shape), made])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros((1, *shape)))
    assert cost(encoder).flops == pytest.approx(counter.get_total_flops(), rel=0.02)
