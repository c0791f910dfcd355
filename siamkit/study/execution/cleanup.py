"""Removes what dead attempts left: whatever no result names and no later attempt can go on from."""

from __future__ import annotations

from siamkit.study.execution.scheduler import Search
from siamkit.study.execution.trial import remove
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.trial_log import counts
from siamkit.study.worker.checkpoint import sweep, sweep_asides


def tidy(search: Search, finished: bool) -> None:
    """Leaves of each ended trial the one attempt that the storage knows of, and of that what it found.

    An attempt that was fenced off may have written a result before it noticed; nobody shall read it.

    Args:
        search: the study's.
        finished: whether all its work was done; if not, repeats of finalists go on where they stopped.
    """
    ledger, folder = search.ledger, search.folder
    # The folders before the trials: so a folder whose trial began in between is not taken for a dead one's.
    places = [*folder.path.glob("trials/*/*")]
    ledger.look()
    trials = {trial.number: trial for trial in with_retries(ledger.storage.get_trials, deepcopy=False)}
    going = {number for number, trial in trials.items() if not trial.state.is_finished()}
    wanted = {trials[number].user_attrs.get("resume") for number in going}
    for place in places:
        number = int(place.parent.name) if place.parent.name.isdecimal() else -1
        if number in going or folder.inside(place) in wanted:
            continue
        trial = trials.get(number)
        if trial is not None and counts(trial) and trial.user_attrs.get("token") == place.name:
            sweep(place)
        else:
            remove(place)
    for place in [*folder.path.glob("confirm/*/*")]:
        if (place / "result.json").is_file():
            sweep(place)
        elif finished:  # of a finalist that is none any more
            remove(place)
        else:
            sweep_asides(place)
    for parent in [*folder.path.glob("trials/*")]:
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    sweep_asides(folder.path)
