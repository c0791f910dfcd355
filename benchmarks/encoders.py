"""Is an encoder worth its time on small data? Each at its defaults, next to the plainest network of its kind.

    python benchmarks/encoders.py FOLDER [--kinds image,text] [--only cnn,resnet]

FOLDER holds fashion-mnist, letter-recognition, codespell-pairs, febrl and ucr-timeseries, each as published;
digits, wine and breast cancer come with scikit-learn. Three or four data sets a kind, standardized as a study
does it. Every network learns for the same number of steps and is judged on items that it has not seen: by
MAP@R, or by the area under the ROC curve where the data are pairs. `raw` is the distance between the items
themselves, without training. The tables go to benchmarks/results/encoders.md; what encoders.jsonl beside it
holds already is not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
MEASURES, PAGE = RESULTS / "encoders.jsonl", RESULTS / "encoders.md"
HEAD = """\
# Encoders: each at its defaults next to the plainest network of its kind

`python benchmarks/encoders.py FOLDER` on PyTorch, one thread of a CPU that other work shared: seconds compare
roughly. Mean over two seeds ± distance from it. 200 steps of 64 items, multi-similarity loss, 32 dimensions,
Adam 0.001, MAP@R (cosine); prototypes: 256 pairs, 6 epochs, contrastive loss, area under the ROC curve. `raw`
compares the items themselves (texts: counts of their pieces) without training.

**Images.** On classes that it was trained on, `cnn` equals or beats the plainest and is at most .012
behind the best; `convnext` and `vit` are far behind both on clothes and prototypes. On new clothes all
networks forget and lose to `raw` (.358), `cnn` also to the plainest (.280, .295): `cnn_pca` (.357),
`scattering` (.345) and `linear_pca` (.341) keep up, and `cnn_pca` pays for it on known classes. On another
split of clothes (reach.md) the start of `scattering` has .639, `raw` .569, and the trained one .638.

**Series.** `inception_time` is the best or within .01 of it, and `rnn` hardly beats the plainest on
BasicMotions. `kernels` is within .06 of `inception_time`, in an eighth of its time on long series.

**Texts.** `ngrams` is the best on typos and persons, where no network beats `raw`, and sees an order,
which `bag` cannot. `text_cnn`, `lstm`, `gru` and `transformer` see an order too, and lose to the plainest
on typos and persons.

**Vectors.** `linear_lda` beats `linear_pca` on all tables of numbers, and the plainest on letters and cancer.
On wine every encoder is behind the plainest, `mlp` and `tabular` by .009.

**Tables.** `tabular` beats the plainest on letters and on mixed columns, and is .004 and .006 behind it
on two tables of few rows. `ft_transformer` is the best on those two, and loses to the plainest on letters
and mixed columns, in about ten times the time.

`cnn`, `cnn_pca`, `convnext`, `vit`, `ft_transformer` on wine and cancer, and the networks of series ran
while the machine was busier: their seconds are about twice too many. An empty cell was not measured.
"""
DIM, BATCH, STEPS, SEEDS = 32, 64, 200, (0, 1)
PLAINEST = {
    "image": "convolution of 16 filters, maximum over 2 by 2, flatten, dense",
    "series": "convolution of 16 filters, maximum over 2, flatten, dense",
    "text": "embedding of 32 numbers, mean over the tokens, dense",
    "vector": "64 hidden units, dense",
    "tabular": "numbers and one-hot codes, 64 hidden units, dense",
}


@dataclass(frozen=True)
class Task:
    """One data set: training and test items with their classes.

    Args:
        kind: the kind of input, as in specs.
        about: what is learned, in a few words.
        items: prepared items of training and test.
        labels: their classes.
        facts: what an encoder needs to know about the data.
        pairs: how many pairs to draw for training by the contrastive loss; 0 trains on labels by
            multi-similarity.
        epochs: how often to go through the pairs.
    """

    kind: str
    about: str
    items: tuple[Any, Any]
    labels: tuple[np.ndarray, np.ndarray]
    facts: dict[str, Any]
    pairs: int = 0
    epochs: int = 0


# ------------------------------------------------------------------ data


def prepared(
    kind: str, about: str, x: Any, y: np.ndarray, train: np.ndarray, test: np.ndarray, **extra: Any
) -> Task:
    """Return a task whose preprocessor is fitted on the training items."""
    from siamkit.data import Dataset, fit_preprocessor, take

    parts = [Dataset((take(x, rows),), y[rows], "labels", kind) for rows in (train, test)]
    preprocessor = fit_preprocessor(parts[0])
    items = tuple(preprocessor(part.views[0]) for part in parts)
    classes = np.unique(y, return_inverse=True)[1].astype("int32")
    facts = {
        "input_shape": preprocessor.input_shape,
        **preprocessor.facts,
        "training_items": items[0],
        "training_labels": classes[train],
    }
    return Task(kind, about, items, (classes[train], classes[test]), facts, **extra)


def rows_by_class(y: np.ndarray, classes: Any, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most so many random rows of each of the classes."""
    return np.concatenate([rng.permutation(np.flatnonzero(y == name))[:most] for name in classes])


