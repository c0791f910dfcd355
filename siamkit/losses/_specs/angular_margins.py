"""The specs of the losses with an angular margin."""

from siamkit.losses._specs._shared import ANGLES, of_proxies
from siamkit.registry.specs import Float, Int

_SCALE = Float(64.0, low=8.0, high=128.0, log=True, minimum=1e-6, help="inverse softmax temperature")
_DEGREES = Float(28.6, low=5.0, high=45.0, minimum=0.0, maximum=179.0, help="added to the angle, in degrees")


_TIMES = Int(4, low=2, high=5, minimum=1, help="what the angle is multiplied by")


_SOFT_SCALE = Float(1.0, low=1.0, high=64.0, log=True, minimum=1e-6, help="inverse softmax temperature")

SPECS = [
    of_proxies(
        "cosface",
        "angular_margins:CosFace",
        {
            "margin": Float(0.35, low=0.05, high=0.5, unit="typical_distance", help="off the own class"),
            "scale": _SCALE,
        },
        normalized=True,
        summary="softmax over class proxies, a margin off the own similarity",
        reference="Wang et al. 2018; PML CosFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ (s(x, pⱼ) - m[j = y])",
    ),
    of_proxies(
        "arcface",
        "angular_margins:ArcFace",
        {"margin": _DEGREES, "scale": _SCALE},
        **ANGLES,
        summary="softmax over class proxies, a margin added to the own angle",
        reference="Deng et al. 2019; PML ArcFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ cos(θⱼ + m[j = y])",
    ),
    of_proxies(
        "subcenter_arcface",
        "angular_margins:SubCenterArcFace",
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
    of_proxies(
        "sphereface",
        "angular_margins:SphereFace",
        {"margin": _TIMES, "scale": _SOFT_SCALE},
        **ANGLES,
        summary="softmax over class proxies, the own angle multiplied",
        reference="Liu et al. 2017; PML SphereFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  l_y = σ |x| ((-1)ᵏ cos(m θ_y) - 2k),  lⱼ = σ |x| cos θⱼ",
    ),
    of_proxies(
        "large_margin_softmax",
        "angular_margins:LargeMarginSoftmax",
        {"margin": _TIMES, "scale": _SOFT_SCALE},
        **ANGLES,
        summary="SphereFace whose proxies count with their length",
        reference="Liu et al. 2016; PML LargeMarginSoftmaxLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  l_y = σ |x||p_y| ((-1)ᵏ cos(m θ_y) - 2k),  lⱼ = σ |x||pⱼ| cos θⱼ",
    ),
]
