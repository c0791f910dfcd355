"""Does each loss learn as well as its reference? Every loss beside PML's, on unseen classes.

    python benchmarks/learning.py FOLDER [--losses triplet,arcface] [--workers 2]

FOLDER holds the Fashion-MNIST IDX .gz files. The same `cnn`, with the same initial weights, is trained on the
same batches of five classes by our loss and by pytorch-metric-learning's (PML), each at its default
parameters, and judged by MAP@R (cosine) on test images of the five others. Class weights have the same
learning rate on both sides. Both run on PyTorch. The table goes to benchmarks/results/learning.md;
what learning.jsonl beside it holds already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RESULTS = Path(__file__).parent / "results"
MEASURES, PAGE = RESULTS / "learning.jsonl", RESULTS / "learning.md"
SEEDS = (0, 1, 2)
TRAIN, TEST, DIM, BATCH, STEPS = 600, 200, 64, 60, 250  # items a class, numbers, items, steps
SEEN, UNSEEN = (0, 1, 3, 5, 9), (2, 4, 6, 7, 8)
UNTRAINED = "(untrained)"
LEARNING_RATE, HEAD = 1e-3, 100.0  # of the encoder; how many times that the class weights'

# What each loss compares by; cosine where the reference does.
METRICS = {
    "contrastive": "euclidean",
    "triplet": "euclidean",
    "margin": "euclidean",
    "fast_ap": "squared_euclidean",
    "nca": "squared_euclidean",
    "proxy_nca": "squared_euclidean",
    "center": "squared_euclidean",
    "generalized_lifted_structure": "euclidean",
    "lifted_structure": "euclidean",
    "ranked_list": "euclidean",
    "dynamic_soft_margin": "euclidean",
    "snr_contrastive": "snr",
    "binary_cross_entropy": "weighted_manhattan",
    "cross_batch_memory": "euclidean",
}
# PML's loss has power 1 only.
PARAMS: dict[str, dict[str, Any]] = {
    "contrastive": {"power": 1.0},
    "cross_batch_memory": {"loss": {"contrastive": {"power": 1.0}}},
}


def references(classes: int) -> dict[str, Any]:
    """For each loss a function that makes PML's."""
    import torch
    from pytorch_metric_learning import losses as pml
    from pytorch_metric_learning.losses import histogram_loss

    with_proxies = {
        "arcface": pml.ArcFaceLoss,
        "subcenter_arcface": pml.SubCenterArcFaceLoss,
        "cosface": pml.CosFaceLoss,
        "sphereface": pml.SphereFaceLoss,
        "large_margin_softmax": pml.LargeMarginSoftmaxLoss,
        "normalized_softmax": pml.NormalizedSoftmaxLoss,
        "proxy_nca": pml.ProxyNCALoss,
        "proxy_anchor": pml.ProxyAnchorLoss,
        "soft_triple": pml.SoftTripleLoss,
    }

    def unordered(one: Any, other: Any) -> tuple[Any, Any]:
        """Each pair once. PML's own way takes seconds a step; this gives the same pairs."""
        low, high = torch.minimum(one, other), torch.maximum(one, other)
        base = int(high.max()) + 1
        codes = torch.unique(low * base + high)
        return codes // base, codes % base

    histogram_loss.filter_pairs = unordered
    plain = {
        "contrastive": pml.ContrastiveLoss,
        "triplet": pml.TripletMarginLoss,
        "angular": pml.AngularLoss,
        "circle": pml.CircleLoss,
        "fast_ap": pml.FastAPLoss,
        "generalized_lifted_structure": pml.GeneralizedLiftedStructureLoss,
        "lifted_structure": pml.LiftedStructureLoss,
        "histogram": pml.HistogramLoss,
        "instance": pml.InstanceLoss,
        "intra_pair_variance": pml.IntraPairVarianceLoss,
        "margin": pml.MarginLoss,
        "multi_similarity": pml.MultiSimilarityLoss,
        "nca": pml.NCALoss,
        "n_pairs": pml.NPairsLoss,
        "nt_xent": pml.NTXentLoss,
        "pnp": pml.PNPLoss,
        "ranked_list": lambda: pml.RankedListLoss(margin=0.4, Tn=10.0),
        "snr_contrastive": pml.SignalToNoiseRatioContrastiveLoss,
        "sup_con": pml.SupConLoss,
        "tuplet_margin": pml.TupletMarginLoss,
        "dynamic_soft_margin": pml.DynamicSoftMarginLoss,
        "threshold_consistent_margin": pml.ThresholdConsistentMarginLoss,
        "cross_batch_memory": lambda: pml.CrossBatchMemory(pml.ContrastiveLoss(), embedding_size=DIM),
    }
    return {
        **plain,
        **{
            name: lambda made=made: made(num_classes=classes, embedding_size=DIM)
            for name, made in with_proxies.items()
        },
        "p2s_grad": lambda: pml.P2SGradLoss(descriptors_dim=DIM, num_classes=classes),
        "manifold": lambda: pml.ManifoldLoss(l=DIM),
        "vicreg": pml.VICRegLoss,
    }


