"""The specs of the losses around other losses."""

from siamkit.registry.specs import SUPERVISIONS, Component, Float, Int, Ints, LossSpec

SPECS = [
    LossSpec(
        name="cross_batch_memory",
        factory="siamkit.losses.wrappers:CrossBatchMemory",
        supervision=("labels", "views"),
        summary="compares each batch with earlier batches too",
        formula="loss(batch, memory)",
        reference="Wang et al. 2020",
        params={
            "loss": Component("contrastive", help="any loss over all pairs of a batch"),
            "memory_size": Int(
                1024, low=256, high=8192, log=True, minimum=1, help="number of embeddings in the memory"
            ),
        },
    ),
    LossSpec(
        name="matryoshka",
        factory="siamkit.losses.wrappers:Matryoshka",
        supervision=SUPERVISIONS,
        summary="one loss over nested dimensions, so that embeddings can be cut short",
        formula="Σ_d loss(e[:d])",
        reference="Kusupati et al. 2022",
        params={
            "loss": Component("multi_similarity", help="any loss without a memory"),
            "dims": Ints(None, help="the sizes; by default the whole one and its halves"),
            "smallest": Int(8, minimum=1, help="smallest of the halves"),
        },
    ),
    LossSpec(
        name="weighted_sum",
        factory="siamkit.losses.wrappers:WeightedSum",
        supervision=SUPERVISIONS,
        summary="the sum of two losses",
        formula="first + w · second",
        reference="PML MultipleLosses",
        params={
            "first": Component("multi_similarity", help="the first loss"),
            "second": Component("intra_pair_variance", help="the second loss"),
            "weight": Float(
                1.0, low=0.01, high=10.0, log=True, minimum=0.0, help="weight of the second loss"
            ),
        },
    ),
]
