"""The specs of the losses over views."""

from siamkit.losses._specs import CHUNK_SIZE, SCALE
from siamkit.registry.specs import Bool, Float, LossSpec

SPECS = [
    LossSpec(
        name="multiple_negatives_ranking",
        factory="siamkit.losses.views:MultipleNegativesRanking",
        supervision=("views", "triplets", "pairs"),
        normalized=True,
        summary="each anchor finds its positive among those of the batch",
        reference="Henderson et al. 2017; sentence-transformers MultipleNegativesRankingLoss",
        formula="mean over i of -log(e^(scale s(aᵢ, pᵢ)) / Σ꜀ e^(scale s(aᵢ, c)))",
        params={
            "scale": SCALE,
            "symmetric": Bool(False, help="also let positives find their anchors"),
            "chunk_size": CHUNK_SIZE,
        },
    ),
    LossSpec(
        name="siglip",
        factory="siamkit.losses.views:SigLIP",
        supervision=("views", "triplets", "pairs"),
        normalized=True,
        summary="each anchor says of every candidate whether it is its own",
        reference="Zhai et al. 2023",
        formula="mean over i of Σⱼ -log σ(zᵢⱼ (t s(aᵢ, cⱼ) + b))",
        params={
            "scale": Float(
                10.0, low=5.0, high=50.0, log=True, minimum=1e-6, help="t, at the start of training"
            ),
            "bias": Float(-10.0, low=-20.0, high=0.0, help="b, at the start of training"),
            "learning_rate_multiplier": Float(
                1.0, minimum=0.0, help="factor on the learning rate of log t and b"
            ),
            "chunk_size": CHUNK_SIZE,
        },
    ),
    LossSpec(
        name="info_nce",
        factory="siamkit.losses.views:InfoNCE",
        supervision=("views",),
        normalized=True,
        summary="each item finds itself in another view",
        reference="van den Oord, Li and Vinyals 2018",
        formula="mean over k ≠ l, i of -log(e^(s(xᵢᵏ, xᵢˡ)/t) / Σⱼ e^(s(xᵢᵏ, xⱼˡ)/t))",
        params={
            "temperature": Float(
                0.07, low=0.02, high=0.5, log=True, minimum=1e-6, help="softmax temperature"
            ),
            "chunk_size": CHUNK_SIZE,
        },
    ),
    LossSpec(
        name="barlow_twins",
        factory="siamkit.losses.views:BarlowTwins",
        supervision=("views",),
        uses_metric=False,
        summary="each dimension correlates with itself only, across views",
        reference="Zbontar et al. 2021",
        formula="Σᵢ (1 - cᵢᵢ)² + λ Σᵢ≠ⱼ cᵢⱼ²",
        params={
            "off_diagonal": Float(
                5e-3, low=1e-3, high=0.1, log=True, minimum=0.0, help="λ, weight of the redundancy"
            ),
            "eps": Float(1e-5, minimum=1e-12, help="added to the variances"),
        },
    ),
    LossSpec(
        name="vicreg",
        factory="siamkit.losses.views:VICReg",
        supervision=("views",),
        uses_metric=False,
        summary="similar views, dimensions spread and uncorrelated",
        reference="Bardes, Ponce and LeCun 2022; PML VICRegLoss",
        formula="λ mean (a - b)² + Σ_views (μ mean [1 - √(var + ε)]₊ / 2 + ν Σᵢ≠ⱼ covᵢⱼ² / dim)",
        params={
            "invariance_lambda": Float(
                25.0, low=1.0, high=50.0, log=True, minimum=0.0, help="λ, weight of the invariance"
            ),
            "variance_mu": Float(
                25.0, low=1.0, high=50.0, log=True, minimum=0.0, help="μ, weight of the variance"
            ),
            "covariance_v": Float(
                1.0, low=0.1, high=10.0, log=True, minimum=0.0, help="ν, weight of the covariance"
            ),
            "eps": Float(1e-4, minimum=1e-12, help="added to the variances"),
        },
    ),
]
