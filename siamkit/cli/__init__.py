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
    "init": "_studies",
    "tune": "_studies",
    "reality-check": "_studies",
    "worker": "_studies",
    "status": "_studies",
    "dashboard": "_studies",
    "best": "_studies",
    "report": "_studies",
    "retrain": "_studies",
    "embed": "_embeddings",
    "compare": "_embeddings",
    "evaluate": "_embeddings",
    "plugins": "_installation",
    "schema": "_installation",
    "doctor": "_installation",
}
"""The module of each command, in the order of `siamkit --help`."""


class _Commands(click.Group):
    """The command group: a user's mistake becomes one message and exit code 2; a bug keeps its traceback.

    A command's module is imported only when the command runs: the program starts sooner, and Ctrl-C is
    handled by then.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"siamkit.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

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
