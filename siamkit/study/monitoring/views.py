"""A study shown to people: its status as a table in the terminal, and optuna-dashboard in a browser."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from siamkit.errors import StudyError
from siamkit.runs.outcome import which_broke
from siamkit.study.monitoring.event_log import Owner
from siamkit.study.monitoring.locate import StudyLocation, open_to_read, storage_to_read
from siamkit.study.monitoring.progress import one_line, spell
from siamkit.study.monitoring.status import Status

COLORS = {"running": "bold green", "done": "bold", "stopped": "bold yellow", "unsure": "bold yellow"}


def status_table(status: Status) -> RenderableType:
    """Return counts, the best trial, pace and end, owners, running trials and failures."""
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(status):
        facts.add_row(name, value)
    head = Text.assemble((status.name, "bold"), "  ", (_state(status), COLORS[status.state]))
    parts: list[RenderableType] = [head, facts]
    if status.running:
        parts += [Text(), _running(status)]
    if status.failures:
        parts += [Text(), _failures(status)]
    return Group(*parts)


def _state(status: Status) -> str:
    if status.state == "unsure":
        return "maybe running on other machines; no sign of life yet"
    if status.state == "stopped":
        return f"stopped{f' ({status.why})' if status.why else ''}; siamkit tune continues it"
    return status.state + (f": {status.why}" if status.why else "")


def _facts(status: Status) -> Iterator[tuple[str, Text]]:
    ends = f"{status.complete} complete, {status.pruned} pruned, {status.failed} failed"
    more = [
        f"{number} {what}"
        for number, what in (
            (status.duplicates, "drawn twice"),
            (status.died, "died"),
            (status.waiting, "queued"),
        )
        if number
    ]
    others = f"; {', '.join(more)}" if more else ""
    yield "counted", Text(f"{status.counted} of {status.target}: {ends}{others}")
    if status.infeasible:
        yield (
            "cannot win",
            Text(f"{len(status.infeasible)} complete that break {which_broke(status.infeasible)}"),
        )
    if status.best is not None:
        for number, (measure, value) in enumerate(status.best.values.items()):
            shown = Text(f"{measure} {value:.4f}", style="" if number else "bold")
            if not number:
                shown += Text(
                    f"  {status.best.configuration}  (trial {status.best.trial}, {status.best.kind})"
                )
            yield "" if number else "best", shown
    if status.baseline is not None:
        measure = next(iter(status.objectives))
        best = f"{measure} {status.baseline.value:.4f}  {status.baseline.description}, without training"
        yield "baseline", Text(best)
    if status.to_confirm and (status.confirmed or status.confirming or status.counted >= status.target):
        now = f", {status.confirming} under way" if status.confirming else ""
        yield "confirmed", Text(f"{status.confirmed} of {status.to_confirm}{now}")
    if status.seconds_each is not None:
        end = f", search done about {_clock(status.end)}" if status.end is not None else ""
        yield "pace", Text(f"{spell(status.seconds_each)} a configuration{end}")
    if status.worked or status.time is not None:
        limit = f" of {spell(status.time)}" if status.time is not None else ""
        yield "worked", Text(f"{spell(status.worked)}{limit}")
    for number, owner in enumerate(status.owners):
        yield "" if number else "by", Text(_owner(owner))
    if status.trust:
        yield "trust", Text(status.trust)
    yield "folder", Text(status.folder)


def _owner(owner: Owner) -> str:
    alive = {True: "", False: ": exited; its trials will be tried again", None: ": no sign of life yet"}
    return f"{owner.role} on {owner.host}, process {owner.pid}{alive[owner.alive]}"


def _running(status: Status) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("running", justify="right", no_wrap=True)
    table.add_column("configuration", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("epoch", justify="right", no_wrap=True)
    table.add_column(next(iter(status.objectives)), justify="right", no_wrap=True)
    table.add_column("for", justify="right", no_wrap=True)
    several = len(status.owners) > 1
    if several:
        table.add_column("by", no_wrap=True)
    owners = {owner.name: f"{owner.host} {owner.pid}" for owner in status.owners}
    for trial in status.running:
        row: list[str | Text] = [
            str(trial.trial),
            Text(one_line(trial.configuration)),
            f"{trial.epoch}/{status.epochs}" if trial.epoch is not None else "–",
            f"{trial.value:.4f}" if trial.value is not None else "–",
            spell(trial.seconds),
        ]
        table.add_row(*row, *([Text(owners.get(trial.owner, "no process"))] if several else []))
    return table


def _failures(status: Status) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("cause", overflow="fold")
    for each in status.failures:
        table.add_row(str(each.trial), each.kind, Text(one_line(each.cause)))
    return table


def _clock(end: datetime) -> str:
    far = (end - datetime.now()).total_seconds() > 86400
    return f"{end:%a %H:%M}" if far else f"{end:%H:%M}"


# ------------------------------------------------------------------ optuna-dashboard: read-only, on this host

HOST = "127.0.0.1"
PORTS_TRIED = 20

Application = Callable[..., Iterable[bytes]]


class Server(ThreadingMixIn, WSGIServer):
    """A server that answers several requests at once; none of them keeps the program from ending."""

    daemon_threads = True
    # Otherwise, on some systems, two servers could listen on one port.
    allow_reuse_address = True


class QuietHandler(WSGIRequestHandler):
    """A request handler that logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def make_dashboard(where: StudyLocation, port: int) -> Server:
    """Return a server that shows a study at `http://127.0.0.1:<port>`; call its `serve_forever`.

    Args:
        where: the study.
        port: the first port to try; the next free one is used. 0 for any port.

    Raises:
        StudyError: the package is not installed, the study was never started, or no port is free.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise StudyError("the dashboard needs optuna-dashboard; pip install 'siamkit[dashboard]'")
    open_to_read(where)  # raises if the study cannot be read
    import optuna_dashboard

    app = optuna_dashboard.wsgi(storage_to_read(where))
    for number in range(port, min(port + PORTS_TRIED, 65536)):
        try:
            server = make_server(HOST, number, app, server_class=Server, handler_class=QuietHandler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise StudyError(f"cannot listen on port {number}: {error.strerror}") from None
        server.set_app(read_only(app, server.server_port))
        return server
    raise StudyError(f"the ports {port} to {port + PORTS_TRIED - 1} are taken; choose another with --port")


def address(server: Server) -> str:
    """Return the URL of a dashboard."""
    return f"http://{HOST}:{server.server_port}"


def read_only(app: Application, port: int) -> Application:
    """Refuse requests that would change the study, and requests for another host name.

    The dashboard can delete and rename studies and end trials; only `tune` may do that. Also, a web page
    could resolve its own name to this machine, to read from it in the user's browser (DNS rebinding).
    """
    names = {f"{name}:{port}" for name in (HOST, "localhost")}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refused = None
        if environ.get("HTTP_HOST") not in names:
            refused = "403 Forbidden", "this dashboard is for the machine it runs on"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS"):
            refused = "405 Method Not Allowed", "this dashboard only shows; siamkit tune changes the study"
        if refused is None:
            return app(environ, start_response)
        start_response(refused[0], [("Content-Type", "text/plain; charset=utf-8")])
        return [refused[1].encode()]

    return answer
