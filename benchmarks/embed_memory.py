"""Does `siamkit embed` stay as small with ten times the rows? Peak memory of its process, by format.

    KERAS_BACKEND=torch python benchmarks/embed_memory.py [NAMES]

writes benchmarks/results/embed_memory.md; of the names of data given, or all, and keeps the others' lines.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "embed_memory.md"
FEATURES = 256
ROWS = 20_000
FILES = 300  # images

RUN = """
import json, re, sys, time
from pathlib import Path
from siamkit.inference.embed import embed_file
model, data, out = sys.argv[1:]
start = time.monotonic()
at = []
columns = [f"x{n}" for n in range(256)] if data.endswith(".csv") else []
count = embed_file(model, data, out, columns=columns, replace=True,
                   on_rows=lambda done, total: at.append(time.monotonic()))
# Not getrusage's maximum: a child inherits that of the process that started it.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps({"rows": count, "seconds": at[-1] - at[0], "peak": peak / 1024}))
"""


def chunks(rows: int):
    rng = np.random.default_rng(0)
    for start in range(0, rows, 10_000):
        yield start, rng.normal(size=(min(10_000, rows - start), FEATURES)).astype("float32")


def write_npy(path: Path, rows: int) -> None:
    array = np.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=(rows, FEATURES))
    for start, part in chunks(rows):
        array[start : start + len(part)] = part


def write_npz(path: Path, rows: int) -> None:
    whole = np.concatenate([part for _, part in chunks(rows)])
    np.savez_compressed(path, x=whole, y=np.arange(rows) % 100)


def write_parquet(path: Path, rows: int) -> None:
    """One row group: the worst case."""
    whole = np.concatenate([part for _, part in chunks(rows)]).reshape(-1)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(whole), FEATURES)
    pq.write_table(pa.table({"vector": lists}), path, row_group_size=rows)


def write_csv(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write(",".join(f"x{n}" for n in range(FEATURES)) + "\n")
        for _, part in chunks(rows):
            file.writelines(",".join(f"{value:.5f}" for value in row) + "\n" for row in part)


def write_jsonl(path: Path, rows: int) -> None:
    with path.open("w") as file:
        for _, part in chunks(rows):
            file.writelines(json.dumps({"vector": [round(float(v), 5) for v in row]}) + "\n" for row in part)


def write_images(path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        place = path / f"class-{number % 10}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(place)


# Name, how it is written, how many rows at first.
FORMATS = [
    ("vectors.npy", write_npy, ROWS),
    ("vectors.npz", write_npz, ROWS),
    ("vectors.parquet", write_parquet, ROWS),
    ("vectors.csv", write_csv, ROWS // 5),
    ("vectors.jsonl", write_jsonl, ROWS // 5),
    ("images", write_images, FILES),
]


def save_models(folder: Path) -> None:
    import siamkit
    from siamkit.data.preprocessing.scaling import ImageScaler, Standardizer

    columns = Standardizer((FEATURES,), np.zeros(FEATURES), np.ones(FEATURES))
    images = ImageScaler((64, 64), np.full(3, 128.0), np.full(3, 64.0))
    for name, preprocessor in (("vectors", columns), ("images", images)):
        encoder = siamkit.get_encoder("mlp", input_shape=preprocessor.input_shape, embedding_dim=64, width=64)
        siamkit.Siamese(encoder, "cosine", preprocessor=preprocessor).save(folder / f"{name}.keras")


def size(path: Path) -> int:
    return sum(each.stat().st_size for each in ([path] if path.is_file() else path.rglob("*")))


def main() -> None:
    names = sys.argv[1:] or [name for name, _, _ in FORMATS]
    there = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = {line.split(" | ")[0][2:]: line for line in there if line.startswith(("| vectors", "| images"))}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_models(folder)
        for name, write, few in (each for each in FORMATS if each[0] in names):
            row: list[str] = [name]
            peaks = []
            for count in (few, 10 * few):
                data = folder / f"{count}" / name
                data.parent.mkdir(exist_ok=True)
                write(data, count)
                model = folder / f"{Path(name).stem}.keras"
                asked = [sys.executable, "-c", RUN, str(model), str(data), str(folder / "out.parquet")]
                told = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
                assert told["rows"] == count
                peaks.append(told["peak"])
                speed = count / told["seconds"]
                row += [f"{count:,}", f"{size(data) / 2**20:,.0f}", f"{told['peak']:,.0f}", f"{speed:,.0f}"]
                if data.is_file():
                    data.unlink()
            row.append(f"{peaks[1] / peaks[0]:.2f}")
            rows[name] = "| " + " | ".join(row) + " |"
            print(*row, flush=True)
    head = ["data", *["rows", "MiB", "peak MiB", "rows/s"] * 2, "peaks' ratio"]
    lines = ["| " + " | ".join(each) + " |" for each in (head, ["---"] * len(head))]
    lines += [rows[name] for name, _, _ in FORMATS if name in rows]
    backend = os.environ["KERAS_BACKEND"]
    RESULTS.write_text(
        "# `siamkit embed`: memory by number of rows\n\n"
        f"Peak resident memory of the whole process, backend {backend}, batches of 256; "
        f"{FEATURES} features a row, images of 64 by 64 pixels; an MLP to 64 dimensions. Parquet is one row "
        f"group. Python {platform.python_version()}, {os.cpu_count()} cores, shared with other work: the "
        "speeds are lower bounds.\nMade by `benchmarks/embed_memory.py`.\n\n"
        + "".join(f"{line}\n" for line in lines)
    )


if __name__ == "__main__":
    main()
