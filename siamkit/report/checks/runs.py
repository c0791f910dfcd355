"""The search and its runs: whether each level had the same chance, what failed, and with which versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from siamkit.report.check import Check, caution, fault, good
from siamkit.report.load import StoredStudy
from siamkit.runs.results import TrialResult, Versions

COMPARED = ("loss", "metric", "encoder")
UNEQUAL = 1.5  # times as many trials as another level, from which the budget is not the same
FAILURES = 3  # from which one asks where they lie
MOST = 0.8  # of all failures in one level


def on_runs(stored: StoredStudy) -> Iterator[Check]:
    """What the trials let one say."""
    for factor in COMPARED:
        levels = _by_level(stored.trials, factor)
        if len(levels) > 1:
            yield from _budget(factor, levels)
            yield from _lost(factor, levels)
    yield from _failed(stored)
    slow = sum("took longer than the trial_time" in each.cause for each in stored.trials)
    if slow:
        yield caution(
            "trial_time",
            f"{slow} of {len(stored.trials)} trials were ended by trial_time: what trains slowly was not "
            "judged.",
        )
    yield from _versions(stored)


def _by_level(trials: list[TrialResult], factor: str) -> dict[str, list[TrialResult]]:
    levels: dict[str, list[TrialResult]] = {}
    for trial in trials:
        if factor in trial.factors:
            levels.setdefault(str(trial.factors[factor]), []).append(trial)
    return levels


def _budget(factor: str, levels: dict[str, list[TrialResult]]) -> Iterator[Check]:
    counts = {level: len(trials) for level, trials in levels.items()}
    fewest, most = min(counts.values()), max(counts.values())
    told = ", ".join(f"{level} {count}" for level, count in sorted(counts.items(), key=lambda each: -each[1]))
    if most <= max(fewest + 1, UNEQUAL * fewest):
        yield good(f"budget_{factor}", f"Each {factor} had about as many trials: {told}.")
    else:
        yield caution(
            f"budget_{factor}",
            f"Not each {factor} had as many trials ({told}): one that was searched more is found better for "
            "that alone." + (" siamkit reality-check gives each loss the same." if factor == "loss" else ""),
        )


def _lost(factor: str, levels: dict[str, list[TrialResult]]) -> Iterator[Check]:
    """Levels of which no trial was trained to its end."""
    for level, trials in levels.items():
        ends = Counter(trial.outcome for trial in trials)
        if not ends["complete"]:
            told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
            yield caution(
                "nothing_known",
                f"No trial of the {factor} {level} completed ({told}): it was not judged.",
            )


def _failed(stored: StoredStudy) -> Iterator[Check]:
    failed = [trial for trial in stored.trials if trial.outcome == "failed"]
    if not failed:
        return
    where = ""
    for factor in COMPARED:
        levels = _by_level(failed, factor)
        level, trials = max(levels.items(), key=lambda each: len(each[1]), default=("", []))
        several = len(_by_level(stored.trials, factor)) > 1
        if several and len(failed) >= FAILURES and len(trials) >= MOST * len(failed):
            where = f", {len(trials)} of them with the {factor} {level}: it had less of a chance"
            break
    if where or len(failed) > len(stored.trials) / 4:
        yield caution("failed", f"{len(failed)} of {len(stored.trials)} trials failed{where}.")


def _versions(stored: StoredStudy) -> Iterator[Check]:
    results = [*stored.trials, *stored.repeats]
    known = [result.versions for result in results if result.versions is not None]
    if not results:
        return
    if len(known) < len(results):
        yield caution(
            "versions",
            f"{len(results) - len(known)} of {len(results)} results do not say with which versions they were "
            "made.",
        )
    elif any(versions != stored.snapshot.versions for versions in known):
        yield fault("versions", f"The results were made with several versions: {_differing(known)}.")
    else:
        seed = stored.snapshot.study.get("seed")
        yield good(
            "versions",
            f"All {len(results)} results were made with the same versions, with seeds derived from {seed}.",
        )


def _differing(known: list[Versions]) -> str:
    """What several versions are in use of, each with them."""
    seen: dict[str, set[str]] = {}
    for versions in known:
        flat = {"python": versions.python, "backend": versions.backend}
        for name, version in {**flat, **versions.packages, **versions.plugins}.items():
            seen.setdefault(name, set()).add(str(version))
    several = [f"{name} {' and '.join(sorted(each))}" for name, each in seen.items() if len(each) > 1]
    return ", ".join(several) or "others than the study's"
