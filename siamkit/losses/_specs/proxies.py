"""The specs of the losses that compare items with learned proxies."""

from siamkit.losses._specs import ANGLES, CLASS_CHUNKS, proxy_loss
from siamkit.registry.specs import Float, Int, LossSpec

SPECS = [
    proxy_loss(
        "proxy_anchor",
        "siamkit.losses.proxies:ProxyAnchor",
        {
            "margin": Float(0.1, low=0.02, high=0.5, unit="typical_distance", help="added to both sides"),
            "alpha": Float(32.0, low=8.0, high=64.0, log=True, minimum=1e-6, help="sharpness"),
            **CLASS_CHUNKS,
        },
        normalized=True,
        summary="class proxies as anchors",
        reference="Kim et al. 2020; PML ProxyAnchorLoss",
        formula="mean over proxies with positives of log(1 + Σ₊ e^(-α(s(x, p) - δ))) "
        "+ mean over all of log(1 + Σ₋ e^(α(s(x, p) + δ)))",
    ),
    LossSpec(
        name="manifold",
        factory="siamkit.losses.proxies:Manifold",
        supervision=("labels",),
        orientation="similarity",
        normalized=True,
        summary="near the proxy of one's meta-class along the batch's manifold",
        formula="mean log(1 + Σ_q e^(F(e,q) - F(e,p) + m)) + λ · context",
        reference="Aziere and Todorovic 2019",
        params={
            "K": Int(50, low=10, high=100, log=True, minimum=1, help="number of proxies"),
            "lambdaC": Float(1.0, minimum=0.0, help="weight of the context term"),
            "alpha": Float(
                0.8,
                low=0.5,
                high=0.95,
                minimum=1e-3,
                maximum=0.999,
                help="α, the weight of neighbors in the random walk",
            ),
            "margin": Float(5e-4, low=1e-4, high=1e-2, log=True, help="by how much nearer"),
        },
    ),
    proxy_loss(
        "center",
        "siamkit.losses.proxies:Center",
        {},
        orientation="distance",
        summary="items near the center of their class; add it to another loss",
        reference="Wen et al. 2016",
        formula="½ d(x, c_y), d = squared_euclidean in the paper",
    ),
    proxy_loss(
        "p2s_grad",
        "siamkit.losses.proxies:P2SGrad",
        {},
        **ANGLES,
        summary="squared errors of the cosines with all class proxies",
        reference="Zhang et al. 2019; PML P2SGradLoss",
        formula="mean over j of (cos θⱼ - [j = y])²",
    ),
]
