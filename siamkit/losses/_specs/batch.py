"""The specs of the losses over all pairs of a labelled batch."""

from siamkit.registry.specs import Bool, Choice, Float, Int, LossSpec, Param

# Those worth searching are those that a study can tell apart at the cost of a few trials.
_mining = Choice(
    "all",
    options=("all", "hard", "semihard", "easy_positive", "distance_weighted", "multi_similarity"),
    search=("all", "multi_similarity"),
    help="which pairs of a batch",
)
_triplet_mining = Choice(
    "all",
    options=_mining.options,
    search=("all", "hard", "semihard"),
    help="which triplets of a batch",
)


def _sharpness(default: float, low: float, high: float, help: str) -> Float:
    return Float(default, low=low, high=high, log=True, minimum=1e-6, help=help)


def _margins(pos: float = 0.0, neg: float = 1.0) -> dict[str, Param]:
    return {
        "neg_margin": Float(
            neg,
            low=0.5,
            high=2.0,
            unit="typical_distance",
            help="distance beyond which unlike pairs cost nothing",
        ),
        "pos_margin": Float(pos, help="distance within which alike pairs cost nothing"),
    }


_PAIRED = [
    LossSpec(
        name="contrastive",
        factory="siamkit.losses.contrastive:Contrastive",
        supervision=("labels", "pairs"),
        orientation="distance",
        summary="alike pairs near, others beyond a margin",
        formula="y·[d - m₊]₊ᵖ + (1 - y)·[m₋ - d]₊ᵖ",
        reference="Hadsell, Chopra and LeCun 2006",
        params={
            **_margins(),
            "power": Float(2.0, minimum=1.0, help="2 squares the hinge, 1 is linear"),
            "mining": _mining,
        },
    ),
    LossSpec(
        name="snr_contrastive",
        factory="siamkit.losses.contrastive:snr_contrastive",
        supervision=("labels", "pairs"),
        orientation="distance",
        metrics=("snr",),
        summary="contrastive over the signal-to-noise ratio",
        formula="y·[d - m₊]₊ + (1 - y)·[m₋ - d]₊, d = var(a - b)/var(a)",
        reference="Yuan et al. 2019",
        params={**_margins(), "mining": _mining},
    ),
    LossSpec(
        name="triplet",
        factory="siamkit.losses.triplet:Triplet",
        supervision=("labels", "triplets"),
        summary="positive nearer than negative by a margin",
        formula="[d(a,p) - d(a,n) + m]₊",
        reference="Schroff, Kalenichenko and Philbin 2015",
        params={
            "margin": Float(0.05, low=0.05, high=1.0, unit="typical_distance", help="by how much nearer"),
            "swap": Bool(False, search=False, help="compare with d(p, n) where that is smaller"),
            "smooth_loss": Bool(False, search=False, help="log(1 + e^x) in place of the hinge"),
            "mining": _triplet_mining,
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
            "margin": Float(0.2, low=0.05, high=0.5, unit="typical_distance", help="α, to either side"),
            "nu": Float(0.0, minimum=0.0, help="ν, the price of a large learned boundary"),
            "beta": Float(1.2, low=0.4, high=1.2, unit="typical_distance", help="β, the boundary"),
            "learn_beta": Bool(False, help="learn β with the encoder"),
            "num_classes": Int(None, minimum=1, help="with learn_beta, one β for each class"),
            "mining": Choice(
                "all",
                options=_mining.options,
                search=("all", "distance_weighted"),
                help="which triplets of a batch",
            ),
        },
    ),
    LossSpec(
        name="generalized_lifted_structure",
        factory="siamkit.losses.weighting:GeneralizedLiftedStructure",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="soft hardest positive against soft hardest negative",
        formula="[log Σₚ e^(d(a,p) - m₊) + log Σₙ e^(m₋ - d(a,n))]₊",
        reference="Hermans, Beyer and Leibe 2017",
        params={**_margins(), "mining": _mining},
    ),
    LossSpec(
        name="lifted_structure",
        factory="siamkit.losses.weighting:LiftedStructure",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="each positive pair against the negatives of both its items",
        formula="½[log(Σₙ e^(m₋ - d(a,n)) + Σₙ e^(m₋ - d(p,n))) + d(a,p) - m₊]₊²",
        reference="Oh Song et al. 2016",
        params=_margins(),
    ),
]

