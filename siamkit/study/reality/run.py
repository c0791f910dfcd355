"""`reality_check`: losses under one budget, from their file to a verdict."""

from __future__ import annotations

import os
from collections.abc import Iterable

from siamkit.io.files import disk_full_as_error, write_json, write_text
from siamkit.io.paths import check_writable
from siamkit.report.load import load_study_results
from siamkit.runs.results import read_json
from siamkit.study.api import tune
from siamkit.study.execution.preflight import try_feeds
from siamkit.study.execution.session import ready
from siamkit.study.monitoring.progress import make_progress
from siamkit.study.reality._tables import markdown
from siamkit.study.reality.config import Reality, load_reality
from siamkit.study.reality.result import RealityCheck, concluded


def reality_check(
    path: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> RealityCheck:
    """Compares losses as "A Metric Learning Reality Check" would have it (Musgrave et al., ECCV 2020).

    Each loss gets a study of its own with the same budget, data, encoders and factors. Its best
    configuration on validation is trained afresh with several seeds, and each of these scored on the test
    part, once. The differences are over seeds and queries (or classes), and corrected for all of them
    together. Run again, it goes on where it stopped.

    Args:
        path: the reality check's file.
        backend, plugins, artifacts, progress: as for `siamkit.tune`.

    Returns:
        What came of it; the same is in the folder, as `reality-check.json` and `reality-check.md`.

    Raises:
        StudyFileError: what is wrong in the file, all of it.
        StudyError: it was begun otherwise, is running, or cannot be written.

    Example:
        >>> import siamkit
        >>> print(siamkit.reality_check("losses.yaml").verdict())  # doctest: +SKIP
    """
    plugins = tuple(plugins)
    asked = load_reality(path, plugins, artifacts)
    for part in asked.parts:
        part.check_begun()
    backend = backend or _begun_with(asked)
    if not all(part.begun for part in asked.parts):
        _try_all(asked, backend, plugins)
    check_writable(asked.parts[0].file)
    tell = make_progress(progress).note
    for number, part in enumerate(asked.parts, start=1):
        with disk_full_as_error(asked.folder):
            part.write()
        tell(f"loss {number} of {len(asked.parts)}: {part.loss}")
        results = tune(part.file, backend=backend, plugins=plugins, progress=progress)
        backend = backend or _begun_with(asked)
        if results.interrupted:
            return _concluded(asked, interrupted=True)
    found = _concluded(asked)
    with disk_full_as_error(asked.folder):
        write_json(asked.folder / "reality-check.json", found.plain())
        write_text(asked.folder / "reality-check.md", markdown(found))
    return found


def _begun_with(asked: Reality) -> str | None:
    """The backend that some loss was trained on: the others are to be, too."""
    begun = next((part for part in asked.parts if part.begun), None)
    return None if begun is None else str(read_json(begun.folder / "study.json")["versions"]["backend"])


def _try_all(asked: Reality, backend: str | None, plugins: tuple[str, ...]) -> None:
    """Whether the data suit and feed every loss, before the first of them is trained for hours."""
    with ready("check", asked.whole, backend, plugins, None, "none") as (part, _):
        try_feeds(part.pool, part.study, part.task)


def _concluded(asked: Reality, interrupted: bool = False) -> RealityCheck:
    stored = {part.loss: load_study_results(part.folder) for part in asked.parts if part.begun}
    found = concluded(asked.file.name, asked.folder, stored)
    return found if not interrupted else RealityCheck(**{**vars(found), "interrupted": True})
