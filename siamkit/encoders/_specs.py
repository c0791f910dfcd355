"""The specs of the built-in encoders."""

from dataclasses import replace

from siamkit.registry.specs import Bool, Choice, EncoderSpec, Float, Int

_dropout = Float(
    0.0, low=0.0, high=0.4, minimum=0.0, maximum=0.9, help="fraction of features dropped in training"
)
_unit_dropout = replace(_dropout, help="fraction of units dropped in training")
_token_dim = Int(64, low=32, high=256, log=True, minimum=1, help="dimensions of a token's embedding")
_units = Int(64, low=32, high=256, log=True, minimum=1, help="units in each direction")
_pooling = Choice(
    "flatten",
    options=("flatten", "grid", "average", "average_max", "gem"),
    search=("flatten", "grid", "average_max", "gem"),
    help="how the last feature map becomes a vector; flatten and grid keep places apart",
)
_z_norm = Bool(False, help="scale each feature of each series to mean 0 and deviation 1 first")
_heads = Int(4, low=1, high=8, log=True, minimum=1, help="heads of the attention")

_VECTORS = [
    EncoderSpec(
        name="linear",
        factory="siamkit.encoders.tabular:linear",
        inputs=("vector", "image", "series"),
        summary="one dense layer; flattens other shapes",
        formula="W x + b",
    ),
    EncoderSpec(
        name="linear_pca",
        factory="siamkit.encoders.tabular:linear_pca",
        inputs=("vector", "image", "series"),
        summary="one dense layer that starts as the principal components of the training items",
        reference="Pearson 1901",
        formula="W (x - mean)",
        needs=("training_items",),
        params={"center": Bool(True, help="subtract the mean of the training items")},
    ),
    EncoderSpec(
        name="linear_lda",
        factory="siamkit.encoders.tabular:linear_lda",
        inputs=("vector", "image", "series"),
        summary="one dense layer that starts as the linear discriminants of the training classes",
        reference="Fisher 1936",
        formula="W (x - mean)",
        needs=("training_items", "training_labels"),
    ),
    EncoderSpec(
        name="mlp",
        factory="siamkit.encoders.tabular:mlp",
        inputs=("vector", "image", "series"),
        summary="multilayer perceptron; flattens other shapes",
        formula="xᵢ₊₁ = relu(Wᵢ xᵢ + bᵢ)",
        params={
            "depth": Int(2, low=1, high=4, minimum=0, help="hidden layers"),
            "width": Int(128, low=32, high=512, log=True, minimum=1, help="units per layer"),
            "dropout": _dropout,
        },
    ),
]

