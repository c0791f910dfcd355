"""The specs of the built-in metrics."""

import math

from siamkit.registry.specs import Choice, Float, Int, MetricSpec

_DISTANCE = (0.0, math.inf)

METRICS = [
    MetricSpec(
        name="euclidean",
        factory="siamkit.metrics.fixed:Euclidean",
        orientation="distance",
        range=_DISTANCE,
        summary="length of the difference",
        formula="√Σ (a - b)²",
        reference="SciPy's euclidean",
    ),
    MetricSpec(
        name="squared_euclidean",
        factory="siamkit.metrics.fixed:SquaredEuclidean",
        orientation="distance",
        range=_DISTANCE,
        summary="squared length of the difference",
        formula="Σ (a - b)²",
        reference="SciPy's sqeuclidean",
    ),
    MetricSpec(
        name="cosine",
        factory="siamkit.metrics.fixed:Cosine",
        orientation="similarity",
        range=(-1.0, 1.0),
        summary="cosine of the angle; 0 if a vector is zero",
        formula="a·b / (|a| |b|)",
        reference="1 - SciPy's cosine",
    ),
    MetricSpec(
        name="angular",
        factory="siamkit.metrics.fixed:AngularDistance",
        orientation="distance",
        range=(0.0, 1.0),
        summary="angle as a fraction of the half circle; ½ if a vector is zero",
        formula="arccos(a·b / (|a| |b|)) / π",
        reference="Cer et al. 2018",
    ),
    MetricSpec(
        name="dot",
        factory="siamkit.metrics.fixed:Dot",
        orientation="similarity",
        range=(-math.inf, math.inf),
        summary="dot product",
        formula="a·b",
        reference="NumPy's dot",
    ),
    MetricSpec(
        name="manhattan",
        factory="siamkit.metrics.fixed:Manhattan",
        orientation="distance",
        range=_DISTANCE,
        summary="sum of the differences of all coordinates",
        formula="Σ |a - b|",
        reference="SciPy's cityblock",
    ),
    MetricSpec(
        name="minkowski",
        factory="siamkit.metrics.fixed:Minkowski",
        orientation="distance",
        range=_DISTANCE,
        summary="between Manhattan (p = 1), Euclidean (p = 2) and Chebyshev (p = ∞)",
        formula="(Σ |a - b|ᵖ)^(1/p)",
        reference="SciPy's minkowski",
        params={
            "p": Float(
                3.0, low=1.5, high=4.0, minimum=1.0, help="the higher, the more large differences count"
            )
        },
    ),
    MetricSpec(
        name="chebyshev",
        factory="siamkit.metrics.fixed:Chebyshev",
        orientation="distance",
        range=_DISTANCE,
        summary="largest difference of a coordinate",
        formula="max |a - b|",
        reference="SciPy's chebyshev",
    ),
    MetricSpec(
        name="correlation",
        factory="siamkit.metrics.fixed:Correlation",
        orientation="distance",
        range=(0.0, 2.0),
        summary="1 minus Pearson's correlation of the coordinates; 1 if a vector is constant",
        formula="1 - (a - ā)·(b - b̄) / (|a - ā| |b - b̄|)",
        reference="SciPy's correlation",
    ),
    MetricSpec(
        name="canberra",
        factory="siamkit.metrics.fixed:Canberra",
        orientation="distance",
        range=_DISTANCE,
        summary="relative differences of the coordinates, summed; 0/0 counts 0",
        formula="Σ |a - b| / (|a| + |b|)",
        reference="Lance and Williams 1967; SciPy's canberra",
    ),
    MetricSpec(
        name="braycurtis",
        factory="siamkit.metrics.fixed:BrayCurtis",
        orientation="distance",
        range=(0.0, 1e6),
        summary="summed differences over summed sums; capped at 1e6, for example if a = -b",
        formula="Σ |a - b| / Σ |a + b|",
        reference="Bray and Curtis 1957; SciPy's braycurtis",
    ),
    MetricSpec(
        name="snr",
        factory="siamkit.metrics.fixed:SNR",
        orientation="distance",
        range=_DISTANCE,
        summary="noise over the anchor's signal; not symmetric",
        formula="var(a - b) / var(a)",
        reference="Yuan et al. 2019; SNRDistance of pytorch-metric-learning, without normalisation",
    ),
    MetricSpec(
        name="poincare",
        factory="siamkit.metrics.fixed:Poincare",
        orientation="distance",
        range=_DISTANCE,
        summary="distance in the Poincaré ball; points outside are brought to 1 - eps",
        formula="arcosh(1 + 2 |a - b|² / ((1 - |a|²)(1 - |b|²)))",
        reference="Nickel and Kiela 2017",
        params={
            "eps": Float(
                1e-3,
                low=1e-4,
                high=1e-1,
                log=True,
                minimum=1e-6,
                maximum=0.5,
                help="margin between the points and the ball's surface",
            )
        },
    ),
    MetricSpec(
        name="mahalanobis",
        factory="siamkit.metrics.learned:Mahalanobis",
        orientation="distance",
        range=_DISTANCE,
        trainable=True,
        summary="Euclidean distance after a learned linear map L",
        formula="√((a - b)ᵀ L Lᵀ (a - b))",
        reference="Xing et al. 2002; SciPy's mahalanobis",
        params={
            "form": Choice("full", options=("full", "diagonal", "low_rank"), help="shape of L"),
            # Not searched: it means nothing to the other forms.
            "rank": Int(16, minimum=1, help="columns of a low-rank L, at most the embedding's dimensions"),
        },
    ),
    MetricSpec(
        name="bilinear",
        factory="siamkit.metrics.learned:Bilinear",
        orientation="similarity",
        range=(-math.inf, math.inf),
        trainable=True,
        summary="dot product after a learned linear map W",
        formula="aᵀ W b",
        reference="Chechik et al. 2010",
    ),
    MetricSpec(
        name="weighted_manhattan",
        factory="siamkit.metrics.learned:WeightedManhattan",
        orientation="distance",
        range=_DISTANCE,
        trainable=True,
        summary="Manhattan distance with learned positive weights w",
        formula="Σ w |a - b|",
        reference="Koch, Zemel and Salakhutdinov 2015",
    ),
]
