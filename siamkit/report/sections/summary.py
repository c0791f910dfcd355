"""The most important, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from siamkit.report._repeats import lead as against_second
from siamkit.report.checks import findings, verdict
from siamkit.report.load import StoredStudy
from siamkit.report.model import Section
from siamkit.report.sections._naming import words
from siamkit.stats.anova import Share
from siamkit.stats.effects import MIN_TRIALS
from siamkit.stats.importance import Importances


def lead(stored: StoredStudy, shares: Importances, variance: Sequence[Share]) -> list[str]:
    """What a reader should take along who reads nothing else; with the shares by fANOVA and by variance."""
    name = stored.objective
    if stored.finalists:
        best = stored.finalists[0]
        found = best["test_interval"]
        spread = f" (± {best['test_sd']:.4f} over seeds)" if best["test_sd"] is not None else ""
        if found is not None:
            spread = f" (95% interval {found.low:.4f} to {found.high:.4f}, over {found.over})"
        said = [
            f"Best, trained afresh over {best['repeats']} seeds: {words(best)}.",
            f"{name} {number(best['valid'])} on validation, {number(best['test'])} on test{spread}.",
        ]
    elif stored.completed:
        best = stored.completed[0]
        said = [
            f"Best so far, not confirmed: {words(best)}.",
            f"{name} {number(best['figures'][name])} on validation.",
        ]
    else:
        return ["No trial has completed."]
    if (difference := against_second(stored.finalists)) is not None:
        second = words(stored.finalists[1])
        said.append("On test: " + difference.verdict(f"the second finalist ({second})", "the winner"))
    if counted := variance[:2]:
        said.append("What mattered most: " + " and ".join(f"{each}, {each.share:.0%}" for each in counted))
        said[-1] += " of how much trials differ."
    elif shares and len(stored.completed) >= MIN_TRIALS:
        first, share = max(shares.items(), key=lambda each: each[1])
        said.append(f"What mattered most was {first}: alone some {share:.0%} of how much trials differ.")
    return said


def trust(stored: StoredStudy) -> Section:
    """Whether these numbers can be trusted, in words."""
    found = findings(stored)
    return Section("trust", "Can these numbers be trusted?", [verdict(found)], (), found)


def about(stored: StoredStudy) -> Section:
    """What was tried, on what."""
    frozen = stored.frozen
    data, outcomes = frozen["data"], [trial["outcome"] for trial in stored.trials]
    parts = ", ".join(f"{part} {count:,}" for part, count in data["split"]["counts"].items())
    spent = sum(trial.get("seconds") or 0 for trial in stored.trials)
    repeats = sum(row["repeats"] for row in stored.finalists)
    said = [
        f"{data['items']:,} items ({data['input']}, {data['supervision']}), split by "
        f"{data['split']['by']}: {parts}. "
        f"Objective: {', '.join(f'{way} {name}' for name, way in frozen['objectives'].items())}.",
        f"{outcomes.count('complete')} trials complete, {outcomes.count('pruned')} pruned, "
        f"{outcomes.count('failed')} failed; {repeats} repeats of finalists. {duration(spent)} of "
        f"training in the "
        f"search. Backend {frozen['versions']['backend']}.",
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
