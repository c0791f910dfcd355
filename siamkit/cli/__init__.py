"""The command line: it parses, calls the library and prints."""

from __future__ import annotations

from typing import Any

import click

from siamkit import __version__
from siamkit.errors import SiamkitError
from siamkit.study.interrupts import none_is_dropped


class Commands(click.Group):
    """Turns a user's mistake into one message and exit code 2; a bug keeps its traceback."""

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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="siamkit")
def main() -> None:
    """Which encoder, metric, loss and how many dimensions suit your data? Found by experiment."""


from siamkit.cli import (  # noqa: E402
    best,
    dashboard,
    doctor,
    embed,
    plugins,
    report,
    retrain,
    schema,
    status,
    tune,
    worker,
)

for command in (
    tune.tune,
    worker.worker,
    status.status,
    dashboard.dashboard,
    best.best,
    retrain.retrain,
    embed.embed,
    report.report,
    plugins.plugins,
    schema.schema,
    doctor.doctor,
):
    main.add_command(command)