_IMAGES = [
    EncoderSpec(
        name="cnn",
        factory="siamkit.encoders.image:cnn",
        inputs=("image",),
        summary="plain convolutional network",
        formula="xᵢ₊₁ = relu(norm(max₂(conv(xᵢ)))); W [x at each place] + V x₀",
        params={
            "depth": Int(
                None, low=2, high=4, minimum=1, help="blocks; by default enough to reach 4 pixels, at least 3"
            ),
            "filters": Int(16, low=8, high=32, log=True, minimum=1, help="filters of the first block"),
            "strides": Choice(
                1, options=(1, 2), search=(1,), help="1 halves by a maximum, 2 by the convolution: quicker"
            ),
            "normalization": Choice(
                "group",
                options=("group", "batch", "layer", "none"),
                search=("group", "batch", "none"),
                help="of the features after each convolution",
            ),
            "pooling": _pooling,
            "grid": Int(4, minimum=1, help="places a side of the pooling grid"),
            "dropout": _dropout,
            "shortcut": Bool(True, search=False, help="add a linear function of the image"),
        },
    ),
    EncoderSpec(
        name="cnn_pca",
        factory="siamkit.encoders.image:cnn_pca",
        inputs=("image",),
        summary="a network as `cnn`, and principal components of the training items that are not trained",
        formula="[cnn(x), V (x - mean)], each half of the dimensions and of unit length",
        needs=("training_items",),
        params={
            "depth": Int(
                None, low=2, high=4, minimum=1, help="blocks; by default enough to reach 4 pixels, at least 3"
            ),
            "filters": Int(32, low=16, high=64, log=True, minimum=1, help="filters of the first block"),
            "pooling": replace(_pooling, default="gem", search=("gem", "average_max")),
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="scattering",
        factory="siamkit.encoders.image:scattering",
        inputs=("image",),
        summary="one dense layer on edges of each orientation and size in each place, which are not trained",
        reference="Bruna & Mallat 2013",
        formula="W √(mean |x * ψ|)",
        needs=("training_items",),
        params={
            "orientations": Int(8, minimum=1, help="orientations of the wavelets"),
            "grid": Int(7, minimum=1, help="places a side"),
        },
    ),
    EncoderSpec(
        name="resnet",
        factory="siamkit.encoders.image:resnet",
        inputs=("image",),
        summary="residual network of pre-activation blocks",
        reference="He et al. 2016",
        formula="xᵢ₊₁ = xᵢ + conv(relu(norm(conv(relu(norm(xᵢ)))))); W [x at each place]",
        params={
            "depth": Int(3, low=2, high=4, minimum=1, help="stages; each halves the image"),
            "blocks": Int(1, low=1, high=3, minimum=1, help="residual blocks per stage"),
            "filters": Int(16, low=8, high=64, log=True, minimum=2, help="filters of the first stage"),
            "pooling": _pooling,
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="convnext",
        factory="siamkit.encoders.image:convnext",
        inputs=("image",),
        summary="ConvNeXt: depthwise convolutions, layer normalisation, GELU, layer scale",
        reference="Liu et al. 2022",
        formula="xᵢ₊₁ = xᵢ + γ·(W₂ gelu(W₁ norm(depthwise(xᵢ)))); mean over places",
        params={
            "depth": Int(2, low=1, high=3, minimum=1, help="stages; each halves the image"),
            "blocks": Int(2, low=1, high=3, minimum=1, help="blocks per stage"),
            "filters": Int(32, low=16, high=64, log=True, minimum=2, help="filters of the first stage"),
            "kernel": Int(5, low=3, high=7, minimum=1, help="side of the depthwise convolutions"),
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="vit",
        factory="siamkit.encoders.image:vit",
        inputs=("image",),
        summary="vision transformer: patches, learnt positions, pre-norm blocks",
        reference="Dosovitskiy et al. 2021",
        formula="xᵢ₊₁ = y + mlp(norm(y)), y = xᵢ + attention(norm(xᵢ)); mean over patches",
        params={
            "patch": Int(4, low=2, high=8, log=True, minimum=1, help="side of a patch, in pixels"),
            "depth": Int(3, low=1, high=6, minimum=1, help="transformer blocks"),
            "width": Int(64, low=32, high=192, log=True, minimum=2, help="dimensions of a patch's embedding"),
            "heads": _heads,
            "dropout": _dropout,
        },
    ),
]

_TOKENS = [
    EncoderSpec(
        name="bag",
        factory="siamkit.encoders.tokens:bag",
        inputs=("tokens", "text"),
        summary="mean of the tokens' embeddings, padding masked",
        reference="Wieting et al. 2016",
        formula="Σᵢ e(tᵢ) / n",
        needs=("vocabulary_size",),
        params={"token_dim": _token_dim, "dropout": _dropout},
    ),
    EncoderSpec(
        name="ngrams",
        factory="siamkit.encoders.tokens:ngrams",
        inputs=("tokens", "text"),
        summary="means of the embeddings of pieces and of hashed n-grams of pieces, padding masked",
        reference="Bojanowski et al. 2017",
        formula="mean e(t) over the pieces t + mean f(hash(g)) over the n-grams g of 2 to N pieces",
        needs=("vocabulary_size",),
        params={
            "longest": Int(3, low=2, high=5, minimum=2, help="pieces in the longest n-gram"),
            "buckets": Int(
                16384, low=4096, high=65521, log=True, minimum=2, maximum=65521, help="rows of the table"
            ),
            "token_dim": replace(_token_dim, default=128, help="dimensions of an n-gram's embedding"),
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="text_cnn",
        factory="siamkit.encoders.tokens:text_cnn",
        inputs=("tokens", "text"),
        summary="parallel convolutions over the tokens, maximum over time, padding masked",
        reference="Kim 2014",
        formula="maxᵢ relu(W·e(tᵢ … tᵢ₊ₖ) + b) for several k",
        needs=("vocabulary_size",),
        params={
            "token_dim": _token_dim,
            "filters": Int(64, low=32, high=256, log=True, minimum=1, help="filters of each width"),
            "narrowest": Int(3, low=1, high=4, minimum=1, help="tokens in the narrowest window"),
            "widths": Int(3, low=1, high=4, minimum=1, help="number of widths, each a token wider"),
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="lstm",
        factory="siamkit.encoders.tokens:lstm",
        inputs=("tokens", "text"),
        summary="LSTM over token ids, padding masked",
        reference="Hochreiter and Schmidhuber 1997",
        formula="hᵢ, cᵢ = lstm(e(tᵢ), hᵢ₋₁, cᵢ₋₁); the last h",
        needs=("vocabulary_size",),
        params={
            "units": _units,
            "token_dim": _token_dim,
            "bidirectional": Bool(False, help="also read the sequence backwards"),
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="gru",
        factory="siamkit.encoders.tokens:gru",
        inputs=("tokens", "text"),
        summary="GRU over token ids, padding masked",
        reference="Cho et al. 2014",
        formula="hᵢ = gru(e(tᵢ), hᵢ₋₁); the last h",
        needs=("vocabulary_size",),
        params={
            "units": _units,
            "token_dim": _token_dim,
            "bidirectional": Bool(False, help="also read the sequence backwards"),
            "dropout": _dropout,
        },
    ),
    EncoderSpec(
        name="transformer",
        factory="siamkit.encoders.tokens:transformer",
        inputs=("tokens", "text"),
        summary="transformer encoder of pre-norm blocks, mean over real tokens, padding masked",
        reference="Vaswani et al. 2017",
        formula="xᵢ₊₁ = y + mlp(norm(y)), y = xᵢ + attention(norm(xᵢ)); mean over real tokens",
        needs=("vocabulary_size",),
        params={
            "depth": Int(2, low=1, high=6, minimum=1, help="transformer blocks"),
            "width": Int(64, low=32, high=256, log=True, minimum=2, help="dimensions of a token's embedding"),
            "heads": _heads,
            "dropout": _dropout,
        },
    ),
]

_SERIES = [
    EncoderSpec(
        name="tcn",
        factory="siamkit.encoders.series:tcn",
        inputs=("series",),
        summary="dilated causal convolutions in residual blocks",
        reference="Bai et al. 2018",
        formula="xᵢ₊₁ = relu(xᵢ + f(f(xᵢ))), f = relu ∘ norm ∘ conv with dilation 2ⁱ; mean over steps",
        params={
            "depth": Int(4, low=2, high=8, minimum=1, help="residual blocks; the dilation doubles with each"),
            "filters": Int(32, low=16, high=128, log=True, minimum=2, help="filters of each convolution"),
            "kernel": Int(3, low=2, high=8, minimum=1, help="steps a convolution looks at"),
            "dropout": _dropout,
            "z_norm": _z_norm,
        },
    ),
    EncoderSpec(
        name="inception_time",
        factory="siamkit.encoders.series:inception_time",
        inputs=("series",),
        summary="convolutions of three lengths and a maximum side by side, with shortcuts",
        reference="Ismail Fawaz et al. 2020",
        formula="xᵢ₊₁ = relu(norm([conv₁₀(Wxᵢ), conv₂₀(Wxᵢ), conv₄₀(Wxᵢ), W′max₃(xᵢ)])); mean over steps",
        params={
            "depth": Int(3, low=1, high=6, minimum=1, help="modules; a shortcut bridges every three"),
            "filters": Int(16, low=8, high=64, log=True, minimum=1, help="filters of each of four branches"),
            "kernel": Int(40, low=8, high=64, log=True, minimum=1, help="steps of the longest convolution"),
            "dropout": _dropout,
            "z_norm": _z_norm,
        },
    ),
    EncoderSpec(
        name="kernels",
        factory="siamkit.encoders.series:kernels",
        inputs=("series",),
        summary="random convolutions that are not trained, and a trained projection of what they find",
        reference="Dempster, Petitjean and Webb 2020",
        formula="W norm([meanᵢ [kⱼ∗x + bⱼ > 0]ᵢ, maxᵢ (kⱼ∗x + bⱼ)ᵢ]ⱼ)",
        params={
            "kernels": Int(512, low=256, high=2048, log=True, minimum=1, help="number of random kernels"),
            "dropout": _dropout,
            "z_norm": _z_norm,
        },
    ),
    EncoderSpec(
        name="rnn",
        factory="siamkit.encoders.series:rnn",
        inputs=("series",),
        summary="GRU or LSTM over the steps",
        reference="Cho et al. 2014; Hochreiter and Schmidhuber 1997",
        formula="hᵢ = cell(xᵢ, hᵢ₋₁); the last h",
        params={
            "cell": Choice("gru", options=("gru", "lstm"), help="the recurrent cell"),
            "units": _units,
            "bidirectional": Bool(True, help="also read the sequence backwards"),
            "dropout": _dropout,
            "z_norm": _z_norm,
        },
    ),
]

_TABULAR = [
    EncoderSpec(
        name="tabular",
        factory="siamkit.encoders.tabular:tabular",
        inputs=("tabular", "vector"),
        summary="categories embedded, then an MLP over them, the numbers and what is missing",
        reference="Guo and Berkhahn 2016",
        formula="mlp(h) + V h, h = [x₁, …, x_k, missing₁, …, missing_k, E₁[c₁], …, E_c[c_c]]",
        needs=("columns",),
        params={
            "category_dim": Int(
                8, low=4, high=32, log=True, minimum=1, help="dimensions of a category's embedding"
            ),
            "depth": Int(2, low=1, high=4, minimum=0, help="hidden layers"),
            "width": Int(128, low=32, high=512, log=True, minimum=1, help="units per layer"),
            "dropout": _unit_dropout,
            "shortcut": Bool(True, search=False, help="add a linear function of the inputs"),
        },
    ),
    EncoderSpec(
        name="ft_transformer",
        factory="siamkit.encoders.tabular:ft_transformer",
        inputs=("tabular", "vector"),
        summary="transformer over columns, each of them a token",
        reference="Gorishniy, Rubachev, Khrulkov and Babenko 2021",
        formula="transformer([CLS], x₁w₁ + b₁, …, E₁[c₁], …) at [CLS]",
        needs=("columns",),
        params={
            "depth": Int(3, low=1, high=4, minimum=1, help="blocks of attention and hidden layer"),
            "token_dim": Int(64, low=32, high=192, log=True, minimum=1, help="dimensions of a token"),
            "heads": Int(8, minimum=1, help="heads of attention"),
            "dropout": _unit_dropout,
        },
    ),
]

ENCODERS = [*_VECTORS, *_IMAGES, *_TOKENS, *_SERIES, *_TABULAR]
