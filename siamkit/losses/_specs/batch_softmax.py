"""The specs of the losses by a softmax over the pairs of a batch."""

from siamkit.losses._specs import CHUNK_SIZE, MINING, sharpness
from siamkit.registry.specs import Float, LossSpec

SPECS = [
    LossSpec(
        name="nt_xent",
        factory="siamkit.losses.batch_softmax:NTXent",
        supervision=("labels", "views"),
        normalized=True,
        summary="each positive pair against the anchor's negatives",
        formula="-log(e^(s(a,p)/t) / (e^(s(a,p)/t) + Σₙ e^(s(a,n)/t)))",
        reference="Chen et al. 2020",
        params={
            "temperature": sharpness(0.07, 0.02, 0.5, "softmax temperature"),
            "mining": MINING,
            "chunk_size": CHUNK_SIZE,
        },
    ),
    LossSpec(
        name="sup_con",
        factory="siamkit.losses.batch_softmax:SupCon",
        supervision=("labels", "views"),
        normalized=True,
        summary="all positives of an anchor against all its pairs",
        formula="-1/|P| Σₚ log(e^(s(a,p)/t) / Σᵢ e^(s(a,i)/t))",
        reference="Khosla et al. 2020",
        params={
            "temperature": sharpness(0.1, 0.02, 0.5, "softmax temperature"),
            "mining": MINING,
            "chunk_size": CHUNK_SIZE,
        },
    ),
    LossSpec(
        name="n_pairs",
        factory="siamkit.losses.batch_softmax:NPairs",
        supervision=("labels", "views"),
        summary="one pair per class against the other classes' positives",
        formula="log Σⱼ e^s(aᵢ,pⱼ) - s(aᵢ,pᵢ)",
        reference="Sohn 2016",
    ),
    LossSpec(
        name="nca",
        factory="siamkit.losses.batch_softmax:NCA",
        supervision=("labels", "views"),
        summary="the chance of a neighbor of the own class",
        formula="-log(Σₚ e^(σ s(a,p)) / Σᵢ e^(σ s(a,i)))",
        reference="Goldberger et al. 2004",
        params={"softmax_scale": sharpness(1.0, 1.0, 32.0, "sharpness of the softmax")},
    ),
    LossSpec(
        name="tuplet_margin",
        factory="siamkit.losses.batch_softmax:TupletMargin",
        supervision=("labels", "views"),
        orientation="similarity",
        range=(-1.0, 1.0),
        normalized=True,
        summary="positive pairs, relaxed by an angle, against the negatives",
        formula="log(1 + Σₙ e^(σ(cos θ(a,n) - cos(θ(a,p) - β))))",
        reference="Yu and Tao 2019",
        params={
            "margin": Float(5.73, low=0.0, high=15.0, help="β, in degrees"),
            "scale": sharpness(64.0, 8.0, 128.0, "σ, sharpness"),
            "mining": MINING,
        },
    ),
    LossSpec(
        name="instance",
        factory="siamkit.losses.batch_softmax:Instance",
        supervision=("views", "labels"),
        normalized=True,
        summary="every item is its own class",
        formula="log Σⱼ e^(γ s(i,j)) - γ s(i,t), t the item's own row (over labels see the docstring)",
        reference="Zheng et al. 2020",
        params={"gamma": sharpness(64.0, 4.0, 128.0, "γ, sharpness")},
    ),
    LossSpec(
        name="soft_nearest_neighbor",
        factory="siamkit.losses.batch_softmax:SoftNearestNeighbor",
        supervision=("labels", "views"),
        summary="a neighbor drawn by distance is of the same class",
        reference="Frosst, Papernot and Hinton 2019",
        formula="mean over i of -log(Σₚ e^(-d(i, p)/T) / Σⱼ e^(-d(i, j)/T))",
        params={
            "temperature": Float(
                1.0,
                low=0.05,
                high=1.0,
                log=True,
                minimum=1e-6,
                unit="typical_distance",
                help="distance at which neighbors fade",
            ),
        },
    ),
]
