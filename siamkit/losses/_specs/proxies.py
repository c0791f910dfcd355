"""The specs of the losses with class proxies or centres."""

from collections.abc import Mapping
from typing import Any

from siamkit.registry.parameters import Param
from siamkit.registry.specs import Float, Int, LossSpec

ANGLES: Mapping[str, Any] = {"orientation": "similarity", "range": (-1.0, 1.0)}
"""What the losses of angles want of the metric: that it gives cosines."""

_STEPS = Float(100.0, low=10.0, high=300.0, log=True, minimum=0.0, help="of the proxies")
_SCALE = Float(64.0, low=8.0, high=128.0, log=True, minimum=1e-6, help="inverse softmax temperature")
_DEGREES = Float(28.6, low=5.0, high=45.0, minimum=0.0, maximum=179.0, help="added to the angle, in degrees")
_TIMES = Int(4, low=2, high=5, minimum=1, help="what the angle is multiplied by")
_SOFT_SCALE = Float(1.0, low=1.0, high=64.0, log=True, minimum=1e-6, help="inverse softmax temperature")


def _spec(name: str, factory: str, params: Mapping[str, Param], **more: Any) -> LossSpec:
    return LossSpec(
        name=name,
        factory=f"siamkit.losses.{factory}",
        supervision=("labels",),
        needs=("num_classes",),
        params={**params, "learning_rate_multiplier": _STEPS},
        **more,
    )


PROXIES = [
    _spec(
        "proxy_anchor",
        "proxies:ProxyAnchor",
        {
            "margin": Float(0.1, low=0.02, high=0.5, unit="typical_distance", help="added to both sides"),
            "alpha": Float(32.0, low=8.0, high=64.0, log=True, minimum=1e-6, help="sharpness"),
        },
        normalized=True,
        summary="class proxies as anchors",
        reference="Kim et al. 2020; PML ProxyAnchorLoss",
        formula="mean over proxies with positives of log(1 + Σ₊ e^(-α(s(x, p) - δ))) "
        "+ mean over all of log(1 + Σ₋ e^(α(s(x, p) + δ)))",
    ),
    _spec(
        "proxy_nca",
        "classes:ProxyNCA",
        {
            "softmax_scale": Float(
                1.0, low=1.0, high=32.0, log=True, minimum=1e-6, help="inverse softmax temperature"
            )
        },
        normalized=True,
        summary="a neighbour drawn among unit class proxies is the own one",
        reference="Movshovitz-Attias et al. 2017; PML ProxyNCALoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ s(x, pⱼ / |pⱼ|)",
    ),
    _spec(
        "normalized_softmax",
        "classes:NormalizedSoftmax",
        {"temperature": Float(0.05, low=0.01, high=0.5, log=True, minimum=1e-6, help="softmax temperature")},
        normalized=True,
        summary="softmax over unit class proxies",
        reference="Zhai and Wu 2019; PML NormalizedSoftmaxLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = s(x, pⱼ / |pⱼ|) / t",
    ),
    _spec(
        "soft_triple",
        "classes:SoftTriple",
        {
            "centers_per_class": Int(10, low=2, high=10, minimum=1, help="centres of a class"),
            "la": Float(20.0, low=5.0, high=64.0, log=True, minimum=1e-6, help="λ, sharpness among classes"),
            "gamma": Float(
                0.1,
                low=0.05,
                high=1.0,
                log=True,
                minimum=1e-6,
                unit="typical_distance",
                help="γ, softness among the centres of a class",
            ),
            "margin": Float(0.01, low=0.0, high=0.2, unit="typical_distance", help="δ, off the own class"),
        },
        normalized=True,
        summary="softmax over classes of several centres each",
        reference="Qian et al. 2019; PML SoftTripleLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = λ (Σₖ softmaxₖ(s(x, pⱼₖ)/γ) s(x, pⱼₖ) - δ[j = y])",
    ),
    _spec(
        "cosface",
        "margins:CosFace",
        {
            "margin": Float(0.35, low=0.05, high=0.5, unit="typical_distance", help="off the own class"),
            "scale": _SCALE,
        },
        normalized=True,
        summary="softmax over class proxies, a margin off the own similarity",
        reference="Wang et al. 2018; PML CosFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ (s(x, pⱼ) - m[j = y])",
    ),
    _spec(
        "arcface",
        "margins:ArcFace",
        {"margin": _DEGREES, "scale": _SCALE},
        **ANGLES,
        summary="softmax over class proxies, a margin added to the own angle",
        reference="Deng et al. 2019; PML ArcFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ cos(θⱼ + m[j = y])",
    ),
    _spec(
        "subcenter_arcface",
        "margins:SubCenterArcFace",
        {
            "margin": _DEGREES,
            "scale": _SCALE,
            "sub_centers": Int(3, low=2, high=5, minimum=1, help="proxies a class"),
        },
        **ANGLES,
        summary="ArcFace with several proxies a class, the nearest counts",
        reference="Deng et al. 2020; PML SubCenterArcFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ cos(θⱼ + m[j = y]),  cos θⱼ = maxₖ cos θⱼₖ",
    ),
    _spec(
        "sphereface",
        "margins:SphereFace",
        {"margin": _TIMES, "scale": _SOFT_SCALE},
        **ANGLES,
        summary="softmax over class proxies, the own angle multiplied",
        reference="Liu et al. 2017; PML SphereFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  l_y = σ |x| ((-1)ᵏ cos(m θ_y) - 2k),  lⱼ = σ |x| cos θⱼ",
    ),
    _spec(
        "large_margin_softmax",
        "margins:LargeMarginSoftmax",
        {"margin": _TIMES, "scale": _SOFT_SCALE},
        **ANGLES,
        summary="SphereFace whose proxies count with their length",
        reference="Liu et al. 2016; PML LargeMarginSoftmaxLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  l_y = σ |x||p_y| ((-1)ᵏ cos(m θ_y) - 2k),  lⱼ = σ |x||pⱼ| cos θⱼ",
    ),
    _spec(
        "p2s_grad",
        "centres:P2SGrad",
        {},
        **ANGLES,
        summary="squared errors of the cosines with all class proxies",
        reference="Zhang et al. 2019; PML P2SGradLoss",
        formula="mean over j of (cos θⱼ - [j = y])²",
    ),
    _spec(
        "center",
        "centres:Center",
        {},
        orientation="distance",
        summary="items near the centre of their class; to be added to another loss",
        reference="Wen et al. 2016",
        formula="½ d(x, c_y), d = squared_euclidean in the paper",
    ),
]
