"""The choice of a winner: by what, over how many seeds, by how much, and who saw the test part."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from siamkit.report.check import Check, caution, fault, good
from siamkit.report.load import FinalistSummary, StoredStudy
from siamkit.runs.run_folder import RunFolder

ENOUGH = 3  # repeats from which their spread says something


def on_choice(stored: StoredStudy) -> Iterator[Check]:
    """How the winner was found, and how sure it is that it is one."""
    if not stored.finalists:
        if stored.completed:
            yield fault(
                "confirmed",
                f"The best of {len(stored.completed)} trials is not confirmed: it was chosen by the very "
                "figures that are told of it, so expect less. The test part was never scored.",
            )
        return
    best = stored.finalists[0]
    yield from _confirmed(stored, best)
    yield from _seeds(stored, best)
    yield from _test(stored)
    if (found := best.interval) is not None:
        yield good(
            "interval",
            f"On the test part {found.measure} is {_ends(found.value, found.low, found.high)}, over "
            f"{found.units:,} {found.over}.",
        )
    if len(stored.finalists) > 1:
        yield from _difference(stored)


def _confirmed(stored: StoredStudy, best: FinalistSummary) -> Iterator[Check]:
    yield good(
        "confirmed",
        f"The winner is the best on validation of {len(stored.finalists)} "
        f"finalist{'s' * (len(stored.finalists) > 1)} trained afresh, not of the search.",
    )
    trial = next((trial for trial in stored.completed if trial.trial == best.trial), None)
    valid = best.mean("valid")
    if trial is None or valid is None:
        return
    name = stored.objective.name
    found = trial.measures[name]
    less = stored.objective.worth(found) - stored.objective.worth(valid)
    kind = caution if less > max(2 * (best.sd("valid") or 0.0), 1e-6) else good
    yield kind(
        "luck",
        f"In the search the winner had {name} {found:.4f}; trained afresh it has "
        f"{valid:.4f} on the same validation part, {abs(less):.4f} "
        f"{'worse: quote that one' if less > 0 else 'better'}.",
    )


def _seeds(stored: StoredStudy, best: FinalistSummary) -> Iterator[Check]:
    repeats = best.repeats
    failed = [repeat for repeat in stored.repeats if not repeat.complete]
    mine = sum(repeat.trial == best.trial for repeat in failed)
    if repeats == 1:
        yield fault("seeds", "The winner was trained with one seed: how much is luck, nobody can tell.")
    elif repeats < ENOUGH:
        yield caution("seeds", f"The winner was trained with {repeats} seeds; their spread is a guess.")
    else:
        yield good("seeds", f"The winner was trained with {repeats} seeds.")
    if failed:
        whose = f", {mine} of them the winner's" if mine else ""
        yield caution(
            "failed_repeats",
            f"{len(failed)} of {len(stored.repeats)} repeats of finalists failed{whose}: means are "
            "over the others.",
        )
    if len({finalist.repeats for finalist in stored.finalists}) > 1 and not failed:
        counts = ", ".join(str(finalist.repeats) for finalist in stored.finalists)
        yield caution("repeats", f"Finalists were trained with unequal numbers of seeds: {counts}.")


def _test(stored: StoredStudy) -> Iterator[Check]:
    times = sum(finalist.repeats for finalist in stored.finalists)
    later = _trials_after_the_test(stored.folder)
    if later:
        yield caution(
            "test_part",
            f"The search went on after the test part was first scored: {later} trial{'s' * (later > 1)} "
            "began later, so who raised the budget may have known its figures.",
        )
    else:
        yield good(
            "test_part",
            f"The test part was scored {times} times, once by each repeat of a finalist, after the search; "
            "nothing was chosen by it.",
        )


def _difference(stored: StoredStudy) -> Iterator[Check]:
    found = stored.lead
    if found is None:
        yield caution(
            "difference",
            "How sure the winner's lead over the second finalist is cannot be told: each was trained once.",
        )
        return
    shown = _ends(found.difference, found.low, found.high, sign="+")
    told = f"on test {found.measure} is {shown} beside the second's, over {found.units:,} {found.over}"
    if not found.significant:
        yield caution("difference", f"No difference between the two best finalists is shown: {told}.")
    elif (found.difference > 0) == stored.objective.maximize:
        yield good("difference", f"The winner is better than the second finalist: {told}.")
    else:
        yield caution(
            "difference",
            f"The second finalist is better than the winner on the test part: {told}. It was chosen on "
            "validation all the same, and choosing by the test part now would spoil that.",
        )


def _trials_after_the_test(folder: RunFolder) -> int:
    """How many trials began after a repeat had been confirmed, by the log; without one, none is known."""
    first, began = math.inf, []
    for file in folder.log_files():
        for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
                if line["event"] == "confirmed" and line["outcome"] == "complete":
                    first = min(first, line["time"])
                elif line["event"] == "trial started":
                    began.append(line["time"])
            except (ValueError, KeyError, TypeError):
                continue
    return sum(time > first for time in began)


def _ends(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{value:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"
