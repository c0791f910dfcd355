"""`siamkit tune`."""

from __future__ import annotations

from typing import Any

import click

from siamkit.cli.options import options


@click.command()
@options
@click.pass_context
def tune(ctx: click.Context, /, **asked: Any) -> None:
    """Run the study in the file STUDY, or go on with it where it stopped."""
    from rich.console import Console

    from siamkit.io.paths import display_path
    from siamkit.report.checks import verdict
    from siamkit.study import tune as run
    from siamkit.study.results.summary import summary

    results = run(**asked)
    Console().print(summary(results))
    if results.interrupted:
        ctx.exit(130)
    if results.winner is None:
        ctx.exit(1)
    click.echo(f"trust   {verdict(results.findings)}")
    click.echo(f"report  {display_path(results.report_path)}")
    model = display_path(results.model_path)
    click.echo(f"model   {model}   siamkit.load_model({model!r})")
