"""The finalists, trained afresh over several seeds; the test part is scored here and nowhere else."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamkit.errors import SiamkitError
from siamkit.study.folder import write_aside, write_json
from siamkit.study.identity import derive_seed
from siamkit.study.search import Search
from siamkit.study.space import factors_of


@dataclass(frozen=True)
class Finalist:
    """A configuration and its repeats.

    Args:
        trial: the number of the trial that made it a finalist.
        key: of the configuration.
        repeats: the stored results of its repeats, by number.
    """

    trial: int
    key: str
    repeats: list[dict[str, Any]]

    def mean(self, part: str, figure: str) -> float:
        """A figure's mean over the repeats; `part` is valid or test."""
        return float(np.mean([repeat[part][figure] for repeat in self.repeats]))


def confirm(search: Search) -> None:
    """Trains the best configurations afresh; repeats that are stored already are not run again."""
    asked = search.study.file.confirm
    if asked is None:
        return
    chosen = {trial.user_attrs["key"]: trial for trial in reversed(list(search.ranked()))}
    best = sorted(chosen.values(), key=lambda trial: -search.task.better(trial.values[0]))[: asked.top]
    runs = [(trial, repeat) for trial in best for repeat in range(asked.seeds)]
    stored = {(each["key"], each["repeat"]) for each in search.folder.confirmations()}
    todo = [(trial, repeat) for trial, repeat in runs if (trial.user_attrs["key"], repeat) not in stored]
    search.progress.begin("confirming", len(runs) - len(todo), len(runs), search.task.objective)
    for trial, repeat in todo:
        _run(search, trial.user_attrs["configuration"], trial.user_attrs["key"], trial.number, repeat)


def finalists(search: Search) -> list[Finalist]:
    """All that was confirmed, best first by the first objective on the validation part.

    Those confirmed before the budget grew are finalists still, here as in the report.
    """
    repeats: dict[str, list[dict[str, Any]]] = {}
    for result in sorted(search.folder.confirmations(), key=lambda each: (each["key"], each["repeat"])):
        if result["outcome"] == "complete":
            repeats.setdefault(result["key"], []).append(result)
    found = [Finalist(whole[0]["trial"], key, whole) for key, whole in repeats.items()]
    objective = search.task.objective
    return sorted(found, key=lambda finalist: -search.task.better(finalist.mean("valid", objective)))


def _run(search: Search, configuration: dict[str, Any], key: str, trial: int, repeat: int) -> None:
    from siamkit.study.training import Limits, judge, train

    study, task = search.study.file, search.task
    place = search.folder.confirmation(key, repeat)
    search.progress.run(f"final {trial}", configuration)
    seed = derive_seed(study.seed, configuration, "confirm", repeat)
    result: dict[str, Any] = {
        "repeat": repeat,
        "key": key,
        "trial": trial,
        "seed": seed,
        "configuration": configuration,
        "factors": factors_of(configuration),
        "versions": search.versions,
        "outcome": "complete",
        "cause": "",
    }
    try:
        trained = train(
            configuration,
            task,
            study.fixed,
            seed,
            Limits(study.budget.trial_time, study.budget.trial_memory),
            lambda number, row: search.progress.epoch(number, study.fixed.epochs, row),
        )
        figures, _, _ = judge(trained.model, task.test)
        result |= {"valid": trained.figures, "test": figures, "literal": trained.literal}
        write_aside(place / "checkpoint.keras", trained.model.save)
    except SiamkitError as error:
        result |= {"outcome": "failed", "cause": str(error)}
    except Exception as error:
        result |= {"outcome": "failed", "cause": f"{type(error).__name__}: {error}".splitlines()[0][:500]}
    write_json(place / "result.json", result)
    search.folder.log("confirmed", key=key, repeat=repeat, outcome=result["outcome"], cause=result["cause"])
    value = result["valid"][task.objective] if result["outcome"] == "complete" else None
    search.progress.ended(result["outcome"], value, None, result["cause"])


def publish_best(search: Search, confirmed: list[Finalist]) -> None:
    """Puts the best model into its place: of the best finalist the repeat that validates best."""
    objective = search.task.objective
    if confirmed:
        repeat = max(confirmed[0].repeats, key=lambda each: search.task.better(each["valid"][objective]))
        source = search.folder.confirmation(confirmed[0].key, repeat["repeat"]) / "checkpoint.keras"
    else:
        trial = next(search.ranked(), None)
        if trial is None:
            return
        source = search.folder.attempt(trial.number, trial.user_attrs["token"]) / "checkpoint.keras"
    write_aside(search.folder.best_model, lambda aside: shutil.copyfile(source, aside))
