"""`siamkit report`."""

from __future__ import annotations

import click


@click.command()
@click.argument("study", type=click.Path())
@click.option(
    "--artifacts", type=click.Path(), metavar="FOLDER", help="The run folder, instead of the study's own."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown", "json"]),
    default="html",
    show_default=True,
    help="A page, words and tables, or data.",
)
def report(study: str, artifacts: str | None, form: str) -> None:
    """Make the report of the study in the file STUDY again, from its stored results."""
    from siamkit.io.paths import display_path
    from siamkit.report import write_report
    from siamkit.study.monitoring.locate import find_study

    click.echo(display_path(write_report(find_study(study, artifacts).folder.path, form)))  # type: ignore[arg-type]
