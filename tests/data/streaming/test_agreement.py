"""What training reads of a table, embedding reads, too: the same items, labels and ids, of any cells."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from selection import examples

from siamkit.data.preprocessing.columns import ColumnEncoder, fit_preprocessor
from siamkit.data.sources import table, table_files
from siamkit.data.streaming import StreamRequest
from siamkit.data.streaming.open import open_file
from siamkit.errors import DataError

# Cells that readers like to take for something else.
CELLS = ["7", "007", "+7", "-0", "7.0", "1e3", " 7", "0x1F", "NA", "null", "nan", "inf", "true", "False"]
CELLS += ["x,y", "é", 'a"b', "a\nb", "2020-01-01", "2020-01-01 00:00:00", "12:30", "9223372036854775808"]
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")
TEXTS = st.sampled_from(CELLS) | st.text(CHARACTERS, max_size=5)
NUMBERS = st.integers(-3, 12) | st.sampled_from([2**53 + 1, 2**60, 2**63, 2**64 + 1])
NUMBERS |= st.floats(-4, 4, width=16)
COLUMNS = st.one_of(
    *(st.lists(of, min_size=7, max_size=7) for of in (TEXTS, st.just("007") | st.just("7"), NUMBERS)),
    st.lists(st.integers(0, 5), min_size=7, max_size=7),
    st.lists(TEXTS | st.just(None), min_size=7, max_size=7),
    st.lists(NUMBERS | st.just(None), min_size=7, max_size=7),
)


def write(folder: Path, suffix: str, columns: dict[str, list[Any]]) -> Path:
    path = folder / f"t{suffix}"
    if suffix == ".parquet":
        try:
            pq.write_table(pa.table(columns), path)
        except (pa.ArrowException, OverflowError):
            assume(False)  # not one type
    elif suffix == ".jsonl":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
            writer.writerows([columns, *zip(*columns.values(), strict=True)])
    return path


def prepared(preprocessor: Any, items: Any) -> dict[str, np.ndarray]:
    ready = preprocessor(items)
    return ready if isinstance(ready, dict) else {"": ready}


@pytest.mark.parametrize("block", [8, 1 << 20], ids=["many blocks", "one block"])
@pytest.mark.parametrize("suffix", table_files.SUFFIXES)
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_training_and_embedding_read_the_same(tmp_path_factory, suffix: str, block: int, data: Any) -> None:
    columns = {"label": data.draw(COLUMNS), "x": data.draw(COLUMNS), "z": data.draw(COLUMNS)}
    if data.draw(st.booleans()):
        columns["id"] = data.draw(st.lists(TEXTS.filter(bool), min_size=7, max_size=7, unique=True))
    features = data.draw(st.sampled_from(["x", "x,z"]))
    options = data.draw(st.sampled_from([{}, {"categorical": "x"}, {"input": "tabular"}]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_files, "_BLOCK_BYTES", block)
        path = write(tmp_path_factory.mktemp("table"), suffix, columns)
        try:
            dataset = table(path, label="label", features=features, **options)
            preprocessor = fit_preprocessor(dataset)
        except DataError:
            return  # refused before anything is trained
        # A model of tabular input knows its columns; others are told.
        named = () if isinstance(preprocessor, ColumnEncoder) else tuple(features.split(","))
        wanted = StreamRequest(preprocessor, size=3, columns=named)
        with open_file(path, wanted) as stream:
            chunks = list(stream.chunks)
    assert [id for chunk in chunks for id in chunk.ids] == dataset.ids.tolist()
    labels = [label for chunk in chunks for label in pa.array(chunk.labels).to_pylist()]
    assert len(set(labels)) == len(dataset.classes)
    whole = [value.item() if isinstance(value, np.generic) else value for value in dataset.target]
    assert [str(label) for label in labels] == [str(value) for value in whole] or labels == whole
    streamed = [prepared(preprocessor, chunk.items) for chunk in chunks]
    for name, expected in prepared(preprocessor, dataset.views[0]).items():
        np.testing.assert_array_equal(np.concatenate([chunk[name] for chunk in streamed]), expected)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@settings(max_examples=examples(40))
@given(cells=st.lists(TEXTS.filter(lambda text: text.strip()), min_size=2, max_size=9))
def test_labels_are_the_texts_of_the_file_unless_all_are_plain_whole_numbers(
    tmp_path_factory, suffix: str, cells: list[str]
) -> None:
    path = write(tmp_path_factory.mktemp("table"), suffix, {"label": cells, "x": ["p"] * len(cells)})
    try:
        target = table(path, label="label").target.tolist()
    except DataError as error:
        assert "labels should be whole numbers" in str(error)  # noqa: PT017  # measured numbers
        return
    plain = all(cell.isascii() and cell.lstrip("-").isdecimal() and str(int(cell)) == cell for cell in cells)
    exact = plain and all(-(2**63) <= int(cell) < 2**63 for cell in cells)
    assert target == ([int(cell) for cell in cells] if exact else cells)


# ------------------------------------------------------------------ single files


def test_a_label_with_leading_zeros_is_a_class_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("label,text\n007,p\n7,q\n007,r\n")
    data = table(tmp_path / "t.csv", label="label")
    assert data.target.tolist() == ["007", "7", "007"]
    (tmp_path / "t.csv").write_text("label,text\n8,p\n7,q\n-1,r\n")
    assert table(tmp_path / "t.csv", label="label").target.tolist() == [8, 7, -1]


def test_ids_are_those_of_the_column_id_if_they_differ(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,label,text\n007,a,p\n7,b,q\n")
    assert table(tmp_path / "t.csv", label="label").ids.tolist() == ["007", "7"]
    (tmp_path / "t.csv").write_text("id,label,text\n7,a,p\n7,b,q\n")
    assert table(tmp_path / "t.csv", label="label").ids.tolist() == ["0", "1"]
    with pytest.raises(DataError, match=r"column 'id' of .* different id in every row, got '7' 2 times"):
        table(tmp_path / "t.csv", label="label", features="text", id="id")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_long_line_is_read_up_to_the_stated_cap(tmp_path: Path, monkeypatch, suffix: str) -> None:
    long = "word " * 600_000  # 3 MB
    path = write(tmp_path, suffix, {"label": ["a", "b", "a", "b"], "text": ["p", long, "q", "r"]})
    data = table(path, label="label")
    assert data.views[0].tolist() == ["p", long, "q", "r"]
    with open_file(path, StreamRequest(fit_preprocessor(data.take(np.array([0, 2]))), size=2)) as stream:
        assert [text for chunk in stream.chunks for text in chunk.items] == ["p", long, "q", "r"]
    monkeypatch.setattr(table_files, "MAX_LINE_BYTES", 1 << 20)
    with pytest.raises(DataError, match=r"has a line of more than 1 MiB"):
        table(path, label="label")


def test_a_long_line_far_into_a_file_repeats_no_row(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 100)
    texts = [f"t{number}" for number in range(300)]
    texts[150], texts[290] = "x" * 1_000, "y" * 30_000
    path = write(tmp_path, ".csv", {"label": ["a", "b"] * 150, "text": texts})
    assert table(path, label="label").views[0].tolist() == texts


def test_a_quote_that_is_never_closed_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(table_files, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 100)
    (tmp_path / "t.csv").write_text('label,text\na,p\nb,"q\n' + "a,p\n" * 1000)
    with pytest.raises(DataError, match="check that every quote is closed"):
        table(tmp_path / "t.csv", label="label")


def test_json_keeps_times_and_long_numbers_as_they_are(tmp_path: Path) -> None:
    rows = [{"y": "2020-01-01", "n": 12345678901234567890, "t": "p"}]
    rows += [{"y": "2020-01-01 00:00:00", "n": 12345678901234567891, "t": "q"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = table(tmp_path / "t.jsonl", label="y", features="t")
    assert data.target.tolist() == ["2020-01-01", "2020-01-01 00:00:00"]
    data = table(tmp_path / "t.jsonl", label="n", features="t")
    assert data.target.tolist() == ["12345678901234567890", "12345678901234567891"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"y": "a", "t": "\\ud800"}\n', r"column 't' of .*t.jsonl has half a character"),
        (b'{"y": "a"}\n[1]\n', r"line 2 of .*t.jsonl should be an object {…}, got '\[1\]"),
        (b'{"y": "a"}\n{"y": \n', r"t.jsonl cannot be read as a .jsonl file: line 2: "),
        (b'{"y": "a", "t": 1}\n{"y": "a", "t": "p"}\n', r"column 't' of .* should hold values of one type"),
        (b'{"y": "caf\xe9"}\n', r"line 1: .*utf-8"),
    ],
    ids=["surrogate", "list", "broken", "types", "latin1"],
)
def test_wrong_lines_of_json_are_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "t.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        table(tmp_path / "t.jsonl", label="y")


def test_a_column_that_comes_late_in_a_jsonl_file_is_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 1)
    (tmp_path / "t.jsonl").write_text('{"text": "p"}\n{"text": "q", "label": "b", "id": 7}\n')
    with (
        pytest.raises(DataError, match=r"column 'id' .* got none in row 1 "),
        open_file(tmp_path / "t.jsonl", StreamRequest()) as stream,
    ):
        list(stream.chunks)
    (tmp_path / "t.jsonl").write_text('{"text": "p"}\n{"text": "q", "label": "b"}\n')
    with open_file(tmp_path / "t.jsonl", StreamRequest()) as stream:
        assert [label for chunk in stream.chunks for label in chunk.labels] == [None, "b"]
        assert stream.total == 2


def test_a_number_that_is_none_far_into_a_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("kind,x,c\na,1,p\nb,2,\n")
    preprocessor = fit_preprocessor(table(tmp_path / "t.csv", label="kind", features="x,c"))
    (tmp_path / "t.csv").write_text("x,c\n1,p\nword,q\n")
    with (
        pytest.raises(DataError, match=r"column 'x' of .* should hold numbers, got 'word'"),
        open_file(tmp_path / "t.csv", StreamRequest(preprocessor)) as stream,
    ):
        list(stream.chunks)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"text;label\nred;1\n", r"has columns separated by semicolons; save it with commas as \.csv"),
        (b"text\tlabel\nred\t1\n", "has columns separated by tabs"),
        ("text,label\nred,1\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    ],
)
def test_a_csv_file_in_another_form_is_refused_with_what_to_do(content, words, tmp_path):
    path = tmp_path / "items.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        table(path, label="label", features="text")


def test_whole_numbers_beyond_64_bits_do_not_become_floats(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        "".join(json.dumps({"label": n % 2, "x": x}) + "\n" for n, x in enumerate([2**64 + 1, 0.5] * 2))
    )
    for block in (1 << 20, 8):  # whether both are in one block
        monkeypatch.setattr(table_files, "_BLOCK_BYTES", block)
        with pytest.raises(DataError, match=r"column 'x' of .* should hold values of one type"):
            table(path, label="label", features="x", categorical="x")
