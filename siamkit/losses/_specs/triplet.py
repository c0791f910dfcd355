"""The specs of the losses over triplets."""

from siamkit.losses._specs import MINING
from siamkit.registry.specs import Bool, Choice, Float, Int, LossSpec

_MINING = Choice(
    "all",
    options=MINING.options,
    search=("all", "hard", "semihard"),
    help="rule that selects triplets of a batch",
)

SPECS = [
    LossSpec(
        name="triplet",
        factory="siamkit.losses.triplet:Triplet",
        supervision=("labels", "triplets"),
        summary="positive nearer than negative by a margin",
        formula="[d(a,p) - d(a,n) + m]₊",
        reference="Schroff, Kalenichenko and Philbin 2015",
        params={
            "margin": Float(0.05, low=0.05, high=1.0, unit="typical_distance", help="by how much nearer"),
            "swap": Bool(False, search=False, help="use d(p, n) if it is smaller than d(a, n)"),
            "smooth_loss": Bool(False, search=False, help="log(1 + e^x) in place of the hinge"),
            "mining": _MINING,
        },
    ),
    LossSpec(
        name="margin",
        factory="siamkit.losses.triplet:Margin",
        supervision=("labels", "views"),
        normalized=True,
        summary="positives within a boundary, negatives beyond it",
        formula="Σ([α + d(a,p) - β]₊ + [α + β - d(a,n)]₊) / active + νβ",
        reference="Wu et al. 2017",
        params={
            "margin": Float(0.2, low=0.05, high=0.5, unit="typical_distance", help="α, on both sides"),
            "nu": Float(0.0, minimum=0.0, help="ν, weight of a penalty on a large learned boundary"),
            "beta": Float(1.2, low=0.4, high=1.2, unit="typical_distance", help="β, the boundary"),
            "learn_beta": Bool(False, help="learn β with the encoder"),
            "num_classes": Int(None, minimum=1, help="with learn_beta, one β for each class"),
            "mining": Choice(
                "all",
                options=MINING.options,
                search=("all", "distance_weighted"),
                help="rule that selects triplets of a batch",
            ),
        },
    ),
]
