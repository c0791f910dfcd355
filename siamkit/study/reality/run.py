"""The run of a reality check, and its result: each loss under the same budget."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from pydantic import JsonValue

from siamkit.io.files import disk_full_as_error, write_json, write_text
from siamkit.io.paths import check_writable
from siamkit.registry.catalog import importable_from
from siamkit.report.checks import check_splits
from siamkit.report.load import StoredStudy, load_study_results
from siamkit.report.model import Document, Listing, Section, Table
from siamkit.report.render.text import render_markdown
from siamkit.runs.configuration import Factor
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.results import Difference, Interval, adjusted
from siamkit.stats.seeds import Repeats
from siamkit.study.api import tune
from siamkit.study.execution.session import check_feeds, open_session
from siamkit.study.monitoring.progress import make_progress
from siamkit.study.reality.config import ResolvedReality, load_reality

COLUMNS = ("loss", "trials", "search", "valid", "test", "95 % interval", "repeats", "over the best baseline")
SHOWN_FACTORS = ("encoder", "metric", "embedding_dim", "learning_rate")


@dataclass(frozen=True)
class LossResult:
    """The result of one loss.

    Args:
        loss: the name of the loss.
        folder: the run folder of its study.
        trials, completed: the number of configurations that count for its budget, and of those that
            completed.
        factors: the factors of its best configuration.
        search: the objective of its best configuration on the validation split, as measured in the search.
        valid, test: the mean objective over the repeats; None without repeats.
        interval: the interval of the test score.
        seeds: the number of repeats.
        repeats: the scores of the repeats on the test split.
        baseline: the best baseline on the validation split; empty without one.
        lead: its lead over this baseline on the test split; None if it cannot be tested.
    """

    loss: str
    folder: Path
    trials: int
    completed: int
    factors: dict[str, Factor]
    search: float | None
    valid: float | None
    test: float | None
    interval: Interval | None
    seeds: int
    repeats: Repeats | None
    baseline: str = ""
    lead: Difference | None = None


@dataclass(frozen=True)
class RealityCheck:
    """The result of a reality check.

    Args:
        name: the name of the reality check.
        folder: the folder of its files.
        measure: the measure that losses were chosen and compared by.
        maximize: whether higher values of the measure are better.
        losses: the losses, the best on the test split first.
        pairs: the two losses of each difference, (A, B).
        differences: the differences B minus A, with p-values corrected for all of them together.
        notes: limitations of the result.
        interrupted: whether the user stopped it before all losses were done.
    """

    name: str
    folder: Path
    measure: str
    maximize: bool
    losses: list[LossResult]
    pairs: list[tuple[str, str]]
    differences: list[Difference]
    notes: list[str]
    interrupted: bool = False

    def verdict(self) -> str:
        """Return a sentence about the best loss."""
        scored = [loss.loss for loss in self.losses if loss.repeats is not None]
        if not scored:
            return "No loss has a complete result."
        best, *others = scored
        if not others:
            return f"Only {best} has a complete result, so there is nothing to compare it with."
        worse = [other for other in others if self._is_significant(best, other)]
        undecided = [other for other in others if other not in worse]
        sentence = f"{best} has the best {self.measure} on the test split"
        if worse:
            sentence += f", significantly better than {_and(worse)}"
        if undecided:
            sentence += f"; its difference from {_and(undecided)} is not significant at this sample size"
        return f"{self._about_baseline()}{sentence}."

    def _about_baseline(self) -> str:
        """Return which losses are not shown to be better than the best baseline; empty if all are."""
        tested = {loss.loss: loss.lead for loss in self.losses if loss.lead is not None}
        not_better = [
            name
            for name, lead in tested.items()
            if not (lead.excludes_zero and (lead.difference > 0) == self.maximize)
        ]
        if not not_better:
            return ""
        names = "No loss is" if len(not_better) == len(tested) else f"{_and(not_better)}: not"
        baseline = next(loss.baseline for loss in self.losses if loss.lead is not None)
        return f"{names} shown to be better than the best baseline ({baseline}). "

    def verdicts(self) -> list[str]:
        """Return a sentence about each pair of losses."""
        return [
            self._sentence(a, b, difference)
            for (a, b), difference in zip(self.pairs, self.differences, strict=True)
        ]

    def __str__(self) -> str:
        return "\n".join([self.verdict(), *self.verdicts(), *self.notes])

    def document(self) -> Document:
        """Return the page of the reality check, for any renderer."""
        over = next((loss.interval.over for loss in self.losses if loss.interval is not None), "")
        factors = [name for name in SHOWN_FACTORS if any(name in loss.factors for loss in self.losses)]
        chosen = [[loss.loss, *(loss.factors.get(name) for name in factors)] for loss in self.losses]
        scores = Section(
            "losses",
            f"{self.measure} of each loss",
            [
                "Each loss had the same number of trials. Its best configuration on the validation split was "
                "trained again, and each of these models was scored once on the test split"
                + (f"; intervals are 95 % over {over}." if over else ".")
            ],
            [Listing("losses", "Scores", self.table())],
        )
        best = Section(
            "configurations",
            "The best configuration of each loss",
            blocks=[Listing("configurations", "Factors", Table.of(["loss", *factors], chosen))],
        )
        differences = Section(
            "differences",
            f"Differences, with p-values after Holm's correction for all {len(self.pairs)} together",
            self.verdicts() or ["No difference could be computed."],
        )
        source = 'After Musgrave, Belongie and Lim, "A Metric Learning Reality Check", ECCV 2020.'
        limits = Section("limitations", "Limitations", [*self.notes, source])
        title = f"{self.name}: losses under one budget"
        return Document(title, [self.verdict()], [scores, best, differences, limits])

    def table(self) -> Table:
        """Return the scores of the losses, the best on the test split first."""
        rows = []
        for loss in self.losses:
            ends = loss.interval and f"{loss.interval.low:.4f} to {loss.interval.high:.4f}"
            scores = (loss.search, loss.valid, loss.test)
            lead = loss.lead and f"{loss.lead.difference:+.4f} [{loss.lead.low:+.4f}, {loss.lead.high:+.4f}]"
            rows.append([loss.loss, loss.trials, *scores, ends, loss.seeds, lead])
        return Table.of(COLUMNS, rows)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the content of `reality-check.json`."""
        losses: list[JsonValue] = []
        for loss in self.losses:
            values: JsonValue = None if loss.repeats is None else [*loss.repeats.values]
            interval = None if loss.interval is None else asdict(loss.interval)
            shallow = {name: value for name, value in vars(loss).items() if name != "repeats"}
            shallow |= {"folder": loss.folder.name, "interval": interval, "values": values}
            losses.append({**shallow, "lead": None if loss.lead is None else asdict(loss.lead)})
        differences: list[JsonValue] = [
            {"of": list(pair), **asdict(difference), "shown": difference.significant}
            for pair, difference in zip(self.pairs, self.differences, strict=True)
        ]
        return {
            "name": self.name,
            "figure": self.measure,
            "losses": losses,
            "differences": differences,
            "verdict": self.verdict(),
            "verdicts": [*self.verdicts()],
            "notes": [*self.notes],
        }

    def _is_significant(self, a: str, b: str) -> bool:
        return any(
            {a, b} == {*pair} and difference.significant
            for pair, difference in zip(self.pairs, self.differences, strict=True)
        )

    def _sentence(self, a: str, b: str, difference: Difference) -> str:
        size = f"{difference.difference:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        over = f"over {difference.units:,} {difference.over}, p {difference.p_adjusted:.3g}"
        if difference.significant:
            better = b if (difference.difference > 0) == self.maximize else a
            return f"{b} - {a}: {better} is better, {size}, {over}."
        reason = (
            " after correction for all comparisons" if difference.excludes_zero else " at this sample size"
        )
        return f"{b} - {a}: not significant{reason}, {size}, {over}."


