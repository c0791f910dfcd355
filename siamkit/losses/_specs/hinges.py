"""The specs of the losses of hinges."""

from siamkit.losses._specs import MINING
from siamkit.registry.specs import Float, Int, LossSpec

SPECS = [
    LossSpec(
        name="intra_pair_variance",
        factory="siamkit.losses.hinges:IntraPairVariance",
        supervision=("labels", "views"),
        normalized=True,
        summary="similarities of positives vary little, those of negatives too",
        formula="meanₚ[(1 - ε₊)μ₊ - s]₊² + meanₙ[s - (1 + ε₋)μ₋]₊²",
        reference="Yu and Tao 2019",
        params={
            "pos_eps": Float(0.01, low=0.0, high=0.2, help="tolerance of positives"),
            "neg_eps": Float(0.01, low=0.0, high=0.2, help="tolerance of negatives"),
            "mining": MINING,
        },
    ),
    LossSpec(
        name="threshold_consistent_margin",
        factory="siamkit.losses.hinges:ThresholdConsistentMargin",
        supervision=("labels", "views"),
        orientation="similarity",
        normalized=True,
        summary="the same two thresholds for all classes",
        formula="λ₊ mean_(s ≤ m₊)(m₊ - s) + λ₋ mean_(s ≥ m₋)(s - m₋)",
        reference="Zhang et al. 2024",
        params={
            "lambda_plus": Float(1.0, minimum=0.0, help="weight of positives"),
            "lambda_minus": Float(1.0, minimum=0.0, help="weight of negatives"),
            "margin_plus": Float(
                0.9, low=0.0, high=0.5, unit="typical_value", help="m₊, threshold of positives"
            ),
            "margin_minus": Float(
                0.5, low=0.25, high=1.0, unit="typical_value", help="m₋, threshold of negatives"
            ),
            "mining": MINING,
        },
    ),
    LossSpec(
        name="ranked_list",
        factory="siamkit.losses.hinges:RankedList",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="positives within one bound, negatives beyond another, weighted",
        formula="(1 - λ) Σₚ wₚ(d - (α - m)) / Σwₚ + λ Σₙ wₙ(α - d) / Σwₙ over pairs on the wrong side, "
        "wₚ = e^(Tp(d - (α - m))), wₙ = e^(Tn(α - d))",
        reference="Wang et al. 2019 (RLL)",
        params={
            "margin": Float(0.4, low=0.1, high=0.6, unit="typical_distance", help="m, between the bounds"),
            "Tn": Float(10.0, low=1.0, high=20.0, log=True, minimum=0.0, help="weighting of negatives"),
            "imbalance": Float(0.5, minimum=0.0, maximum=1.0, help="λ, weight of the negatives' term"),
            "alpha": Float(None, low=0.6, high=1.4, unit="typical_distance", help="α, negatives' bound"),
            "Tp": Float(0.0, minimum=0.0, help="weighting of positives"),
        },
    ),
    LossSpec(
        name="dynamic_soft_margin",
        factory="siamkit.losses.hinges:DynamicSoftMargin",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="triplets weighted by the fraction of easier ones",
        formula="CDF(x)·x, x = d(a,p) - d(a,n)",
        reference="Zhang and Rusinkiewicz 2019",
        params={
            "min_val": Float(-2.0, maximum=-1e-6, help="low end of the histogram"),
            "num_bins": Int(10, low=5, high=40, minimum=2, help="bins of the histogram"),
            "momentum": Float(0.01, minimum=1e-6, maximum=1.0, help="weight of the current batch"),
        },
    ),
]
