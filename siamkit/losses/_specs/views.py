"""The specs of the losses over given pairs, scores and views."""

from siamkit.registry.specs import Bool, Float, LossSpec

_SCALE = Float(20.0, low=5.0, high=50.0, log=True, minimum=1e-6, help="inverse softmax temperature")

VIEWS = [
    LossSpec(
        name="multiple_negatives_ranking",
        factory="siamkit.losses.ranking:MultipleNegativesRanking",
        supervision=("views", "triplets", "pairs"),
        normalized=True,
        summary="each anchor finds its positive among those of the batch",
        reference="Henderson et al. 2017; sentence-transformers MultipleNegativesRankingLoss",
        formula="mean over i of -log(e^(scale s(aᵢ, pᵢ)) / Σ꜀ e^(scale s(aᵢ, c)))",
        params={
            "scale": _SCALE,
            "symmetric": Bool(False, help="positives find their anchors too"),
        },
    ),
    LossSpec(
        name="info_nce",
        factory="siamkit.losses.ranking:InfoNCE",
        supervision=("views",),
        normalized=True,
        summary="each item finds itself in another view",
        reference="van den Oord, Li and Vinyals 2018",
        formula="mean over k ≠ l, i of -log(e^(s(xᵢᵏ, xᵢˡ)/t) / Σⱼ e^(s(xᵢᵏ, xⱼˡ)/t))",
        params={
            "temperature": Float(
                0.07, low=0.02, high=0.5, log=True, minimum=1e-6, help="softmax temperature"
            ),
        },
    ),
    LossSpec(
        name="soft_nearest_neighbor",
        factory="siamkit.losses.neighbors:SoftNearestNeighbor",
        supervision=("labels", "views"),
        summary="a neighbour drawn by distance is of the same class",
        reference="Frosst, Papernot and Hinton 2019",
        formula="mean over i of -log(Σₚ e^(-d(i, p)/T) / Σⱼ e^(-d(i, j)/T))",
        params={
            "temperature": Float(
                1.0,
                low=0.05,
                high=1.0,
                log=True,
                minimum=1e-6,
                unit="typical_distance",
                help="distance at which neighbours fade",
            ),
        },
    ),
    LossSpec(
        name="online_contrastive",
        factory="siamkit.losses.verification:OnlineContrastive",
        supervision=("pairs",),
        orientation="distance",
        summary="the contrastive loss over the hard pairs of a batch",
        reference="sentence-transformers OnlineContrastiveLoss",
        formula="Σ d² over hard alike pairs + Σ [margin - d]₊² over hard other pairs",
        params={
            "margin": Float(
                0.5,
                low=0.5,
                high=2.0,
                unit="typical_distance",
                help="distance beyond which unlike pairs cost nothing",
            ),
        },
    ),
    LossSpec(
        name="binary_cross_entropy",
        factory="siamkit.losses.verification:BinaryCrossEntropy",
        supervision=("pairs",),
        summary="the odds of being alike fall with the distance",
        reference="Koch, Zemel and Salakhutdinov 2015",
        formula="-y log p - (1 - y) log(1 - p),  p = σ(bias - scale d)",
        params={
            "scale": Float(1.0, minimum=1e-6, help="of the distance, at first"),
            "bias": Float(
                1.0,
                low=0.5,
                high=1.5,
                unit="typical_distance",
                help="at first; bias / scale is the distance of even odds",
            ),
            "learning_rate_multiplier": Float(
                10.0, low=1.0, high=100.0, log=True, minimum=0.0, help="of scale and bias"
            ),
        },
    ),
    LossSpec(
        name="cosine_mse",
        factory="siamkit.losses.scores:CosineMSE",
        supervision=("scores",),
        orientation="similarity",
        summary="squared error of the similarity against a graded target",
        reference="Reimers and Gurevych 2019; sentence-transformers CosineSimilarityLoss",
        formula="(s(a, b) - y)²",
    ),
    LossSpec(
        name="cosent",
        factory="siamkit.losses.scores:CoSENT",
        supervision=("scores", "pairs"),
        normalized=True,
        summary="pairs of a higher target more alike than those of a lower one",
        reference="Su 2022; sentence-transformers CoSENTLoss",
        formula="log(1 + Σ e^(scale (sⱼ - sᵢ))) over yᵢ > yⱼ",
        params={"scale": _SCALE},
    ),
    LossSpec(
        name="angle",
        factory="siamkit.losses.scores:Angle",
        supervision=("scores", "pairs"),
        uses_metric=False,
        summary="CoSENT by angles in complex space",
        reference="Li and Li 2023; sentence-transformers AnglELoss",
        formula="log(1 + Σ e^(scale (sⱼ - sᵢ))) over yᵢ > yⱼ, s = |Σ Re(u v̄) + Σ Im(u v̄)|, |u| = |v| = 1",
        params={"scale": _SCALE},
    ),
    LossSpec(
        name="barlow_twins",
        factory="siamkit.losses.redundancy:BarlowTwins",
        supervision=("views",),
        uses_metric=False,
        summary="each dimension correlates with itself across views alone",
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
        factory="siamkit.losses.redundancy:VICReg",
        supervision=("views",),
        uses_metric=False,
        summary="views alike, dimensions spread and uncorrelated",
        reference="Bardes, Ponce and LeCun 2022; PML VICRegLoss",
        formula="λ mean (a - b)² + Σ_views (μ mean [1 - √(var + ε)]₊ / 2 + ν Σᵢ≠ⱼ covᵢⱼ² / dim)",
        params={
            "invariance_lambda": Float(
                25.0, low=1.0, high=50.0, log=True, minimum=0.0, help="λ, weight of likeness"
            ),
            "variance_mu": Float(25.0, low=1.0, high=50.0, log=True, minimum=0.0, help="μ, weight of spread"),
            "covariance_v": Float(
                1.0, low=0.1, high=10.0, log=True, minimum=0.0, help="ν, weight of the redundancy"
            ),
            "eps": Float(1e-4, minimum=1e-12, help="added to the variances"),
        },
    ),
]
