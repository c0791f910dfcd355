"""Repeats of finalists on the test part, as they were stored: figures, scores by query, classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.io.files import read_table
from siamkit.stats.results import Difference
from siamkit.stats.seeds import Repeats


def repeats_on_test(folder: Path, results: Sequence[dict[str, Any]], figure: str) -> Repeats | None:
    """What the repeats of one configuration reached on the test part.

    Args:
        folder: the run folder.
        results: of the repeats, as stored, each with its `folder`.
        figure: what is asked for; scores by query are read where it is a mean of them.

    Returns:
        The repeats; None where one has no such figure.
    """
    values = [each["test"].get(figure) for each in results]
    if not values or any(value is None or not math.isfinite(value) for value in values):
        return None
    files = [folder / str(each.get("folder", "")) / "test_queries.parquet" for each in results]
    if not all(file.is_file() for file in files):
        return Repeats(figure, values)
    tables = [read_table(file) for file in files]
    ids = tables[0].column("id").to_pylist()
    for table in tables:
        if figure not in table.column_names or table.column("id").to_pylist() != ids:
            return Repeats(figure, values)
    scores = np.array([table.column(figure).to_numpy(zero_copy_only=False) for table in tables], np.float64)
    # Scores of another scale than the figure's own, or of something else, are no scores of it.
    if not np.allclose(np.nanmean(scores, axis=1), values, atol=1e-4):
        return Repeats(figure, values)
    known = "target" in tables[0].column_names
    classes = tables[0].column("target").to_numpy(zero_copy_only=False) if known else None
    return Repeats(figure, values, scores, None if classes is None else classes.astype(np.str_))


def lead(finalists: Sequence[dict[str, Any]]) -> Difference | None:
    """How much higher the winner is on the test part than the second finalist, with its interval.

    Args:
        finalists: the best on validation first, as `siamkit.report.load.StoredStudy` has them.

    Returns:
        The difference; None where there is no second one, or nothing to tell by.
    """
    first, second = (each["on_test"] for each in (*finalists[:2], *[{"on_test": None}] * 2)[:2])
    return None if first is None or second is None else second.difference(first)