def data(folder: str) -> tuple[Any, Any]:
    """The training items of some classes and the test items of the others."""
    from siamkit.registry.registry import components

    read = components().find("dataset", "fashion_mnist").factory()
    train, test = read(path=folder, part="train"), read(path=folder, part="test")

    def some(part: Any, wanted: tuple[int, ...], count: int) -> Any:
        rows = [np.flatnonzero(part.target == label)[:count] for label in wanted]
        chosen = part.take(np.concatenate(rows))
        # Halved, so that hundreds of trainings fit into an hour on two cores.
        small = chosen.views[0].reshape(-1, 14, 2, 14, 2, 1).astype("float32").mean(axis=(2, 4))
        return replace(chosen, views=(small,))

    return some(train, SEEN, TRAIN), some(test, UNSEEN, TEST)


def run(name: str, theirs: bool, seed: int, folder: str) -> tuple[str, bool, int, float, float]:
    """One training; returns its MAP@R and its seconds."""
    import keras
    import torch

    import siamkit
    from siamkit.data.preprocessing.columns import fit_preprocessor

    torch.set_num_threads(1)
    start = time.perf_counter()
    train, test = data(folder)
    prepare = fit_preprocessor(train)
    keras.utils.set_random_seed(seed)
    encoder = siamkit.get_encoder("cnn", input_shape=prepare.input_shape, embedding_dim=DIM, filters=16)
    if name != UNTRAINED:
        _train(name, theirs, encoder, train, prepare, seed)
    embeddings = encoder.predict(prepare(test.views[0]), batch_size=250, verbose=0)
    measure = siamkit.evaluate(embeddings, test.target, metric="cosine")["map_at_r"]
    return name, theirs, seed, float(measure), time.perf_counter() - start


