"""Export the best model of a study: the model, its description and its card, its encoder in other formats."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.backend import select
from siamkit.data.dataset import Leaf
from siamkit.errors import DataError, SiamkitError, StudyError
from siamkit.evaluation import MEASURES
from siamkit.export.formats import check_formats
from siamkit.io.files import atomic_path, to_jsonable, write_json
from siamkit.io.paths import check_writable
from siamkit.registry.catalog import importable_from
from siamkit.report.checks import failed_checks
from siamkit.runs.configuration import factors_of
from siamkit.runs.outcome import StudyOutcome, measures_by_split, read_outcome
from siamkit.runs.results import Snapshot
from siamkit.stats.results import Difference, Interval
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.results.results import Results
from siamkit.study.worker.prepared_data import prepare_data


def describe_best(outcome: StudyOutcome) -> dict[str, Any]:
    """Return the best configuration and its measures as plain data."""
    results = Results.of(outcome)
    description: dict[str, Any] = to_jsonable(
        {
            "study": outcome.snapshot.name,
            "trial": outcome.trial,
            "kind": outcome.kind,
            "confirmed": outcome.confirmed,
            "objectives": results.objectives,
            "constraints": outcome.snapshot.setting("constraints"),
            "infeasible": {trial.trial: trial.broken for trial in outcome.trials if trial.broken},
            "configuration": results.winner,
            "factors": results.factors,
            "figures": results.measures,
            "test_interval": _asdict(results.test_interval),
            "lead": _asdict(results.lead),
            "checks": [asdict(check) for check in results.checks],
            "baselines": [baseline.model_dump() for baseline in results.baselines],
            "repeats": [measures_by_split(repeat) for repeat in outcome.repeats],
            "model": str(outcome.model),
        }
    )
    return description


def _asdict(found: Interval | Difference | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def export_best(
    study: ResolvedStudy, target: str | os.PathLike[str], formats: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the best model of a study with its card and, in other formats, its encoder.

    Args:
        study: the study; its run folder has the results.
        target: the folder to create, or an empty one.
        formats: further formats to write, `onnx` or `saved_model`; the output of each is compared with the
            model's.

    Returns:
        The content of `model.json`.

    Raises:
        StudyError: no trial completed, or the folder is not empty.
        DataError: the folder cannot be written.
        ModelError: the model cannot be loaded, or a format is not available.
    """
    place = Path(target)
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise StudyError(f"{str(place)!r} already exists; choose a new or an empty folder")
    outcome = read_outcome(study.folder)
    if not outcome.model.is_file():
        raise StudyError(
            f"the model of the best trial, {str(outcome.model)!r}, is missing; "
            "'siamkit retrain' makes it again"
        )
    check_formats(formats)
    if not place.exists():
        check_writable(place)
    trained_on = outcome.snapshot.versions.backend
    name, _ = select.choose_backend(started_with=trained_on if trained_on in select.installed() else None)
    select.activate(name)

    from siamkit.export.formats import export_encoder, input_of, random_items, write_model
    from siamkit.model.factory import load_model

    model = load_model(outcome.model, compile=False)
    items = _items(study, outcome, model.preprocessor) if formats else None
    # The process that writes other formats also imports the study's own modules.
    with importable_from(study.document.folder), atomic_path(place) as folder:
        folder.mkdir()
        about = write_model(model, outcome.model, folder)
        exports = export_encoder(model, outcome.model, folder, formats, items, study.config.plugins)
        about |= {
            "input": input_of(random_items(model, 1)),
            "exports": {name: asdict(export) for name, export in exports.items()},
            "compared_on": None if not formats else "random items" if items is None else "validation items",
            "data": outcome.snapshot.data.model_dump(mode="json", exclude_unset=True),
            "precision": _precision(outcome.snapshot),
            "versions": (outcome.chosen.versions or outcome.snapshot.versions).model_dump(),
            **describe_best(outcome),
            # Each repeat has its own margins: they are in typical distances under its initial weights.
            "configuration": outcome.configuration,
            "factors": factors_of(outcome.configuration),
            "model": "model.keras",
        }
        write_json(folder / "model.json", about)
        (folder / "README.md").write_text(model_card(outcome, about), encoding="utf-8")
    return about


def _precision(snapshot: Snapshot) -> str:
    fixed = snapshot.required("fixed")
    return str(fixed["precision"])


def _items(study: ResolvedStudy, outcome: StudyOutcome, preprocessor: Any) -> Leaf | None:
    """Return up to 64 validation items, prepared by the model; None if the data of the study are missing."""
    try:
        task, raw = prepare_data(study)
    except (SiamkitError, OSError):
        return None
    if task.record["fingerprint"] != outcome.snapshot.data.fingerprint or preprocessor is None:
        return None
    try:
        prepared: Leaf = preprocessor(raw.take(np.arange(min(len(raw), 64))).views[0])
    except DataError:
        return None
    return prepared