def summarize(
    name: str, folder: Path, studies: dict[str, StoredStudy], *, interrupted: bool = False
) -> RealityCheck:
    """Return the result of a reality check.

    Args:
        name: the name of the reality check.
        folder: the folder of its files.
        studies: the stored study of each loss; at least one.
        interrupted: whether the user stopped it.
    """
    first = next(iter(studies.values()))
    losses = [_loss_result(loss, stored) for loss, stored in studies.items()]
    losses.sort(key=lambda loss: first.objective.worth(loss.test), reverse=True)
    pairs, differences = [], []
    for a, b in combinations(losses, 2):
        if a.repeats is None or b.repeats is None:
            continue
        if (difference := a.repeats.difference(b.repeats)) is not None:
            pairs.append((a.loss, b.loss))
            differences.append(difference)
    notes = [
        *_notes_on(losses),
        *(check.sentence for check in check_splits(first.snapshot) if check.status != "ok"),
    ]
    corrected = adjusted(differences) if differences else []
    return RealityCheck(
        name,
        folder,
        first.objective.name,
        first.objective.maximize,
        losses,
        pairs,
        corrected,
        notes,
        interrupted,
    )


def _loss_result(loss: str, stored: StoredStudy) -> LossResult:
    best = stored.finalists[0] if stored.finalists else None
    trial = next((trial for trial in stored.completed if best and trial.trial == best.trial), None)
    return LossResult(
        loss,
        stored.folder.path,
        len(stored.trials),
        len(stored.completed),
        dict(best.factors) if best else {},
        trial.value(stored.objective.name) if trial else None,
        best.mean("valid") if best else None,
        best.mean("test") if best else None,
        best.interval if best else None,
        best.repeats if best else 0,
        best.on_test if best else None,
        stored.baseline.description if stored.baseline else "",
        stored.lead_over(stored.baseline) if stored.baseline else None,
    )


