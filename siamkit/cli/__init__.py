"""The command line: it parses, calls the library and prints."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from siamkit._version import __version__
from siamkit.errors import SiamkitError
from siamkit.study.execution.signals import none_is_dropped

COMMANDS = (
    "tune",
    "reality-check",
    "worker",
    "status",
    "dashboard",
    "best",
    "retrain",
    "embed",
    "compare",
    "evaluate",
    "report",
    "plugins",
    "schema",
    "doctor",
)


class Commands(click.Group):
    """Turns a user's mistake into one message and exit code 2; a bug keeps its traceback.

    A command's module is imported when it is asked for: so it starts sooner, and Ctrl-C is heard by then.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        found: click.Command = getattr(importlib.import_module(f"siamkit.cli.{name}"), name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        _speak_anyhow()
        try:
            with none_is_dropped():
                return super().invoke(ctx)
        except SiamkitError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="siamkit")
def main() -> None:
    """Which encoder, metric, loss and how many dimensions suit your data? Found by experiment."""


def _speak_anyhow() -> None:
    """What a stream cannot write is no reason to end: a closed one hears nothing, others question marks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as the process lives
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
