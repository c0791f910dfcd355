"""The specs of the built-in losses."""

from siamkit.specs import Choice, Float, LossSpec

LOSSES = [
    LossSpec(
        name="contrastive",
        factory="siamkit.losses.rows:Contrastive",
        supervision=("labels", "pairs"),
        orientation="distance",
        summary="alike pairs near, others beyond a margin",
        reference="Hadsell, Chopra and LeCun 2006",
        params={
            "neg_margin": Float(
                1.0,
                low=0.5,
                high=2.0,
                unit="typical_distance",
                help="distance beyond which unlike pairs cost nothing",
            ),
            "pos_margin": Float(0.0, help="distance within which alike pairs cost nothing"),
            "power": Float(2.0, minimum=1.0, help="2 squares the hinge, 1 is linear"),
        },
    ),
    LossSpec(
        name="triplet",
        factory="siamkit.losses.rows:Triplet",
        supervision=("labels", "triplets"),
        summary="positive nearer than negative by a margin",
        reference="Schroff, Kalenichenko and Philbin 2015",
        params={
            "margin": Float(0.05, low=0.05, high=1.0, unit="typical_distance", help="by how much nearer"),
            "mining": Choice("all", options=("all", "hard", "semihard"), help="which triplets of a batch"),
        },
    ),
    LossSpec(
        name="cosine_mse",
        factory="siamkit.losses.rows:CosineMse",
        supervision=("scores",),
        orientation="similarity",
        summary="squared error of the similarity against a graded target",
        reference="Reimers and Gurevych 2019",
    ),
    LossSpec(
        name="multi_similarity",
        factory="siamkit.losses.softmax:MultiSimilarity",
        supervision=("labels", "views"),
        normalized=True,
        summary="soft weights for each anchor's hard pairs",
        reference="Wang et al. 2019",
        params={
            "alpha": Float(2.0, low=1.0, high=10.0, log=True, minimum=1e-6, help="sharpness for positives"),
            "beta": Float(50.0, low=10.0, high=80.0, log=True, minimum=1e-6, help="sharpness for negatives"),
            "base": Float(0.5, low=0.25, high=1.0, unit="typical_value", help="the value that divides"),
        },
    ),
    LossSpec(
        name="nt_xent",
        factory="siamkit.losses.softmax:NTXent",
        supervision=("labels", "views"),
        normalized=True,
        summary="each positive pair against the anchor's negatives",
        reference="Chen et al. 2020",
        params={
            "temperature": Float(
                0.07, low=0.02, high=0.5, log=True, minimum=1e-6, help="softmax temperature"
            ),
        },
    ),
    LossSpec(
        name="proxy_anchor",
        factory="siamkit.losses.proxies:ProxyAnchor",
        supervision=("labels",),
        normalized=True,
        needs=("num_classes",),
        summary="class proxies as anchors",
        reference="Kim et al. 2020",
        params={
            "margin": Float(0.1, low=0.02, high=0.5, unit="typical_distance", help="added to both sides"),
            "alpha": Float(32.0, low=8.0, high=64.0, log=True, minimum=1e-6, help="sharpness"),
            "learning_rate_multiplier": Float(
                100.0, low=10.0, high=300.0, log=True, minimum=0.0, help="of the proxies"
            ),
        },
    ),
]
