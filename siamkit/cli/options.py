"""The options that commands which run a study share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from siamkit.backend.select import BACKENDS

_OPTIONS = (
    click.argument("study", type=click.Path()),
    click.option(
        "--backend", type=click.Choice(BACKENDS), help="Instead of KERAS_BACKEND or the study's own."
    ),
    click.option(
        "--plugin", "plugins", multiple=True, metavar="MODULE", help="A module of yours to import first."
    ),
    click.option("--artifacts", metavar="FOLDER", help="The run folder or URL, instead of the study's own."),
    click.option(
        "--progress",
        type=click.Choice(["auto", "live", "plain", "none"]),
        default="auto",
        help="How to tell what goes on.",
        show_default=True,
    ),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """STUDY, --backend, --plugin, --artifacts and --progress."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