def _train(name: str, theirs: bool, encoder: Any, train: Any, prepare: Any, seed: int) -> None:
    import keras

    import siamkit
    from siamkit.data.batches import feed
    from siamkit.registry.compatibility import supervision_for

    spec = siamkit.components().losses[name].spec
    # Scores are not among what labels feed: alike is 1, unlike 0 for them.
    supervision = supervision_for("labels", spec) or "pairs"
    if theirs:
        supervision = "views" if name == "vicreg" else "labels"
    elif name == "instance":
        supervision = "labels"  # as the reference
    batches = feed(train, supervision, batch_size=BATCH, seed=seed, preprocessor=prepare, items_per_class=12)
    epochs = -(-STEPS // len(batches))
    metric = METRICS.get(name, "cosine")
    if theirs:
        _train_theirs(encoder, references(5)[name](), batches, epochs, name)
    else:
        loss = _made(name, spec)
        model = siamkit.Siamese(encoder, metric)
        model.compile(keras.optimizers.Adam(LEARNING_RATE), loss)
        model.fit(batches, epochs=epochs, verbose=0, shuffle=False)


def _made(name: str, spec: Any) -> Any:
    import siamkit

    needs = {"num_classes": 5} if "num_classes" in spec.needs else {}
    return siamkit.get_loss(name, **needs, **PARAMS.get(name, {}))


def _train_theirs(encoder: Any, loss: Any, batches: Any, epochs: int, name: str) -> None:
    """PML's loss by the same optimizer: Keras's Adam for the encoder, the same steps for class weights."""
    import keras
    import torch

    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(encoder.trainable_variables)
    weights = list(loss.parameters())
    heads = torch.optim.Adam(weights, lr=LEARNING_RATE * HEAD, eps=1e-7) if weights else None
    batches.on_epoch_end()  # as `fit` does before it begins, so that the batches are the same
    for _ in range(epochs):
        for index in range(len(batches)):
            x, y = batches[index]
            labels = torch.as_tensor(np.asarray(y)).long()
            encoder.zero_grad()
            views = [encoder(each, training=True) for each in (x if isinstance(x, tuple) else (x,))]
            if name == "vicreg":
                value = loss(views[0], ref_emb=views[1])
            elif name == "manifold":
                value = loss(views[0], indices_tuple=labels % loss.K)
            else:
                value = loss(views[0], labels)
            value.backward()
            with torch.no_grad():
                optimizer.apply(
                    [v.value.grad for v in encoder.trainable_variables], encoder.trainable_variables
                )
            if heads is not None:
                heads.step()
                heads.zero_grad()
            if name == "dynamic_soft_margin":
                loss.hist_ = loss.hist_.detach()  # else the second step fails
        batches.on_epoch_end()


def _list(classes: tuple[int, ...]) -> str:
    return ", ".join(map(str, classes))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half a 95 % interval by Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def table(found: dict[tuple[str, bool], dict[int, float]], compared: dict[str, Any]) -> str:
    lines = [
        "# Learning: every loss beside its reference",
        "",
        f"Fashion-MNIST halved to 14 by 14 pixels: trained on classes {_list(SEEN)}, judged by MAP@R on",
        f"{TEST} test images of each of the unseen classes {_list(UNSEEN)}. `cnn` with 16 filters,",
        f"{DIM} dimensions, {TRAIN} images a class, about {STEPS} steps of {BATCH} items, Adam",
        f"{LEARNING_RATE:g}, class weights at {HEAD:g} times that on both sides, {len(SEEDS)} seeds; mean",
        "± 95 % interval (Student's t). The",
        "difference is paired by seed: same initial weights, same batches. Defaults of either library;",
        "`contrastive` with power 1, as PML has it.",
        "",
        "`make learning DATA=FOLDER`; the figures of each seed are in learning.jsonl. On a small machine a",
        "training takes some seconds.",
        "",
        "| loss | siamkit | PML | difference | |",
        "|---|---|---|---|---|",
    ]
    whole = {key: seeds for key, seeds in found.items() if len(seeds) == len(SEEDS)}
    names = sorted({name for name, _ in whole}, key=lambda n: -np.mean(list(whole[n, False].values())))
    for name in names:
        mine = np.array([found[name, False][seed] for seed in SEEDS])
        fails = name in compared and (name, True) not in whole
        cells = ["{:.3f} ± {:.3f}".format(*interval(mine)), "fails" if fails else "–", "–", ""]
        if (name, True) in whole:
            theirs = np.array([found[name, True][seed] for seed in SEEDS])
            mean, half = interval(mine - theirs)
            verdict = "" if abs(mean) <= half else "behind" if mean < 0 else "ahead"
            cells[1:] = ["{:.3f} ± {:.3f}".format(*interval(theirs)), f"{mean:+.3f} ± {half:.3f}", verdict]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="the folder of the IDX .gz files")
    parser.add_argument("--losses", help="some of them, with commas")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only write the table of what was run")
    arguments = parser.parse_args()
    os.environ.update(KERAS_BACKEND="torch", OMP_NUM_THREADS="1", SIAMKIT_PLUGINS="")
    from siamkit.registry.registry import components

    names = [UNTRAINED, *(arguments.losses.split(",") if arguments.losses else components().losses)]
    compared = references(5)
    folder = str(Path(arguments.folder).resolve())
    tasks = [
        (name, theirs, seed, folder)
        for name in names
        for seed in SEEDS
        for theirs in ((False, True) if name in compared else (False,))
    ]
    found: dict[tuple[str, bool], dict[int, float]] = {}
    lines = MEASURES.read_text(encoding="utf-8").splitlines() if MEASURES.is_file() else []
    for name, theirs, seed, measure, _ in map(json.loads, lines):
        found.setdefault((name, theirs), {})[seed] = measure
    tasks = [task for task in tasks if not arguments.table and task[2] not in found.get(task[:2], {})]
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run, *task): task for task in tasks}
        for done, future in enumerate(as_completed(futures), start=1):
            try:
                name, theirs, seed, measure, seconds = future.result()
            except Exception as error:  # one that cannot be trained is told, and the others go on
                print(f"{done}/{len(tasks)} {futures[future][:3]} fails: {error!r:.100}", flush=True)
                continue
            found.setdefault((name, theirs), {})[seed] = measure
            with MEASURES.open("a", encoding="utf-8") as file:
                print(json.dumps([name, theirs, seed, round(measure, 5), round(seconds, 1)]), file=file)
            side = "PML" if theirs else "siamkit"
            print(
                f"{done}/{len(tasks)} {name} {side} seed {seed}: {measure:.3f} in {seconds:.0f} s", flush=True
            )
    missing = [name for name in components().losses if len(found.get((name, False), {})) < len(SEEDS)]
    text = table(found, compared)
    if missing:
        text += f"\nNot run yet: {', '.join(missing)}.\n"
    print(text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
