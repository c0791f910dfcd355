"""Which recipe of training should be the default? Some recipes, two data sets, two losses, three seeds.

    python benchmarks/recipe.py FOLDER [--workers 2]

FOLDER holds the Fashion-MNIST IDX .gz files. An `mlp` is trained for 400 steps of 128 items, with ten
evaluations, on classes that validation and test do not have. It is scored on test twice: after its last
epoch, and after the epoch that is best on validation. The table goes to benchmarks/results/recipe.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
MEASURES, PAGE = RESULTS / "recipe.jsonl", RESULTS / "recipe.md"
SEEDS = (0, 1, 2)
LOSSES = ("multi_similarity", "triplet")
RECIPES = {
    "Adam, constant": {"optimizer": "adam"},
    "Adam, constant, 3e-3": {"optimizer": "adam", "learning_rate": 3e-3},
    "AdamW, constant": {"optimizer": "adamw"},
    "AdamW, cosine, no warm-up": {"optimizer": "adamw", "schedule": "cosine", "warmup": 0.0},
    "AdamW, cosine, warm-up 5 %": {"optimizer": "adamw", "schedule": "cosine", "warmup": 0.05},
    "AdamW, cosine, warm-up 10 %": {"optimizer": "adamw", "schedule": "cosine", "warmup": 0.1},
    "AdamW, cosine, warm-up 10 %, 3e-3": {
        "optimizer": "adamw", "schedule": "cosine", "warmup": 0.1, "learning_rate": 3e-3,
    },
    "AdamW, linear, warm-up 10 %": {"optimizer": "adamw", "schedule": "linear", "warmup": 0.1},
    "AdamW, one_cycle": {"optimizer": "adamw", "schedule": "one_cycle"},
}  # fmt: skip
DATA = {
    "digits": {"source": "digits", "split": {"by": "class", "train": [0, 1, 2, 3, 4], "valid": [5, 6],
               "test": [7, 8, 9]}},
    "fashion": {"source": {"fashion_mnist": {"part": "train"}},
                "split": {"by": "class", "train": [0, 1, 2, 3], "valid": [4, 5], "test": [6, 7, 8, 9]},
                "limit": {"train": 2000, "valid": 600, "test": 1200}},
}  # fmt: skip


def run(folder: str, data: str, recipe: str, loss: str, seed: int) -> dict[str, Any]:
    """One training; returns the objective on validation and on test, of its last and its best epoch."""
    import optuna
    from ruamel.yaml import YAML

    from siamkit.study.config.load import load_study
    from siamkit.study.worker import train
    from siamkit.study.worker.prepared_data import prepare_data
    from siamkit.study.worker.trainer import Limits

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    source = DATA[data] | ({"path": folder} if data == "fashion" else {})
    # The loss has its own defaults, in the metric's own units.
    content = {
        "version": 1, "name": "recipe", "data": source,
        "fixed": {"steps": 400, "batch_size": 128, "items_per_class": 16, "learning_rate": 1e-3}
        | RECIPES[recipe],
        "search": {"encoder": {"mlp": {"depth": 2, "width": 256, "dropout": 0.0}}, "metric": "cosine",
                   "loss": loss},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "study.yaml"
        YAML(typ="safe", pure=True).dump(content, path)
        study = load_study(path)
        prepared = prepare_data(study)[0]
    configuration = study.space.sample(optuna.create_study().ask())
    spec = next(iter(study.space.loss.alternatives.values())).entry.spec
    configuration["loss"]["params"] = spec.defaults()
    trainer, found = train.KerasTrainer(prepared, study.config.fixed), {}

    def score(epoch: int, logs: dict[str, float]) -> None:
        test = trainer.evaluate(probe.model, "test", {"retrieval"}).measures["map_at_r"]
        found[epoch + 1] = {"epoch": epoch + 1, "valid": logs["map_at_r"], "test": test}

    probe = train.keras.callbacks.LambdaCallback(on_epoch_end=score)
    train.made_callbacks = lambda name: [probe]
    trained = trainer.train(
        configuration, seed=seed, data_seed=0, limits=Limits(), on_epoch=lambda number, row: None
    )
    values = {"best": found[trained.epoch], "last": found[max(found)]}
    return {"data": data, "recipe": recipe, "loss": loss, "seed": seed, **values}


def floors(folder: str) -> dict[str, float]:
    """MAP@R of the test items' own pixels, by cosine."""
    import siamkit
    from siamkit.registry.registry import components

    values = {}
    for name, factory in (("digits", "digits"), ("fashion", "fashion_mnist")):
        make = components().find("dataset", factory).factory()
        dataset = make() if name == "digits" else make(path=folder, part="train")
        rows = np.flatnonzero(np.isin(dataset.target, DATA[name]["split"]["test"]))
        rows = np.random.default_rng(0).permutation(rows)[:1200]
        pixels = np.asarray(dataset.views[0])[rows].reshape(len(rows), -1).astype("float32")
        values[name] = siamkit.evaluate(pixels, dataset.target[rows], metric="cosine")["map_at_r"]
    return values


