"""`siamkit report`."""

from __future__ import annotations

import click


@click.command()
@click.argument("study", type=click.Path())
@click.option(
    "--artifacts", type=click.Path(), metavar="FOLDER", help="The run folder, instead of the study's own."
)
def report(study: str, artifacts: str | None) -> None:
    """Make the report of the study in the file STUDY again, from its stored results."""
    from siamkit.files import shown
    from siamkit.report import write_report
    from siamkit.study.watch.whereabouts import find_study

    click.echo(shown(write_report(find_study(study, artifacts).folder.path)))
