"""The specs of the losses on the ranking of a batch."""

from siamkit.losses._specs import sharpness
from siamkit.registry.specs import Choice, Float, Int, LossSpec

SPECS = [
    LossSpec(
        name="fast_ap",
        factory="siamkit.losses.average_precision:FastAP",
        supervision=("labels", "views"),
        orientation="distance",
        normalized=True,
        summary="average precision from histograms of distances",
        formula="1 - 1/|P| Σⱼ h⁺ⱼ H⁺ⱼ / Hⱼ",
        reference="Cakir et al. 2019",
        params={
            "num_bins": Int(10, low=5, high=30, minimum=1, help="bins of the histogram"),
            "max_distance": Float(
                None,
                low=1.5,
                high=3.0,
                unit="typical_distance",
                help="the last bin; by default the metric's bound",
            ),
        },
    ),
    LossSpec(
        name="histogram",
        factory="siamkit.losses.average_precision:Histogram",
        supervision=("labels", "views"),
        orientation="similarity",
        range=(-1.0, 1.0),
        normalized=True,
        summary="overlap of the similarities of positives and negatives",
        formula="Σⱼ h⁻ⱼ Σ_(i ≤ j) h⁺ᵢ",
        reference="Ustinova and Lempitsky 2016",
        params={
            "n_bins": Int(None, low=50, high=200, minimum=1, help="bins of the histograms; by default 100"),
            "delta": Float(None, minimum=1e-4, help="their width, 2 / n_bins"),
        },
    ),
    LossSpec(
        name="pnp",
        factory="siamkit.losses.average_precision:PNP",
        supervision=("labels", "views"),
        normalized=True,
        summary="a penalty on the negatives before each positive",
        formula="f(R), R = Σₙ sigmoid((s(a,n) - s(a,p))/τ), f(R) = R for variant O",
        reference="Li et al. 2022",
        params={
            "b": Float(2.0, minimum=1e-6, help="b of variant Ib"),
            "alpha": Float(1.0, minimum=1e-6, help="α of variant Dq"),
            "anneal": sharpness(0.01, 0.005, 0.1, "τ, width of the step"),
            "variant": Choice("O", options=("O", "Ds", "Dq", "Iu", "Ib"), help="variant of the penalty f"),
        },
    ),
]