def page(measured: list[dict[str, Any]], raw: dict[str, float]) -> str:
    """The table, in Markdown."""
    lines = [
        "# Recipes of training",
        "",
        "`python benchmarks/recipe.py FOLDER`, PyTorch on CPU. MAP@R on test classes, mean over two losses",
        f"({', '.join(LOSSES)}) and {len(SEEDS)} seeds; an `mlp`, 400 steps of 128 items, ten evaluations.",
        f"The pixels themselves, by cosine: digits {raw['digits']:.3f}, fashion {raw['fashion']:.3f}.",
        "",
        "| recipe | digits, last epoch | digits, best epoch | fashion, last epoch | fashion, best epoch |",
        "|---|---|---|---|---|",
    ]

    def values(when: str, split: str = "test", **wanted: str) -> np.ndarray:
        rows = [row for row in measured if all(row[key] == value for key, value in wanted.items())]
        return np.array([row[when][split] for row in rows])

    for recipe in RECIPES:
        cells = [
            f"{values(when, recipe=recipe, data=data).mean():.3f}"
            for data in DATA
            for when in ("last", "best")
        ]
        lines.append(f"| {recipe} | {' | '.join(cells)} |")
    lines += ["", "What the best epoch gains over the last one, all recipes together:", ""]
    lines += ["| data | best epoch is not the last | on validation | on test |", "|---|---|---|---|"]
    for data in DATA:
        gains = [values("best", s, data=data) - values("last", s, data=data) for s in ("valid", "test")]
        rows = [row for row in measured if row["data"] == data]
        other = np.mean([row["best"]["epoch"] != row["last"]["epoch"] for row in rows])
        cells = [f"{gain.mean():+.3f} ± {gain.std(ddof=1) / len(gain) ** 0.5:.3f}" for gain in gains]
        lines.append(f"| {data} | {other:.0%} of {len(rows)} | {' | '.join(cells)} |")
    lines += ["", "(± one standard error.) The gain on validation is optimistic, that on test is not.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    lines = MEASURES.read_text().splitlines() if MEASURES.exists() else []
    measured = [json.loads(line) for line in lines]
    done = {(row["data"], row["recipe"], row["loss"], row["seed"]) for row in measured}
    wanted = [
        job
        for seed in SEEDS
        for data in DATA
        for loss in LOSSES
        for recipe in RECIPES
        if (job := (data, recipe, loss, seed)) not in done
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run, options.folder, *job) for job in wanted]
        for future in as_completed(futures):
            measured.append(future.result())
            print(json.dumps(measured[-1]), flush=True)
            with MEASURES.open("a") as file:
                file.write(json.dumps(measured[-1]) + "\n")
    PAGE.write_text(page(measured, floors(options.folder)))


if __name__ == "__main__":
    main()
