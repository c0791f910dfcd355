"""The house: who may import what, read from the source and seen in fresh processes."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import siamkit

PACKAGE = Path(siamkit.__file__).parent
BACKENDS = ("tensorflow", "torch", "jax")
HEAVY = ("keras", *BACKENDS)
SOURCES = sorted(PACKAGE.rglob("*.py"))
ALLOWED = {PACKAGE / "backend" / f"_{name}.py" for name in (*BACKENDS, "torch_recordings")}


def is_light(path):
    """Whether a module must do without Keras."""
    top, *rest = path.relative_to(PACKAGE).parts
    if any(part.startswith("_specs") for part in (top, *rest)):
        return True
    if top == "registry":
        return rest != ["lookup.py"]
    if top == "testing":
        return rest in (["__init__.py"], ["plugin.py"])
    if top == "study":
        return rest[-1] not in ("train.py", "recipe.py", "judge.py")
    if top == "data":
        return rest == ["thumbnails.py"]
    return top in (
        "__init__.py",
        "_builtin.py",
        "errors.py",
        "comparison",
        "stats",
        "runs",
        "report",
        "plotting",
        "cli",
    )


LIGHT = [path for path in SOURCES if is_light(path)]


def imported(tree, anywhere):
    """The top-level names of what a module imports: anywhere in it, or when it is itself imported."""
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not anywhere:
            todo.extend(node.orelse)
        elif anywhere or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def of(path):
    return str(path.relative_to(PACKAGE))


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", [p for p in SOURCES if p not in ALLOWED], ids=of)
def test_no_module_imports_a_backend(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not set(imported(tree, anywhere=True)) & set(BACKENDS)


@pytest.mark.parametrize("path", LIGHT, ids=of)
def test_a_light_module_does_not_name_keras_at_its_top(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not set(imported(tree, anywhere=False)) & set(HEAVY)


def run(script):
    """What a fresh Python prints."""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return told.stdout


def heavy_after(script, modules=HEAVY):
    """Which of these modules (Keras and its backends) a fresh Python holds after running a script."""
    end = f"\nimport sys\nprint('held:', *[n for n in {modules!r} if n in sys.modules])"
    return run(script + end).strip().splitlines()[-1].removeprefix("held:").split()


def test_the_helper_sees_keras_where_it_is():
    stand_in = "import sys, types; sys.modules['keras'] = types.ModuleType('keras')"
    assert heavy_after(stand_in) == ["keras"]


def test_importing_siamkit_imports_no_backend():
    assert heavy_after("import siamkit; dir(siamkit); siamkit.Float; siamkit.LossSpec") == []


def test_listing_the_components_imports_no_backend():
    assert heavy_after("import siamkit; list(siamkit.components().losses.items())") == []


def test_loading_the_conformance_plugin_imports_no_backend():
    assert heavy_after("import siamkit.testing.plugin, siamkit.testing") == []


def test_light_modules_together_import_no_backend():
    lines = "\n".join(f"import {module_name(path)}" for path in LIGHT if path.name != "__main__.py")
    assert heavy_after(lines) == []


# Each of these takes more time than all else that the command does (benchmarks/speed/cli.py).
SLOW = ("numpy", "pandas", "pyarrow", "fsspec", "pydantic", "ruamel", "optuna", "rich", "jinja2", "plotly")


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"], ["plugins", "--json"]], ids=" ".join)
def test_the_command_line_lists_and_explains_quickly(arguments):
    script = f"""
from siamkit.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code, end.code
"""
    modules = (*HEAVY, *SLOW)
    if arguments == ["--help"]:  # it needs no component, and no module of a command
        modules = (*modules, "pluggy", "importlib.metadata", "siamkit.registry", "siamkit.cli._studies")
    assert heavy_after(script, modules) == []


def test_local_files_are_read_without_the_packages_for_urls():
    script = "import siamkit.io.files, siamkit.io.paths as paths; paths.is_local(paths.as_path('study.yaml'))"
    assert heavy_after(script, ("fsspec", "upath", "pyarrow.parquet")) == []


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=of)
def test_no_public_name_is_a_submodule(path):
    # `package.name` would turn from the function into the module once the module is imported.
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        a.asname or a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names
    }
    names |= {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    inside = {p.stem for p in path.parent.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    if path.parent == PACKAGE:
        names |= set(siamkit.__all__)
    # `from siamkit.metrics._specs import METRICS` and the like are fine, `from package import module` too.
    modules = {
        a.asname or a.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for a in node.names
        if node.module == module_name(path)
    }
    assert not (names - modules) & inside


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=of)
def test_lazy_names_come_from_where_type_checkers_see_them(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy_exports"
    ]
    package = module_name(path)
    lazy = {
        name: f"{package}.{home}" for call in calls for name, home in ast.literal_eval(call.args[1]).items()
    }
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        for alias in node.names
    }
    if calls:
        assert lazy == seen
        public = importlib.import_module(package)
        assert set(lazy) <= set(public.__all__) <= set(dir(public))


def test_no_two_classes_take_one_name_in_model_files():
    taken = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                "register_keras_serializable" in ast.unparse(each) for each in node.decorator_list
            ):
                taken.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert len(taken) > 50
    assert {name: places for name, places in taken.items() if len(places) > 1} == {}
