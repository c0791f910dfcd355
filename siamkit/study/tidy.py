"""Removes what dead attempts left: whatever no result names and no later attempt can go on from."""

from __future__ import annotations

from siamkit.study.book import counts
from siamkit.study.checkpoint import sweep
from siamkit.study.search import Search
from siamkit.study.trial import remove


def tidy(search: Search) -> None:
    """Leaves of each ended trial the one attempt that the storage knows of, and of that what it found.

    An attempt that was fenced off may have written a result before it noticed; nobody shall read it.
    """
    ledger, folder = search.ledger, search.folder
    ledger.look()
    trials = {trial.number: trial for trial in ledger.storage.get_trials(deepcopy=False)}
    wanted = {trial.user_attrs.get("resume") for trial in ledger.open.values()}
    for place in [*folder.path.glob("trials/*/*")]:
        number = int(place.parent.name) if place.parent.name.isdecimal() else -1
        if number in ledger.open or folder.inside(place) in wanted:
            continue
        trial = trials.get(number)
        if trial is not None and counts(trial) and trial.user_attrs.get("token") == place.name:
            sweep(place)
        else:
            remove(place)
    for place in [*folder.path.glob("confirm/*/*")]:
        if (place / "result.json").is_file():
            sweep(place)
    for parent in [*folder.path.glob("trials/*")]:
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