_SOFT = [
    LossSpec(
        name="nt_xent",
        factory="siamkit.losses.softmax:NTXent",
        supervision=("labels", "views"),
        normalized=True,
        summary="each positive pair against the anchor's negatives",
        formula="-log(e^(s(a,p)/t) / (e^(s(a,p)/t) + Σₙ e^(s(a,n)/t)))",
        reference="Chen et al. 2020",
        params={"temperature": _sharpness(0.07, 0.02, 0.5, "softmax temperature"), "mining": _mining},
    ),
    LossSpec(
        name="sup_con",
        factory="siamkit.losses.softmax:SupCon",
        supervision=("labels", "views"),
        normalized=True,
        summary="all positives of an anchor against all its pairs",
        formula="-1/|P| Σₚ log(e^(s(a,p)/t) / Σᵢ e^(s(a,i)/t))",
        reference="Khosla et al. 2020",
        params={"temperature": _sharpness(0.1, 0.02, 0.5, "softmax temperature"), "mining": _mining},
    ),
    LossSpec(
        name="n_pairs",
        factory="siamkit.losses.softmax:NPairs",
        supervision=("labels", "views"),
        summary="one pair a class against the other classes' positives",
        formula="log Σⱼ e^s(aᵢ,pⱼ) - s(aᵢ,pᵢ)",
        reference="Sohn 2016",
    ),
    LossSpec(
        name="nca",
        factory="siamkit.losses.neighbors:NCA",
        supervision=("labels", "views"),
        summary="the chance of a neighbour of one's own class",
        formula="-log(Σₚ e^(σ s(a,p)) / Σᵢ e^(σ s(a,i)))",
        reference="Goldberger et al. 2004",
        params={"softmax_scale": _sharpness(1.0, 1.0, 32.0, "sharpness of the softmax")},
    ),
    LossSpec(
        name="tuplet_margin",
        factory="siamkit.losses.softmax:TupletMargin",
        supervision=("labels", "views"),
        orientation="similarity",
        range=(-1.0, 1.0),
        normalized=True,
        summary="positive pairs, relaxed by an angle, against the negatives",
        formula="log(1 + Σₙ e^(σ(cos θ(a,n) - cos(θ(a,p) - β))))",
        reference="Yu and Tao 2019",
        params={
            "margin": Float(5.73, low=0.0, high=15.0, help="β, in degrees"),
            "scale": _sharpness(64.0, 8.0, 128.0, "σ, sharpness"),
            "mining": _mining,
        },
    ),
    LossSpec(
        name="instance",
        factory="siamkit.losses.softmax:Instance",
        supervision=("views", "labels"),
        normalized=True,
        summary="every item a class of its own",
        formula="log Σⱼ e^(γ s(i,j)) - γ s(i,t), t the item's own row (over labels see the docstring)",
        reference="Zheng et al. 2020",
        params={"gamma": _sharpness(64.0, 4.0, 128.0, "γ, sharpness")},
    ),
    LossSpec(
        name="multi_similarity",
        factory="siamkit.losses.weighting:MultiSimilarity",
        supervision=("labels", "views"),
        normalized=True,
        summary="soft weights for each anchor's hard pairs",
        formula="1/α log(1 + Σₚ e^(-α(s(a,p) - λ))) + 1/β log(1 + Σₙ e^(β(s(a,n) - λ)))",
        reference="Wang et al. 2019",
        params={
            "alpha": _sharpness(2.0, 1.0, 10.0, "sharpness for positives"),
            "beta": _sharpness(50.0, 10.0, 80.0, "sharpness for negatives"),
            "base": Float(0.5, low=0.25, high=1.0, unit="typical_value", help="the value that divides"),
            "mining": _mining,
        },
    ),
    LossSpec(
        name="circle",
        factory="siamkit.losses.weighting:Circle",
        supervision=("labels", "views"),
        orientation="similarity",
        range=(-1.0, 1.0),
        normalized=True,
        summary="each similarity pulled by how far off it is",
        formula="log(1 + Σₚ e^(-γαₚ(s(a,p) - 1 + m)) · Σₙ e^(γαₙ(s(a,n) - m))), "
        "αₚ = [1 + m - s]₊ and αₙ = [s + m]₊ held constant",
        reference="Sun et al. 2020",
        params={
            "m": Float(0.4, low=0.1, high=0.5, help="margin"),
            "gamma": _sharpness(80.0, 16.0, 256.0, "γ, sharpness"),
            "mining": _mining,
        },
    ),
    LossSpec(
        name="angular",
        factory="siamkit.losses.weighting:Angular",
        supervision=("labels", "views"),
        orientation="similarity",
        normalized=True,
        summary="the angle at the negative kept below a bound",
        formula="log(1 + Σₙ e^(4tan²α(s(a,n) + s(p,n)) - 2(1 + tan²α)s(a,p)))",
        reference="Wang et al. 2017",
        params={
            "alpha": Float(40.0, low=30.0, high=55.0, minimum=1e-3, maximum=89.999, help="α, in degrees")
        },
    ),
]

