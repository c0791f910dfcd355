"""Which configurations are best: finalists, the leaderboard, trade-offs, quality against size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go

from siamkit.evaluation.measures import measure_of
from siamkit.plotting import COLORS, color, dressed, logarithmic
from siamkit.report.load import FinalistSummary, Row, StoredStudy
from siamkit.report.model import Chart, Listing, Section, Table
from siamkit.report.sections import SPLITS, bars, label, legend, measured, numbered, reference_lines
from siamkit.runs.results import TrialResult
from siamkit.stats.compression import Size, SizeCurve
from siamkit.stats.results import front

MAX_BARS = 30
MORE_MEASURES = ("recall_at_1", "map_at_r", "roc_auc", "eer", "spearman", "parameters")
"""Measures shown in addition to the objectives."""

SIZE_METHODS = {
    "baseline": "without training",
    "retrained": "trained at that size: the best trial with the same encoder, metric and loss; its other "
    "settings may differ",
    "whole": "the best finalist, unchanged",
    "truncated": "its first dimensions",
    "pca": "its first principal components",
    "float16": "half precision",
    "int8": "one byte for each dimension",
    "binary": "one bit for each dimension",
}


# ------------------------------------------------------------------ baselines


def baselines(stored: StoredStudy) -> Section:
    """Return the baselines, compared with the winner."""
    title, name = "Compared with no training", stored.objective.name
    contenders: list[Row] = [*stored.finalists, *stored.completed]
    if not stored.baselines:
        return Section("baselines", title)
    split = "test" if stored.finalists and all(each.on_test for each in stored.baselines) else "valid"
    rows: list[tuple[Any, ...]] = []
    for baseline in stored.baselines:
        result, lead = baseline.result, stored.lead_over(baseline)
        rows.append(
            (
                result.name,
                result.summary,
                *((result.variant,) if any(each.result.variant for each in stored.baselines) else ()),
                result.metric,
                result.dim,
                baseline.value("valid"),
                baseline.value("test"),
                *((None, None, None) if lead is None else (lead.difference, lead.low, lead.high)),
            )
        )
    has_variants = any(each.result.variant for each in stored.baselines)
    columns = (
        "baseline", "what it is", *(("encoder",) if has_variants else ()), "metric", "dimensions",
        f"{name} valid", f"{name} test", "winner minus it", "low", "high",
    )  # fmt: skip
    paragraphs = [
        "Embeddings of the same items that need no training, each by the better of cosine and Euclidean "
        "distance on the validation split. low and high: the 95% interval of the winner's lead on the test "
        "split, query by query."
    ]
    paragraphs += [f"{each.name} could not be computed: {each.cause}" for each in stored.failed_baselines]
    listing = Listing("baselines", "The baselines", Table.of(columns, rows))
    marks = [(each.result.name, each.value(split), each.description) for each in stored.baselines]
    for winner in contenders[:1]:
        value = winner.mean(split) if isinstance(winner, FinalistSummary) else winner.value(name)
        marks.append((f"#{winner.trial}", value, f"{winner.description}, {stored.kind}"))
    known = [(mark, value, text) for mark, value, text in marks if value is not None]
    known.sort(key=lambda each: -stored.objective.worth(each[1]))
    figure = bars(*(list(column) for column in zip(*known, strict=True)))
    dressed(figure, name, height=110 + 25 * len(known))
    chart = Chart(
        "baselines",
        "The winner and the baselines",
        figure,
        Table.of(("contender", "what it is", name), [(mark, text, value) for mark, value, text in known]),
        f"Each bar is the {name} on the {'test' if split == 'test' else 'validation'} split.",
    )
    return Section("baselines", title, paragraphs, [chart, listing])


# ------------------------------------------------------------------ finalists


def finalists(stored: StoredStudy) -> Section:
    """Return the best configurations, trained again with new seeds."""
    if not stored.finalists:
        return Section("finalists", "Finalists")
    name = stored.objective.name
    columns = (
        "configuration", "trial", "repeats", f"{name} valid", "± sd", f"{name} test", "low", "high",
        "parameters",
    )  # fmt: skip
    rows = []
    for finalist in stored.finalists:
        interval = finalist.interval
        rows.append(
            (
                finalist.description,
                finalist.trial,
                finalist.repeats,
                finalist.mean("valid"),
                finalist.deviation("valid"),
                finalist.mean("test"),
                *((None, None) if interval is None else (interval.low, interval.high)),
                finalist.parameters,
            )
        )
    intervals = [each.interval for each in stored.finalists if each.interval is not None]
    caption = f"low and high: the 95% interval over {intervals[0].over}." if intervals else ""
    paragraph = (
        "The best configurations of the search, trained again with new seeds and ordered by the validation "
        "split. Only these models were scored on the test split. ± is the standard deviation over repeats, "
        "not an interval."
    )
    listing = Listing("finalists", "Trained again", Table.of(columns, rows), caption)
    return Section("finalists", "Finalists", [paragraph], [listing, _settings(stored), _repeats(stored)])


def _settings(stored: StoredStudy) -> Listing:
    """Return every factor of each finalist; of the data only those that the study varies."""
    names = dict.fromkeys(
        name
        for finalist in stored.finalists
        for name in finalist.factors
        if not name.startswith("data.") or name in stored.varied
    )
    rows = [(name, *(_plain(finalist.factors.get(name)) for finalist in stored.finalists)) for name in names]
    columns = ("factor", *(f"#{finalist.trial}" for finalist in stored.finalists))
    return Listing("settings", "Settings of the finalists", Table.of(columns, rows))


def _plain(value: object) -> str:
    """Return a setting as a text; numbers with four digits."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _repeats(stored: StoredStudy) -> Chart:
    """Return every repeat of every finalist, on both splits."""
    figure = go.Figure()
    rows: list[tuple[Any, ...]] = []
    for number, (split, split_name) in enumerate(SPLITS.items()):
        marks = [(row, value) for row in stored.finalists[::-1] for value in row.values(split)]
        rows += [(row.trial, row.description, split, value) for row, value in marks]
        figure.add_trace(
            go.Scatter(
                x=[value for _, value in marks],
                y=[f"#{row.trial}" for row, _ in marks],
                text=[label(row.description) for row, _ in marks],
                mode="markers",
                name=split_name,
                marker={"color": color(number), "symbol": ("circle", "diamond")[number], "size": 10},
                hovertemplate="%{y} %{text}<br>%{x:.4f}<extra></extra>",
            )
        )
    figure.update_yaxes(type="category")
    dressed(figure, stored.objective.name, height=150 + 34 * len(stored.finalists))
    lines = [
        replace(line, name=f"{line.name}, {name}", color=color(number))
        for number, (split, name) in enumerate(SPLITS.items())
        for line in reference_lines(stored, stored.objective.name, split)
    ]
    own = "its own seed and fold" if stored.snapshot.folds > 1 else "its own seed"
    caption = f"Each mark is one training with {own}, to which the distance of marks in one row is due."
    return Chart(
        "repeats",
        "Every repeat",
        figure,
        Table.of(("trial", "configuration", "split", stored.objective.name), rows),
        caption + measured(figure, "x", stored.objective.name, lines),
    )


