"""Commands that read a study: `status`, `dashboard`, `best` and `report`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import click

from siamkit.cli._options import artifacts_option, json_option, study_argument
from siamkit.cli._output import reader_exited

WATCH_SECONDS = 2.0


@click.command(short_help="Show the progress of a study.")
@study_argument
@artifacts_option
@json_option
@click.option(
    "--watch",
    is_flag=True,
    help=f"Refresh every {WATCH_SECONDS:g} seconds until the study is done; with --json, a line each time.",
)
def status(study: str, artifacts: str | None, as_json: bool, watch: bool) -> None:
    """Show the progress of the study in the file STUDY, also while it runs. The study does not change."""
    from rich.console import Console
    from rich.live import Live

    from siamkit.study.monitoring.locate import find_study
    from siamkit.study.monitoring.status import Status, StatusReader, read_status
    from siamkit.study.monitoring.status_table import status_table

    console = Console(highlight=False)

    def show(current: Status, indent: int | None = None) -> None:
        if as_json:
            click.echo(json.dumps(current.plain(), indent=indent, ensure_ascii=False))
        else:
            console.print(status_table(current))

    def refresh(show: Callable[[Status], None]) -> None:
        reader = StatusReader(find_study(study, artifacts))
        while True:
            show(current := reader.read())
            if current.state == "done" or reader_exited():
                return
            time.sleep(WATCH_SECONDS)

    if not watch:
        show(read_status(study, artifacts, wait=True), 1)
        return
    try:
        if as_json or not console.is_terminal:
            refresh(show)
            return
        with Live(console=console, auto_refresh=False) as live:
            refresh(lambda current: live.update(status_table(current), refresh=True))
    except KeyboardInterrupt:
        return


@click.command(short_help="Open a study in optuna-dashboard.")
@study_argument
@artifacts_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; if it is in use, the next free one. 0 for any free port.",
)
@click.option("--no-browser", is_flag=True, help="Print the address without opening a browser.")
def dashboard(study: str, artifacts: str | None, port: int, no_browser: bool) -> None:
    """Show the study in the file STUDY in optuna-dashboard, on this machine only, until Ctrl-C."""
    import webbrowser

    from siamkit.study.monitoring.dashboard import address, make_dashboard
    from siamkit.study.monitoring.locate import find_study

    with make_dashboard(find_study(study, artifacts), port) as server:
        click.echo(f"{address(server)}   (Ctrl-C to stop)")
        try:
            if not no_browser:
                webbrowser.open(address(server))
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()


@click.command(short_help="Show the best configuration of a study, and export its model.")
@study_argument
@artifacts_option
@click.option(
    "--export",
    "target",
    type=click.Path(),
    metavar="FOLDER",
    help="New folder for the model, its preprocessor and a model card.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "saved_model"]),
    multiple=True,
    help="With --export: write the encoder in this format, too, and compare its output; repeatable.",
)
@json_option
def best(
    study: str, artifacts: str | None, target: str | None, formats: tuple[str, ...], as_json: bool
) -> None:
    """Show the best configuration of the study in the file STUDY, and export its model."""
    from siamkit.runs.outcome import read_outcome
    from siamkit.study.config.load import load_study
    from siamkit.study.results.export import describe_best, export_best
    from siamkit.study.results.results import Results

    if formats and target is None:
        raise click.UsageError("--format needs --export FOLDER")
    resolved = load_study(study, artifacts=artifacts, data_required=False)
    outcome = read_outcome(resolved.folder)
    card = None if target is None else export_best(resolved, target, tuple(dict.fromkeys(formats)))
    if as_json:
        described = describe_best(outcome) | ({} if card is None else {"export": {"folder": target, **card}})
        click.echo(json.dumps(described, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from siamkit.report.render.console import render_console
    from siamkit.study.results.summary import summary

    files = {"model": str(outcome.model)} if card is None else {"export": str(target)}
    Console(highlight=False).print(render_console(summary(Results.of(outcome), files, configuration=True)))
    if card is None:
        return
    for name, written in card["exports"].items():
        click.echo(
            f"{name:<12} {written['file']} through {written['through']}: {written['items']} "
            f"{card['compared_on']}, largest difference {written['max_difference']:.1e}"
        )


@click.command(short_help="Write the report of a study again.")
@study_argument
@artifacts_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown", "json"]),
    default="html",
    show_default=True,
    help="Format of the report: a web page, a text with tables, or data.",
)
def report(study: str, artifacts: str | None, form: str) -> None:
    """Write the report of the study in the file STUDY again, from its stored results; print its path."""
    from siamkit.io.paths import display_path
    from siamkit.report import write_report
    from siamkit.study.monitoring.locate import find_study

    click.echo(display_path(write_report(find_study(study, artifacts).folder.path, form)))  # type: ignore[arg-type]
