"""Study files as YAML 1.2: plain data, with the line of every key, and nothing that could surprise."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from siamkit.errors import StudyFileError
from siamkit.study.config.yaml import MAX_BYTES, Document, read_document


def read(tmp_path: Path, text: str | bytes) -> Document:
    path = tmp_path / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(path)


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(StudyFileError) as caught:
        read(tmp_path, text)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0].replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-4", 0.0001),
        ("1E5", 100000.0),
        ("5", 5),
        ("0x10", 16),
        ("0o17", 15),
        ("010", 10),
        ("1.5", 1.5),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("~", None),
        ("", None),
        ("null", None),
        (".inf", math.inf),
        ("'5'", "5"),
        ('"a: b"', "a: b"),
        ("[1, two, 3.0]", [1, "two", 3.0]),
        ("{low: 1}", {"low": 1}),
    ],
)
def test_values_are_read_by_the_rules_of_yaml_1_2(tmp_path: Path, written: str, meant: object) -> None:
    value = read(tmp_path, f"key: {written}\n").data["key"]
    assert value == meant
    assert type(value) is type(meant)


def test_every_key_and_item_knows_its_line(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        "# a study\n\nversion: 1\nsearch:\n  encoder:\n    - mlp\n    - cnn:\n        depth: 2\n"
        "  text: |\n    two\n    lines\nlast: {a: 1,\n  b: 2}\n",
    )
    assert document.lines == {
        ("version",): 3,
        ("search",): 4,
        ("search", "encoder"): 5,
        ("search", "encoder", 0): 6,
        ("search", "encoder", 1): 7,
        ("search", "encoder", 1, "cnn"): 7,
        ("search", "encoder", 1, "cnn", "depth"): 8,
        ("search", "text"): 9,
        ("last",): 12,
        ("last", "a"): 12,
        ("last", "b"): 13,
    }
    assert document.at(("search", "encoder", 1, "cnn", "width")).endswith(
        "study.yaml:7: search.encoder.1.cnn.width"
    )
    assert document.at(()).endswith("study.yaml:1")


def test_windows_line_ends_and_a_byte_order_mark_are_no_obstacle(tmp_path: Path) -> None:
    document = read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert (document.data, document.lines) == ({"a": 1, "b": "x"}, {("a",): 1, ("b",): 2})


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", 'study.yaml:3: while constructing a mapping, found duplicate key "a"'),
        ("a:\n  b: 1\n  b: 2\n", 'study.yaml:3: while constructing a mapping, found duplicate key "b"'),
        (BOMB, "study.yaml:1: anchors and aliases (&, *) are not allowed"),
        ("a: 1\nb: &x 1\n", "study.yaml:2: anchors and aliases (&, *) are not allowed"),
        ("a: 1\n\nb: *x\n", "study.yaml:3: anchors and aliases (&, *) are not allowed"),
        ("a: !!python/object:os.system {b: 1}\n", "study.yaml:1: tags (!) are not allowed"),
        ("b: 1\na: !!python/object/apply:os.system ['ls']\n", "study.yaml:2: tags (!) are not allowed"),
        ("a: !!str 5\n", "study.yaml:1: tags (!) are not allowed"),
        ("%YAML 1.1\n---\na: yes\n", "study.yaml:1: directives (%) are not allowed"),
        ("b: 2\n<<: {a: 1}\n", "study.yaml:2: merge keys (<<) are not allowed"),
        ("a:\n\tb: 1\n", "study.yaml:2: while scanning for the next token, found character '\\t'"),
        ("a: 1\n b: 2\n", "study.yaml:2: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2\n", "study.yaml:2: expected a single document in the stream"),
        (
            "a: 1\nb: 2024-01-01\n",
            "study.yaml:2: b: should be a text, a number, true, false or null, got 2024-01-01",
        ),
        ("a: 2024-01-01 10:00:00\n", "study.yaml:1: a: should be a text"),
        ("a: 1\n5: 2\n", "study.yaml:2: 5: a key should be a text, got 5"),
        ("? [a, b]\n: c\n", "a key should be a text"),
        ('a: 1\nb: "\\ud800"\n', "study.yaml:2: b: should be a text of whole characters"),
        ('a: "x\\0y"\n', "study.yaml:1: a: should be a text of whole characters"),
        ("a: " + "[" * 900_000, "study.yaml:1: mappings and lists are nested more than 100 levels deep"),
        ("a: " + "{a: " * 3000, "study.yaml:1: mappings and lists are nested more than 100 levels deep"),
        ("a: " + "1" * 5000, "study.yaml: cannot be read as YAML"),
        ("- a\n- b\n", "study.yaml is a list; a study file is a mapping"),
        ("", "study.yaml is empty; a study file is a mapping"),
        ("# nothing yet\n", "study.yaml is empty; a study file is a mapping"),
        ("hello\n", "study.yaml is a single value; a study file is a mapping"),
        ("a: '" + "x" * MAX_BYTES + "'\n", "study.yaml: a study file should be smaller than 1 MB"),
        (b"a: \xff\xfe\n", "study.yaml: cannot be read as UTF-8 text"),
        ("a: 1\n".encode("utf-16"), "study.yaml: cannot be read as UTF-8 text"),
        (b"a: \x07\n", "study.yaml: cannot be read as YAML: unacceptable character"),
    ],
    ids=range(30),
)
def test_what_is_no_plain_mapping_is_refused_in_one_sentence(
    tmp_path: Path, text: str | bytes, sentence: str
) -> None:
    problem = refused(tmp_path, text)
    assert sentence in problem
    assert "\n" not in problem


def test_an_operator_inside_a_text_is_no_alias_tag_or_merge(tmp_path: Path) -> None:
    assert read(tmp_path, 'a: "<<"\nb: x & y * z\nc: wow!\n').data == {
        "a": "<<",
        "b": "x & y * z",
        "c": "wow!",
    }


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"the study file '.*none\.yaml' does not exist"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(StudyFileError, match="is a folder, not a study file"):
        read_document(tmp_path)


def test_several_odd_values_are_all_reported(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError) as caught:
        read(tmp_path, "a: 2024-01-01\nb: 1\n3: x\n")
    assert [problem.split(":")[1] for problem in caught.value.problems] == ["1", "3"]