# ------------------------------------------------------------------ all trials


def leaderboard(stored: StoredStudy) -> Section:
    """Return all completed trials: those that keep all constraints first, the best first."""
    if not stored.completed and not stored.infeasible:
        return Section("leaderboard", "Leaderboard")
    paragraph = f"{stored.objective.name} on the validation split, as the search measured it."
    if stored.infeasible:
        paragraph += " Trials that break a constraint come last in the table, the closest first: they cannot "
        paragraph += "win, and effects and trade-offs leave them out."
    return Section(
        "leaderboard",
        "Leaderboard",
        [paragraph],
        [
            *([_bars(stored)] if stored.completed else []),
            Listing("trials", "All completed trials", _trials(stored)),
        ],
    )


def _bars(stored: StoredStudy) -> Chart:
    name, best = stored.objective.name, stored.completed[:MAX_BARS]
    values = [trial.measures[name] for trial in best]
    figure = bars([f"#{trial.trial}" for trial in best], values, [trial.description for trial in best])
    dressed(figure, name, height=110 + 25 * len(best))
    caption = f"Each bar is a trial; its length is its {name}."
    caption += measured(figure, "x", name, reference_lines(stored, name))
    title = f"The best {len(best)} trials" if len(stored.completed) > MAX_BARS else "The trials"
    rows = [(trial.trial, trial.description, value) for trial, value in zip(best, values, strict=True)]
    table = Table.of(("trial", "configuration", name), rows)
    return Chart("leaderboard", title, figure, table, caption)


