"""`tune`: a study from its file to its results; `join`: a hand for one that runs elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from siamkit.errors import SiamkitError
from siamkit.io.files import disk_full_as_error, write_json, write_table
from siamkit.report import write_report
from siamkit.runs.outcome import StudyOutcome, read_outcome
from siamkit.runs.run_folder import RunFolder
from siamkit.study.execution.cleanup import tidy
from siamkit.study.execution.confirmation import Confirmation, publish_best
from siamkit.study.execution.preflight import try_feeds
from siamkit.study.execution.scheduler import Search
from siamkit.study.execution.session import Part, ready
from siamkit.study.execution.signals import StoppedAtOnce
from siamkit.study.execution.supervisor import Source
from siamkit.study.results.results import Results
from siamkit.study.sampling.plan import planned_trials, warm_start
from siamkit.study.storage.coordinator_lock import CoordinatorLock
from siamkit.study.storage.leases import RENEWALS, HeartbeatThread
from siamkit.study.storage.retry import StorageUnavailable, with_retries
from siamkit.study.tracking import check_trackers, tracking
from siamkit.study.worker.shown_items import items_table


def tune(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> Results:
    """Runs a study, or goes on with one that was stopped.

    Args:
        study: the study file.
        backend: jax, torch or tensorflow; otherwise KERAS_BACKEND, the file, or an installed one.
        plugins: modules of your own that register components, besides those the file names.
        artifacts: the run folder, instead of the file's own.
        progress: `live`, `plain`, `none`, or `auto`: live in a terminal, plain elsewhere.

    Returns:
        The results; the same are in the run folder.

    Raises:
        StudyFileError: what is wrong in the file, all of it.
        StudyError: the study was begun otherwise, is running, or cannot be written.
        BackendError: the backend is not installed.

    Example:
        >>> import siamkit
        >>> results = siamkit.tune("study.yaml")        # doctest: +SKIP
        >>> model = results.load_model()                # doctest: +SKIP
    """
    with ready("tune", study, backend, tuple(plugins), artifacts, progress) as (part, raw):
        # Nothing is written before all this is known to work.
        check_trackers(part.study)
        try_feeds(part.pool, part.study, part.task)
        with part.folder.locked():
            search = part.search(list(part.task.objectives.values()), alone=True)
            with disk_full_as_error(part.folder.path), _seat(search), _logged(part):
                write_json(part.folder.snapshot_file, part.frozen)
                write_table(part.folder.items, items_table(raw))
                results = _conduct(part, search)
                part.finished = not results.interrupted
                return results


def join(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> bool:
    """Takes part in a study that `tune` runs elsewhere, until its budget is spent.

    Args:
        study: the same study file, with a storage and `artifacts` that this machine reaches.
        backend, plugins, artifacts, progress: as for `tune`.

    Returns:
        Whether the budget is spent; False where the user stopped it before.

    Raises:
        StudyError: there is no such study yet, or this machine differs from where it was begun.
    """
    with ready("worker", study, backend, tuple(plugins), artifacts, progress) as (part, _):
        check_trackers(part.study)
        search = part.search(None, alone=False)
        with (
            _logged(part),
            part.interrupts() as part.pool.interrupted,
            search.progress,
            tracking(search) as part.watched,
        ):
            part.finished = _search(part, search)
        return part.finished


def _seat(search: Search) -> AbstractContextManager[None]:
    """Makes sure that no other `tune` runs this study, where the folder's lock does not."""
    ledger = search.ledger
    if ledger.alone:
        return nullcontext()
    search.conductor = CoordinatorLock(ledger.storage, ledger.owner, ledger.lease)
    return search.conductor.seat()


@contextmanager
def _logged(part: Part) -> Iterator[None]:
    """Writes down that this process takes part no more, and why: by the log others know who still does."""
    try:
        yield
    except BaseException as error:
        part.folder.log("stopped", finished=False, cause=f"{type(error).__name__}: {error}"[:500])
        raise
    part.folder.log("stopped", finished=part.finished, cause=part.why)


def _conduct(part: Part, search: Search) -> Results:
    """Search, confirmation and report; Ctrl-C leaves a report of what there is."""
    with part.interrupts() as part.pool.interrupted:
        with search.progress, tracking(search) as part.watched:
            finished = _search(part, search)
            if finished:
                conductor = search.conductor
                with (
                    HeartbeatThread(conductor.beat, search.ledger.lease / RENEWALS)
                    if conductor
                    else nullcontext()
                ):
                    finished = _work(part, search, Confirmation(search))
        part.pool.close()
        # Outside the display. What is written now is short: a first Ctrl-C lets it be finished.
        tidy(search, finished)
        outcome = _outcome(search.folder)
        if outcome is not None:
            publish_best(search, outcome.model)
        write_report(search.folder.path)
    if outcome is None:
        return Results(
            search.folder.path, dict(search.task.objectives), search.folder.trials(), None, {}, not finished
        )
    return Results.of(outcome, interrupted=not finished)


def _search(part: Part, search: Search) -> bool:
    """Takes part in the search until it is over; False where the user stopped it."""
    ledger = search.ledger
    ledger.look()
    search.folder.log("started", counted=len(ledger.counted), target=int(search.target))
    ledger.reap()
    ledger.look()
    ledger.adopt()
    if part.role == "tune":
        _queue_plan(part, search)
    search.progress.begin("trials", len(ledger.counted), int(search.target), search.task.objective)
    with HeartbeatThread(search.beat, ledger.lease / RENEWALS) as search.pulse:
        finished = _work(part, search, search)
    search.note_time()
    why = search.why_it_ends()
    if finished and why is not None:
        part.why = why
        search.progress.note(why)
    return finished


def _queue_plan(part: Part, search: Search) -> None:
    """Queues what is to be tried first, and adds what an earlier study knows; once, however often it runs."""
    ledger = search.ledger
    earlier = warm_start(part.study, part.frozen)
    if earlier.known and not with_retries(lambda: ledger.storage.user_attrs).get("warm"):
        for trial in earlier.known:
            with_retries(ledger.storage.add_trial, trial)
        with_retries(ledger.storage.set_user_attr, "warm", len(earlier.known))
        part.watcher.note(f"known from an earlier study: {len(earlier.known)} completed trials")
    if earlier.left_out:
        part.watcher.note(f"{earlier.left_out} trials of the earlier study lie outside this search")
    plan = [*earlier.retried, *planned_trials(part.study)]
    ledger.queue(((each.params, each.configuration) for each in plan), search.target)


def _work(part: Part, search: Search, source: Source) -> bool:
    """Does all the work of a source; False where the user stopped it."""
    try:
        part.pool.run(part.watched(source))
    except StoppedAtOnce:
        part.pool.close()
        raise
    except KeyboardInterrupt:
        search.progress.note("stopping; the same command goes on from here")
        part.pool.close()
        search.release()
        return False
    except StorageUnavailable:
        raise  # nothing can be given back now; the next `tune` finds what was left
    except SiamkitError:
        part.pool.close()
        search.release()
        raise
    return True


def _outcome(folder: RunFolder) -> StudyOutcome | None:
    """Return who won; None where no trial completed."""
    if not any(trial.complete for trial in folder.trials()):
        return None
    return read_outcome(folder.path)
