"""What does `siamkit init` and `siamkit tune` reach, with nothing tuned by hand? One row for each data set.

    KERAS_BACKEND=torch python benchmarks/reach.py DATA [ROW …] [--time 10m]

DATA holds the folders `fashion-mnist`, `letter-recognition`, `ucr-timeseries`, `codespell-pairs` and `febrl`.
Each row writes the items to a file as a user would have it, with a column `part` that says which are for
training, validation and test, and runs the two commands. The winner of the study, trained with three new
seeds, is then scored as the row asks, beside what needs no training.

Run folders stay in runs/reach, so a row that was interrupted continues. A row is a line in
benchmarks/results/reach.jsonl once it is done; rows that are there are not run again. The page goes to
benchmarks/results/reach.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
MEASURED, PAGE = HERE / "results" / "reach.jsonl", HERE / "results" / "reach.md"
RUNS = HERE.parent / "runs" / "reach"
RESAMPLES = 2000
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """A data set with its question.

    Args:
        question: what is asked, in words.
        floor: what should be reached.
        write: a function that writes the items to a folder and returns the file.
        score: a function of the run folder and that file that returns the findings of the row; None: those
            of the study itself.
    """

    question: str
    floor: str
    write: Callable[[Path, Path], Path]
    score: Callable[[Path, Path], dict[str, str]] | None = None


# ------------------------------------------------------------------ items, as a user has them


def parts_by_class(labels: np.ndarray, valid: list[Any], test: list[Any]) -> np.ndarray:
    """Return the part of each item, by its class."""
    return np.where(np.isin(labels, test), "test", np.where(np.isin(labels, valid), "valid", "train"))


def parts_at_random(groups: np.ndarray, shares: tuple[float, float]) -> dict[Any, str]:
    """Return the part of each group: shares for training and validation, the rest for test."""
    train, valid = (round(share * len(groups)) for share in shares)
    names = ["train"] * train + ["valid"] * valid + ["test"] * (len(groups) - train - valid)
    return dict(zip(np.random.default_rng(0).permutation(groups), names, strict=True))


def write_letters(data: Path, place: Path) -> Path:
    import pandas as pd

    names = ["letter", *(f"x{number}" for number in range(1, 17))]
    table = pd.read_csv(data / "letter-recognition" / "letter-recognition.data", names=names)
    table["part"] = parts_by_class(table["letter"].to_numpy(), list("JKLM"), list("NOPQRSTUVWXYZ"))
    table.to_csv(place / "letters.csv", index=False)
    return place / "letters.csv"


def write_clothes(data: Path, place: Path) -> Path:
    from siamkit.data.sources.arrays import fashion_mnist

    source = fashion_mnist(data / "fashion-mnist", part="train")
    x, y = source.views[0], source.codes
    rng = np.random.default_rng(0)
    wanted = {
        **dict.fromkeys(range(4), 2500),
        **dict.fromkeys((4, 5), 1000),
        **dict.fromkeys(range(6, 10), 1000),
    }
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == name))[:n] for name, n in wanted.items()])
    part = parts_by_class(y[rows], [4, 5], [6, 7, 8, 9])
    np.savez_compressed(place / "clothes.npz", x=x[rows], y=y[rows], part=part)
    return place / "clothes.npz"


def write_series(name: str, data: Path, place: Path) -> Path:
    from encoders import read_ts

    (train, labels), (test, test_labels) = (
        read_ts(data / "ucr-timeseries" / f"{name}_{part}.ts") for part in ("TRAIN", "TEST")
    )
    steps = max(train.shape[1], test.shape[1])
    x = np.concatenate([np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0))) for x in (train, test)])
    part = np.array(["train"] * len(train) + ["test"] * len(test), dtype="<U5")
    rng = np.random.default_rng(0)
    for label in np.unique(labels):  # a quarter of each class validates
        of_class = rng.permutation(np.flatnonzero(labels == label))
        part[of_class[: max(2, len(of_class) // 4)]] = "valid"
    np.savez(place / f"{name}.npz", x=x, y=np.concatenate([labels, test_labels]), part=part)
    return place / f"{name}.npz"


def write_typos(data: Path, place: Path) -> Path:
    import pandas as pd

    pairs = pd.read_csv(data / "codespell-pairs" / "pairs.tsv", sep="\t", keep_default_na=False)
    words = pairs["correct"].unique()
    right = pd.DataFrame({"text": words, "word": words})
    wrong = pd.DataFrame({"text": pairs["typo"], "word": pairs["correct"]})
    table = pd.concat([right, wrong], ignore_index=True)
    table["part"] = table["word"].map(parts_at_random(words, (0.7, 0.1)))
    table.to_csv(place / "typos.csv", index=False)
    return place / "typos.csv"


def write_persons(data: Path, place: Path) -> Path:
    import pandas as pd

    table = pd.read_csv(
        data / "febrl" / "dataset3.csv", skipinitialspace=True, dtype=str, keep_default_na=False
    )
    table.columns = table.columns.str.strip()
    table["entity"] = table.pop("rec_id").str.extract(r"rec-(\d+)-", expand=False)
    entities = table["entity"].unique()
    text = table.drop(columns="entity").agg(" ".join, axis=1)  # a record as one text
    persons = pd.DataFrame({"text": text, "entity": table["entity"]})
    persons["part"] = persons["entity"].map(parts_at_random(entities, (0.6, 0.1)))
    persons.to_csv(place / "persons.csv", index=False)
    return place / "persons.csv"


# ------------------------------------------------------------------ scores that a study does not have


def winners(run: Path) -> Iterator[Any]:
    """Yield the model of each repeat of the winner."""
    import siamkit
    from siamkit.report import load_study_results

    winner = load_study_results(run).finalists[0].finalist
    for repeat in winner.repeats:
        yield siamkit.load_model(run / "confirm" / winner.key / str(repeat.repeat) / "checkpoint.keras")


def nearest_neighbor(run: Path, file: Path) -> dict[str, str]:
    """Return the accuracy of the class of the nearest training item, by the winner and by raw values."""
    import siamkit

    with np.load(file) as arrays:
        x, y, part = (arrays[name] for name in ("x", "y", "part"))
    test = part == "test"

    def accuracy(vectors: np.ndarray, metric: Any) -> float:
        found = siamkit.evaluate(
            vectors[test], y[test], metric, ks=(1,), gallery=(vectors[~test], y[~test]), groups=("retrieval",)
        )
        return float(found["recall_at_1"])

    values = [accuracy(model.embed(x), model.metric) for model in winners(run)]
    return {
        "1-NN accuracy, winner": over_seeds(values),
        "1-NN accuracy, raw": f"{accuracy(x.reshape(len(x), -1), 'euclidean'):.3f}",
    }


def over_seeds(values: Sequence[float]) -> str:
    """Return the mean of values, and their range."""
    if len(values) == 1:
        return f"{values[0]:.3f} (one seed)"
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f}, {len(values)} seeds)"


def resampled(values: Callable[[np.ndarray], float], count: int) -> tuple[float, float, float]:
    """Return a statistic of groups, and its 95 % interval over resamples of the groups.

    Args:
        values: function of the weights of the groups, how often each was drawn.
        count: the number of groups.
    """
    rng = np.random.default_rng(0)
    draws = [values(rng.multinomial(count, np.full(count, 1 / count))) for _ in range(RESAMPLES)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return values(np.ones(count)), float(low), float(high)


def tfidf(texts: list[str], fitted: np.ndarray) -> Any:
    """Return TF-IDF of trigrams, fitted on some of the texts, as sparse unit vectors `(n, trigrams)`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3))
    vectorizer.fit([texts[row] for row in np.flatnonzero(fitted)])
    return vectorizer.transform(texts)