SHOWN = ("recall_at_1", "map_at_r", "roc_auc", "eer", "spearman", "pearson", "parameters", "flops")


def model_card(outcome: StudyOutcome, model: Mapping[str, Any]) -> str:
    """Return the card of the best model as Markdown.

    Args:
        outcome: the outcome of the study.
        model: the content of `model.json`.
    """
    name = str(outcome.snapshot.name).replace("_", r"\_")
    parts = [
        f"# {name}: an embedding model\n\n{_purpose(outcome, model)}",
        f"## Use\n\n{_use(model)}",
        f"## Quality\n\n{_measures(outcome)}",
        f"## Threshold\n\n{_threshold(model)}",
        f"## Data\n\n{_data(outcome)}",
        f"## Configuration\n\n{_configuration(outcome)}",
        f"## Preparing items\n\n{_preparation(model)}",
        f"## Limits\n\n{_limits(outcome)}",
        f"## Versions\n\n{_versions(outcome)}",
        "## License\n\nsiamkit does not know the license of the data. Check it before you share the model.",
    ]
    return "\n\n".join(parts) + "\n"


def _purpose(outcome: StudyOutcome, model: Mapping[str, Any]) -> str:
    kind = outcome.snapshot.data.input
    metric = factors_of(outcome.configuration)["metric"]
    what = {
        "labels": "items of one class are near each other and items of different classes apart",
        "pairs": "similar items are near each other and others apart",
        "scores": "the more similar two items are, the nearer they are",
    }[outcome.snapshot.data.supervision]
    return (
        f"It maps one item ({kind}) to {model['embedding_dim']} numbers, compared by the metric {metric}: "
        f"{what}. Use it for search, verification and grouping of items like those it was trained on."
    )


def _use(model: Mapping[str, Any]) -> str:
    lines = [
        "With siamkit, on any Keras backend, from raw items:\n",
        "```python",
        "import siamkit",
        "",
        'model = siamkit.load_model("model.keras")',
        "model.embed(items)  # (n, dim)",
        f"model.compare(a, b)  # (n,) {model['metric']['orientation']}",
        *(["model.same(a, b)  # (n,) bool, by the threshold"] if model["threshold"] is not None else []),
        "```",
    ]
    prepare = (
        'load_preprocessor("preprocessing")(items)' if model["preprocessing"] else "items  # prepared already"
    )
    for name, export in model["exports"].items():
        fields = [each["name"] for each in model["input"]]
        feed = "prepared" if fields != ["items"] else '{"items": prepared}'
        run = {
            "onnx": [
                "import onnxruntime",
                f'session = onnxruntime.InferenceSession("{export["file"]}")',
                f"(embeddings,) = session.run(None, {feed})",
            ],
            "saved_model": [
                "import tensorflow as tf",
                f'loaded = tf.saved_model.load("{export["file"]}")',
                "embeddings = loaded.serve(prepared).numpy()",
            ],
        }[name]
        lines += [
            f"\n`{export['file']}` is the encoder alone: *prepared* items in, embeddings out. Run on "
            f"{export['items']} items it gave the model's embeddings to within "
            f"{export['max_difference']:.1e}.\n",
            "```python",
            *run[:1],
            *(["from siamkit.data import load_preprocessor  # no Keras\n"] if model["preprocessing"] else []),
            f"prepared = {prepare}",
            *run[1:],
            "```",
        ]
    return "\n".join(lines)


def _measures(outcome: StudyOutcome) -> str:
    splits = list(outcome.measures)
    repeats = [measures_by_split(repeat) for repeat in outcome.repeats]
    names = list(dict.fromkeys([*outcome.snapshot.objectives, *SHOWN]))
    names = [name for name in names if name in repeats[0]["valid"]]
    rows = []
    for name in names:
        cells = [_spread([repeat[split].get(name, math.nan) for repeat in repeats]) for split in splits]
        rows.append([f"`{name}`", *cells, MEASURES[name].summary if name in MEASURES else ""])
    if outcome.confirmed:
        folds = outcome.snapshot.folds
        times = f"{len(repeats)} seed{'s' * (len(repeats) > 1)}"
        if folds > 1:
            times = f"{-(-len(repeats) // folds)} seeds on {folds} folds"
        text = (
            f"Trained again with {times}: mean, lowest to highest. "
            "Chosen on the validation split; the test split was scored for finalists only, after the search. "
            f"This model is the repeat with the best validation score{' on the first fold' * (folds > 1)}."
        )
    else:
        text = (
            "From the search, reported on the validation split used for selection, so optimistic. "
            "The test split was never scored."
        )
    return text + "\n\n" + _table(["measure", *splits, "meaning"], rows) + _doubt(outcome)


