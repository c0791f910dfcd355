"""The model card: what for, from what data, how good, how to use it. No Keras here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from siamkit.evaluation import MEASURES
from siamkit.report.checks import failed_checks
from siamkit.runs.configuration import factors_of
from siamkit.runs.outcome import StudyOutcome, measures_by_split
from siamkit.study.results.results import Results

SHOWN = ("recall_at_1", "map_at_r", "roc_auc", "eer", "spearman", "pearson", "parameters", "flops")


def model_card(outcome: StudyOutcome, model: Mapping[str, Any]) -> str:
    """The card of the best model as Markdown.

    Args:
        outcome: of the study.
        model: what `model.json` holds.
    """
    name = str(outcome.snapshot.name).replace("_", r"\_")
    parts = [
        f"# {name}: an embedding model\n\n{_purpose(outcome, model)}",
        f"## Use\n\n{_use(model)}",
        f"## How good it is\n\n{_measures(outcome)}",
        f"## Threshold\n\n{_threshold(model)}",
        f"## Data\n\n{_data(outcome)}",
        f"## Configuration\n\n{_configuration(outcome)}",
        f"## Preparing items\n\n{_preparation(model)}",
        f"## Limits\n\n{_limits(outcome)}",
        f"## Versions\n\n{_versions(outcome)}",
        "## Licence\n\nThat of the data is not known to siamkit; whoever passes the model on should know it.",
    ]
    return "\n\n".join(parts) + "\n"


def _purpose(outcome: StudyOutcome, model: Mapping[str, Any]) -> str:
    kind = outcome.snapshot.data.input
    metric = factors_of(outcome.configuration)["metric"]
    what = {
        "labels": "items of one class near each other and those of others apart, classes that it has never "
        "seen included as far as the figures below say so",
        "pairs": "items that are alike near each other and others apart",
        "scores": "items as near each other as they are similar",
    }[outcome.snapshot.data.supervision]
    return (
        f"It turns one item ({kind}) into {model['embedding_dim']} numbers, so that they lie, by the metric "
        f"{metric}: {what}. For search, verification and grouping of items like those it was trained on."
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
    for name, told in model["exports"].items():
        fields = [each["name"] for each in model["input"]]
        feed = "prepared" if fields != ["items"] else '{"items": prepared}'
        run = {
            "onnx": [
                "import onnxruntime",
                f'session = onnxruntime.InferenceSession("{told["file"]}")',
                f"(embeddings,) = session.run(None, {feed})",
            ],
            "saved_model": [
                "import tensorflow as tf",
                f'loaded = tf.saved_model.load("{told["file"]}")',
                "embeddings = loaded.serve(prepared).numpy()",
            ],
        }[name]
        lines += [
            f"\n`{told['file']}` is the encoder alone: *prepared* items in, embeddings out. Run on "
            f"{told['items']} items it gave the model's embeddings to within {told['max_difference']:.1e}.\n",
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
        told = (
            f"Trained afresh with {len(repeats)} seed{'s' * (len(repeats) > 1)}: mean, lowest to highest. "
            "Chosen on the validation part; the test part was scored for finalists only, after the search. "
            "The model here is the repeat that validates best."
        )
    else:
        told = (
            "From the search, on the validation part that it was chosen by: expect less on new data. "
            "The test part was never scored."
        )
    return told + "\n\n" + _table(["measure", *splits, "meaning"], rows) + _doubt(outcome)


def _doubt(outcome: StudyOutcome) -> str:
    """How sure the first objective on the test part is, alone and beside the second finalist's."""
    found, lead = Results.of(outcome).test_interval, Results.of(outcome).lead
    told = ""
    if found is not None:
        told += (
            f"\n\nOn the test part `{found.measure}` is {found.value:.4f}, with a 95 % interval of "
            f"[{found.low:.4f}, {found.high:.4f}] over {found.units:,} {found.over}."
        )
    if lead is not None:
        ends = f"{lead.difference:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]"
        told += f" Beside the second finalist's that is {ends}"
        told += "." if lead.significant else ": no difference shown at this size."
    return told


def _spread(values: list[float]) -> str:
    """The mean; of several that differ also the range."""
    mean = sum(values) / len(values)
    if len({*values}) == 1 or math.isnan(mean):
        return _short(values[0] if len({*values}) == 1 else mean)
    return f"{_short(mean)} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _threshold(model: Mapping[str, Any]) -> str:
    if model["threshold"] is None:
        return "None: the data do not say of pairs whether they are the same, so there is none to calibrate."
    return (
        f"{model['threshold']:.6g}: {model['same']} are taken for the same. It was calibrated on the "
        "validation part for equal shares of false accepts and false rejects (`eer`). Where one costs more "
        "than the other, or items differ from those, calibrate it anew with `siamkit.evaluate`."
    )


def _data(outcome: StudyOutcome) -> str:
    data = outcome.snapshot.data
    split, source = data.split, outcome.snapshot.study["data"]
    assert isinstance(source, dict)
    rows = [["source", f"`{source['source']}`"]]
    rows += [["items", f"{data.items:,} ({data.input}, {data.supervision})"]]
    rows += [
        ["split", f"by {split.by}: " + ", ".join(f"{count:,} {name}" for name, count in split.counts.items())]
    ]
    for part, values in (split.values or {}).items():
        rows.append([f"in {part}", _several(values)])
    rows.append(["SHA-256", f"`{data.fingerprint}`"])
    return _table(["", ""], rows)


def _several(values: Iterable[Any], most: int = 20) -> str:
    texts = [str(each) for each in values]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _configuration(outcome: StudyOutcome) -> str:
    fixed = outcome.snapshot.study["fixed"]
    assert isinstance(fixed, dict)
    factors = factors_of(outcome.configuration)
    rows = [
        [f"`{name}`", f"{value:.4g}" if isinstance(value, float) else str(value)]
        for name, value in factors.items()
    ]
    rows += [[f"`{name}`", str(fixed[name])] for name in ("epochs", "precision") if name in fixed]
    return f"That of trial {outcome.trial}.\n\n" + _table(["factor", "value"], rows)


def _preparation(model: Mapping[str, Any]) -> str:
    if model["preprocessing"] is None:
        return "None: it takes items as they are."
    return (
        f"{model['preprocessing']['does']} `model.keras` does so itself; the exports take what comes of it. "
        "The numbers are in `model.json` under `preprocessing`, and in the folder `preprocessing/`."
    )


def _limits(outcome: StudyOutcome) -> str:
    seen = {
        "class": "It was judged on classes not seen in training, but of the same kind.",
        "item": "It was judged on items of the same classes that it was trained on; how it does on others "
        "was not asked.",
    }.get(outcome.snapshot.data.split.by, "It was judged on groups of items that are not in training.")
    return (
        f"{seen} Nothing is known of items of another source, of how it treats groups of people, or of "
        "items made to deceive it. Figures are means over queries, not promises for one item."
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
