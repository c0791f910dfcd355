"""The specs of the losses that classify by class proxies."""

from siamkit.losses._specs._shared import ANGLES, of_proxies
from siamkit.registry.specs import Float, Int

SPECS = [
    of_proxies(
        "proxy_nca",
        "class_proxies:ProxyNCA",
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
    of_proxies(
        "normalized_softmax",
        "class_proxies:NormalizedSoftmax",
        {"temperature": Float(0.05, low=0.01, high=0.5, log=True, minimum=1e-6, help="softmax temperature")},
        normalized=True,
        summary="softmax over unit class proxies",
        reference="Zhai and Wu 2019; PML NormalizedSoftmaxLoss",
        formula="log Σⱼ e^(lⱼ - l_y),  lⱼ = s(x, pⱼ / |pⱼ|) / t",
    ),
    of_proxies(
        "soft_triple",
        "class_proxies:SoftTriple",
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
    of_proxies(
        "p2s_grad",
        "class_proxies:P2SGrad",
        {},
        **ANGLES,
        summary="squared errors of the cosines with all class proxies",
        reference="Zhang et al. 2019; PML P2SGradLoss",
        formula="mean over j of (cos θⱼ - [j = y])²",
    ),
    of_proxies(
        "center",
        "class_proxies:Center",
        {},
        orientation="distance",
        summary="items near the centre of their class; to be added to another loss",
        reference="Wen et al. 2016",
        formula="½ d(x, c_y), d = squared_euclidean in the paper",
    ),
]
