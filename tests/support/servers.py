"""Database servers for tests: the system's own binaries, a temporary folder, a free port."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

PASSWORD = "s3cret-w0rd"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binary(name: str, *places: str) -> str | None:
    """A program on the path, or the newest in the places where distributions hide it."""
    found = shutil.which(name) or next(
        (each for place in places for each in sorted(glob.glob(f"{place}/{name}"), reverse=True)), None
    )
    return found


def missing(name: str) -> str:
    """Skips where a server is not installed; on CI it must be."""
    reason = f"{name} is not installed (make packages installs it, as root on Debian)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Server:
    """A server in a folder of its own, run by a user who is not root: neither server would have that."""

    user = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="siamkit-server-"))
        self.port = free_port()
        if os.getuid() == 0:
            shutil.chown(self.folder, self.user)

    def run(self, *command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command),
            check=True,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            **more,
        )

    def environment(self) -> dict[str, str]:
        # Its user may not write where this one keeps temporary files.
        return {**os.environ, "TMPDIR": str(self.folder)}

    def command(self, *command: str) -> list[str]:
        return ["runuser", "-u", self.user, "--", *command] if os.getuid() == 0 else list(command)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQL(Server):
    """PostgreSQL; raises FileNotFoundError where it is not installed."""

    user = "postgres"
    places = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")

    def __init__(self) -> None:
        initdb, self.control = binary("initdb", *self.places), binary("pg_ctl", *self.places)
        if initdb is None or self.control is None:
            raise FileNotFoundError("postgresql")
        super().__init__()
        self.data = self.folder / "data"
        word = self.folder / "word"
        word.write_text(PASSWORD + "\n")
        word.chmod(0o644)
        self.run(initdb, "-D", str(self.data), "-U", "siamkit", "-A", "scram-sha-256",
                 "--pwfile", str(word), "-E", "UTF8", "--no-sync")  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nmax_connections = 200\n"
                f"unix_socket_directories = '{self.folder}'\nshared_buffers = 64MB\n"
            )
        self.start()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://siamkit:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self._control("start", "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        self._control("stop", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        self._control("restart", "-m", mode, "-l", str(self.folder / "log"))

    def _control(self, *action: str) -> None:
        # Its server inherits the pipes of its output and would hold them open.
        subprocess.run(
            self.command(str(self.control), "-D", str(self.data), "-w", *action),
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
            env=self.environment(),
        )  # fmt: skip

    def create(self, database: str) -> str:
        """A database of one's own; its URL."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"'.encode())
        return self.url(database)

    def close(self) -> None:
        try:
            self.stop("immediate")
        finally:
            super().close()


class MariaDB(Server):
    """MariaDB, which speaks MySQL's protocol; raises FileNotFoundError where it is not installed."""

    user = "mysql"

    def __init__(self) -> None:
        server = binary("mariadbd", "/usr/sbin") or binary("mysqld", "/usr/sbin")
        install = binary("mariadb-install-db")
        if server is None or install is None:
            raise FileNotFoundError("mariadb-server")
        super().__init__()
        data, socket_file = f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 'socket'}"
        self.run(install, "--no-defaults", data, "--auth-root-authentication-method=normal",
                 "--skip-test-db")  # fmt: skip
        first = self.folder / "first.sql"
        first.write_text(
            f"CREATE USER siamkit@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO siamkit@'127.0.0.1';\n"
        )
        first.chmod(0o644)
        self.process = subprocess.Popen(
            self.command(server, "--no-defaults", data, socket_file, f"--port={self.port}",
                         "--bind-address=127.0.0.1", f"--init-file={first}", "--skip-name-resolve"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
            env=self.environment(),
        )  # fmt: skip
        wait_for_port(self.port, self.process)

    def url(self, database: str) -> str:
        return f"mysql://siamkit:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        import pymysql

        connection = pymysql.connect(host="127.0.0.1", port=self.port, user="siamkit", password=PASSWORD)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{database}`")
        return self.url(database)

    def close(self) -> None:
        # runuser stays as the parent of what it runs.
        for process in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
            process.terminate()
        self.process.wait(timeout=30)
        super().close()


def wait_for_port(port: int, process: subprocess.Popen[Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server does not answer")
