"""Which pruner trains the fewest epochs, and keeps the best? Random trainings, replayed under each pruner.

    KERAS_BACKEND=torch python benchmarks/pruners.py DATA

DATA holds the folders `fashion-mnist` and `letter-recognition`. For each set of items, random configurations
are trained to their end (300 steps, ten evaluations). Then each pruner sees their curves in 20 random orders
of 16 and of up to 60, one trial after the other. Trainings are lines in benchmarks/results/pruners.jsonl;
those that are there are not repeated. The table goes to benchmarks/results/pruners.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
CURVES, PAGE = RESULTS / "pruners.jsonl", RESULTS / "pruners.md"
START = 0.3  # the start of a trial, in evaluations
ORDERS = 20
BUDGETS = (16, 60)  # trials of a study
SETS = {
    "known": ("Clothes of known classes, the search space of naive.py", 168),
    "letters": ("Unseen letters, learning rates from 1e-4 to 1e-2", 60),
    "clothes": ("Unseen clothes, learning rates from 1e-4 to 1e-2", 45),
}
"""What each set is, and the number of its trainings."""
SEARCH: dict[str, Any] = {
    "metric": ["euclidean", "cosine"],
    "loss": ["contrastive", "triplet", "multi_similarity", "nt_xent", "normalized_softmax"],
    "embedding_dim": {"low": 8, "high": 128, "log": True},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}
ENCODERS: dict[str, list[Any]] = {
    "letters": ["mlp", "linear"],
    "clothes": ["mlp", {"cnn": {"depth": 2, "filters": 8}}],
}
LIMIT = {"train": 2000, "valid": 600, "test": 1200}
SPLITS: dict[str, dict[str, Any]] = {
    "letters": {"train": list("ABCDEFG"), "valid": list("HIJ"), "test": list("KLM")},
    "clothes": {"train": [6, 7, 8, 9], "valid": [4, 5], "test": [0, 1, 2, 3]},
}


def study_file(name: str, data: Path, place: Path) -> Path:
    """Write the study of a set, and return its file."""
    import naive
    from ruamel.yaml import YAML

    from siamkit.data.sources.arrays import fashion_mnist

    file = place / "study.yaml"
    if name == "known":
        file.write_text(naive.STUDY.format(seed=0, folder=data.resolve() / "fashion-mnist", budget=100))
        return file
    if name == "clothes":
        source = fashion_mnist(data / "fashion-mnist")
        x, y = source.views[0], source.codes
    else:
        lines = (data / "letter-recognition" / "letter-recognition.data").read_text().split()
        cells = np.array([line.split(",") for line in lines])
        x, y = cells[:, 1:].astype("float32"), cells[:, 0]
    np.savez(place / "items.npz", x=x, y=y)
    content = {
        "version": 1, "name": name,
        "data": {"path": "items.npz", "split": {"by": "class", **SPLITS[name]}, "limit": LIMIT},
        "fixed": {"steps": 300, "batch_size": 64}, "search": {"encoder": ENCODERS[name], **SEARCH},
    }  # fmt: skip
    YAML(typ="safe", pure=True).dump(content, file)
    return file


def train(name: str, data: Path, first: int, count: int) -> Iterator[list[float]]:
    """Yield the curves of random configurations, from a number on."""
    import optuna

    from siamkit.study.config.load import load_study
    from siamkit.study.worker.prepared_data import prepare_data
    from siamkit.study.worker.train import KerasTrainer
    from siamkit.study.worker.trainer import Limits

    with tempfile.TemporaryDirectory() as folder:
        study = load_study(study_file(name, data, Path(folder)))
        trainer = KerasTrainer(prepare_data(study)[0], study.config.fixed)
    for number in range(first, count):
        search = optuna.create_study(sampler=optuna.samplers.RandomSampler(number))
        configuration, curve = study.space.sample(search.ask()), []

        def on_epoch(epoch: int, row: Any, curve: list[float] = curve) -> None:
            curve.append(round(row["map_at_r"], 4))

        trainer.train(configuration, seed=number, data_seed=0, limits=Limits(), on_epoch=on_epoch)
        yield curve


def replay(curves: np.ndarray, make: Callable[[], Any], trials: int) -> tuple[float, float, float]:
    """Return what a pruner does on average over orders of so many curves.

    Returns:
        The share of the work that is done; how often the best curve is stopped; how much worse the best of
        those that are left is.
    """
    import optuna

    found = []
    for seed in range(ORDERS):
        order = np.random.default_rng(seed).permutation(len(curves))[:trials]
        study = optuna.create_study(direction="maximize", pruner=make())
        work, kept = 0.0, [-np.inf]
        for curve in curves[order]:
            trial, work = study.ask(), work + START
            for step, value in enumerate(curve, 1):
                work += 1
                trial.report(value, step)
                if step < len(curve) and trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
            else:
                study.tell(trial, curve.max())
                kept.append(curve.max())
        loss = curves[order].max() - max(kept)
        found.append((work / len(order) / (START + curves.shape[1]), loss > 0, loss))
    share, lost, loss = np.mean(found, axis=0)
    return float(share), float(lost), float(loss)


def page(curves: dict[str, np.ndarray]) -> str:
    """Return the tables, in Markdown."""
    from optuna.pruners import PercentilePruner, SuccessiveHalvingPruner
    from scipy.stats import spearmanr

    pruners: dict[str, Callable[[], Any]] = {
        "median, from evaluation 2": lambda: PercentilePruner(50.0, 5, 2),
        "median, from evaluation 1": lambda: PercentilePruner(50.0, 5, 1),
        "best third, from evaluation 2": lambda: PercentilePruner(33.0, 5, 2),
        "best third, from evaluation 1 (`percentile`)": lambda: PercentilePruner(33.0, 5, 1),
        "halving to a third, from evaluation 1": lambda: SuccessiveHalvingPruner(1, 3, 0),
        "halving to a third, from evaluation 2": lambda: SuccessiveHalvingPruner(2, 3, 0),
        "halving to a quarter, from evaluation 1": lambda: SuccessiveHalvingPruner(1, 4, 0),
    }
    lines = [
        "# Pruners",
        "",
        "`python benchmarks/pruners.py DATA`: random trainings of ten evaluations, replayed in "
        f"{ORDERS} random orders of {BUDGETS[0]} and of up to {BUDGETS[1]}. The share of the work that is "
        f"done (an evaluation is 1, the start of a trial {START}); how often the best training is stopped, "
        "and by how much the best of the others is worse, in MAP@R on validation.",
    ]
    columns = " | ".join(f"work, {trials} trials | best stopped | worse by" for trials in BUDGETS)
    for name, of_set in curves.items():
        last = of_set.max(axis=1)
        order = ", ".join(f"{spearmanr(of_set[:, step], last)[0]:.2f}" for step in (0, 1, 4))
        lines += ["", f"## {SETS[name][0]}", ""]
        lines += [
            f"{len(of_set)} trainings. The order after evaluation 1, 2 and 5 agrees with that of the best "
            f"epochs to {order} (Spearman).",
            "",
            f"| pruner | {columns} |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for title, make in pruners.items():
            found = [replay(of_set, make, trials) for trials in BUDGETS]
            cells = [f"{share:.2f} | {lost:.0%} | {loss:.4f}" for share, lost, loss in found]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Train what is missing, replay, and write the tables."""
    import optuna

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    lines = CURVES.read_text().splitlines() if CURVES.exists() else []
    rows = [json.loads(line) for line in lines]
    for name, (_, count) in SETS.items():
        done = sum(row["set"] == name for row in rows)
        for curve in train(name, arguments.data, done, count) if done < count else ():
            rows.append({"set": name, "curve": curve})
            with CURVES.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    curves = {name: np.array([row["curve"] for row in rows if row["set"] == name]) for name in SETS}
    PAGE.write_text(page(curves))


if __name__ == "__main__":
    main()