def images(folder: Path) -> Iterator[tuple[str, Task]]:
    from siamkit.data.sources.arrays import digits, fashion_mnist

    rng = np.random.default_rng(0)
    # The first classic network learns these at once; a network that forgets where things are cannot.
    prototypes = rng.uniform(0, 1, (6, 64, 64, 3))
    y = np.arange(768) % 6
    x = np.clip(prototypes[y] + rng.normal(0, 0.5, (768, 64, 64, 3)), 0, 1).astype("float32")
    yield (
        "prototypes",
        prepared(
            "image",
            "6 random 64 by 64 images under noise",
            x,
            y,
            np.arange(512),
            np.arange(512, 768),
            pairs=256,
            epochs=6,
        ),
    )
    source = digits()
    order = rng.permutation(len(source))
    yield (
        "digits",
        prepared("image", "8 by 8, 450 items", source.views[0], source.target, order[:450], order[450:1250]),
    )
    source = fashion_mnist(folder / "fashion-mnist")
    x, y = source.views[0], source.codes
    known = rows_by_class(y, range(10), 180, rng)
    train, test = known[np.arange(len(known)) % 180 < 100], known[np.arange(len(known)) % 180 >= 100]
    yield "clothes", prepared("image", "28 by 28, 1,000 items of 10 classes", x, y, train, test)
    seen, unseen = (0, 1, 3, 5, 9), (2, 4, 6, 7, 8)
    train, test = rows_by_class(y, seen, 200, rng), rows_by_class(y, unseen, 200, rng)
    yield "new clothes", prepared("image", "the same, 5 classes, judged on 5 others", x, y, train, test)


def series(folder: Path) -> Iterator[tuple[str, Task]]:
    for name, about in (
        ("OSULeaf", "outlines of leaves, 6 classes"),
        ("JapaneseVowels", "12 channels, 9 speakers"),
        ("BasicMotions", "6 channels, 4 classes"),
    ):
        parts = [read_ts(folder / "ucr-timeseries" / f"{name}_{part}.ts") for part in ("TRAIN", "TEST")]
        steps = max(x.shape[1] for x, _ in parts)
        x = np.concatenate([np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0))) for x, _ in parts])
        y = np.concatenate([y for _, y in parts])
        count = len(parts[0][1])
        rows = np.arange(len(y))
        yield name, prepared("series", f"{about}, {steps} steps", x, y, rows[:count], rows[count:])


