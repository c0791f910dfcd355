"""`siamkit status`."""

from __future__ import annotations

import json
import time

import click

EVERY = 2.0  # seconds between two looks


@click.command()
@click.argument("study", type=click.Path())
@click.option("--artifacts", metavar="FOLDER", help="The run folder or URL, instead of the study's own.")
@click.option("--json", "as_json", is_flag=True, help="For machines; with --watch a line each look.")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until the study is done.")
def status(study: str, artifacts: str | None, as_json: bool, watch: bool) -> None:
    """Show how the study in the file STUDY stands, also while it runs. Changes nothing."""
    from rich.console import Console
    from rich.live import Live

    from siamkit.study.monitoring._read_status import Watch, read_status
    from siamkit.study.monitoring._status_table import status_table
    from siamkit.study.monitoring.locate import find_study
    from siamkit.study.monitoring.status import Status

    def show(now: Status, indent: int | None) -> None:
        if as_json:
            click.echo(json.dumps(now.plain(), indent=indent, ensure_ascii=False))
        else:
            console.print(status_table(now))

    console = Console(highlight=False)
    if not watch:
        show(read_status(study, artifacts, wait=True), 1)
        return
    watched = Watch(find_study(study, artifacts))
    try:
        if as_json or not console.is_terminal:
            while True:
                show(now := watched.look(), None)
                if now.state == "done":
                    return
                time.sleep(EVERY)
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(status_table(now := watched.look()), refresh=True)
                if now.state == "done":
                    return
                time.sleep(EVERY)
    except KeyboardInterrupt:
        return
