"""`siamkit reality-check`."""

from __future__ import annotations

from typing import Any

import click

from siamkit.cli.options import options


@click.command("reality-check")
@options
@click.pass_context
def reality_check(ctx: click.Context, /, **asked: Any) -> None:
    """Compare the losses in the file STUDY under one budget, or go on where that stopped.

    Each gets as many trials; its best configuration is trained afresh with several seeds and scored on the
    test part once. Differences have intervals, and it says so where none is shown.
    """
    from rich.console import Console

    from siamkit.io.paths import display_path
    from siamkit.study import reality_check as run
    from siamkit.study.reality._tables import table

    found = run(asked.pop("study"), **asked)
    Console().print("", table(found), "")
    if found.interrupted:
        click.echo("stopped; the same command goes on from here")
        ctx.exit(130)
    for sentence in (found.verdict(), "", *found.verdicts(), *found.notes, ""):
        click.echo(sentence)
    click.echo(f"page    {display_path(found.folder / 'reality-check.md')}")
    if all(each.repeats is None for each in found.losses):
        ctx.exit(1)