def _doubt(outcome: StudyOutcome) -> str:
    """Return whether the winner beats the baselines, its first objective on the test split, and its lead."""
    results = Results.of(outcome)
    found, lead = results.test_interval, results.lead
    text = "".join(f"\n\n{check.sentence}" for check in results.checks if check.name == "baseline")
    if found is not None:
        text += (
            f"\n\nOn the test split `{found.measure}` is {found.value:.4f}, with a 95 % interval of "
            f"[{found.low:.4f}, {found.high:.4f}] over {found.units:,} {found.over}."
        )
    if lead is not None:
        ends = f"{lead.difference:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]"
        text += f" Compared with the second finalist that is {ends}"
        text += "." if lead.significant else ": not a significant difference."
    return text


def _spread(values: list[float]) -> str:
    """Return the mean, and the range if the values differ."""
    mean = sum(values) / len(values)
    if len({*values}) == 1 or math.isnan(mean):
        return _short(values[0] if len({*values}) == 1 else mean)
    return f"{_short(mean)} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _threshold(model: Mapping[str, Any]) -> str:
    if model["threshold"] is None:
        return "None: the data do not say which pairs are the same, so no threshold can be calibrated."
    return (
        f"{model['threshold']:.6g}: {model['same']} are taken for the same. It has the highest balanced "
        "accuracy on the validation split. If a false accept costs more than a false reject, or your items "
        "differ from these, choose another with `model.calibrate`."
    )


def _data(outcome: StudyOutcome) -> str:
    data = outcome.snapshot.data
    split, source = data.split, outcome.snapshot.required("data")
    rows = [["source", f"`{source['source']}`"]]
    rows += [["items", f"{data.items:,} ({data.input}, {data.supervision})"]]
    rows += [
        ["split", f"by {split.by}: " + ", ".join(f"{count:,} {name}" for name, count in split.counts.items())]
    ]
    for part, values in (split.values or {}).items():
        rows.append([f"in {part}", _several(values)])
    rows += [["note", sentence] for sentence in data.all_left_out]
    rows.append(["SHA-256", f"`{data.fingerprint}`"])
    return _table(["", ""], rows)


def _several(values: Iterable[Any], most: int = 20) -> str:
    texts = [str(each) for each in values]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _configuration(outcome: StudyOutcome) -> str:
    fixed = outcome.snapshot.required("fixed")
    factors = factors_of(outcome.configuration)
    rows = [
        [f"`{name}`", f"{value:.4g}" if isinstance(value, float) else str(value)]
        for name, value in factors.items()
        if value is not None
    ]
    rows += [
        [f"`{name}`", str(fixed[name])]
        for name in ("epochs", "steps", "precision")
        if fixed.get(name) is not None
    ]
    return f"The configuration of trial {outcome.trial}, the {outcome.kind}.\n\n" + _table(
        ["factor", "value"], rows
    )


def _preparation(model: Mapping[str, Any]) -> str:
    if model["preprocessing"] is None:
        return "None: the model takes items unchanged."
    return (
        f"{model['preprocessing']['does']} `model.keras` does this itself; the exports take prepared items. "
        "The numbers are in `model.json` under `preprocessing`, and in the folder `preprocessing/`."
    )


def _limits(outcome: StudyOutcome) -> str:
    seen = {
        "class": "It was judged on classes not seen in training, but of the same kind.",
        "item": "It was judged on items of the same classes that it was trained on; other classes were not "
        "tested.",
        "components": "It was judged on items that are not in training.",
        "left side": "It was judged on pairs whose left item is not in training.",
        "right side": "It was judged on pairs whose right item is not in training.",
    }.get(outcome.snapshot.data.split.by, "It was judged on groups of items that are not in training.")
    return (
        f"{seen} It was not tested on items of another source, for fairness to groups of people, or on "
        "adversarial items. Measures are means over queries and do not hold for every single item."
        + "".join(f"\n- {check.sentence}" for check in failed_checks(Results.of(outcome).checks))
    )


def _versions(outcome: StudyOutcome) -> str:
    versions = outcome.chosen.versions or outcome.snapshot.versions
    rows = [["Python", versions.python], ["backend", versions.backend]]
    rows += [[name, str(version)] for name, version in versions.packages.items()]
    rows += [[f"plugin {name}", str(version)] for name, version in versions.plugins.items()]
    return _table(["", ""], rows)


def _table(head: list[str], rows: Iterable[Iterable[Any]]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(str(each).replace("|", r"\|").replace("\n", " ") for each in cells) + " |"

    return "\n".join([line(head), line("---" for _ in head), *(line(row) for row in rows)])
