"""The specs of the built-in encoders for tables."""

from siamkit.registry.specs import EncoderSpec, Float, Int

_dropout = Float(0.0, low=0.0, high=0.4, minimum=0.0, maximum=0.9, help="share of units dropped in training")

TABULAR = [
    EncoderSpec(
        name="tabular",
        factory="siamkit.encoders.tabular:tabular",
        inputs=("tabular", "vector"),
        summary="categories embedded, then an MLP over them, the numbers and what is missing",
        reference="Guo and Berkhahn 2016",
        formula="mlp([x₁, …, x_k, missing₁, …, missing_k, E₁[c₁], …, E_c[c_c]])",
        needs=("columns",),
        params={
            "category_dim": Int(
                8, low=4, high=32, log=True, minimum=1, help="numbers a category is embedded in"
            ),
            "depth": Int(2, low=1, high=4, minimum=0, help="hidden layers"),
            "width": Int(128, low=32, high=512, log=True, minimum=1, help="units a layer"),
            "dropout": _dropout,
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
            "token_dim": Int(64, low=32, high=192, log=True, minimum=1, help="numbers a token has"),
            "heads": Int(8, minimum=1, help="heads of attention"),
            "dropout": _dropout,
        },
    ),
]
