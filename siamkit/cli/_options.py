"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from siamkit.backend.select import BACKENDS

Command = TypeVar("Command", bound=Callable[..., Any])


class Option(click.Option):
    """An option that has an effect only with another option, or not with some: else the command refuses it.

    Every option is used or refused; an option whose use depends on others is of this class.

    Args:
        needs: the option that must also be given, as the message writes it, such as `--export FOLDER`.
        unused_with: options with which this one would have no effect.
    """

    def __init__(self, *args: Any, needs: str = "", unused_with: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.needs, self.unused_with = needs, tuple(unused_with)

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        if self.name in opts:
            given = {flag for each in ctx.command.params if each.name in opts for flag in each.opts}
            if self.needs and self.needs.split()[0] not in given:
                raise click.UsageError(f"{self.opts[-1]} needs {self.needs}", ctx)
            for other in self.unused_with:
                if other in given:
                    raise click.UsageError(
                        f"{self.opts[-1]} has no effect with {other}; leave one of them out", ctx
                    )
        return super().handle_parse_result(ctx, opts, args)


study_argument = click.argument("study", type=click.Path())

artifacts_option = click.option(
    "--artifacts",
    metavar="FOLDER",
    help="Run folder: a path or a URL [default: the run folder that STUDY names].",
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE",
    help="Import this Python module first, so that its components are registered; repeatable.",
)
progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "live", "plain", "none"]),
    default="auto",
    show_default=True,
    help="Show progress as a live table, as plain lines or not at all; auto: live in a terminal, else plain.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
force_option = click.option("--force", is_flag=True, help="Replace FILE if it exists.")


def backend_option(default: str) -> Callable[[Command], Command]:
    """Return the option --backend; its help names the default in these words."""
    return click.option("--backend", type=click.Choice(BACKENDS), help=f"Keras backend [default: {default}].")


def run_options(command: Command) -> Command:
    """Add STUDY, --backend, --plugin, --artifacts and --progress."""
    backend = backend_option(
        "the environment variable KERAS_BACKEND, else the backend in STUDY, else Keras's configuration, "
        "else the first installed"
    )
    for option in (progress_option, artifacts_option, plugin_option, backend, study_argument):
        command = option(command)
    return command
