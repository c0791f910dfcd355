"""The geometry of embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from siamkit.evaluation.measures import MEASURES
from siamkit.plotting.palette import COLORS, dressed
from siamkit.report.load import StoredStudy
from siamkit.report.model import Chart, Listing, Table
from siamkit.report.sections._naming import words


def spectrum(embeddings: np.ndarray) -> Chart:
    """How much of the variance the main directions hold."""
    rows = embeddings.astype(np.float64)
    sizes = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    shares = np.cumsum(sizes) / max(sizes.sum(), 1e-30)
    x = list(range(1, len(shares) + 1))
    figure = go.Figure(
        go.Scatter(
            x=x, y=shares.tolist(), mode="lines+markers", line={"color": COLORS[0]}, marker={"size": 5},
            hovertemplate="%{x} directions hold %{y:.1%}<extra></extra>",
        )
    )  # fmt: skip
    dressed(figure, "directions", "share of the variance", height=340)
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    table = Table.of(("directions", "share of the variance"), list(zip(x, shares.tolist(), strict=True)))
    half = int(np.argmax(shares >= 0.9)) + 1
    told = (
        f"{half} of {len(x)} directions hold nine tenths of the variance; what the others hold "
        f"little of could be left out."
    )
    return Chart("spectrum", "How many directions are used", figure, table, told, small=True)


def geometry(stored: StoredStudy) -> list[Listing]:
    """Geometry, clusters and neighbours of the finalists on the test part."""
    names = [name for name, each in MEASURES.items() if each.group in ("geometry", "clustering", "neighbors")]
    known = [(row.test_measures, words(row)) for row in stored.finalists if row.test_measures]
    names = [name for name in names if any(name in measures for measures, _ in known)]
    if not names:
        return []
    arrow = {"maximize": "higher", "minimize": "lower", None: "–"}
    rows: list[list[Any]] = [
        [
            name,
            MEASURES[name].summary,
            arrow[MEASURES[name].direction],
            *(measures.get(name) for measures, _ in known[:3]),
        ]
        for name in names
    ]
    columns = (
        "figure",
        "what it says",
        "better",
        *(f"{place + 1}. {title}" for place, (_, title) in enumerate(known[:3])),
    )
    return [
        Listing(
            "geometry",
            "Geometry of the finalists, on the test part",
            Table.of(columns, rows),
            "Means over the repeats.",
        )
    ]
