"""Which recipe of training should be the default? A fractional factorial design.

    KERAS_BACKEND=torch python benchmarks/recipe.py DATA [--workers 2]

DATA holds the folders `fashion-mnist`, `letter-recognition` and `ucr-timeseries`. Seven ingredients have two
levels each; 16 of the 128 combinations are trained (2^(7-3), resolution IV: no effect of one ingredient
mixes with the effect of two together), on three data sets, with two losses and three seeds. Then the recipe
that was chosen and the one before it are trained with five other seeds. Each training has 300 steps and ten
evaluations, and is judged on classes that it has not seen: after its last epoch, and after the epoch that is
best on validation.

Each training is a line in benchmarks/results/recipe.jsonl once it is done; those that are there are not run
again. The tables go to benchmarks/results/recipe.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RESULTS = Path(__file__).parent / "results"
MEASURED, PAGE = RESULTS / "recipe.jsonl", RESULTS / "recipe.md"
LOSSES = ("multi_similarity", "normalized_softmax")
SEEDS, OTHER_SEEDS = (0, 1, 2), (10, 11, 12, 13, 14)
CLASSES_PER_BATCH = 4
SMALL = {"batch_size": 32, "items_per_class": 32 // CLASSES_PER_BATCH}
LARGE = {"batch_size": 128, "items_per_class": 128 // CLASSES_PER_BATCH}
Recipe = dict[str, Any]
INGREDIENTS: dict[str, tuple[Recipe, Recipe]] = {
    "cosine schedule": ({"schedule": "constant"}, {"schedule": "cosine"}),
    "Muon, not AdamW": ({"optimizer": "adamw"}, {"optimizer": "muon"}),
    "weight decay 0.02": ({"weight_decay": 0.0}, {"weight_decay": 0.02}),
    "average of weights (0.98)": ({"ema": None}, {"ema": 0.98}),
    "light augmentation": ({"augment": "none"}, {"augment": "light"}),
    "batches of 128, not 32": (SMALL, LARGE),
    "learning rate 3e-3, not 3e-4": ({"learning_rate": 3e-4}, {"learning_rate": 3e-3}),
}
BEFORE: Recipe = {
    "optimizer": "adamw", "schedule": "cosine", "weight_decay": None, "ema": None, "augment": "none",
    "learning_rate": 1e-3, **LARGE,
}  # fmt: skip
CHOSEN: Recipe = {**BEFORE, "ema": 0.98, "learning_rate": 3e-4}
CHOSEN_FOR_IMAGES: Recipe = {**CHOSEN, "augment": "light"}
DATA: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "clothes": (
        {
            "split": {"by": "class", "train": [6, 7, 8, 9], "valid": [4, 5], "test": [0, 1, 2, 3]},
            "limit": {"train": 2000, "valid": 600, "test": 1200},
        },
        {"cnn": {"depth": 2, "filters": 8, "dropout": 0.0}},
    ),
    "letters": (
        {
            "split": {"by": "class", "train": list("ABCDEFG"), "valid": list("HIJ"), "test": list("KLM")},
            "limit": {"train": 2000, "valid": 600, "test": 1200},
        },
        {"mlp": {"depth": 2, "width": 256, "dropout": 0.0}},
    ),
    "speakers": (
        {"split": {"by": "class", "train": list("12345"), "valid": list("67"), "test": list("89")}},
        {"tcn": {"depth": 3, "filters": 32, "dropout": 0.0}},
    ),
}
"""The split and the encoder of each data set."""
Job = tuple[str, Recipe, str, int]
"""A training: the data, the recipe, the loss and the seed."""
Row = dict[str, Any]


# ------------------------------------------------------------------ what is trained


def design() -> Iterator[dict[str, int]]:
    """Yield the levels of the ingredients, 0 or 1, of each of the 16 recipes."""
    for a, b, c, d in itertools.product((0, 1), repeat=4):
        yield dict(zip(INGREDIENTS, (a, b, c, d, a ^ b ^ c, b ^ c ^ d, a ^ c ^ d), strict=True))


def recipe_of(levels: dict[str, int]) -> Recipe:
    """Return the settings of a recipe, as `fixed` of a study takes them."""
    chosen = [INGREDIENTS[name][level] for name, level in levels.items()]
    return {key: value for settings in chosen for key, value in settings.items()}


def jobs() -> Iterator[Job]:
    """Yield all trainings: those of the design, then those of the recipe before and of the chosen one."""
    for seed, data, loss, levels in itertools.product(SEEDS, DATA, LOSSES, list(design())):
        yield data, recipe_of(levels), loss, seed
    for seed, data, loss in itertools.product(OTHER_SEEDS, DATA, LOSSES):
        yield data, BEFORE, loss, seed
        yield data, chosen_for(data), loss, seed


def chosen_for(data: str) -> Recipe:
    """Return the recipe that was chosen for the kind of these data."""
    return CHOSEN_FOR_IMAGES if data == "clothes" else CHOSEN


def key_of(job: Job) -> str:
    """Return the key of a training."""
    return json.dumps(job, sort_keys=True)


# ------------------------------------------------------------------ training


def write_arrays(folder: Path, place: Path) -> None:
    """Write the items and classes of each data set to a .npz file."""
    from encoders import read_ts

    from siamkit.data.sources.arrays import fashion_mnist

    source = fashion_mnist(folder / "fashion-mnist")
    np.savez(place / "clothes.npz", x=source.views[0], y=source.codes)
    lines = (folder / "letter-recognition" / "letter-recognition.data").read_text().split()
    rows = [line.split(",") for line in lines]
    letters = np.array([row[0] for row in rows])
    np.savez(place / "letters.npz", x=np.array([row[1:] for row in rows], dtype="float32"), y=letters)
    parts = [read_ts(folder / "ucr-timeseries" / f"JapaneseVowels_{part}.ts") for part in ("TRAIN", "TEST")]
    steps = max(x.shape[1] for x, _ in parts)
    x = np.concatenate([np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0))) for x, _ in parts])
    np.savez(place / "speakers.npz", x=x, y=np.concatenate([y for _, y in parts]))


def study_of(place: str, data: str, recipe: Recipe, loss: str) -> Any:
    """Return the study of one configuration."""
    from ruamel.yaml import YAML

    from siamkit.study.config.load import load_study

    split, encoder = DATA[data]
    content = {
        "version": 1,
        "name": "recipe",
        "data": {"path": str(Path(place) / f"{data}.npz"), **split},
        "fixed": {"steps": 300, **recipe},
        "search": {"encoder": encoder, "metric": "cosine", "loss": loss},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        YAML(typ="safe", pure=True).dump(content, path)
        return load_study(path)


@cache
def prepared(place: str, data: str, loss: str) -> Any:
    """Return the items of a data set, split and prepared."""
    from siamkit.study.worker.prepared_data import prepare_data

    return prepare_data(study_of(place, data, BEFORE, loss))[0]


def run(place: str, data: str, recipe: Recipe, loss: str, seed: int) -> Row:
    """Train once; return MAP@R on validation and on test after the last and after the best epoch."""
    import optuna

    from siamkit.study.worker import train
    from siamkit.study.worker.trainer import Limits

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, items = study_of(place, data, recipe, loss), prepared(place, data, loss)
    configuration = study.space.sample(optuna.create_study().ask())
    spec = next(iter(study.space.loss.alternatives.values())).entry.spec
    configuration["loss"]["params"] = spec.defaults()  # in the metric's own units
    trainer = train.KerasTrainer(items, study.config.fixed)
    found: dict[str, dict[str, float]] = {}

    def score(epoch: int, logs: dict[str, float]) -> None:
        if epoch + 1 == study.config.fixed.evaluations:
            test = trainer.evaluate(probe.model, "test", {"retrieval"}).measures["map_at_r"]
            found["last"] = {"epoch": epoch + 1, "valid": logs["map_at_r"], "test": test}

    probe = train.keras.callbacks.LambdaCallback(on_epoch_end=score)
    train.made_callbacks = lambda name: [probe]
    start = time.monotonic()
    trained = trainer.train(
        configuration, seed=seed, data_seed=0, limits=Limits(), on_epoch=lambda number, row: None
    )
    found["best"] = {
        "epoch": trained.epoch,
        "valid": trained.scores.measures["map_at_r"],
        "test": trainer.evaluate(trained.model, "test", {"retrieval"}).measures["map_at_r"],
    }
    seconds = round(time.monotonic() - start, 1)
    return {"data": data, "recipe": recipe, "loss": loss, "seed": seed, "seconds": seconds, **found}


def raw_scores(place: str) -> dict[str, float]:
    """Return MAP@R of the values of the test items themselves, by cosine."""
    import siamkit

    tests = {data: prepared(place, data, LOSSES[0]).test for data in DATA}
    return {
        data: siamkit.evaluate(np.asarray(test.views[0]).reshape(len(test.target), -1), test.target)[
            "map_at_r"
        ]
        for data, test in tests.items()
    }


# ------------------------------------------------------------------ the tables


def interval(values: Iterable[float]) -> str:
    """Return the mean of values with half of its 95 % interval (Student's)."""
    of = np.array(list(values))
    half = stats.t.ppf(0.975, len(of) - 1) * of.std(ddof=1) / len(of) ** 0.5
    return f"{of.mean():+.3f} ± {half:.3f}"


def effects(rows: list[Row], when: str, level: Callable[[Recipe], int]) -> list[float]:
    """Return what a change brings, once for each data set, loss and seed: the difference of means on test.

    Args:
        rows: the trainings.
        when: "best" or "last", the epoch that is scored.
        level: function of a recipe: 1 if it has the change, 0 if it has not.
    """
    blocks: dict[tuple[str, str, int], tuple[list[float], list[float]]] = {}
    for row in rows:
        block = blocks.setdefault((row["data"], row["loss"], row["seed"]), ([], []))
        block[level(row["recipe"])].append(row[when]["test"])
    return [float(np.mean(with_it) - np.mean(without)) for without, with_it in blocks.values()]


def level_of(name: str, recipe: Recipe) -> int:
    """Return the level of an ingredient in a recipe of the design."""
    return next(level for level, each in enumerate(INGREDIENTS[name]) if each.items() <= recipe.items())


def table(head: list[str], lines: Iterable[list[str]]) -> list[str]:
    """Return a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines)]


def page(rows: list[Row], raw: dict[str, float]) -> str:
    """Return the page."""
    designed = [row for row in rows if row["seed"] in SEEDS]
    last = [row for row in rows if row["seed"] in OTHER_SEEDS]
    by_data = {data: [row for row in designed if row["data"] == data] for data in DATA}

    def line(name: str, of: Callable[[list[Row]], list[float]]) -> list[str]:
        """Return the line of a table: a value in each block of trainings, for each data set and for all."""
        values = [of(each) for each in by_data.values()]
        return [name, *map(interval, values), interval(itertools.chain(*values))]

    def mean_of(each: list[Row], **settings: Any) -> str:
        values = [row["best"]["test"] for row in each if settings.items() <= row["recipe"].items()]
        return f"{np.mean(values):.3f}"

    def effect_lines(when: str) -> Iterator[list[str]]:
        for name in INGREDIENTS:
            yield line(name, lambda each, name=name: effects(each, when, partial(level_of, name)))

    def gain(part: str) -> Callable[[list[Row]], list[float]]:
        def of(each: list[Row]) -> list[float]:
            blocks: dict[tuple[str, str, int], list[float]] = {}
            for row in each:
                block = blocks.setdefault((row["data"], row["loss"], row["seed"]), [])
                block.append(row["best"][part] - row["last"][part])
            return [float(np.mean(values)) for values in blocks.values()]

        return of

    minutes, longest = sum(row["seconds"] for row in rows) / 60, max(row["seconds"] for row in rows)
    head = ["", *DATA, "all"]
    return "\n".join(
        [
            "# Recipes of training",
            "",
            f"`make recipe DATA=FOLDER`: {len(rows)} trainings of 300 steps and ten evaluations each, "
            f"{minutes:.0f} minutes of one core with torch, the longest {longest:.0f} s.",
            "",
            "- clothes (Fashion-MNIST): classes 6 to 9 train, 4 and 5 validate, 0 to 3 test; `cnn`",
            "- letters: A to G train, H to J validate, K to M test; `mlp`",
            "- speakers (JapaneseVowels): 1 to 5 train, 6 and 7 validate, 8 and 9 test; `tcn`",
            "",
            f"Losses: {' and '.join(f'`{loss}`' for loss in LOSSES)}. Numbers are MAP@R on the test classes.",
            "The values of the items themselves, by cosine, have "
            f"{', '.join(f'{value:.3f} ({data})' for data, value in raw.items())}.",
            "",
            "## What each ingredient brings",
            "",
            f"{len(designed)} trainings: 16 recipes, two losses, {len(SEEDS)} seeds. ± is half of a 95 % "
            "interval over losses and seeds (Student's), for these data sets; other data may differ more.",
            "",
            "### In the best epoch on validation",
            "",
            *table(head, effect_lines("best")),
            "",
            "### In the last epoch",
            "",
            *table(head, effect_lines("last")),
            "",
            "### The best epoch instead of the last",
            "",
            *table(head, [line("on test", gain("test")), line("on validation", gain("valid"))]),
            "",
            "The best epoch is chosen on validation, so its gain there may be optimistic.",
            "",
            "### Optimizer and learning rate",
            "",
            "Means of best epochs. The design confounds this pair with two other pairs of ingredients.",
            "",
            *table(
                ["", *DATA],
                [
                    [
                        f"{name}, {rate:g}",
                        *(mean_of(each, optimizer=name, learning_rate=rate) for each in by_data.values()),
                    ]
                    for name in ("adamw", "muon")
                    for rate in (3e-4, 3e-3)
                ],
            ),
            "",
            *confirmation(last, raw),
        ]
    )


def confirmation(rows: list[Row], raw: dict[str, float]) -> Iterator[str]:
    """Yield the lines about the chosen recipe and the one before it."""
    yield f"## The chosen recipe and the one before, with {len(OTHER_SEEDS)} other seeds"
    yield ""
    yield f"Before: {words(BEFORE)}. Chosen: {words(CHOSEN)}; for images {words(CHOSEN_FOR_IMAGES)}."
    yield ""
    lines = []
    for data in DATA:
        of = [row for row in rows if row["data"] == data]
        before, after = (
            [row["best"]["test"] for row in of if (row["recipe"] != BEFORE) == is_chosen]
            for is_chosen in (False, True)
        )
        difference = effects(of, "best", lambda recipe: int(recipe != BEFORE))
        lead = [value - raw[data] for value in after]
        lines.append(
            [data, f"{np.mean(before):.3f}", f"{np.mean(after):.3f}", *map(interval, (difference, lead))]
        )
    yield from table(["", "before", "chosen", "difference", "chosen, less the items themselves"], lines)
    yield ""


def words(recipe: Recipe) -> str:
    """Return the settings of a recipe as text."""
    return "`" + json.dumps(recipe).strip("{}").replace('"', "") + "`"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    done = {}
    if MEASURED.exists():
        for row in map(json.loads, MEASURED.read_text().splitlines()):
            done[key_of((row["data"], row["recipe"], row["loss"], row["seed"]))] = row
    wanted = list(jobs())
    with tempfile.TemporaryDirectory() as place:
        write_arrays(options.data, Path(place))
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            missing = [job for job in wanted if key_of(job) not in done]
            for future in as_completed([pool.submit(run, place, *job) for job in missing]):
                row = future.result()
                done[key_of((row["data"], row["recipe"], row["loss"], row["seed"]))] = row
                with MEASURED.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{len(done)} of {len(wanted)}: {json.dumps(row)}", flush=True)
        PAGE.write_text(page([done[key_of(job)] for job in wanted], raw_scores(place)))


if __name__ == "__main__":
    main()
