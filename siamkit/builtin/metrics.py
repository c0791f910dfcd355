"""The specs of the built-in metrics."""

import math

from siamkit.specs import MetricSpec

METRICS = [
    MetricSpec(
        name="euclidean",
        factory="siamkit.metrics.vector:Euclidean",
        orientation="distance",
        range=(0.0, math.inf),
        summary="√Σ (a - b)²",
    ),
    MetricSpec(
        name="squared_euclidean",
        factory="siamkit.metrics.vector:SquaredEuclidean",
        orientation="distance",
        range=(0.0, math.inf),
        summary="Σ (a - b)²",
    ),
    MetricSpec(
        name="cosine",
        factory="siamkit.metrics.vector:Cosine",
        orientation="similarity",
        range=(-1.0, 1.0),
        summary="a·b / (|a| |b|)",
    ),
    MetricSpec(
        name="manhattan",
        factory="siamkit.metrics.vector:Manhattan",
        orientation="distance",
        range=(0.0, math.inf),
        summary="Σ |a - b|",
    ),
    MetricSpec(
        name="mahalanobis",
        factory="siamkit.metrics.learned:Mahalanobis",
        orientation="distance",
        range=(0.0, math.inf),
        trainable=True,
        summary="√((a - b)ᵀ L Lᵀ (a - b)), L learned",
        reference="Xing et al. 2002",
    ),
]
