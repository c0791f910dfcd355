"""The specs of the losses by a softmax over class proxies."""

from siamkit.losses._specs import sharpness, softmax_loss
from siamkit.registry.specs import Float, Int

SPECS = [
    softmax_loss(
        "proxy_nca",
        "siamkit.losses.class_softmax:ProxyNCA",
        {"softmax_scale": sharpness(1.0, 1.0, 32.0, "inverse softmax temperature")},
        normalized=True,
        summary="a neighbor drawn among unit class proxies is that of the own class",
        reference="Movshovitz-Attias et al. 2017; PML ProxyNCALoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = σ s(x, pⱼ / |pⱼ|)",
    ),
    softmax_loss(
        "normalized_softmax",
        "siamkit.losses.class_softmax:NormalizedSoftmax",
        {"temperature": sharpness(0.05, 0.01, 0.5, "softmax temperature")},
        normalized=True,
        summary="softmax over unit class proxies",
        reference="Zhai and Wu 2019; PML NormalizedSoftmaxLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = s(x, pⱼ / |pⱼ|) / t",
    ),
    softmax_loss(
        "soft_triple",
        "siamkit.losses.class_softmax:SoftTriple",
        {
            "centers_per_class": Int(10, low=2, high=10, minimum=1, help="centers of a class"),
            "la": sharpness(20.0, 5.0, 64.0, "λ, sharpness among classes"),
            "gamma": Float(
                0.1,
                low=0.05,
                high=1.0,
                log=True,
                minimum=1e-6,
                unit="typical_distance",
                help="γ, softness among the centers of a class",
            ),
            "margin": Float(
                0.01, low=0.0, high=0.2, unit="typical_distance", help="δ, subtracted for the own class"
            ),
        },
        normalized=True,
        summary="softmax over classes of several centers each",
        reference="Qian et al. 2019; PML SoftTripleLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = λ (Σₖ softmaxₖ(s(x, pⱼₖ)/γ) s(x, pⱼₖ) - δ[j = y])",
    ),
]
