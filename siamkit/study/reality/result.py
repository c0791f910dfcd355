"""What came of a reality check: a mean with its interval for each loss, and every difference with its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from siamkit.report.checks import on_parts
from siamkit.report.load import StoredStudy
from siamkit.stats.multiple_testing import adjusted
from siamkit.stats.results import Difference, Interval
from siamkit.stats.seeds import Repeats


@dataclass(frozen=True)
class Judged:
    """One loss.

    Args:
        loss: its name.
        folder: the run folder of its study.
        trials, completed: configurations that used up its budget, and those that completed.
        factors: of the configuration that was chosen.
        search: its objective on validation in the search.
        valid, test: the same over the repeats, None if it has none.
        interval: of the test figure.
        seeds: how many repeats.
        repeats: those on the test part.
    """

    loss: str
    folder: Path
    trials: int
    completed: int
    factors: dict[str, Any]
    search: float | None
    valid: float | None
    test: float | None
    interval: Interval | None
    seeds: int
    repeats: Repeats | None


@dataclass(frozen=True)
class RealityCheck:
    """What came of it.

    Args:
        name: of the reality check.
        folder: where all of it lies.
        measure: that losses were chosen and compared by.
        maximize: whether more of it is better.
        losses: the best on test first.
        pairs: which losses each of the differences is of.
        differences: B less A, corrected for all of them together.
        notes: what one should know before quoting.
        interrupted: whether it was stopped before all was done.
    """

    name: str
    folder: Path
    measure: str
    maximize: bool
    losses: list[Judged]
    pairs: list[tuple[str, str]]
    differences: list[Difference]
    notes: list[str]
    interrupted: bool = False

    def verdict(self) -> str:
        """What can be said of the first, in a sentence."""
        judged = [each.loss for each in self.losses if each.repeats is not None]
        if not judged:
            return "No loss was trained to its end."
        best, *others = judged
        if not others:
            return f"{best} alone was trained to its end: there is nothing to compare it with."
        beaten = [other for other in others if self._shown(best, other)]
        level = [other for other in others if other not in beaten]
        told = f"{best} has the best {self.measure} on the test part"
        if beaten:
            told += f", shown beside {_and(beaten)}"
        if level:
            told += f"; between it and {_and(level)} no difference is shown at this size"
        return told + "."

    def verdicts(self) -> list[str]:
        """What can be said of each two, in a sentence."""
        return [self._told(a, b, each) for (a, b), each in zip(self.pairs, self.differences, strict=True)]

    def __str__(self) -> str:
        return "\n".join([self.verdict(), *self.verdicts(), *self.notes])

    def plain(self) -> dict[str, Any]:
        """For machines."""
        losses = []
        for each in self.losses:
            values = None if each.repeats is None else list(each.repeats.values)
            interval = None if each.interval is None else asdict(each.interval)
            shallow = {name: value for name, value in vars(each).items() if name != "repeats"}
            losses.append({**shallow, "folder": each.folder.name, "interval": interval, "values": values})
        differences = [
            {"of": list(pair), **asdict(each), "shown": each.significant}
            for pair, each in zip(self.pairs, self.differences, strict=True)
        ]
        return {
            "name": self.name,
            "figure": self.measure,
            "losses": losses,
            "differences": differences,
            "verdict": self.verdict(),
            "verdicts": self.verdicts(),
            "notes": self.notes,
        }

    def _shown(self, a: str, b: str) -> bool:
        return any(
            {a, b} == {*pair} and each.significant
            for pair, each in zip(self.pairs, self.differences, strict=True)
        )

    def _told(self, a: str, b: str, found: Difference) -> str:
        size = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        over = f"over {found.units:,} {found.over}, p {found.p_adjusted:.3g}"
        if not found.significant:
            together = ", all looked at together" if found.excludes_zero else ""
            return f"{b} - {a}: no difference shown at this size{together}, {size}, {over}."
        better = b if (found.difference > 0) == self.maximize else a
        return f"{b} - {a}: {better} is better, {size}, {over}."


def judged(loss: str, stored: StoredStudy) -> Judged:
    """One loss, by what its study has stored."""
    best = stored.finalists[0] if stored.finalists else None
    trial = next((each for each in stored.completed if best and each["trial"] == best["trial"]), None)
    return Judged(
        loss,
        stored.folder,
        len(stored.trials),
        len(stored.completed),
        dict(best["factors"]) if best else {},
        trial["figures"].get(stored.objective) if trial else None,
        best["valid"] if best else None,
        best["test"] if best else None,
        best["test_interval"] if best else None,
        best["repeats"] if best else 0,
        best["on_test"] if best else None,
    )


def concluded(name: str, folder: Path, studies: dict[str, StoredStudy]) -> RealityCheck:
    """All losses beside each other.

    Args:
        name: of the reality check.
        folder: where all of it lies.
        studies: what each loss's study has stored; at least one.
    """
    first = next(iter(studies.values()))
    sign = -1 if first.maximize else 1
    losses = [judged(loss, stored) for loss, stored in studies.items()]
    losses.sort(key=lambda each: (each.test is None, sign * (each.test or 0.0)))
    pairs, differences = [], []
    for a, b in combinations([each for each in losses if each.repeats is not None], 2):
        assert a.repeats is not None
        assert b.repeats is not None
        if (found := a.repeats.difference(b.repeats)) is not None:
            pairs.append((a.loss, b.loss))
            differences.append(found)
    notes = [*_of_losses(losses), *(each.sentence for each in on_parts(first) if each.kind != "good")]
    corrected = adjusted(differences) if differences else []
    return RealityCheck(name, folder, first.objective, first.maximize, losses, pairs, corrected, notes)


def _of_losses(losses: list[Judged]) -> list[str]:
    found = []
    if len({each.trials for each in losses}) > 1:
        counts = ", ".join(f"{each.loss} {each.trials}" for each in losses)
        found.append(f"The losses did not all use as many trials ({counts}): a small space ends early.")
    for each in losses:
        if each.repeats is None:
            found.append(
                f"{each.loss} was not judged: {each.completed} of its {each.trials} trials completed."
            )
        elif each.seeds < max(other.seeds for other in losses):
            found.append(f"{each.loss} has {each.seeds} repeats only; the others failed.")
    return found


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
