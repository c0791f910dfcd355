"""The specs of the losses with an angular margin."""

from siamkit.losses._specs import ANGLES, sharpness, softmax_loss
from siamkit.registry.specs import Float, Int

_SCALE = sharpness(64.0, 8.0, 128.0, "inverse softmax temperature")
_SOFT_SCALE = sharpness(1.0, 1.0, 64.0, "inverse softmax temperature")
_DEGREES = Float(28.6, low=5.0, high=45.0, minimum=0.0, maximum=179.0, help="added to the angle, in degrees")
_FACTOR = Int(4, low=2, high=5, minimum=1, help="factor of the angle")

SPECS = [
    softmax_loss(
        "cosface",
        "siamkit.losses.angular_margins:CosFace",
        {
            "margin": Float(
                0.35, low=0.05, high=0.5, unit="typical_distance", help="subtracted for the own class"
            ),
            "scale": _SCALE,
        },
        normalized=True,
        summary="softmax over class proxies, a margin subtracted from the own similarity",
        reference="Wang et al. 2018; PML CosFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ (s(x, pⱼ) - m[j = y])",
    ),
    softmax_loss(
        "arcface",
        "siamkit.losses.angular_margins:ArcFace",
        {"margin": _DEGREES, "scale": _SCALE},
        **ANGLES,
        summary="softmax over class proxies, a margin added to the own angle",
        reference="Deng et al. 2019; PML ArcFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ cos(θⱼ + m[j = y])",
    ),
    softmax_loss(
        "subcenter_arcface",
        "siamkit.losses.angular_margins:SubCenterArcFace",
        {
            "margin": _DEGREES,
            "scale": _SCALE,
            "sub_centers": Int(3, low=2, high=5, minimum=1, help="proxies per class"),
        },
        **ANGLES,
        summary="ArcFace with several proxies per class, of which the nearest counts",
        reference="Deng et al. 2020; PML SubCenterArcFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ cos(θⱼ + m[j = y]),  cos θⱼ = maxₖ cos θⱼₖ",
    ),
    softmax_loss(
        "sphereface",
        "siamkit.losses.angular_margins:SphereFace",
        {"margin": _FACTOR, "scale": _SOFT_SCALE},
        **ANGLES,
        summary="softmax over class proxies, the own angle multiplied",
        reference="Liu et al. 2017; PML SphereFaceLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  l_y = σ |x| ((-1)ᵏ cos(m θ_y) - 2k),  lⱼ = σ |x| cos θⱼ",
    ),
    softmax_loss(
        "large_margin_softmax",
        "siamkit.losses.angular_margins:LargeMarginSoftmax",
        {"margin": _FACTOR, "scale": _SOFT_SCALE},
        **ANGLES,
        summary="SphereFace with logits multiplied by the proxies' lengths",
        reference="Liu et al. 2016; PML LargeMarginSoftmaxLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  l_y = σ |x||p_y| ((-1)ᵏ cos(m θ_y) - 2k),  lⱼ = σ |x||pⱼ| cos θⱼ",
    ),
]