def _notes_on(losses: list[LossResult]) -> list[str]:
    notes = []
    if len({loss.trials for loss in losses}) > 1:
        counts = ", ".join(f"{loss.loss} {loss.trials}" for loss in losses)
        notes.append(
            f"The losses have different numbers of trials ({counts}): a small search space ends early."
        )
    for loss in losses:
        if loss.repeats is None:
            notes.append(
                f"{loss.loss} has no test score: {loss.completed} of its {loss.trials} trials completed."
            )
        elif loss.seeds < max(other.seeds for other in losses):
            notes.append(f"{loss.loss} has only {loss.seeds} repeats; the others failed.")
    return notes


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def reality_check(
    path: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> RealityCheck:
    """Compare losses as proposed in "A Metric Learning Reality Check" (Musgrave et al., ECCV 2020).

    Each loss has its own study with the same budget, data, encoders and factors. Its best configuration on
    the validation split is trained again with several seeds, and each of these models is scored once on the
    test split. Intervals of the differences are over seeds and queries (or classes), and p-values are
    corrected for all differences together. A second run continues where the first one stopped.

    Args:
        path: the file of the reality check.
        backend, plugins, artifacts, progress: the same as for `siamkit.tune`.

    Returns:
        The result; the folder has it too, as `reality-check.json` and `reality-check.md`.

    Raises:
        StudyFileError: the file has problems; the message lists all of them.
        StudyError: the file has changed, it is already running, or the folder is not writable.

    Example:
        >>> import siamkit
        >>> print(siamkit.reality_check("losses.yaml").verdict())  # doctest: +SKIP
    """
    plugins = tuple(plugins)
    reality = load_reality(path, plugins, artifacts)
    for study in reality.studies:
        study.check_unchanged()
    backend = backend or _backend_of(reality)
    # The studies are in another folder, but import the user's modules from the folder of `path`.
    with importable_from(reality.combined.document.folder):
        if not all(study.has_started for study in reality.studies):
            _check_feeds(reality, backend, plugins)
        check_writable(reality.studies[0].file)
        note = make_progress(progress).note
        for number, study in enumerate(reality.studies, start=1):
            with disk_full_as_error(reality.folder):
                study.write()
            note(f"loss {number} of {len(reality.studies)}: {study.loss}")
            results = tune(study.file, backend=backend, plugins=plugins, progress=progress)
            backend = backend or _backend_of(reality)
            if results.interrupted:
                return _summarize(reality, interrupted=True)
    result = _summarize(reality)
    with disk_full_as_error(reality.folder):
        write_json(reality.folder / "reality-check.json", result.to_json())
        write_text(reality.folder / "reality-check.md", render_markdown(result.document()))
    return result


def _backend_of(reality: ResolvedReality) -> str | None:
    """Return the backend of a study that has started: the other studies must also use it."""
    for study in reality.studies:
        if study.has_started:
            return RunFolder(study.folder).snapshot().versions.backend
    return None


def _check_feeds(reality: ResolvedReality, backend: str | None, plugins: tuple[str, ...]) -> None:
    """Check that the data fit and feed every loss, before hours of training the first one."""
    with open_session("check", reality.combined, backend, plugins, None, "none") as session:
        check_feeds(session)


def _summarize(reality: ResolvedReality, *, interrupted: bool = False) -> RealityCheck:
    stored = {study.loss: load_study_results(study.folder) for study in reality.studies if study.has_started}
    return summarize(reality.config.name, reality.folder, stored, interrupted=interrupted)
