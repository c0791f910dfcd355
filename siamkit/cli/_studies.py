"""Commands about studies: run one, join it, and read its results."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from siamkit.cli._terminal import (
    Option,
    artifacts_option,
    backend_option,
    force_option,
    json_option,
    plugin_option,
    print_table,
    progress_option,
    reader_exited,
    run_options,
    study_argument,
)

time_option = click.option(
    "--time",
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="About how long the proposed study should take, such as 90s, 10m or 2h.",
)


@click.command
@click.argument("data", type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    default="study.yaml",
    show_default=True,
    metavar="FILE",
    help="Study file to write.",
)
@force_option
@time_option
@plugin_option
@backend_option("KERAS_BACKEND, else the backend of Keras's configuration, else the first installed")
@progress_option
def init(data: str, output: str, **options: Any) -> None:
    """Look at the file or folder DATA, and write a study file for it.

    The search, the number of training steps and the budget in it fit the data and this machine; comments
    explain them. To measure the time, siamkit trains a few steps with each encoder.
    """
    from siamkit.study.api import propose_study

    click.echo()
    print_table(propose_study(data, output, **options))
    click.echo(f"\nrun it with: siamkit tune {shlex.quote(click.format_filename(output))}")


@click.command
@run_options
@time_option
@click.option(
    "--check",
    is_flag=True,
    help="Check the study and its data, and print what it will do and about how long that takes; nothing is "
    "written.",
)
@click.pass_context
def tune(ctx: click.Context, /, check: bool, **options: Any) -> None:
    """Run the study in the file STUDY, or continue it where it stopped.

    STUDY can also be a file or folder of data: then study.yaml is first written, as by 'siamkit init'.
    The results, the best model and a report are written to the run folder. Ctrl-C stops the study; the same
    command continues it.
    """
    from rich.console import Console

    from siamkit.io.paths import display_path
    from siamkit.report.render.text import render_console
    from siamkit.study import tune as run
    from siamkit.study.api import check_study, is_data, study_file_for
    from siamkit.study.results.results import summary

    study, time = options["study"], options.pop("time")
    if is_data(study):
        if check:
            raise click.UsageError("--check needs a study file; 'siamkit init DATA' writes one", ctx)
        known = {key: options[key] for key in ("backend", "plugins", "progress")}
        options["study"], rows = study_file_for(study, time=time, **known)
        click.echo()
        print_table(rows)
    elif ctx.get_parameter_source("time") is ParameterSource.COMMANDLINE:
        raise click.UsageError(
            "--time is for data, for which a study is proposed; in a study file write `budget: {time: 2h}`",
            ctx,
        )
    if check:
        click.echo()
        print_table(check_study(**options))
        return
    results = run(**options)
    files = {"report": display_path(results.report_path), "model": display_path(results.model_path)}
    Console(highlight=False).print("", render_console(summary(results, files)))
    if results.interrupted:
        ctx.exit(130)
    if results.winner is None:
        ctx.exit(1)


@click.command("reality-check")
@run_options
@click.pass_context
def reality_check(ctx: click.Context, /, **options: Any) -> None:
    """Compare the losses in the reality-check file STUDY, or continue where the comparison stopped.

    Each loss gets the same number of trials. Its best configuration is then trained again, by default
    with 5 new seeds, and each of these models is evaluated once on the test data. Every difference is
    reported with its confidence interval and p-value.
    """
    from rich.console import Console

    from siamkit.io.paths import display_path
    from siamkit.report.render.text import FittedTable
    from siamkit.study import reality_check as run

    result = run(options.pop("study"), **options)
    Console().print("", FittedTable(result.table(), result.measure), "")
    if result.interrupted:
        click.echo("stopped; run the same command again to continue")
        ctx.exit(130)
    for sentence in (result.verdict(), "", *result.verdicts(), *result.notes, ""):
        click.echo(sentence)
    click.echo(f"page    {display_path(result.folder / 'reality-check.md')}")
    if all(loss.repeats is None for loss in result.losses):
        ctx.exit(1)


@click.command
@run_options
@click.pass_context
def worker(ctx: click.Context, /, **options: Any) -> None:
    """Join the study in the file STUDY, which 'siamkit tune' runs elsewhere, as an additional worker.

    This machine must be able to reach the storage and the run folder of the study. The worker exits when the
    budget is spent.
    """
    from siamkit.study import join

    budget_is_spent = join(**options)
    if not budget_is_spent:
        ctx.exit(130)


@click.command
@study_argument
@click.option("--trial", type=click.IntRange(min=0), required=True, metavar="N", help="Number of the trial.")
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Number of epochs [default: the number in the study]."
)
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**32 - 1), help="Random seed [default: that of the trial]."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Model file to write, ending in .keras [default: NAME-N.keras in this folder, with the "
    "study's name].",
)
@force_option
@backend_option("the environment variable KERAS_BACKEND, else the backend that the study ran on")
@artifacts_option
@progress_option
def retrain(
    study: str,
    trial: int,
    epochs: int | None,
    seed: int | None,
    output: str | None,
    force: bool,
    backend: str | None,
    artifacts: str | None,
    progress: str,
) -> None:
    """Train trial N of the study in the file STUDY again, and save its model.

    The study itself does not change. With the same number of epochs and the same seed, the model is the same.
    """
    from siamkit.backend import select
    from siamkit.errors import StudyError
    from siamkit.io.paths import display_path
    from siamkit.study.api import retrain_trial
    from siamkit.study.config.load import load_study
    from siamkit.study.monitoring.progress import make_progress

    resolved = load_study(study, artifacts=artifacts)
    path = Path(output or f"{resolved.config.name}-{trial}.keras")
    if path.exists() and not force:
        raise StudyError(f"{str(path)!r} already exists; choose another file with --output, or use --force")
    select.keep_compiled()
    with make_progress(progress) as reporter:
        retrained = retrain_trial(
            resolved, trial, path, epochs=epochs, seed=seed, backend=backend, progress=reporter
        )
    for name in ("map_at_r", "recall_at_1", "roc_auc", "eer", "spearman"):
        if name in retrained.measures:
            before = retrained.before.get(name)
            in_study = "" if before is None else f"   in the study {before:.4f}"
            untrained = ""
            if (best := retrained.baseline) is not None and (value := best.value(name)) is not None:
                untrained = f"   {best.description} {value:.4f}"
            click.echo(f"{name:<12}{retrained.measures[name]:.4f}{in_study}{untrained}")
    click.echo(f"model   {display_path(retrained.path)}")


WATCH_SECONDS = 2.0


@click.command
@study_argument
@artifacts_option
@json_option
@click.option(
    "--watch",
    is_flag=True,
    help=f"Refresh every {WATCH_SECONDS:g} seconds until the study is done; with --json, print one line "
    "each time.",
)
def status(study: str, artifacts: str | None, as_json: bool, watch: bool) -> None:
    """Show the progress of the study in the file STUDY, also while it runs. The study does not change."""
    from rich.console import Console
    from rich.live import Live

    from siamkit.study.monitoring.locate import find_study
    from siamkit.study.monitoring.status import Status, StatusReader, read_status
    from siamkit.study.monitoring.views import status_table

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


@click.command
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

    from siamkit.study.monitoring.locate import find_study
    from siamkit.study.monitoring.views import address, make_dashboard

    with make_dashboard(find_study(study, artifacts), port) as server:
        click.echo(f"{address(server)}   (Ctrl-C to stop)")
        try:
            if not no_browser:
                webbrowser.open(address(server))
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()


@click.command
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
    cls=Option,
    needs="--export FOLDER",
    type=click.Choice(["onnx", "saved_model"]),
    multiple=True,
    help="With --export: also write the encoder in this format, and check that its output is that of "
    "the model; repeatable.",
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

    resolved = load_study(study, artifacts=artifacts, data_required=False)
    outcome = read_outcome(resolved.folder)
    card = None if target is None else export_best(resolved, target, tuple(dict.fromkeys(formats)))
    if as_json:
        described = describe_best(outcome) | ({} if card is None else {"export": {"folder": target, **card}})
        click.echo(json.dumps(described, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from siamkit.report.render.text import render_console
    from siamkit.study.results.results import summary

    files = {"model": str(outcome.model)} if card is None else {"export": str(target)}
    Console(highlight=False).print(render_console(summary(Results.of(outcome), files, configuration=True)))
    if card is None:
        return
    for name, written in card["exports"].items():
        click.echo(
            f"{name:<12} {written['file']} through {written['through']}: {written['items']} "
            f"{card['compared_on']}, largest difference {written['max_difference']:.1e}"
        )


@click.command
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
    """Write the report of the study in the file STUDY again from its results, and print the report's path."""
    from siamkit.io.paths import display_path
    from siamkit.report import write_report
    from siamkit.study.monitoring.locate import find_study

    click.echo(display_path(write_report(find_study(study, artifacts).folder.path, form)))  # type: ignore[arg-type]
