"""The specs of the losses over pairs."""

from siamkit.losses._specs import MINING, margins
from siamkit.registry.specs import Float, LossSpec

SPECS = [
    LossSpec(
        name="contrastive",
        factory="siamkit.losses.contrastive:Contrastive",
        supervision=("labels", "pairs"),
        orientation="distance",
        summary="positive pairs near, negative pairs beyond a margin",
        formula="y·[d - m₊]₊ᵖ + (1 - y)·[m₋ - d]₊ᵖ",
        reference="Hadsell, Chopra and LeCun 2006",
        params={
            **margins(),
            "power": Float(2.0, minimum=1.0, help="2 squares the hinge, 1 is linear"),
            "mining": MINING,
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
        params={**margins(), "mining": MINING},
    ),
    LossSpec(
        name="online_contrastive",
        factory="siamkit.losses.contrastive:OnlineContrastive",
        supervision=("pairs",),
        orientation="distance",
        summary="the contrastive loss over the hard pairs of a batch",
        reference="sentence-transformers OnlineContrastiveLoss",
        formula="Σ d² over hard alike pairs + Σ [margin - d]₊² over hard other pairs",
        params={
            "margin": Float(
                0.5,
                low=0.5,
                high=2.0,
                unit="typical_distance",
                help="distance beyond which a negative pair costs nothing",
            ),
        },
    ),
    LossSpec(
        name="binary_cross_entropy",
        factory="siamkit.losses.contrastive:BinaryCrossEntropy",
        supervision=("pairs",),
        summary="the odds of a positive pair fall with the distance",
        reference="Koch, Zemel and Salakhutdinov 2015",
        formula="-y log p - (1 - y) log(1 - p),  p = σ(bias - scale d)",
        params={
            "scale": Float(1.0, minimum=1e-6, help="initial scale of the distance"),
            "bias": Float(
                1.0,
                low=0.5,
                high=1.5,
                unit="typical_distance",
                help="initial bias; the odds are even at bias / scale",
            ),
            "learning_rate_multiplier": Float(
                10.0,
                low=1.0,
                high=100.0,
                log=True,
                minimum=0.0,
                help="factor on the learning rate of scale and bias",
            ),
        },
    ),
]
