"""How training went: the objective by epoch, the items as augmented, and the trials that failed."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from siamkit.plotting import color, dressed
from siamkit.report.load import Curve, Row, StoredStudy
from siamkit.report.model import Block, Chart, Listing, Picture, Section, Table
from siamkit.report.sections import bars, label, measured, numbered, reference_lines

MAX_LINES = 40
"""The number of best trials with a line of their own; the others are a band."""

KEPT_SIZE = 9
"""The size of the mark of the epoch that is kept, in pixels."""

MAX_CAUSES = 12

GAP_PIXELS = 2
"""The white between the images of a picture."""


def training_curves(stored: StoredStudy) -> Section:
    """Return a line for each of the best trials, and a band for all others."""
    rank = {trial.trial: place for place, trial in enumerate(stored.trials)}
    curves = sorted(stored.curves, key=lambda curve: rank[curve.trial.trial])
    if not curves:
        return Section("curves", "Training curves")
    name = stored.objective.name
    best, others = curves[:MAX_LINES], curves[MAX_LINES:]
    figure = go.Figure(_band(others) if others else [])
    losses = list(dict.fromkeys(str(curve.trial.factors.get("loss")) for curve in curves))
    in_legend: set[str] = set()
    for curve in best:
        loss = str(curve.trial.factors.get("loss"))
        figure.add_trace(
            go.Scatter(
                x=curve.epochs,
                y=curve.values,
                mode="lines+markers",
                name=label(loss),
                legendgroup=label(loss),
                showlegend=loss not in in_legend,
                line={"color": color(losses.index(loss)), "width": 1.5},
                marker={"size": [KEPT_SIZE if epoch == curve.kept else 4 for epoch in curve.epochs]},
                text=[numbered(curve.trial)] * len(curve.epochs),
                hovertemplate="%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
            )
        )
        in_legend.add(loss)
    dressed(figure, "epoch", name, height=440)
    if max(len(curve.epochs) for curve in curves) <= 20:
        figure.update_xaxes(dtick=1)  # else Plotly marks half epochs
    rows = [
        (curve.trial.trial, curve.trial.description, epoch, value, "yes" if epoch == curve.kept else "")
        for curve in best
        for epoch, value in zip(curve.epochs, curve.values, strict=True)
    ]
    table = Table.of(("trial", "configuration", "epoch", name, "kept"), rows)
    where = "on the first fold" if stored.snapshot.folds > 1 else "on the validation split"
    caption = f"{name} {where} after each epoch of the first seed, a line for each trial"
    caption += (
        f": the best {MAX_LINES}; of the other {len(others)} the median and the range of the middle 80%."
        if others
        else "."
    )
    if any(curve.kept is not None for curve in best):
        caption += " A large mark is the epoch whose model is kept."
    errors = [(curve.standard_error, curve.queries) for curve in curves if curve.standard_error is not None]
    if errors:
        error, queries = max(errors)
        caption += (
            f" It was judged on all queries, the other epochs on the same {queries or 0:,} random ones: "
            f"their standard error is up to {error:.2g}."
        )
    caption += measured(figure, "y", name, reference_lines(stored, name, on_first_fold=True))
    return Section("curves", "Training curves", [], [Chart("curves", "By epoch", figure, table, caption)])


def _band(curves: Sequence[Curve]) -> list[go.Scatter]:
    """Return quantiles by epoch."""
    by_epoch: dict[float, list[float]] = {}
    for curve in curves:
        for epoch, value in zip(curve.epochs, curve.values, strict=True):
            if value is not None and np.isfinite(value):
                by_epoch.setdefault(epoch, []).append(value)
    epochs = sorted(by_epoch)
    low, median, high = (
        [float(np.quantile(by_epoch[epoch], share)) for epoch in epochs] for share in (0.1, 0.5, 0.9)
    )
    invisible = {"color": "#7F7F7F", "width": 0}
    return [
        go.Scatter(x=epochs, y=low, mode="lines", line=invisible, showlegend=False, hoverinfo="skip"),
        go.Scatter(
            x=epochs, y=high, mode="lines", line=invisible, fill="tonexty", fillcolor="rgba(127,127,127,.2)",
            name="80% of the others", hoverinfo="skip",
        ),
        go.Scatter(
            x=epochs, y=median, mode="lines", name="median of the others",
            line={"color": "#7F7F7F", "dash": "dash"}, hovertemplate="epoch %{x}: %{y:.4f}<extra></extra>",
        ),
    ]  # fmt: skip


# ------------------------------------------------------------------ augmentation


def augmentation(stored: StoredStudy) -> Section:
    """Return a few training items as they are and as the winner's training changes them at random."""
    title = "Augmented items"
    rows: list[Row] = [*stored.finalists, *stored.completed]
    arrays = stored.report_data(rows[0]) if rows else {}
    if "augmented_ids" not in arrays:
        return Section("augmentation", title)
    steps: Mapping[str, Mapping[str, float]] = json.loads(str(arrays["augmented_steps"]))
    changes = ", ".join(
        f"{name} ({', '.join(f'{key} {value:g}' for key, value in params.items())})"
        for name, params in steps.items()
    )
    items, versions = next(arrays[name].shape[:2] for name in _BLOCKS if name in arrays)
    paragraph = (
        f"Each time that the winner (#{rows[0].trial}) is trained on an item, it sees the item changed at "
        f"random by {changes}. Here are {items} training items as they are, and each changed {versions - 1} "
        "times. Validation and test items are never changed."
    )
    blocks = [make(arrays) for name, make in _BLOCKS.items() if name in arrays]
    return Section("augmentation", title, [paragraph], blocks)