_HINGED = [
    LossSpec(
        name="intra_pair_variance",
        factory="siamkit.losses.hinges:IntraPairVariance",
        supervision=("labels", "views"),
        normalized=True,
        summary="positives alike in their similarity, and negatives too",
        formula="meanₚ[(1 - ε₊)μ₊ - s]₊² + meanₙ[s - (1 + ε₋)μ₋]₊²",
        reference="Yu and Tao 2019",
        params={
            "pos_eps": Float(0.01, low=0.0, high=0.2, help="tolerance of positives"),
            "neg_eps": Float(0.01, low=0.0, high=0.2, help="tolerance of negatives"),
            "mining": _mining,
        },
    ),
    LossSpec(
        name="threshold_consistent_margin",
        factory="siamkit.losses.hinges:ThresholdConsistentMargin",
        supervision=("labels", "views"),
        orientation="similarity",
        normalized=True,
        summary="one pair of thresholds for all classes alike",
        formula="λ₊ mean_(s ≤ m₊)(m₊ - s) + λ₋ mean_(s ≥ m₋)(s - m₋)",
        reference="Zhang et al. 2024",
        params={
            "lambda_plus": Float(1.0, minimum=0.0, help="weight of positives"),
            "lambda_minus": Float(1.0, minimum=0.0, help="weight of negatives"),
            "margin_plus": Float(0.9, low=0.0, high=0.5, unit="typical_value", help="m₊, of positives"),
            "margin_minus": Float(0.5, low=0.25, high=1.0, unit="typical_value", help="m₋, of negatives"),
            "mining": _mining,
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
            "imbalance": Float(0.5, minimum=0.0, maximum=1.0, help="λ, the share of negatives"),
            "alpha": Float(None, low=0.6, high=1.4, unit="typical_distance", help="α, negatives' bound"),
            "Tp": Float(0.0, minimum=0.0, help="weighting of positives"),
        },
    ),
    LossSpec(
        name="dynamic_soft_margin",
        factory="siamkit.losses.soft_margin:DynamicSoftMargin",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="triplets weighted by the share of easier ones",
        formula="CDF(x)·x, x = d(a,p) - d(a,n)",
        reference="Zhang and Rusinkiewicz 2019",
        params={
            "min_val": Float(-2.0, maximum=-1e-6, help="where the histogram begins"),
            "num_bins": Int(10, low=5, high=40, minimum=2, help="its bins"),
            "momentum": Float(0.01, minimum=1e-6, maximum=1.0, help="weight of the current batch in it"),
        },
    ),
]

_RANKED = [
    LossSpec(
        name="fast_ap",
        factory="siamkit.losses.average_precision:FastAP",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="average precision from histograms of distances",
        formula="1 - 1/|P| Σⱼ h⁺ⱼ H⁺ⱼ / Hⱼ",
        reference="Cakir et al. 2019",
        params={
            "num_bins": Int(10, low=5, high=30, minimum=1, help="bins of the histogram"),
            "max_distance": Float(
                None, low=1.5, high=3.0, unit="typical_distance", help="where the last bin is"
            ),
        },
    ),
    LossSpec(
        name="histogram",
        factory="siamkit.losses.average_precision:Histogram",
        supervision=("labels", "views"),
        orientation="similarity",
        range=(-1.0, 1.0),
        normalized=True,
        summary="overlap of the similarities of positives and negatives",
        formula="Σⱼ h⁻ⱼ Σ_(i ≤ j) h⁺ᵢ",
        reference="Ustinova and Lempitsky 2016",
        params={
            "n_bins": Int(None, low=50, high=200, minimum=1, help="bins of the histograms; 100"),
            "delta": Float(None, minimum=1e-4, help="their width, 2 / n_bins"),
        },
    ),
    LossSpec(
        name="pnp",
        factory="siamkit.losses.average_precision:PNP",
        supervision=("labels", "views"),
        normalized=True,
        summary="a penalty on the negatives before each positive",
        formula="f(R), R = Σₙ sigmoid((s(a,n) - s(a,p))/τ), f(R) = R for variant O",
        reference="Li et al. 2022",
        params={
            "b": Float(2.0, minimum=1e-6, help="of variant Ib"),
            "alpha": Float(1.0, minimum=1e-6, help="of variant Dq"),
            "anneal": _sharpness(0.01, 0.005, 0.1, "τ, width of the step"),
            "variant": Choice("O", options=("O", "Ds", "Dq", "Iu", "Ib"), help="of the penalty f"),
        },
    ),
    LossSpec(
        name="manifold",
        factory="siamkit.losses.manifold:Manifold",
        supervision=("labels",),
        orientation="similarity",
        normalized=True,
        summary="near the proxy of one's meta-class along the batch's manifold",
        formula="mean log(1 + Σ_q e^(F(e,q) - F(e,p) + m)) + λ · context",
        reference="Aziere and Todorovic 2019",
        params={
            "K": Int(50, low=10, high=100, log=True, minimum=1, help="proxies"),
            "lambdaC": Float(1.0, minimum=0.0, help="weight of the context term"),
            "alpha": Float(0.8, low=0.5, high=0.95, minimum=1e-3, maximum=0.999, help="of the walk"),
            "margin": Float(5e-4, low=1e-4, high=1e-2, log=True, help="by how much nearer"),
        },
    ),
]

BATCH = [*_PAIRED, *_SOFT, *_HINGED, *_RANKED]
