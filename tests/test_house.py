"""The house is in order: `python tests/house.py -v` names each breach, with what to write instead."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

HOUSE = Path(__file__).with_name("house.py")


def load() -> ModuleType:
    """Return the counting program as a module of its own, with nothing cached."""
    spec = importlib.util.spec_from_file_location("house", HOUSE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


house = load()

RULES = [
    house.module_cycles,
    house.package_cycles,
    house.upward_imports,
    house.facade_imports,
    house.private_breaches,
    house.names_of_submodules,
    house.documented_modules,
    house.aliases_of_dicts,
    house.private_names_of_optuna,
    house.banned_turns,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_new_breach(rule):
    assert [str(breach) for breach in rule()] == []


def test_sizes():
    assert house.modules_at_the_root() <= 5
    assert house.files() <= 240
    assert len(house.untyped_dicts()) <= 30


# ------------------------------------------------------------------ the rules find what they look for

PLANTED = {
    "siamkit/__init__.py": "",
    "siamkit/errors.py": "from siamkit.io import files\n",
    "siamkit/io/__init__.py": '__all__ = ["files"]\n',
    "siamkit/io/files.py": "def read():\n    from siamkit.io import paths\n",
    "siamkit/io/paths.py": "from siamkit.io import files\nfrom siamkit.data._secret import x\n",
    "siamkit/io/lonely.py": '"""Told by nobody."""\nJson = dict[str, Any]\n',
    "siamkit/data/__init__.py": "",
    "siamkit/data/_secret.py": "import siamkit\n\nfrom siamkit.io import files\n",
    "siamkit/study/__init__.py": "",
    "siamkit/study/api.py": "import optuna\n\n\ndef ask(x: dict[str, Any]):\n    return x._trial_id\n",
    "README.md": "from siamkit.io.files import read\n",
    "pyproject.toml": "",
}
FOUND = {
    "module_cycles": "siamkit.data._secret: cycle siamkit.data._secret ↔ siamkit.io.files ↔ siamkit.io.paths",
    "package_cycles": "siamkit: package cycle data ↔ io",
    "upward_imports": "siamkit.errors: imports upward from siamkit.io",
    "facade_imports": "siamkit.data._secret: imports the facade siamkit",
    "private_breaches": "siamkit.data._secret: is private, but siamkit.io.paths imports it",
    "names_of_submodules": "siamkit.io: files is a name and a module",
    "documented_modules": "README.md: imports the module siamkit.io.files; import its package",
    "untyped_dicts": "siamkit/study/api.py:4: def ask(x: dict[str, Any]):",
    "aliases_of_dicts": "siamkit/io/lonely.py:2: Json = dict[str, Any]",
    "private_names_of_optuna": "siamkit/study/api.py:5: x._trial_id",
    "banned_turns": "siamkit/io/lonely.py:1: “nobody”: name who it is",
}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The counting program over a package that breaks each rule."""
    for name, text in PLANTED.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    module = load()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "siamkit")
    return module


@pytest.mark.parametrize("rule", FOUND)
def test_a_breach_is_found(planted: ModuleType, rule: str) -> None:
    assert FOUND[rule] in [str(breach) for breach in getattr(planted, rule)()]


def test_an_unmarked_private_module_is_found(planted: ModuleType) -> None:
    breaches = [str(breach) for breach in planted.private_breaches()]
    assert "siamkit.io.lonely: no other package imports it; begin its name with _" in breaches


def test_modules_are_counted(planted: ModuleType) -> None:
    assert (planted.modules_at_the_root(), planted.files()) == (2, 10)


# ------------------------------------------------------------------ the page of the architecture

PAGE = house.ROOT / "docs" / "architecture.md"


def stack(number: int) -> tuple[str, ...]:
    """Return the packages of the n-th diagram of the page, top to bottom."""
    block = PAGE.read_text(encoding="utf-8").split("```text\n")[number + 1].split("```")[0]
    return tuple(line.split()[0] for line in block.splitlines())


def test_the_diagrams_are_the_order_of_the_layers():
    assert stack(0) == house.LAYERS
    assert stack(1) == house.STUDY_LAYERS


def test_every_package_has_a_place_in_the_order():
    children = {module.split(".")[1] for module in house.modules() if module.count(".") == 1}
    assert children - {"_builtin"} == set(house.LAYERS)
    children = {module.split(".")[2] for module in house.modules() if module.startswith("siamkit.study.")}
    assert children == set(house.STUDY_LAYERS)


def test_the_page_names_modules_that_exist():
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", PAGE.read_text(encoding="utf-8"))
    places = {
        name: house.ROOT / name if name.startswith("tests/") else house.PACKAGE / name for name in named
    }
    missing = [
        name for name, path in places.items() if not (path.exists() or path.with_suffix(".py").is_file())
    ]
    assert missing == []
    assert len(named) > 30
