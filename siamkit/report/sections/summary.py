"""The most important, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from siamkit.report.checks import findings, verdict
from siamkit.report.load import StoredStudy
from siamkit.report.model import Section
from siamkit.report.sections._naming import words
from siamkit.stats.anova import Share
from siamkit.stats.effects import MIN_TRIALS
from siamkit.stats.importance import Importances


def lead(stored: StoredStudy, shares: Importances, variance: Sequence[Share]) -> list[str]:
    """What a reader should take along who reads nothing else; with the shares by fANOVA and by variance."""
    name = stored.objective.name
    if stored.finalists:
        best = stored.finalists[0]
        found = best.interval
        spread = f" (± {best.sd('test'):.4f} over seeds)" if best.sd("test") is not None else ""
        if found is not None:
            spread = f" (95% interval {found.low:.4f} to {found.high:.4f}, over {found.over})"
        said = [
            f"Best, trained afresh over {best.repeats} seeds: {words(best)}.",
            f"{name} {number(best.mean('valid'))} on validation, "
            f"{number(best.mean('test'))} on test{spread}.",
        ]
    elif stored.completed:
        first = stored.completed[0]
        said = [
            f"Best so far, not confirmed: {words(first)}.",
            f"{name} {number(first.value(name))} on validation.",
        ]
    else:
        return ["No trial has completed."]
    if (difference := stored.lead) is not None:
        second = words(stored.finalists[1])
        said.append("On test: " + difference.verdict(f"the second finalist ({second})", "the winner"))
    if counted := variance[:2]:
        said.append("What mattered most: " + " and ".join(f"{each}, {each.share:.0%}" for each in counted))
        said[-1] += " of how much trials differ."
    elif shares and len(stored.completed) >= MIN_TRIALS:
        factor, share = max(shares.items(), key=lambda each: each[1])
        said.append(f"What mattered most was {factor}: alone some {share:.0%} of how much trials differ.")
    return said


def trust(stored: StoredStudy) -> Section:
    """Whether these numbers can be trusted, in words."""
    found = findings(stored)
    return Section("trust", "Can these numbers be trusted?", [verdict(found)], (), found)


def about(stored: StoredStudy) -> Section:
    """What was tried, on what."""
    snapshot = stored.snapshot
    data, outcomes = snapshot.data, [trial.outcome for trial in stored.trials]
    parts = ", ".join(f"{part} {count:,}" for part, count in data.split.counts.items())
    spent = sum(trial.seconds or 0 for trial in stored.trials)
    repeats = sum(row.repeats for row in stored.finalists)
    said = [
        f"{data.items:,} items ({data.input}, {data.supervision}), split by "
        f"{data.split.by}: {parts}. "
        f"Objective: {', '.join(f'{way} {name}' for name, way in snapshot.objectives.items())}.",
        f"{outcomes.count('complete')} trials complete, {outcomes.count('pruned')} pruned, "
        f"{outcomes.count('failed')} failed; {repeats} repeats of finalists. {duration(spent)} of "
        f"training in the "
        f"search. Backend {snapshot.versions.backend}.",
    ]
    return Section("about", "What was tried", said)


def number(value: float | None) -> str:
    """A figure as text; what is missing is a dash."""
    return "–" if value is None else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
