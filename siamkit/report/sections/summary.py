"""The first and the last of a report: the answer, the trials, the reliability, how to reproduce it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from siamkit.report.checks import check_baseline, check_constraints, check_reliability, verdict
from siamkit.report.load import StoredStudy
from siamkit.report.model import Section, Source
from siamkit.report.sections import duration, number
from siamkit.runs.outcome import why_no_winner
from siamkit.stats.effects import MIN_TRIALS
from siamkit.stats.importance import Importances, Share


def lead(stored: StoredStudy, shares: Importances, variance: Sequence[Share]) -> list[str]:
    """Return the most important sentences of a report.

    Args:
        stored: the results.
        shares: the importance of each factor, by fANOVA.
        variance: the analysis of variance of a crossed design; empty for other designs.
    """
    sentences = answer(stored)
    if not stored.completed and not stored.finalists:
        return sentences
    if (difference := stored.lead) is not None:
        second = f"the second finalist ({stored.finalists[1].description})"
        sentences.append("On the test split: " + difference.verdict(second, "the winner"))
    if variance:
        terms = " and ".join(f"{term}, {term.share:.0%}" for term in variance[:2])
        sentences.append(f"Largest effects: {terms} of the variance between trials.")
    elif shares and len(stored.completed) >= MIN_TRIALS:
        factor, share = max(shares.items(), key=lambda item: item[1])
        sentences.append(
            f"Most important factor: {factor}, about {share:.0%} of the variance between trials (fANOVA)."
        )
    return sentences


def answer(stored: StoredStudy) -> list[str]:
    """Return the winner, its scores, and whether it beats the baselines and keeps the constraints.

    What it does not comes first.
    """
    checks = [*check_baseline(stored), *check_constraints(stored)]
    before = [check.sentence for check in checks if check.status == "error"]
    return [*before, *_winner(stored), *(check.sentence for check in checks if check.status != "error")]


def _winner(stored: StoredStudy) -> list[str]:
    """Return the winner and its scores, in two sentences."""
    name = stored.objective.name
    if stored.finalists:
        best = stored.finalists[0]
        interval, deviation = best.interval, best.deviation("test")
        spread = f" (± {deviation:.4f} over repeats)" if deviation is not None else ""
        if interval is not None:
            spread = f" (95% interval {interval.low:.4f} to {interval.high:.4f}, over {interval.over})"
        return [
            f"The {stored.kind} is trial {best.trial}, trained again with {best.trainings}: "
            f"{best.description}.",
            f"{name} {number(best.mean('valid'))} on the validation split, "
            f"{number(best.mean('test'))} on the test split{spread}.",
        ]
    if stored.completed:
        trial = stored.completed[0]
        return [
            f"The {stored.kind} is trial {trial.trial}, not confirmed: {trial.description}.",
            f"{name} {number(trial.measures[name])} on the validation split.",
        ]
    return [why_no_winner(stored.trials)]


def about(stored: StoredStudy) -> Section:
    """Return the data, the objectives and the number of trials."""
    snapshot, data = stored.snapshot, stored.snapshot.data
    outcomes = [trial.outcome for trial in stored.trials]
    counts = ", ".join(f"{split} {count:,}" for split, count in data.split.counts.items())
    seconds = sum(trial.seconds or 0 for trial in stored.trials)
    repeats = sum(finalist.repeats for finalist in stored.finalists)
    objectives = ", ".join(f"{way} {name}" for name, way in snapshot.objectives.items())
    limits = snapshot.setting("constraints")
    constraints = (
        ", ".join(f"{name} {limit}" for name, limit in limits.items()) if isinstance(limits, dict) else ""
    )
    paragraph_of_data = (
        f"{data.items:,} items ({data.input}, {data.supervision}), split by {data.split.by}: {counts}. "
        f"Objective: {objectives}.{f' Constraints: {constraints}.' if constraints else ''}"
    )
    paragraph_of_trials = (
        f"{outcomes.count('complete')} trials complete, {outcomes.count('pruned')} pruned, "
        f"{outcomes.count('failed')} failed; {repeats} repeats of finalists. All trials "
        f"together trained for {duration(seconds)}. Backend {snapshot.versions.backend}."
    )
    return Section("about", "Data and trials", [paragraph_of_data, *data.all_left_out, paragraph_of_trials])


def reliability(stored: StoredStudy) -> Section:
    """Return how far the results can be trusted."""
    checks = check_reliability(stored)
    return Section("reliability", "Reliability", [verdict(checks)], (), checks)


def reproduction(stored: StoredStudy) -> Section:
    """Return the seed, the versions, the data and the whole study."""
    snapshot, versions = stored.snapshot, stored.snapshot.versions
    packages = ", ".join(f"{name} {version}" for name, version in versions.packages.items())
    paragraphs = [
        f"Seed {snapshot.study.get('seed')}, {packages}, Python {versions.python}, backend "
        f"{versions.backend}.",
        f"Data fingerprint {snapshot.data.fingerprint[:16]}. With the same study file, data, versions, "
        "backend and device, one worker gives bitwise equal numbers.",
    ]
    content = snapshot.model_dump(
        mode="json",
        exclude_unset=True,
        include={"study", "settings", "objectives", "data", "versions"},
    )
    text = json.dumps(content, indent=1, ensure_ascii=False)
    return Section("reproduce", "How to reproduce it", paragraphs, [Source("study", "The study", text)])
