"""The specs of the losses over graded pairs."""

from siamkit.losses._specs import SCALE
from siamkit.registry.specs import LossSpec

SPECS = [
    LossSpec(
        name="cosine_mse",
        factory="siamkit.losses.scores:CosineMSE",
        supervision=("scores",),
        orientation="similarity",
        summary="squared error of the similarity against a graded target",
        reference="Reimers and Gurevych 2019; sentence-transformers CosineSimilarityLoss",
        formula="(s(a, b) - y)²",
    ),
    LossSpec(
        name="cosent",
        factory="siamkit.losses.scores:CoSENT",
        supervision=("scores", "pairs"),
        normalized=True,
        summary="pairs with a higher target more similar than those with a lower one",
        reference="Su 2022; sentence-transformers CoSENTLoss",
        formula="log(1 + Σ e^(scale (sⱼ - sᵢ))) over yᵢ > yⱼ",
        params={"scale": SCALE},
    ),
    LossSpec(
        name="angle",
        factory="siamkit.losses.scores:Angle",
        supervision=("scores", "pairs"),
        uses_metric=False,
        summary="CoSENT by angles in complex space",
        reference="Li and Li 2023; sentence-transformers AnglELoss",
        formula="log(1 + Σ e^(scale (sⱼ - sᵢ))) over yᵢ > yⱼ, s = |Σ Re(u v̄) + Σ Im(u v̄)|, |u| = |v| = 1",
        params={"scale": SCALE},
    ),
]