def _trials(stored: StoredStudy) -> Table:
    naming = ("encoder", "metric", "loss", "embedding_dim")
    factors = [*naming, *(name for name in stored.varied if name not in naming)]
    trials = [*stored.completed, *stored.infeasible]
    measured = {name for trial in trials for name in trial.measures}
    limited = dict.fromkeys(measure_of(text) for trial in trials for text in trial.excesses)
    shown = (*stored.snapshot.objectives, *limited, *MORE_MEASURES)
    names = dict.fromkeys(name for name in shown if name in measured)
    rows = [
        [
            trial.trial,
            *(trial.factors.get(name) for name in factors),
            *(trial.value(name) for name in names),
            trial.seconds,
            *(["; ".join(trial.broken)] if limited else []),
        ]
        for trial in trials
    ]
    return Table.of(("trial", *factors, *names, "seconds", *(["breaks"] if limited else [])), rows)


# ------------------------------------------------------------------ trade-offs


def trade_off(stored: StoredStudy) -> Section:
    """Return two measures against each other, with their Pareto front.

    They are the first two objectives, or the only one and the number of parameters.
    """
    directions: dict[str, str] = dict([*stored.snapshot.objectives.items()][:2])
    if len(directions) == 1:
        directions["parameters"] = "minimize"
    names = list(directions)
    trials = [trial for trial in stored.completed if all(trial.value(name) is not None for name in names)]
    if not trials or len({trial.measures[name] for trial in trials for name in names[1:2]}) < 2:
        return Section("trade-off", "Trade-off")
    rows = [[trial.measures[name] for name in names] for trial in trials]
    optimal = sorted(front(rows, list(directions.values())), key=lambda row: rows[row][1])
    dominated = [row for row in range(len(rows)) if row not in set(optimal)]
    figure = go.Figure(
        [
            _points(trials, rows, dominated, "dominated", COLORS[6], "circle", "markers"),
            _points(trials, rows, optimal, "Pareto front", COLORS[0], "diamond", "lines+markers"),
        ]
    )
    dressed(figure, names[1], names[0], height=420)
    costs = [row[1] for row in rows]
    if min(costs) > 0 and max(costs) >= 30 * min(costs):
        logarithmic(figure, costs)
    lines = measured(figure, "y", names[0], reference_lines(stored, names[0]))
    lines += measured(figure, "x", names[1], reference_lines(stored, names[1]))
    table = Table.of(
        ("trial", "configuration", *names, "Pareto-optimal"),
        [
            (trial.trial, trial.description, *values, "yes" if row in optimal else "no")
            for row, (trial, values) in enumerate(zip(trials, rows, strict=True))
        ],
    )
    chart = Chart(
        "front",
        f"{names[0]} against {names[1]}",
        figure,
        table,
        "Every completed trial. A trial on the line is Pareto-optimal: no other trial is at least as good "
        f"in both measures and better in one. Its values can still be low.{lines}",
    )
    return Section("trade-off", "Trade-off", [], [chart])