def read_ts(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return series `(n, steps, channels)`, shorter ones padded with zeros, and the labels of a .ts file."""
    rows = [line for line in path.read_text().splitlines() if line.strip() and line[0] not in "@#"]
    found, labels = [], []
    for row in rows:
        *channels, label = row.split(":")
        found.append(np.array([np.array(channel.split(","), dtype="float32") for channel in channels]).T)
        labels.append(label.strip())
    steps = max(map(len, found))
    return np.stack([np.pad(x, ((0, steps - len(x)), (0, 0))) for x in found]), np.array(labels)


def texts(folder: Path) -> Iterator[tuple[str, Task]]:
    rng = np.random.default_rng(0)
    lines = [
        line.split("\t") for line in (folder / "codespell-pairs" / "pairs.tsv").read_text().splitlines()[1:]
    ]
    words = np.array([typo for typo, _ in lines], dtype=object)
    meant = np.array([correct for _, correct in lines], dtype=object)
    names, counts = np.unique(meant, return_counts=True)
    names = rng.permutation(names[counts >= 4])
    train, test = rows_by_class(meant, names[:400], 6, rng), rows_by_class(meant, names[400:600], 6, rng)
    yield "typos", prepared("text", "typos of 400 words, judged on 200 others", words, meant, train, test)

    rows = [line.split(", ") for line in (folder / "febrl" / "dataset3.csv").read_text().splitlines()[1:]]
    persons = np.array([" ".join(field.strip() for field in row[1:8]) for row in rows], dtype=object)
    entity = np.array([row[0].split("-")[1] for row in rows])
    names, counts = np.unique(entity, return_counts=True)
    names = rng.permutation(names[counts >= 3])
    train, test = rows_by_class(entity, names[:300], 6, rng), rows_by_class(entity, names[300:500], 6, rng)
    yield (
        "persons",
        prepared("text", "records of 300 persons, judged on 200 others", persons, entity, train, test),
    )

    # The same words in every text: their order alone tells the classes apart.
    vocabulary = np.array(["ash", "bay", "cod", "dew", "elm", "fog"], dtype=object)
    orders = [rng.permutation(6) for _ in range(8)]
    y = np.arange(1200) % 8
    sentences = np.empty(1200, dtype=object)
    for row, name in enumerate(y):
        order = orders[name].copy()
        at = rng.integers(5)
        order[[at, at + 1]] = order[[at + 1, at]] if rng.random() < 0.3 else order[[at, at + 1]]
        sentences[row] = " ".join(vocabulary[order])
    yield "order", prepared("text", "8 orders of 6 words", sentences, y, np.arange(600), np.arange(600, 1200))


def tables(folder: Path) -> Iterator[tuple[str, Task]]:
    from sklearn.datasets import load_breast_cancer, load_wine

    rng = np.random.default_rng(0)
    lines = [
        line.split(",")
        for line in (folder / "letter-recognition" / "letter-recognition.data").read_text().split()
    ]
    letters = np.array([line[0] for line in lines])
    x = np.array([line[1:] for line in lines], dtype="float32")
    train = rows_by_class(letters, list("ABCDEFGHIJKLM"), 80, rng)
    test = rows_by_class(letters, list("NOPQRSTUVWXYZ"), 60, rng)
    columns = {f"c{column}": x[:, column] for column in range(x.shape[1])}
    yield (
        "letters",
        prepared("tabular", "16 numbers, judged on 13 unseen letters", columns, letters, train, test),
    )
    # Every second column as a category: how far apart two of its values are is left to learning.
    mixed = {
        name: values if number % 2 else np.array([f"v{value:.0f}" for value in values], dtype=object)
        for number, (name, values) in enumerate(columns.items())
    }
    yield (
        "mixed",
        prepared("tabular", "letters with every second number as a category", mixed, letters, train, test),
    )
    for name, load in (("wine", load_wine), ("cancer", load_breast_cancer)):
        x, y = load(return_X_y=True)
        order = rng.permutation(len(y))
        columns = {f"c{column}": x[:, column].astype("float32") for column in range(x.shape[1])}
        half = len(y) // 2
        yield (
            name,
            prepared(
                "tabular", f"{x.shape[1]} numbers, {half} items", columns, y, order[:half], order[half:]
            ),
        )


def vectors(folder: Path) -> Iterator[tuple[str, Task]]:
    """Yield the tables of numbers as vectors."""
    for name, task in tables(folder):
        if set(task.items[0]) <= {"numeric", "missing"}:
            items = tuple(part["numeric"] for part in task.items)
            facts = {
                "input_shape": items[0].shape[1:],
                "columns": task.facts["columns"],
                "training_items": items[0],
                "training_labels": task.labels[0],
            }
            yield name, replace(task, kind="vector", items=items, facts=facts)


TASKS: dict[str, Callable[[Path], Iterator[tuple[str, Task]]]] = {
    "image": images,
    "series": series,
    "text": texts,
    "vector": vectors,
    "tabular": tables,
}


# ------------------------------------------------------------------ networks


def plainest(task: Task) -> Any:
    """Return the plainest network of a kind, written in Keras alone."""
    import keras
    from keras import layers

    shape = task.facts["input_shape"]
    if task.kind == "tabular":
        inputs = {key: keras.Input(size, name=key) for key, size in shape.items()}
        parts = [inputs[key] for key in inputs if key != "categorical"]
        for column, count in enumerate(task.facts["columns"]["categorical"].values()):
            parts.append(keras.ops.one_hot(inputs["categorical"][:, column], count))
        x = layers.Dense(64, activation="relu")(layers.Concatenate()(parts))
    elif task.kind == "vector":
        inputs = keras.Input(shape)
        x = layers.Dense(64, activation="relu")(inputs)
    elif task.kind == "text":
        inputs = keras.Input(shape, dtype="int32")
        x = layers.Embedding(task.facts["vocabulary_size"], 32, mask_zero=True)(inputs)
        x = layers.GlobalAveragePooling1D()(x)
    else:
        inputs = keras.Input(shape)
        convolution, pooling = (
            (layers.Conv2D, layers.MaxPooling2D)
            if task.kind == "image"
            else (layers.Conv1D, layers.MaxPooling1D)
        )
        x = convolution(16, 3, activation="relu", data_format="channels_last")(inputs)
        x = layers.Flatten()(pooling(2, data_format="channels_last")(x))
    return keras.Model(inputs, layers.UnitNormalization()(layers.Dense(DIM)(x)))


def encoders_of(kind: str) -> list[str]:
    """Return the names of siamkit's encoders that take a kind of input."""
    from siamkit import components

    entries = [entry for entry in components().encoders.all() if entry.origin.distribution == "siamkit"]
    return [entry.spec.name for entry in entries if kind in entry.spec.inputs and not entry.spec.pretrained]


def encoder_of(name: str, task: Task) -> Any:
    """Return an encoder at its defaults."""
    from siamkit import components, get_encoder

    needs = components().encoders[name].spec.needs
    facts = {key: value for key, value in task.facts.items() if key in ("input_shape", *needs)}
    return get_encoder(name, embedding_dim=DIM, **facts)


def trained(encoder: Any, task: Task, seed: int) -> tuple[float, float]:
    """Return the quality on the test items, and the seconds of training."""
    import keras

    from siamkit.model import Siamese

    metric, loss = ("euclidean", "contrastive") if task.pairs else ("cosine", "multi_similarity")
    model = Siamese(encoder, metric)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    rng = np.random.default_rng(seed)
    x, y = task.items[0], task.labels[0]
    if task.pairs:
        left, right, alike = draw_pairs(y, task.pairs, rng)
        data, target, epochs, batch = (x[left], x[right]), alike, task.epochs, 32
    else:
        rows = rng.permutation(np.resize(np.arange(len(y)), STEPS * BATCH))
        data, target, epochs, batch = taken(x, rows), y[rows], 1, BATCH
    start = time.perf_counter()
    model.fit(data, target, batch_size=batch, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - start
    return quality(model.embed(task.items[1]), task), seconds


def taken(items: Any, rows: np.ndarray) -> Any:
    from siamkit.data import take

    return take(items, rows)


def draw_pairs(
    y: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of the left and the right items of pairs, every second pair alike, and 1 or 0."""
    alike = (np.arange(count) % 2).astype("int32")
    left = rng.integers(0, len(y), count)
    right = np.array(
        [
            rng.choice(np.flatnonzero((y == y[row]) == bool(same)))
            for row, same in zip(left, alike, strict=True)
        ]
    )
    return left, right, alike


def quality(embeddings: np.ndarray, task: Task) -> float:
    """Return the area under the ROC curve of pairs, or MAP@R."""
    from sklearn.metrics import roc_auc_score

    labels = task.labels[1]
    if task.pairs:
        left, right, alike = draw_pairs(labels, 1000, np.random.default_rng(99))
        distances = np.linalg.norm(embeddings[left] - embeddings[right], axis=1)
        return float(roc_auc_score(alike, -distances))
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :-1]
    hits = labels[order] == labels[:, None]
    ranks = np.arange(1, hits.shape[1] + 1)
    relevant = hits.sum(axis=1, keepdims=True)
    precision = hits.cumsum(axis=1) / ranks * hits * (ranks <= relevant)
    return float((precision.sum(axis=1) / relevant[:, 0])[relevant[:, 0] > 0].mean())


def standardized(task: Task) -> float:
    """Return the quality of series, each of whose channels has mean 0 and deviation 1 over the steps."""
    x = np.asarray(task.items[1], dtype="float64")
    x = x - x.mean(axis=1, keepdims=True)
    x /= np.maximum(x.std(axis=1, keepdims=True), 1e-9)
    return quality(x.reshape(len(x), -1), task)


def raw(task: Task) -> float:
    """Return the quality of the items themselves; of texts, of how often each token is in them."""
    x = task.items[1]
    if task.kind == "text":
        counts = np.zeros((len(x), task.facts["vocabulary_size"]), dtype="float32")
        np.add.at(counts, (np.repeat(np.arange(len(x)), x.shape[1]), x.ravel()), 1)
        return quality(counts[:, 1:], task)
    leaves = dict(x) if isinstance(x, dict) else {"items": x}
    codes = leaves.pop("categorical", np.empty((0, 0)))
    flat = [np.asarray(leaf, dtype="float32").reshape(len(leaf), -1) for leaf in leaves.values()]
    for column, count in enumerate(task.facts.get("columns", {}).get("categorical", {}).values()):
        flat.append(np.eye(count, dtype="float32")[codes[:, column]])
    return quality(np.concatenate(flat, axis=1), task)


# ------------------------------------------------------------------ the table


def measure(
    task: Task, make: Callable[[Task], Any], seeds: tuple[int, ...] = SEEDS
) -> tuple[float, float, float, int]:
    """Return the mean quality, the largest distance from it, mean seconds and the number of weights."""
    import keras

    results = []
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        encoder = make(task)
        results.append(trained(encoder, task, seed))
    values, seconds = np.array(results).T
    mean = float(values.mean())
    return mean, float(np.abs(values - mean).max()), float(seconds.mean()), encoder.count_params()


def stored() -> dict[tuple[str, str, str], str]:
    """Return the cells of the tables that were measured before, by kind, network and data set."""
    if not MEASURES.exists():
        return {}
    rows = [json.loads(line) for line in MEASURES.read_text(encoding="utf-8").splitlines()]
    return {(row["kind"], row["network"], row["data"]): row["cell"] for row in rows}


def page(cells: Mapping[tuple[str, str, str], str]) -> str:
    """Return the tables as Markdown."""
    lines = [HEAD]
    for kind in dict.fromkeys(key[0] for key in cells):
        networks, data = (list(dict.fromkeys(key[i] for key in cells if key[0] == kind)) for i in (1, 2))
        ours = [f"`{name}`" for name in encoders_of(kind)]
        networks.sort(key=lambda name: 2 + ours.index(name) if name in ours else name.startswith("plainest"))
        lines += [f"## {kind}", "", f"| | {' | '.join(data)} |", "|---" * (len(data) + 1) + "|"]
        for network in networks:
            found = [cells.get((kind, network, name), "") for name in data]
            lines.append(f"| {network} | {' | '.join(found)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not stored yet, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", default=",".join(TASKS))
    parser.add_argument("--only", default="", help="encoders, separated by commas")
    parser.add_argument("--data", default="", help="data sets, separated by commas")
    arguments = parser.parse_args()
    only = arguments.only.split(",") if arguments.only else None
    wanted = arguments.data.split(",") if arguments.data else None
    cells = stored()
    for kind in arguments.kinds.split(","):
        tasks = dict(TASKS[kind](arguments.folder))
        rows: dict[str, Callable[[Task], Any]] = {f"plainest: {PLAINEST[kind]}": plainest}
        for name in encoders_of(kind):
            if only is None or name in only:
                rows[f"`{name}`"] = partial(encoder_of, name)
        floors = {"raw": raw} | ({"raw, each series standardized": standardized} if kind == "series" else {})
        for network in [*floors, *rows]:
            for name, task in tasks.items():
                key = (kind, network, f"{name}: {task.about}")
                if key in cells or (wanted is not None and name not in wanted):
                    continue
                if network in floors:
                    cells[key] = f"{floors[network](task):.3f}"
                else:
                    mean, spread, seconds, weights = measure(task, rows[network])
                    cells[key] = f"{mean:.3f} ± {spread:.3f}, {seconds:.1f} s, {weights:,} weights"
                print(*key, cells[key], flush=True)
                row = dict(zip(("kind", "network", "data"), key, strict=True), cell=cells[key])
                with MEASURES.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    PAGE.write_text(page(cells), encoding="utf-8")


if __name__ == "__main__":
    main()
