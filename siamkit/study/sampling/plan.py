"""What is tried before the sampler, or in its place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.search_space import Space
from siamkit.study.sampling.enqueue import Planned, defaults, read_entry
from siamkit.study.sampling.factorial import factorial, grid
from siamkit.study.sampling.warm_start import Warm, no_study
from siamkit.study.sampling.warm_start import warm as warm_from

if TYPE_CHECKING:
    from siamkit.study.config.load import ResolvedStudy

Problem = tuple[tuple[str | int, ...], str]


def planned(study: ResolvedStudy) -> Iterator[Planned]:
    """What a study tries first, each configuration once, at most as many as its budget has trials.

    The same study plans the same. A larger budget goes on where a smaller one ends, so a resumed study
    enqueues what has no trial of its key yet.
    """
    seen: set[str] = set()
    for each in itertools.islice(_all(study), study.config.budget.trials):
        if each.key not in seen:
            seen.add(each.key)
            yield each


def plans_all(file: StudyConfig) -> bool:
    """Whether the plan is all that is tried, and a study ends with it: a grid or a factorial design."""
    return file.design == "factorial" or file.sampler == "grid"


def warm(study: ResolvedStudy, now: Mapping[str, Any]) -> Warm:
    """What the study's `warm_start` gives it; nothing if it names none.

    Args:
        study: the study.
        now: it, frozen as `study.json` has it.
    """
    folder = earlier(study.config, Path(study.document.name).parent)
    if folder is None:
        return Warm([], [], 0)
    return warm_from(study.space, study.config.sampler, folder, now)


def earlier(file: StudyConfig, beside: Path) -> Path | None:
    """The run folder that `warm_start` names, relative to the study file."""
    return (beside / file.warm_start).resolve() if file.warm_start else None


def plan_problems(file: StudyConfig, space: Space, beside: Path) -> Iterator[Problem]:
    """What of a study's plan cannot be, each with its place in the file."""
    found: list[Problem] = []
    for index, entry in enumerate(file.enqueue):
        if entry != "defaults":
            read_entry(space, entry, ("enqueue", index), lambda where, what: found.append((where, what)))
    yield from found
    folder = earlier(file, beside)
    if folder is not None and (reason := no_study(folder)):
        yield ("warm_start",), reason
    if not plans_all(file):
        return
    name = "design: factorial" if file.design == "factorial" else "sampler: grid"
    if file.design == "factorial" and file.sampler != "tpe":
        yield ("sampler",), f"design: factorial takes the place of the sampler {file.sampler}; leave one out"
    for key in ("enqueue", "warm_start"):
        if key in file.model_fields_set and getattr(file, key):
            yield (key,), f"{name} says itself what is tried; leave {key} out"


def _all(study: ResolvedStudy) -> Iterator[Planned]:
    file, space = study.config, study.space
    if file.design == "factorial":
        cells = factorial(space, derive_seed(file.seed, "factorial"))
        yield from (Planned(*cell, "factorial") for cell in cells)
    elif file.sampler == "grid":
        yield from (Planned(*cell, "grid") for cell in grid(space))
    else:
        for entry in file.enqueue:
            if entry == "defaults":
                share = max(1, file.budget.trials // 4)
                yield from itertools.islice(defaults(space), share)
            elif (found := read_entry(space, entry, (), _agreed)) is not None:
                yield found


def _agreed(where: tuple[str | int, ...], message: str) -> None:
    raise AssertionError(f"the study file was checked, but {where}: {message}")
