"""Run a reality check: one study per loss, then the comparison."""

from __future__ import annotations

import os
from collections.abc import Iterable

from siamkit.io.files import disk_full_as_error, write_json, write_text
from siamkit.io.paths import check_writable
from siamkit.registry.catalog import importable_from
from siamkit.report.load import load_study_results
from siamkit.report.render.text import render_markdown
from siamkit.runs.run_folder import RunFolder
from siamkit.study.api import tune
from siamkit.study.execution.session import check_feeds, open_session
from siamkit.study.monitoring.progress import make_progress
from siamkit.study.reality.config import ResolvedReality, load_reality
from siamkit.study.reality.result import RealityCheck, summarize


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
