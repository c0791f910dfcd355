"""`siamkit compare`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from siamkit.backend.select import BACKENDS


@click.command()
@click.argument("contenders", nargs=-1, required=True, type=click.Path())
@click.option("--data", type=click.Path(), metavar="DATA", help="For models to embed, and to be looked at.")
@click.option("--labels", type=click.Path(), metavar="FILE", help="A .npy file, for embeddings without.")
@click.option("--metric", metavar="NAME", help="Of files of embeddings; cosine unless given.")
@click.option("--measure", "measures", multiple=True, metavar="NAME", help="Instead of the usual two.")
@click.option(
    "--over",
    type=click.Choice(["auto", "queries", "classes", "items", "pairs"]),
    default="auto",
    show_default=True,
)
@click.option("--html", "page", type=click.Path(), metavar="FILE", help="Write all of it as a page, too.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="Instead of KERAS_BACKEND, where needed.",
)
def compare(
    contenders: tuple[str, ...],
    data: str | None,
    labels: str | None,
    metric: str | None,
    measures: tuple[str, ...],
    over: str,
    page: str | None,
    as_json: bool,
    backend: str | None,
) -> None:
    """Compare CONTENDERS on the same items or pairs.

    They are models (with --data), files of embeddings, and trials of studies: study.yaml#14, study.yaml#best.

    Every difference has its interval, and says so where none is shown at this size.
    """
    from rich.console import Console

    from siamkit.backend import select
    from siamkit.comparison import compare as run
    from siamkit.comparison._tables import tables
    from siamkit.comparison.inputs import read_labels
    from siamkit.io.files import to_jsonable, write_text
    from siamkit.io.paths import check_writable

    if page is not None:
        check_writable(Path(page))
    if backend is not None:  # else chosen where something needs one
        select.activate(select.choose_backend(backend)[0])
    found = run(
        *contenders,
        data=data,
        labels=None if labels is None else read_labels(labels),
        metric=metric,
        measures=measures,
        over=over,  # type: ignore[arg-type]
    )
    if page is not None:
        from siamkit.comparison._report import side_by_side
        from siamkit.report.render.html import render

        write_text(Path(page), render(side_by_side(found)))
    if as_json:
        told = dataclasses.asdict(dataclasses.replace(found, looks={}))
        del told["looks"]
        told["disagreements"] = [
            {"a": a, "b": b, "queries": [dataclasses.asdict(each) for each in queries]}
            for (a, b), queries in found.disagreements.items()
        ]
        click.echo(json.dumps(to_jsonable({**told, "verdicts": found.verdicts()}), indent=1, default=str))
        return
    console = Console()
    for each in tables(found):
        console.print(each)
    for sentence in (*found.verdicts(), *found.notes, *([] if page is None else [f"page  {page}"])):
        click.echo(sentence)