def _augmented_images(arrays: Mapping[str, np.ndarray]) -> Block:
    images = arrays["augmented_images"]
    gap = ((0, 0), (0, 0), (GAP_PIXELS, GAP_PIXELS), (GAP_PIXELS, GAP_PIXELS), (0, 0))
    # A row of the picture is a version: (versions, height, items, width, channels).
    sheet = np.pad(images, gap, constant_values=255).transpose(1, 2, 0, 3, 4)
    pixels = sheet.reshape(sheet.shape[0] * sheet.shape[1], -1, sheet.shape[4])
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, format="PNG")
    caption = "A column is an item. The first row: as it is; below: as augmented."
    return Picture("augmented", "Images", stream.getvalue(), caption)


def _augmented_series(arrays: Mapping[str, np.ndarray]) -> Block:
    from plotly.subplots import make_subplots  # late: slow to import

    series, ids = arrays["augmented_series"], arrays["augmented_ids"].tolist()
    columns = min(4, len(series))
    figure = make_subplots(-(-len(series) // columns), columns, subplot_titles=[label(name) for name in ids])
    for item, lines in enumerate(series):
        # The item itself is drawn last, above its changed versions.
        for version in (*range(1, len(lines)), 0):
            figure.add_trace(
                go.Scatter(
                    y=lines[version].tolist(),
                    mode="lines",
                    name="as augmented" if version else "as it is",
                    legendgroup="augmented" if version else "original",
                    showlegend=item == 0 and version < 2,
                    line={"color": color(0 if version else 1), "width": 1 if version else 2},
                    opacity=0.6 if version else 1,
                    hoverinfo="skip",
                ),
                row=1 + item // columns,
                col=1 + item % columns,
            )
    dressed(figure, height=90 + 170 * -(-len(series) // columns))
    figure.update_layout(legend={"y": -0.1, "yanchor": "top"})
    rows = [
        (name, step, *values)
        for name, lines in zip(ids, series, strict=True)
        for step, values in enumerate(lines.T.tolist())
    ]
    table = Table.of(("item", "step", *_versions(series)), rows)
    caption = "The first feature of each item."
    return Chart("augmented", "Series", figure, table, caption)


def _augmented_texts(arrays: Mapping[str, np.ndarray]) -> Block:
    texts = arrays["augmented_texts"]
    rows = [
        (name, item[0], *(_changes(item[0], text) for text in item[1:]))
        for name, item in zip(arrays["augmented_ids"].tolist(), texts.tolist(), strict=True)
    ]
    caption = "[-…-] was removed, {+…+} was added."
    return Listing("augmented", "Texts", Table.of(("item", *_versions(texts)), rows), caption)


def _changes(before: str, after: str) -> str:
    """Return a changed text with its changes marked as in `wdiff`: `a [-red-] {+blue+} hat`."""
    marked = []
    for operation, start, end, first, last in SequenceMatcher(None, before, after, False).get_opcodes():
        if operation == "equal":
            marked.append(before[start:end])
            continue
        marked += [f"[-{before[start:end]}-]"] if end > start else []
        marked += [f"{{+{after[first:last]}+}}"] if last > first else []
    return "".join(marked)


def _augmented_rows(arrays: Mapping[str, np.ndarray]) -> Block:
    cells = arrays["augmented_rows"].tolist()
    names = _versions(arrays["augmented_rows"])
    rows = [
        (item, name, *values)
        for item, versions in zip(arrays["augmented_ids"].tolist(), cells, strict=True)
        for name, values in zip(names, versions, strict=True)
    ]
    columns = ("item", "version", *arrays["augmented_columns"].tolist())
    return Listing("augmented", "Rows", Table.of(columns, rows))


def _versions(items: np.ndarray) -> list[str]:
    return ["as it is", *(f"augmented {number}" for number in range(1, items.shape[1]))]


_BLOCKS: Mapping[str, Callable[[Mapping[str, np.ndarray]], Block]] = {
    "augmented_images": _augmented_images,
    "augmented_series": _augmented_series,
    "augmented_texts": _augmented_texts,
    "augmented_rows": _augmented_rows,
}


# ------------------------------------------------------------------ failures


def failures(stored: StoredStudy) -> Section:
    """Return the failed trials and their causes."""
    failed = [trial for trial in stored.trials if trial.outcome == "failed"]
    if not failed:
        return Section("failures", "Failures")
    causes = Counter(trial.cause for trial in failed).most_common()
    shown = causes[:MAX_CAUSES]
    ranks = [f"{rank}." for rank in range(1, len(shown) + 1)]
    figure = bars(ranks, [count for _, count in shown], [cause for cause, _ in shown])
    dressed(figure, "trials", height=130 + 30 * len(shown))
    caption = (
        f"{len(failed)} of {len(stored.trials)} trials failed, with {len(causes)} different "
        f"cause{'s' * (len(causes) > 1)}. They count towards the budget."
    )
    chart = Chart("causes", "Causes", figure, Table.of(("cause", "trials"), causes), caption)
    rows = [(trial.trial, trial.description, trial.cause, trial.seconds) for trial in failed]
    columns = ("trial", "configuration", "cause", "seconds")
    return Section(
        "failures", "Failures", [], [chart, Listing("failed", "Failed trials", Table.of(columns, rows))]
    )
