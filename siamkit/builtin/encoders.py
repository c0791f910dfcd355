"""The specs of the built-in encoders."""

from siamkit.specs import Bool, EncoderSpec, Float, Int

_dropout = Float(
    0.0, low=0.0, high=0.4, minimum=0.0, maximum=0.9, help="share of features dropped in training"
)

ENCODERS = [
    EncoderSpec(
        name="mlp",
        factory="siamkit.encoders.vector:mlp",
        inputs=("vector", "image", "series"),
        summary="multilayer perceptron; flattens what is no vector",
        params={
            "depth": Int(2, low=1, high=4, minimum=0, help="hidden layers"),
            "width": Int(128, low=32, high=512, log=True, minimum=1, help="units a layer"),
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="cnn",
        factory="siamkit.encoders.image:cnn",
        inputs=("image",),
        summary="plain convolutional network",
        params={
            "depth": Int(3, low=2, high=4, minimum=1, help="blocks of convolution and pooling"),
            "filters": Int(32, low=16, high=64, log=True, minimum=1, help="filters of the first block"),
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="lstm",
        factory="siamkit.encoders.tokens:lstm",
        inputs=("tokens", "text"),
        summary="LSTM over token ids, padding masked",
        reference="Hochreiter and Schmidhuber 1997",
        needs=("vocabulary_size",),
        params={
            "units": Int(64, low=32, high=256, log=True, minimum=1, help="units, one direction"),
            "token_dim": Int(
                64, low=32, high=256, log=True, minimum=1, help="numbers a token is embedded in"
            ),
            "bidirectional": Bool(False, help="read backwards too"),
            "dropout": _dropout,
        },
    ),
]
