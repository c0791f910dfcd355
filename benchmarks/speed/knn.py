"""MAP@R and nearest neighbors beside FAISS and pytorch-metric-learning, on random classes of five items.

    KERAS_BACKEND=torch python benchmarks/speed/knn.py [--sizes 10000,20000,60000] [--runs 5] [--large]

FAISS only searches (`IndexFlatIP`); the others compute MAP@R. pytorch-metric-learning
is timed on PyTorch only, and up to 10,000 items. With `--large` only the nearest of
10,000 queries among 1,000,000 items are searched for, which takes minutes.
"""

from __future__ import annotations

import argparse
import os
import resource
from collections.abc import Callable

import faiss
import numpy as np
from timing import RUNS, medians, report

import siamkit
from siamkit.evaluation import nearest_neighbors

DIM, ITEMS = 128, 5


def clusters(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors `(n, 128)`, and their classes, each of five items."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) // ITEMS
    x = rng.normal(size=(n // ITEMS + 1, DIM))[labels] + rng.normal(size=(n, DIM))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32"), labels


def searched(x: np.ndarray, queries: np.ndarray, k: int) -> None:
    """Search with FAISS alone."""
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    index.search(queries, k)


def by_pml(x: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    """Return MAP@R by pytorch-metric-learning."""
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    calculator = AccuracyCalculator(include=("mean_average_precision_at_r",), device=torch.device("cpu"))
    tensors = torch.from_numpy(x), torch.from_numpy(labels)
    return lambda: calculator.get_accuracy(*tensors)


def more_memory(run: Callable[[], object]) -> float:
    """Return by how many GiB a function raises the peak of this process."""

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    before = peak()
    run()
    return round(peak() - before, 2)


def large(runs: int) -> None:
    """Print a row for the ten nearest of 10,000 queries among 1,000,000 items."""
    x = np.random.default_rng(0).standard_normal((1_000_000, DIM), np.float32)
    x /= np.sqrt(np.einsum("nd,nd->n", x, x))[:, None]
    queries = x[:10_000]
    nearest_neighbors(queries[:10], x[:1000], "cosine", 10)  # imports the backend
    over = more_memory(lambda: nearest_neighbors(queries, x, "cosine", 10))
    contenders: dict[str, Callable[[], object]] = {
        "siamkit": lambda: nearest_neighbors(queries, x, "cosine", 10),
        "FAISS": lambda: searched(x, queries, 10),
    }
    case = f"nearest of 10,000 queries among 1,000,000 × {DIM}"
    report(case, medians(contenders, runs), "siamkit", "at most 2", gib_over_embeddings=over)


def main() -> None:
    """Print a row for each number of items, and one for all groups of measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", default="10000,20000,60000")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    backend = os.environ["KERAS_BACKEND"]
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)) if "OMP_NUM_THREADS" not in os.environ else 1)
    if arguments.large:
        return large(arguments.runs)
    for n in map(int, arguments.sizes.split(",")):
        x, labels = clusters(n)

        def ours(x: np.ndarray = x, labels: np.ndarray = labels) -> object:
            return siamkit.evaluate(x, labels, groups=("retrieval",))

        contenders: dict[str, Callable[[], object]] = {
            "siamkit": ours,
            "FAISS": lambda x=x: searched(x, x, 11),  # type: ignore[misc]
        }
        if backend == "torch" and n <= 10_000:
            contenders["pytorch-metric-learning"] = by_pml(x, labels)
        target = "at most 1.2 (TensorFlow 1.6) of FAISS, a third of pytorch-metric-learning"
        over = more_memory(ours)
        seconds = medians(contenders, arguments.runs)
        report(f"MAP@R of {n:,} × {DIM}", seconds, "siamkit", target, gib_over_embeddings=over)
    x, labels = clusters(10_000)
    groups = {
        "all groups": lambda: siamkit.evaluate(x, labels),
        "retrieval": lambda: siamkit.evaluate(x, labels, groups=("retrieval",)),
    }
    report(f"all groups of 10,000 × {DIM}", medians(groups, arguments.runs), "all groups", "at most 3")


if __name__ == "__main__":
    main()
