"""The specs of the losses that weight pairs by their hardness."""

from siamkit.losses._specs import MINING, margins, sharpness
from siamkit.registry.specs import Float, LossSpec

SPECS = [
    LossSpec(
        name="generalized_lifted_structure",
        factory="siamkit.losses.pair_weighting:GeneralizedLiftedStructure",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="soft hardest positive against soft hardest negative",
        formula="[log Σₚ e^(d(a,p) - m₊) + log Σₙ e^(m₋ - d(a,n))]₊",
        reference="Hermans, Beyer and Leibe 2017",
        params={**margins(), "mining": MINING},
    ),
    LossSpec(
        name="lifted_structure",
        factory="siamkit.losses.pair_weighting:LiftedStructure",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="each positive pair against the negatives of both its items",
        formula="½[log(Σₙ e^(m₋ - d(a,n)) + Σₙ e^(m₋ - d(p,n))) + d(a,p) - m₊]₊²",
        reference="Oh Song et al. 2016",
        params=margins(),
    ),
    LossSpec(
        name="multi_similarity",
        factory="siamkit.losses.pair_weighting:MultiSimilarity",
        supervision=("labels", "views"),
        normalized=True,
        summary="soft weights for each anchor's hard pairs",
        formula="1/α log(1 + Σₚ e^(-α(s(a,p) - λ))) + 1/β log(1 + Σₙ e^(β(s(a,n) - λ)))",
        reference="Wang et al. 2019",
        params={
            "alpha": sharpness(2.0, 1.0, 10.0, "sharpness for positives"),
            "beta": sharpness(50.0, 10.0, 80.0, "sharpness for negatives"),
            "base": Float(
                0.5, low=0.25, high=1.0, unit="typical_value", help="value between positives and negatives"
            ),
            "mining": MINING,
        },
    ),
    LossSpec(
        name="circle",
        factory="siamkit.losses.pair_weighting:Circle",
        supervision=("labels", "views"),
        orientation="similarity",
        range=(-1.0, 1.0),
        normalized=True,
        summary="each similarity pulled to its optimum, weighted by the difference",
        formula="log(1 + Σₚ e^(-γαₚ(s(a,p) - 1 + m)) · Σₙ e^(γαₙ(s(a,n) - m))), "
        "αₚ = [1 + m - s]₊ and αₙ = [s + m]₊ held constant",
        reference="Sun et al. 2020",
        params={
            "m": Float(0.4, low=0.1, high=0.5, help="margin"),
            "gamma": sharpness(80.0, 16.0, 256.0, "γ, sharpness"),
            "mining": MINING,
        },
    ),
    LossSpec(
        name="angular",
        factory="siamkit.losses.pair_weighting:Angular",
        supervision=("labels", "views"),
        orientation="similarity",
        normalized=True,
        summary="the angle at the negative is kept below a bound",
        formula="log(1 + Σₙ e^(4tan²α(s(a,n) + s(p,n)) - 2(1 + tan²α)s(a,p)))",
        reference="Wang et al. 2017",
        params={
            "alpha": Float(40.0, low=30.0, high=55.0, minimum=1e-3, maximum=89.999, help="α, in degrees")
        },
    ),
]
