"""`siamkit worker`."""

from __future__ import annotations

from typing import Any

import click

from siamkit.cli.options import options


@click.command()
@options
@click.pass_context
def worker(ctx: click.Context, /, **asked: Any) -> None:
    """Lend a hand with the study in the file STUDY, which `siamkit tune` runs on another machine.

    Its storage and its artifacts must be reached from here too. Ends when the budget is spent.
    """
    from siamkit.study import join

    spent = join(**asked)
    if not spent:
        ctx.exit(130)
