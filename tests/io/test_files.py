"""Files of a run folder are read and written whole."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from siamkit.errors import StudyError
from siamkit.io import files


def test_a_table_is_read_without_threads_of_arrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread that outlives the read holds the Python file; if Python exits meanwhile, the process aborts.
    read, threads = pq.ParquetFile.read, []

    def recorded(file: Any, *arguments: Any, **options: Any) -> Any:
        threads.append(options.get("use_threads", True))
        return read(file, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "read", recorded)
    path = tmp_path / "table.parquet"
    files.write_table(path, {"a": np.arange(3), "b": ["x", "y", "z"]})
    assert files.read_table(path).to_pydict() == {"a": [0, 1, 2], "b": ["x", "y", "z"]}
    assert threads == [False]


def test_a_clean_up_that_fails_does_not_hide_the_error_of_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(ValueError, match="the error of the write"), files.atomic_path(tmp_path / "file.txt"):
        raise ValueError("the error of the write")


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1 torn")
    with pytest.raises(StudyError, match=r"table\.parquet' is damaged"):
        files.read_table(path)
