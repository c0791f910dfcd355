"""Quality against size: trained at several, and the best embedding made smaller."""

from __future__ import annotations

from typing import Any

from siamkit.report.load import Row, StoredStudy
from siamkit.report.model import Chart, Section, Table
from siamkit.report.sections._naming import words
from siamkit.stats.compression import Size, SizeCurve

WAYS = {
    "retrained": "trained at that size, the best trial of each, with one encoder, metric and loss",
    "whole": "the best finalist as it is",
    "truncated": "its first numbers",
    "pca": "turned to its main directions, then cut",
    "float16": "in half precision",
    "int8": "in a byte a number",
    "binary": "in a bit a number",
}


def sizes(stored: StoredStudy) -> Section:
    """The dimension curve and its Pareto front."""
    title = "Quality against size"
    smaller, of = _made_smaller(stored)
    several = (*_retrained(stored), *smaller)
    if len({each.bytes_per_vector for each in several}) < 2:
        return Section("sizes", title)
    curve = SizeCurve(several)
    rows = [
        (each.how, each.dim, each.bytes_per_vector, each.measures[stored.objective.name], each.pareto_optimal)
        for each in curve
    ]
    columns = ("way", "dimensions", "bytes a vector", stored.objective.name, "on the front")
    table = Table.of(columns, [(*row[:-1], "yes" if row[-1] else "no") for row in rows])
    used = {each.how for each in curve}
    told = "; ".join(f"{way}: {what}" for way, what in WAYS.items() if way in used) + "."
    chart = Chart("sizes", "Dimension curve", curve.plot(), table, told[0].upper() + told[1:])
    said = (
        f"Made smaller was {of}. Directions and steps were learnt from training items, and what they make "
        "was judged on the validation items shown below."
        if smaller
        else "Only sizes that were trained. What is left of one embedding when it is cut or rounded is tried "
        "of finalists, of labelled items, with a metric that takes vectors of any length."
    )
    return Section("sizes", title, [said], [chart])


def _retrained(stored: StoredStudy) -> list[Size]:
    """The best trial of each size that was searched, with the encoder, metric and loss of the best of all."""
    parts = ("encoder", "metric", "loss")
    rows: list[Row] = [*stored.finalists[:1], *stored.completed[:1]]
    first = rows[0] if rows else None
    best: dict[int, Size] = {}
    for trial in stored.completed:  # the best first
        if first is None or any(trial.factors.get(name) != first.factors.get(name) for name in parts):
            continue
        dim = int(str(trial.factors["embedding_dim"]))
        value = {stored.objective.name: trial.measures[stored.objective.name]}
        best.setdefault(dim, Size("retrained", dim, 4.0 * dim, value))
    return [best[dim] for dim in sorted(best)]


def _made_smaller(stored: StoredStudy) -> tuple[list[Size], str]:
    """What the best finalist that was tried so came to, and which that is."""
    for row in stored.finalists:
        found = stored.report_data(row)
        if "size_how" in found:
            columns: list[Any] = [found[f"size_{name}"].tolist() for name in ("how", "dim", "bytes", "worth")]
            tried = zip(*columns, strict=True)
            return [
                Size(how, dim, size, {stored.objective.name: worth}) for how, dim, size, worth in tried
            ], words(row)
    return [], ""
