"""The terminal: options that commands share, and standard output that cannot end a command.

A command that trains for hours must not die because its output goes through `head`; one that prints has
done its work once nothing more is read. So what cannot be written is dropped, and the exit code stays; only
after a full disk an error is printed at the end, because the output is incomplete.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


# ------------------------------------------------------------------ output


def echo(text: str) -> None:
    """Print a line in the encoding of standard output, also in ASCII, for which `click.echo` writes UTF-8."""
    click.echo(text, file=sys.stdout)


def print_table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Print rows of texts in columns; a terminal gets the last column wrapped, a file one line for each row.

    Args:
        rows: the texts of each row, of the same number in all.
        header: the titles of the columns; by default none.
    """
    everything = [*([header] if header else []), *rows]
    widths = [max(map(len, column)) + 2 for column in list(zip(*everything, strict=True))[:-1]]
    indent = sum(widths)
    room = max(20, shutil.get_terminal_size().columns - indent) if sys.stdout.isatty() else None
    for cells in everything:
        start = "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
        lines = [cells[-1]] if room is None else textwrap.wrap(cells[-1], room) or [""]
        text = (start + ("\n" + " " * indent).join(lines)).rstrip()
        echo(click.style(text, bold=True) if cells is header else text)


class _StandardFile(io.FileIO):
    """The file of a standard stream; once it takes nothing more, the null device takes its place."""

    reader_exited = False
    disk_full: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self.reader_exited = True
        except OSError as error:
            self.disk_full = error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        return super().write(data)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let no write to standard output or standard error raise, inside the block.

    Raises:
        SystemExit: with code 2, after the block, if standard output was on a full disk.
    """
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    for name, stream in before.items():
        setattr(sys, name, _lasting(stream, getattr(sys, f"__{name}__")))
    try:
        yield
    finally:
        sys.stdout.flush()
        error, ending = getattr(_file(sys.stdout), "disk_full", None), sys.exception()
        if error is not None:
            print(f"Error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        for name, stream in before.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)
        if error is not None and (ending is None or isinstance(ending, SystemExit)):
            raise SystemExit(2)


def reader_exited() -> bool:
    """Return whether standard output is a pipe that nothing reads from any more."""
    file = _file(sys.stdout)
    return isinstance(file, _StandardFile) and file.reader_exited


def _file(stream: Any) -> Any:
    return getattr(getattr(stream, "buffer", None), "raw", None)


def _lasting(stream: Any, real: Any) -> Any:
    if stream is None:  # closed before the program started
        return open(os.devnull, "w")  # for as long as the process lives
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream is not real:  # a test captures it
        stream.reconfigure(errors="replace")
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_StandardFile(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
