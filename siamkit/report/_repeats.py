"""Repeats of finalists on the test split, as stored: measures, scores by query, classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siamkit.io.files import read_table
from siamkit.runs.results import RepeatResult
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.results import Difference
from siamkit.stats.seeds import Repeats


def repeats_on_test(folder: RunFolder, results: Sequence[RepeatResult], measure: str) -> Repeats | None:
    """Return the repeats of one configuration on the test split.

    Args:
        folder: the run folder.
        results: of the repeats.
        measure: its name; scores by query are read where it is a mean of them.

    Returns:
        The repeats; None where one lacks the measure.
    """
    values = [value for result in results if (value := result.value(measure, "test")) is not None]
    if not values or len(values) < len(results):
        return None
    files = [folder.files(result).test_queries for result in results]
    if not all(file.is_file() for file in files):
        return Repeats(measure, values)
    tables = [read_table(file) for file in files]
    ids = tables[0].column("id").to_pylist()
    for table in tables:
        if measure not in table.column_names or table.column("id").to_pylist() != ids:
            return Repeats(measure, values)
    scores = np.array([table.column(measure).to_numpy(zero_copy_only=False) for table in tables], np.float64)
    # Scores on another scale, or of something else, are not scores of this measure.
    if not np.allclose(np.nanmean(scores, axis=1), values, atol=1e-4):
        return Repeats(measure, values)
    known = "target" in tables[0].column_names
    classes = tables[0].column("target").to_numpy(zero_copy_only=False) if known else None
    return Repeats(measure, values, scores, None if classes is None else classes.astype(np.str_))


def lead(on_test: Sequence[Repeats | None]) -> Difference | None:
    """Return how much higher the winner is on the test split than the second finalist, with its interval.

    Args:
        on_test: the repeats of each finalist on the test split, the best on validation first.

    Returns:
        The difference; None without a second finalist, or where one lacks the measure.
    """
    if len(on_test) < 2 or on_test[0] is None or on_test[1] is None:
        return None
    return on_test[1].difference(on_test[0])
