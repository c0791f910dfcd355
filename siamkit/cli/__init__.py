"""The command line: it parses, calls the library and prints."""

from __future__ import annotations

import importlib
from typing import Any

import click

from siamkit._version import __version__
from siamkit.cli._terminal import lasting_output
from siamkit.errors import SiamkitError
from siamkit.study.execution.signals import none_is_dropped

__all__ = ["main"]

_COMMANDS = {
    "init": ("_studies", "Propose a study for your data."),
    "tune": ("_studies", "Run a study, or continue it."),
    "reality-check": ("_studies", "Compare losses under one budget."),
    "worker": ("_studies", "Join a running study as an additional worker."),
    "status": ("_studies", "Show the progress of a study."),
    "dashboard": ("_studies", "Open a study in optuna-dashboard."),
    "best": ("_studies", "Show the best configuration of a study, and export its model."),
    "report": ("_studies", "Write the report of a study again."),
    "retrain": ("_studies", "Train one trial of a study again and save its model."),
    "embed": ("_embeddings", "Embed a file or folder of items with a trained model."),
    "compare": ("_embeddings", "Compare models, files of embeddings or trials of studies."),
    "evaluate": ("_embeddings", "Evaluate one model, file of embeddings or trial of a study."),
    "plugins": ("_installation", "List all encoders, metrics, losses and datasets."),
    "schema": ("_installation", "Print the JSON Schema of a study file."),
    "doctor": ("_installation", "Show installed backends, devices, plugins and problems."),
}
"""The module and the summary of each command, in the order of `siamkit --help`."""


class _Commands(click.Group):
    """The command group: a user's mistake becomes one message and exit code 2; a bug keeps its traceback.

    A command's module is imported only when the command runs, or explains itself: the program starts sooner,
    and Ctrl-C is handled by then.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"siamkit.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with lasting_output():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with none_is_dropped():
                return super().invoke(ctx)
        except SiamkitError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="siamkit")
def main() -> None:
    """Find out by experiment which encoder, metric, loss and embedding size fit your data.

    A study file (.yaml) describes the data and the choices. 'siamkit init DATA' writes one for your data;
    'siamkit tune STUDY' runs it and writes a report.
    """
