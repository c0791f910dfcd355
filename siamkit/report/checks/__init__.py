"""Whether a study's numbers can be trusted, told from what it has stored. No Keras here."""

from __future__ import annotations

from collections.abc import Sequence

from siamkit.report.check import Check
from siamkit.report.checks.choice import on_choice
from siamkit.report.checks.runs import on_runs
from siamkit.report.checks.splits import on_parts, shared_items
from siamkit.report.load import StoredStudy

__all__ = ["Check", "findings", "on_parts", "shared_items", "verdict"]

ORDER = ("fault", "caution", "good")


def findings(stored: StoredStudy) -> list[Check]:
    """What speaks for a study's numbers and against them, faults first.

    Args:
        stored: a run folder, as `siamkit.report.load.load_study_results` has it; it may be under way still.

    Example:
        >>> from siamkit.report.load import load_study_results
        >>> from siamkit.report.checks import findings
        >>> for each in findings(load_study_results(folder)):  # doctest: +SKIP
        ...     print(each.kind, each.sentence)
    """
    found = [*on_choice(stored), *on_parts(stored), *on_runs(stored)]
    return sorted(found, key=lambda each: ORDER.index(each.kind))


def verdict(found: Sequence[Check]) -> str:
    """All findings in a line.

    Example:
        >>> from siamkit.report.checks import Check, verdict
        >>> verdict([Check("caution", "seeds", "The winner was trained twice."), Check("good", "", "…")])
        'To be read with 1 caution: The winner was trained twice.'
    """
    first = min(found, key=lambda each: ORDER.index(each.kind), default=None)
    if first is None or first.kind == "good":
        return "Nothing speaks against these numbers."
    faults, cautions = (sum(each.kind == kind for each in found) for kind in ("fault", "caution"))
    beside = f" and {_counted(cautions, 'caution')}" if cautions else ""
    if first.kind == "fault":
        return f"Not to be relied on yet, {_counted(faults, 'fault')}{beside}: {first.sentence}"
    more = ", first of all" if cautions > 1 else ""
    return f"To be read with {_counted(cautions, 'caution')}{more}: {first.sentence}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"