def _points(
    trials: Sequence[TrialResult],
    rows: Sequence[Sequence[float]],
    chosen: Sequence[int],
    name: str,
    shade: str,
    symbol: str,
    mode: str,
) -> go.Scatter:
    return go.Scatter(
        x=[rows[row][1] for row in chosen],
        y=[rows[row][0] for row in chosen],
        text=[numbered(trials[row]) for row in chosen],
        mode=mode,
        name=name,
        line={"shape": "hv", "color": shade},
        marker={"color": shade, "size": 9, "symbol": symbol},
        hovertemplate="%{text}<br>%{y:.4g} at %{x:.4g}<extra></extra>",
    )


# ------------------------------------------------------------------ quality against size


def sizes(stored: StoredStudy) -> Section:
    """Return quality against the size of an embedding: trained at several sizes, and compressed."""
    title, name = "Quality against embedding size", stored.objective.name
    compressed, source = _compressed(stored)
    untrained = [
        Size("baseline", each.result.dim, 4.0 * each.result.dim, {name: value})
        for each in stored.baselines
        if (value := each.result.on_first_fold(name)) is not None
    ]
    points = (*_retrained(stored), *compressed, *untrained)
    if len({point.bytes_per_vector for point in points}) < 2:
        return Section("sizes", title)
    curve = SizeCurve(points)
    rows = [
        (point.how, point.dim, point.bytes_per_vector, point.measures[name], point.pareto_optimal)
        for point in curve
    ]
    columns = ("method", "dimensions", "bytes per vector", name, "Pareto-optimal")
    table = Table.of(columns, [(*row[:-1], "yes" if row[-1] else "no") for row in rows])
    used = {point.how for point in curve}
    methods = "; ".join(f"{method}: {text}" for method, text in SIZE_METHODS.items() if method in used)
    lines = reference_lines(stored, name, on_first_fold=True)
    caption = f"{methods[0].upper()}{methods[1:]}.{legend(lines)}"
    chart = Chart("sizes", "Size curve", curve.plot(lines), table, caption)
    paragraph = (
        f"Compressed: {source}. Components and quantization steps were fitted on training items; the result "
        "was measured on the validation items that this report shows."
        if compressed
        else "Only sizes that were trained. Compression (truncation, PCA, float16, int8, binary) is tried "
        "for finalists on labeled items, with a metric that takes vectors of any length."
    )
    return Section("sizes", title, [paragraph], [chart])


def _retrained(stored: StoredStudy) -> list[Size]:
    """Return the best trial of each size, with the encoder, metric and loss of the winner."""
    rows: list[Row] = [*stored.finalists[:1], *stored.completed[:1]]
    if not rows:
        return []
    name, winner = stored.objective.name, rows[0].factors
    best: dict[int, Size] = {}
    for trial in stored.completed:  # the best first
        if any(trial.factors.get(kind) != winner.get(kind) for kind in ("encoder", "metric", "loss")):
            continue
        dim = int(str(trial.factors["embedding_dim"]))
        # Compressed sizes are measured on the first fold, if there are several.
        measures = trial.repeats[0] if stored.snapshot.folds > 1 else trial.measures
        best.setdefault(dim, Size("retrained", dim, 4.0 * dim, {name: measures[name]}))
    return [best[dim] for dim in sorted(best)]


def _compressed(stored: StoredStudy) -> tuple[list[Size], str]:
    """Return the compressed sizes of the best finalist that has them, and its configuration."""
    name = stored.objective.name
    for finalist in stored.finalists:
        arrays = stored.report_data(finalist)
        if "size_how" in arrays:
            columns: list[Any] = [arrays[f"size_{key}"].tolist() for key in ("how", "dim", "bytes", "worth")]
            points = zip(*columns, strict=True)
            return [Size(how, dim, size, {name: value}) for how, dim, size, value in points], (
                finalist.description
            )
    return [], ""
