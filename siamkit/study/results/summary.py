"""The results of a study in short, for the terminal: the answer, the table, the failed checks, the files."""

from __future__ import annotations

from collections.abc import Mapping

from siamkit.report.checks import failed_checks
from siamkit.report.model import Block, Document, Listing, Section, Source, Table
from siamkit.study.results.results import Results

MAX_CAUSES = 5
MAX_FRONT = 20
MORE_MEASURES = ("recall_at_1", "roc_auc", "eer")
"""Measures shown in addition to the objectives."""


def summary(results: Results, files: Mapping[str, str], *, configuration: bool = False) -> Document:
    """Return the answer in one sentence, the table, the checks that failed, and where the files are.

    Args:
        results: of the study.
        files: the path of each file to name, by what it is.
        configuration: whether to list the winning configuration by factor, too.
    """
    if results.winner is None:
        causes = sorted({trial.cause for trial in results.trials if trial.cause})
        return Document("", ["No trial completed."], [Section("causes", "Causes", causes[:MAX_CAUSES])])
    blocks: list[Block] = [_measures(results)]
    if len(results.objectives) > 1:
        blocks.append(_front(results))
    if configuration:
        rows = Table.of(("factor", "value"), [(name, str(value)) for name, value in results.factors.items()])
        blocks.append(Listing("configuration", "", rows))
    sections = [Section(block.name, "", blocks=[block]) for block in blocks]
    if failed := failed_checks(results.checks):
        sections.append(Section("checks", "Checks that failed", checks=failed))
    width = max(map(len, files), default=0)
    lines = [f"{name:<{width}}  {path}" for name, path in files.items()]
    if lines:
        sections.append(Section("files", "", blocks=[Source("files", "", "\n".join(lines))]))
    return Document("", [answer(results)], sections)


def answer(results: Results) -> str:
    """Return the winner and its score, in one sentence."""
    name, split = next(iter(results.objectives)), list(results.measures)[-1]
    value = f"{name} {results.measures[split][name]:.4f}"
    factors = results.factors
    names = " · ".join(str(factors[kind]) for kind in ("encoder", "metric", "loss"))
    description = f"{names} · {factors['embedding_dim']}-d"
    if split == "test":
        return f"The best configuration is {description}: {value} on the test split."
    complete = sum(trial.complete for trial in results.trials)
    trials = f"{complete} trial{'s' * (complete != 1)}"
    return f"The best of {trials} is {description}: {value} on the validation split, not confirmed."


def _measures(results: Results) -> Listing:
    splits, interval, lead = list(results.measures), results.test_interval, results.lead
    names = [*results.objectives, *(name for name in MORE_MEASURES if name not in results.objectives)]
    columns = ["measure", *splits, *([f"95% over {interval.over}"] if interval is not None else [])]
    rows: list[list[object]] = []
    for name in names:
        if name not in results.measures["valid"]:
            continue
        row: list[object] = [name, *(results.measures[split].get(name) for split in splits)]
        if interval is not None:
            is_measure = name == interval.measure
            row.append(f"[{interval.low:.4f}, {interval.high:.4f}]" if is_measure else "")
        rows.append(row)
    caption = ""
    if lead is not None:
        caption = (
            f"Compared with the second finalist, on the test split: {lead.measure} {lead.difference:+.4f} "
            f"[{lead.low:+.4f}, {lead.high:+.4f}], {'' if lead.significant else 'not '}significant."
        )
    return Listing("measures", "", Table.of(columns, rows), caption)


def _front(results: Results) -> Listing:
    trials = results.front
    rows = [
        (trial.trial, trial.description, *(trial.measures[name] for name in results.objectives))
        for trial in trials[:MAX_FRONT]
    ]
    more = len(trials) - MAX_FRONT
    table = Table.of(("trial", "configuration", *results.objectives), rows)
    return Listing("front", "Pareto front", table, f"and {more} more" if more > 0 else "")
