"""`siamkit embed`."""

from __future__ import annotations

import time

import click

from siamkit.backend.select import BACKENDS


@click.command()
@click.argument("model", type=click.Path())
@click.argument("data", type=click.Path())
@click.option("-o", "--output", type=click.Path(), required=True, metavar="FILE", help="A .parquet file.")
@click.option("--side", type=click.IntRange(0, 1), default=0, help="Of pairs, and of two towers.")
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--source", metavar="NAME", help="The dataset that reads DATA, into memory.")
@click.option("--columns", metavar="NAMES", help="Of a table, with commas; of an .npz file its array.")
@click.option("--label", metavar="NAME", help="The column or array of labels.")
@click.option("--id", "id_", metavar="NAME", help="The column or array of the items' names.")
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--backend", type=click.Choice(BACKENDS), help="Instead of KERAS_BACKEND.")
@click.option(
    "--plugin", "plugins", multiple=True, metavar="MODULE", help="A module of yours to import first."
)
def embed(
    model: str,
    data: str,
    output: str,
    side: int,
    batch_size: int,
    source: str | None,
    columns: str | None,
    label: str | None,
    id_: str | None,
    force: bool,
    backend: str | None,
    plugins: tuple[str, ...],
) -> None:
    """Embed the items of DATA, a table, .npy, .npz or folder of images, with MODEL.

    Whatever their number, only a few batches are in memory.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from siamkit.backend import select
    from siamkit.inference.embed import embed_file
    from siamkit.registry.registry import components

    for module in plugins:
        components().load_module(module)
    select.activate(select.choose_backend(backend)[0])
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("embedding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    start = time.monotonic()
    with bar:
        task = bar.add_task("", total=None, rate="")

        def on_rows(done: int, total: int | None) -> None:
            nonlocal start
            if not done:  # the backend and the model are loaded by now
                start = time.monotonic()
            rate = f"{done / max(time.monotonic() - start, 1e-9):,.0f}/s"
            bar.update(task, completed=done, total=total, rate=rate)

        count = embed_file(
            model,
            data,
            output,
            side=side,
            batch_size=batch_size,
            source=source,
            columns=tuple(each.strip() for each in (columns or "").split(",") if each.strip()),
            label=label,
            id=id_,
            replace=force,
            on_rows=on_rows,
        )
    seconds = time.monotonic() - start
    click.echo(f"{count:,} embeddings in {seconds:.1f} s ({count / seconds:,.0f}/s) in {output}")
