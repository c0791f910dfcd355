"""What each built-in metric should give: SciPy's cdist in float64, or a loop over the paper's formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from scipy.spatial.distance import cdist

import siamkit


def loop(formula: Callable[..., float]) -> Callable[..., np.ndarray]:
    """All pairs by a formula of one pair."""
    return lambda a, b, *rest: np.array([[formula(x, y, *rest) for y in b] for x in a])


def scipy(name: str, **params: Any) -> Callable[..., np.ndarray]:
    return lambda a, b: cdist(a, b, name, **params)


def angular(a, b):
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return np.arccos(np.clip(cosine, -1, 1)) / np.pi


def snr(a, b):
    """Yuan et al. 2019, equation 4: variance of the noise b - a over that of the signal a."""
    return np.var(b - a, ddof=1) / np.var(a, ddof=1)


def poincare(a, b, eps):
    """Nickel and Kiela 2017, equation 1, after their projection into the ball (section 3.1)."""
    a, b = (x * min(1, (1 - eps) / np.linalg.norm(x)) for x in (a, b))
    return np.arccosh(1 + 2 * np.sum((a - b) ** 2) / ((1 - a @ a) * (1 - b @ b)))


def mahalanobis(a, b, factor):
    # SciPy takes the matrix of the quadratic form, (a - b)ᵀ VI (a - b).
    return cdist(a, b, "mahalanobis", VI=np.diag(factor**2) if factor.ndim == 1 else factor @ factor.T)


@dataclass(eq=False)
class Case:
    """A metric with parameters, and its reference, a function of a, b and the metric's weights."""

    name: str
    reference: Callable[..., np.ndarray]
    params: dict[str, Any] = field(default_factory=dict)
    scale: float = 1.0  # of points worth trying

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.params.values())])

    def metric(self) -> Any:
        return siamkit.get_metric(self.name, **self.params)

    def built(self, rng: np.random.Generator, dim: int) -> tuple[Any, list[np.ndarray]]:
        """The metric with weights drawn at random, and those weights."""
        metric = self.metric()
        metric(np.zeros((1, dim), "float32"), np.zeros((1, dim), "float32"))
        for variable in metric.trainable_variables:
            value = keras.ops.convert_to_numpy(variable.value)
            variable.assign(value + 0.3 * rng.normal(size=value.shape))
        return metric, [
            keras.ops.convert_to_numpy(v.value).astype("float64") for v in metric.trainable_variables
        ]

    def points(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        return (self.scale * rng.normal(size=shape)).astype("float32")


def minkowski(p):
    return Case("minkowski", scipy("minkowski", p=p), {"p": p})


def ball(eps):
    # Points of either kind: inside the ball, and outside.
    return Case("poincare", loop(lambda a, b: poincare(a, b, eps)), {"eps": eps}, scale=0.4)


def form(**params):
    return Case("mahalanobis", mahalanobis, params)


CASES = [
    Case("euclidean", scipy("euclidean")),
    Case("squared_euclidean", scipy("sqeuclidean")),
    Case("cosine", lambda a, b: 1 - cdist(a, b, "cosine")),
    Case("angular", loop(angular)),
    Case("dot", loop(np.dot)),
    Case("manhattan", scipy("cityblock")),
    minkowski(1.5),
    minkowski(3.0),
    Case("chebyshev", scipy("chebyshev")),
    Case("correlation", scipy("correlation")),
    Case("canberra", scipy("canberra")),
    Case("braycurtis", scipy("braycurtis")),
    Case("snr", loop(snr)),
    ball(0.05),
    form(form="full"),
    form(form="diagonal"),
    form(form="low_rank", rank=2),
    Case("bilinear", loop(lambda a, b, w: a @ w @ b)),
    Case("weighted_manhattan", loop(lambda a, b, v: np.sum(np.log1p(np.exp(v)) * np.abs(a - b)))),
]
LEARNED = [case for case in CASES if case.name in ("mahalanobis", "bilinear", "weighted_manhattan")]

SCIPY = {"euclidean", "squared_euclidean", "cosine", "manhattan", "minkowski", "chebyshev", "correlation"}
SCIPY |= {"canberra", "braycurtis", "mahalanobis"}
CHECKED = {
    case.name: ("SciPy's cdist" if case.name in SCIPY else "a NumPy loop of the formula")
    + "; gradient against central differences of it in float64"
    for case in CASES
}
