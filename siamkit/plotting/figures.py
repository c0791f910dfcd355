"""Comparisons and sizes as figures and tables, for notebooks and pages. Plotly and pandas come when asked."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from siamkit.evaluation.measures import MEASURES
from siamkit.plotting.palette import color, dressed, logarithmic, symbol

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from siamkit.comparison.result import Comparison
    from siamkit.stats.compression import Size

NOT_SHOWN = "#7F7F7F"


def difference_frame(found: Comparison) -> pd.DataFrame:
    """A row a difference: of which two, in which figure, how large, how sure, and the verdict in words."""
    import pandas as pd

    rows = [
        {
            "a": a,
            "b": b,
            "figure": each.measure,
            "value_a": each.a,
            "value_b": each.b,
            "difference": each.difference,
            "low": each.low,
            "high": each.high,
            "level": each.level,
            "p": each.p,
            "p_adjusted": each.p_adjusted,
            "over": each.over,
            "units": each.units,
            "shown": each.shown,
            "verdict": each.verdict(a, b),
        }
        for (a, b), each in zip(found.pairs, found.differences, strict=True)
    ]
    return pd.DataFrame(rows)


def forest(found: Comparison) -> go.Figure:
    """Each difference with its interval, and a line at zero; what leaves it out is a difference shown."""
    import plotly.graph_objects as go

    rows = list(zip(found.pairs, found.differences, strict=True))
    names = [escape(f"{each.measure}: {b} - {a}") for (a, b), each in rows]
    figure = go.Figure()
    for shown, name in ((True, "shown"), (False, "not shown at this size")):
        chosen = [row for row, (_, each) in enumerate(rows) if each.shown == shown]
        if not chosen:
            continue
        some = [rows[row] for row in chosen]
        figure.add_trace(
            go.Scatter(
                x=[each.difference for _, each in some],
                y=[names[row] for row in chosen],
                mode="markers",
                name=name,
                marker={
                    "size": 11,
                    "color": color(0) if shown else NOT_SHOWN,
                    "symbol": "circle" if shown else "circle-open",
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [each.high - each.difference for _, each in some],
                    "arrayminus": [each.difference - each.low for _, each in some],
                },
                text=[escape(each.verdict(a, b)) for (a, b), each in some],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.add_vline(x=0, line_width=1, line_dash="dash", line_color=NOT_SHOWN)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    return dressed(figure, "difference, with its interval", "", height=140 + 40 * len(rows))


def size_frame(sizes: Sequence[Size]) -> pd.DataFrame:
    """A row a size: the way, dimensions, bytes, its figures, and whether it is on the front."""
    import pandas as pd

    return pd.DataFrame(
        {"how": each.how, "dim": each.dim, "bytes_per_vector": each.bytes_per_vector}
        | each.measures
        | {"best": each.best}
        for each in sizes
    )


def size_figure(sizes: Sequence[Size]) -> go.Figure:
    """The first figure against bytes a vector, a mark a way to become smaller, and the Pareto front."""
    import plotly.graph_objects as go

    name = next(iter(sizes[0].measures))
    figure = go.Figure()
    front = sorted((each for each in sizes if each.best), key=lambda each: each.bytes_per_vector)
    # Up or down at once: between two sizes one has what the smaller one is worth.
    figure.add_trace(
        go.Scatter(
            x=[each.bytes_per_vector for each in front],
            y=[each.measures[name] for each in front],
            mode="lines",
            line={"shape": "hv", "color": NOT_SHOWN, "dash": "dash"},
            name="Pareto front",
            hoverinfo="skip",
        )
    )
    for number, how in enumerate(dict.fromkeys(each.how for each in sizes)):
        some = sorted((each for each in sizes if each.how == how), key=lambda each: each.bytes_per_vector)
        figure.add_trace(
            go.Scatter(
                x=[each.bytes_per_vector for each in some],
                y=[each.measures[name] for each in some],
                mode="lines+markers" if len(some) > 1 else "markers",
                name=escape(how),
                line={"color": color(number), "width": 1},
                marker={"color": color(number), "symbol": symbol(number), "size": 10},
                text=[f"{escape(how)}, {each.dim} dimensions" for each in some],
                hovertemplate="%{text}<br>%{y:.4f} in %{x:g} bytes<extra></extra>",
            )
        )
    logarithmic(figure, [each.bytes_per_vector for each in sizes])
    summary = MEASURES[name].direction if name in MEASURES else "maximize"
    better = "higher" if summary == "maximize" else "lower"
    return dressed(figure, "bytes a vector", f"{name} ({better} is better)", height=460)