def corrections(run: Path, file: Path) -> dict[str, str]:
    """Return how often the right correction comes first, by the winner and by TF-IDF of trigrams."""
    import pandas as pd

    from siamkit.evaluation import nearest_neighbors

    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    texts, words, part = (table[name].to_numpy() for name in ("text", "word", "part"))
    test = part == "test"
    is_right = test & (texts == words)
    is_wrong = test & (texts != words)

    def is_first_right(nearest: np.ndarray) -> np.ndarray:
        return (words[is_right][nearest] == words[is_wrong]).astype(float)

    def by_model(model: Any) -> np.ndarray:
        wrong, right = (model.embed(texts[rows].tolist()) for rows in (is_wrong, is_right))
        nearest, _ = nearest_neighbors(wrong, right, model.metric, 1)
        return is_first_right(nearest[:, 0])

    ours = [by_model(model) for model in winners(run)]
    vectors = tfidf(texts.tolist(), part == "train")
    similarity = vectors[is_wrong] @ vectors[is_right].T
    theirs = is_first_right(np.asarray(similarity.argmax(axis=1)).ravel())
    _, groups = np.unique(words[is_wrong], return_inverse=True)
    count = groups.max() + 1
    sizes = np.bincount(groups)
    gains = np.bincount(groups, np.mean(ours, axis=0) - theirs)
    gain, low, high = resampled(lambda weights: float(weights @ gains / (weights @ sizes)), count)
    means = [each.mean() for each in ours]
    return {
        "right correction first, winner": over_seeds(means),
        "right correction first, TF-IDF of trigrams": f"{theirs.mean():.3f}",
        "difference": f"{gain:+.3f} ({low:+.3f} to {high:+.3f}, 95 %, over words)",
        "typos, corrections": f"{is_wrong.sum():,}, {is_right.sum():,}",
    }


