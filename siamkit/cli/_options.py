"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from siamkit.backend.select import BACKENDS

Command = TypeVar("Command", bound=Callable[..., Any])

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