def pairs_of_persons(run: Path, file: Path) -> dict[str, str]:
    """Return F1 of all pairs of unseen records, by the winner and by TF-IDF of their trigrams."""
    import pandas as pd

    import siamkit

    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    entity, part, texts = (table[name].to_numpy() for name in ("entity", "part", "text"))
    valid, test = part == "valid", part == "test"

    def f1(vectors: np.ndarray, metric: Any, best: bool = False) -> float:
        groups = ("verification",)
        split = test if best else valid
        chosen = siamkit.evaluate(vectors[split], entity[split], metric, groups=groups, threshold="f1")
        if best:
            return float(chosen["f1"])
        found = siamkit.evaluate(
            vectors[test], entity[test], metric, groups=groups, threshold=float(chosen["threshold"])
        )
        return float(found["f1"])

    found = [(model.embed(texts.tolist()), model.metric) for model in winners(run)]
    ours = [f1(vectors, metric) for vectors, metric in found]
    best = [f1(vectors, metric, best=True) for vectors, metric in found]
    theirs = f1(tfidf(texts.tolist(), part == "train").toarray().astype("float32"), "cosine", best=True)
    return {
        "F1, winner, at the best threshold of validation": over_seeds(ours),
        "F1, winner, best threshold": f"{np.mean(best):.4f}",
        "F1, TF-IDF of trigrams, best threshold": f"{theirs:.4f}",
        "records": f"{test.sum():,}",
    }


ROWS = {
    "letters": Row("Letters N to Z, trained on A to M", "better than raw, PCA and NCA", write_letters),
    "clothes": Row("Clothes 6 to 9, trained on 0 to 3", "better than raw cosine", write_clothes),
    "OSULeaf": Row("OSULeaf, given split, 1-NN", "0.91", partial(write_series, "OSULeaf"), nearest_neighbor),
    "JapaneseVowels": Row(
        "JapaneseVowels, given split, 1-NN", "0.97", partial(write_series, "JapaneseVowels"), nearest_neighbor
    ),
    "typos": Row(
        "The right correction first among all unseen corrections",
        "better than TF-IDF",
        write_typos,
        corrections,
    ),
    "persons": Row(
        "F1 of pairs of records of unseen persons",
        "better than TF-IDF, or 0.99",
        write_persons,
        pairs_of_persons,
    ),
}


# ------------------------------------------------------------------ running


def run_row(name: str, data: Path, limit: str) -> dict[str, Any]:
    """Run the two commands of a row in its folder; return what was found."""
    from siamkit.report import load_study_results, study_document

    row, place = ROWS[name], RUNS / name
    place.mkdir(parents=True, exist_ok=True)
    file = row.write(data, place)
    seconds_file = place / "seconds"
    seconds = float(seconds_file.read_text()) if seconds_file.exists() else 0.0
    commands = [["init", file.name, "--time", limit], ["tune", "study.yaml", "--progress", "plain"]]
    for command in commands:
        if command[0] == "init" and (place / "study.yaml").exists():
            continue
        start = time.monotonic()
        try:
            run = subprocess.run([sys.executable, "-m", "siamkit.cli", *command], cwd=place, check=False)
        finally:  # Ctrl-C, too: the next run continues
            seconds += time.monotonic() - start
            seconds_file.write_text(str(seconds))
        if run.returncode:
            sys.exit(f"{name}: siamkit {' '.join(command)} ended with exit code {run.returncode}")
    folder = next(path.parent for path in place.glob("*/*/study.json"))
    stored = load_study_results(folder)
    winner = stored.finalists[0]
    table = []
    for baseline in stored.baselines:
        lead = stored.lead_over(baseline)
        interval = None if lead is None else [lead.difference, lead.low, lead.high]
        table.append([baseline.description, baseline.value("test"), interval])
    return {
        "row": name,
        "commands": [" ".join(["siamkit", *command]) for command in commands],
        "minutes": round(seconds / 60, 1),
        "trials": len(stored.trials),
        "answer": list(study_document(stored).lead)[:2],
        "objective": stored.objective.name,
        "winner": winner.description,
        "value": winner.mean("test"),
        "baselines": table,
        "found": row.score(folder, file) if row.score is not None else {},
    }


def page(rows: list[dict[str, Any]]) -> str:
    """Return the results, in Markdown."""
    lines = [
        "# What two commands reach",
        "",
        "`make reach DATA=FOLDER`, PyTorch on two cores. Each row is `siamkit init` and `siamkit tune` on a "
        "file of the items, with nothing changed in the study that `init` wrote. The winner and the "
        "baselines are scored on the test part, which the study has not used before; intervals are 95 %, "
        "over seeds and queries or classes. `random` is the best encoder before training; some start fitted "
        "to the training items. `--time` was chosen for each row; OSULeaf and the typos ran again with more.",
    ]
    for row in sorted(rows, key=lambda row: list(ROWS).index(row["row"])):
        lines += ["", f"## {ROWS[row['row']].question}", "", f"Wanted: {ROWS[row['row']].floor}.", ""]
        lines += ["```bash", *row["commands"], "```", ""]
        lines += [f"{row['minutes']} minutes, {row['trials']} trials. {' '.join(row['answer'])}", ""]
        lines += [f"| {row['objective']} on test | value | the winner's lead |", "|---|---|---|"]
        lines += [f"| {row['winner']} | {row['value']:.3f} | |"]
        for name, value, lead in row["baselines"]:
            interval = "" if lead is None else f"{lead[0]:+.3f} ({lead[1]:+.3f} to {lead[2]:+.3f})"
            lines.append(f"| {name} | {'' if value is None else f'{value:.3f}'} | {interval} |")
        if row["found"]:
            lines += ["", *(f"- {name}: {value}" for name, value in row["found"].items())]
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the rows that are missing, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="rows to run; by default all")
    parser.add_argument("--time", default="10m", help="what `siamkit init --time` gets")
    arguments = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "torch")
    lines = MEASURED.read_text().splitlines() if MEASURED.exists() else []
    rows = [json.loads(line) for line in lines]
    for name in arguments.rows or ROWS:
        if name in {row["row"] for row in rows}:
            continue
        rows.append(run_row(name, arguments.data.resolve(), arguments.time))
        with MEASURED.open("a") as measured:
            measured.write(json.dumps(rows[-1]) + "\n")
        print(json.dumps(rows[-1], indent=1), flush=True)
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
