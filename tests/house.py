"""Count what keeps the house in order: cycles, layers, private modules, sizes, banned turns.

Run `python tests/house.py` from anywhere in the repository: it prints each count and each breach.
`tests/test_house.py` holds the limits.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "siamkit"

LAYERS = (
    "cli",
    "testing",
    "comparison",
    "inference",
    "study",
    "report",
    "runs",
    "stats",
    "export",
    "model",
    "evaluation",
    "losses",
    "encoders",
    "metrics",
    "data",
    "plotting",
    "io",
    "backend",
    "registry",
    "errors",
    "_lazy",
    "_version",
)
"""The packages of siamkit, top to bottom: each imports only from those below it."""

STUDY_LAYERS = (
    "reality",
    "api",
    "_proposal",
    "results",
    "execution",
    "monitoring",
    "tracking",
    "engines",
    "worker",
    "storage",
    "sampling",
    "config",
)
"""The same within `siamkit.study`."""

BANNED = {
    r"who(m|so)?ever": "name who it is: the user, the caller",
    r"(no|some|any|every)body('s)?": "name who it is",
    r"what was": "name the thing",
    r"is no more": "has exited",
    r"(is|are) no (?!longer)\w+": "is not …; is NaN",
    r"no numbers?(?= )": "NaN",
    r"is (there|here) already|(is|are) already there": "already exists",
    r"(is|are) none (that|of)": "cannot; does not",
    r"(is|are|was|were) gone": "is missing",
    r"beside": "compared with; next to",
    r"first of all": "first",
    r"(can|could) ?(not)? be had": "is (not) available; failed",
    r"wants?": "needs; the user's choice",
    r"told|tells?": "says; reports; returns",
    r"len(t|d|ds)|borrow(s|ed)?": "bound",
    r"comes? to life": "starts",
    r"shall": "must; will",
    r"(go|goes|went|going) on": "continues",
    r"for machines": "as JSON",
    r"hopeless": "futile",
    r"lies? (in|beside|there)": "is in",
    r"of its own accord|of (his|their) own doing": "by itself",
    r"stands for itself|as it stands": "",
    r"anew": "again",
    r"thereof|therein|thereby|hereby|whence|hence|henceforth|wherein": "plain words",
    r"toss(es|ed)? a coin": "choose at random",
    r"begun": "started",
    r"heard?|hears": "received",
    r"struck": "",
    r"to be read with": "",
    r"is to be": "must be",
}
"""Turns that a hurried reader stumbles over, each with what to write instead."""

ANY_DICT = re.compile(r"(dict|Mapping)\[str, (Any|object)\]")


@dataclass(frozen=True)
class Breach:
    """One place that breaks a rule."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


# ------------------------------------------------------------------ imports


def module_of(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Return every module of siamkit with its file."""
    return {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_package(module: str) -> bool:
    return modules()[module].name == "__init__.py"


def parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def statements(module: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield every import statement at any depth; of the facade, those outside TYPE_CHECKING."""
    todo: list[ast.AST] = [tree_of(modules()[module])]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif module == "siamkit" and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo.extend(node.orelse)
        else:
            todo.extend(ast.iter_child_nodes(node))


def named_by(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield the modules of siamkit that an import statement names."""
    if isinstance(node, ast.Import):
        candidates = [alias.name for alias in node.names]
    elif node.module is None or node.level:
        candidates = []
    else:
        below = [f"{node.module}.{alias.name}" for alias in node.names]
        # `from package import name`: the module `package.name` where there is one, else the package itself.
        candidates = [name if name in modules() else node.module for name in below]
    yield from (name for name in candidates if name in modules())


@cache
def imports() -> dict[str, frozenset[str]]:
    """Return, for each module, the modules that it imports; its own parent packages do not count."""
    graph = {}
    for module in modules():
        targets = {name for node in statements(module) for name in named_by(node)}
        targets |= {parent for name in targets for parent in parents(name) if parent != "siamkit"}
        graph[module] = frozenset(targets - {module, *parents(module)})
    return graph


def cycles_in(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one node (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def module_cycles() -> list[Breach]:
    """Return the import cycles between modules."""
    graph = {module: set(targets) for module, targets in imports().items()}
    return [Breach(cycle[0], "cycle " + " ↔ ".join(cycle)) for cycle in cycles_in(graph)]


def package_cycles() -> list[Breach]:
    """Return the cycles between the children of each package, a child standing for all that is in it."""
    breaches = []
    for package in (name for name in modules() if is_package(name)):
        depth = package.count(".") + 1
        graph: dict[str, set[str]] = {}

        def child(module: str, package: str = package, depth: int = depth) -> str | None:
            return module.split(".")[depth] if module.startswith(package + ".") else None

        for module, targets in imports().items():
            source = child(module)
            if source is None:
                continue
            graph.setdefault(source, set())
            for target in filter(None, map(child, targets)):
                graph.setdefault(target, set())
                if target != source:
                    graph[source].add(target)
        breaches += [Breach(package, "package cycle " + " ↔ ".join(cycle)) for cycle in cycles_in(graph)]
    return breaches


def upward_imports() -> list[Breach]:
    """Return the imports against the order of the layers."""
    breaches = []
    for module, targets in imports().items():
        for target in sorted(targets):
            for prefix, layers in (("siamkit.", LAYERS), ("siamkit.study.", STUDY_LAYERS)):
                if not (module.startswith(prefix) and target.startswith(prefix)):
                    continue
                here, there = (name.removeprefix(prefix).split(".")[0] for name in (module, target))
                if here == there or here not in layers:
                    continue
                if there not in layers or layers.index(there) < layers.index(here):
                    breaches.append(Breach(module, f"imports upward from {target}"))
    return breaches


def facade_imports() -> list[Breach]:
    """Return the modules inside siamkit that import the facade."""
    return [
        Breach(module, "imports the facade siamkit")
        for module in modules()
        if module != "siamkit"
        for node in statements(module)
        if (isinstance(node, ast.Import) and any(alias.name == "siamkit" for alias in node.names))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "siamkit"
            and any(f"siamkit.{alias.name}" not in modules() for alias in node.names)
        )
    ]


# ------------------------------------------------------------------ the private line


def named_in_strings() -> set[str]:
    """Return the modules that strings name: factories, lazy imports, `python -m`."""
    pattern = re.compile(r"siamkit(?:\.\w+)+")
    texts = [path.read_text(encoding="utf-8") for path in modules().values()]
    texts.append((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = {match for text in texts for match in pattern.findall(text)}
    # The specs of losses name the module and the class of a family alone.
    named |= {
        f"siamkit.losses.{match}" for text in texts for match in re.findall(r'"([a-z_]+):[A-Z]\w+"', text)
    }
    return named & set(modules())


def exported_from(package: str) -> set[str]:
    """Return the submodules that hold the names of a package's `__all__`."""
    tree = tree_of(modules()[package])
    homes = {name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in named_by(node)}
    for node in ast.walk(tree):  # the lazy table: {"name": "submodule"}
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            homes.add(f"{package}.{node.value}")
    return homes


def private_breaches() -> list[Breach]:
    """Return private modules that other packages import, and unmarked ones that none does."""
    importers: dict[str, set[str]] = {}
    for module, targets in imports().items():
        for target in targets:
            importers.setdefault(target, set()).add(module)
    in_strings = named_in_strings()
    breaches = []
    for module in modules():
        package, _, name = module.rpartition(".")
        within_private = any(part.startswith("_") for part in package.split("."))
        if is_package(module) or not package or within_private or name in ("__main__", "_builtin"):
            continue
        siblings = {other for other in importers.get(module, ()) if other.rpartition(".")[0] == package}
        outside = importers.get(module, set()) - siblings - {package}
        inside_tree = {other for other in outside if other.startswith(package + ".")}
        if name.startswith("_"):
            strangers = sorted(outside - inside_tree - {"siamkit._builtin"})
            breaches += [Breach(module, f"is private, but {other} imports it") for other in strangers]
        elif not outside and module not in in_strings and module not in exported_from(package):
            breaches.append(Breach(module, "no other package imports it; begin its name with _"))
    for module, targets in imports().items():
        for target in targets:
            hidden = [part for part in target.split(".")[:-1] if part.startswith("_") and part != "_builtin"]
            if hidden and is_package(target.split("." + hidden[0])[0] + "." + hidden[0]):
                owner = target.split("." + hidden[0])[0]
                if not module.startswith(owner) and module != "siamkit._builtin":
                    breaches.append(Breach(module, f"imports {target} from a private package"))
    return breaches


def names_of_submodules() -> list[Breach]:
    """Return the names in a package's `__all__` that are also one of its submodules."""
    breaches = []
    for package in (name for name in modules() if is_package(name)):
        children = {module.rpartition(".")[2] for module in modules() if module.rpartition(".")[0] == package}
        for node in tree_of(modules()[package]).body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
            ):
                names = {
                    item.value
                    for item in ast.walk(node.value)
                    if isinstance(item, ast.Constant) and isinstance(item.value, str)
                }
                breaches += [Breach(package, f"{name} is a name and a module") for name in names & children]
    return breaches


def documentation() -> Iterator[tuple[str, str]]:
    """Yield each page, example and docstring with its text."""
    for path in sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.py"), ROOT / "README.md"]):
        if "decisions" not in path.parts and "contributing" not in path.parts:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for module, path in modules().items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node) or ""
                yield module, "\n".join(re.findall(r"^\s*(?:>>>|\.\.\.) (.*)$", text, re.M))


def documented_modules() -> list[Breach]:
    """Return the places in documentation that import a module rather than a package."""
    pattern = re.compile(r"(?:from|import) (siamkit(?:\.\w+)*)")
    return [
        Breach(where, f"imports the module {name}; import its package")
        for where, text in documentation()
        for name in pattern.findall(text)
        if name in modules() and not is_package(name)
    ]


# ------------------------------------------------------------------ sizes and types


def files() -> int:
    """Return the number of modules in siamkit."""
    return len(modules())


def modules_at_the_root() -> int:
    """Return the number of modules at the root of siamkit."""
    return len(list(PACKAGE.glob("*.py")))


def untyped_dicts() -> list[Breach]:
    """Return the places in study, report and runs that say `dict[str, Any]` or the like."""
    breaches = []
    for package in ("study", "report", "runs"):
        for path in sorted((PACKAGE / package).rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                count = len(ANY_DICT.findall(line))
                breaches += [Breach(f"{path.relative_to(ROOT)}:{number}", line.strip())] * count
    return breaches


def aliases_of_dicts() -> list[Breach]:
    """Return the names that stand for such a dict."""
    pattern = re.compile(
        r"^\w+(: TypeAlias)? = (dict|Mapping)\[str, ?(Any|object|\"\w+\")\]|^type \w+ = (dict|Mapping)\[str"
    )
    return [
        Breach(f"{path.relative_to(ROOT)}:{number}", line)
        for path in modules().values()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.match(line)
    ]


def private_names_of_optuna() -> list[Breach]:
    """Return private names of Optuna, attributes included, outside the modules `_optuna_*`."""
    own = set()
    for path in modules().values():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            elif isinstance(node, ast.Assign):
                own |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    breaches = []
    for path in modules().values():
        text = path.read_text(encoding="utf-8")
        if path.name.startswith("_optuna_") or "optuna" not in text:
            continue
        for node in ast.walk(tree_of(path)):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
                is_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                if not (node.attr in own or is_self):
                    breaches.append(Breach(where, ast.unparse(node)))
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optuna"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                breaches += [Breach(where, name) for name in names if re.match(r"_[a-zA-Z]", name)]
            elif isinstance(node, ast.Import):
                breaches += [
                    Breach(where, alias.name)
                    for alias in node.names
                    if re.match(r"optuna\b.*\._", alias.name)
                ]
    return breaches


# ------------------------------------------------------------------ language


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings, messages and comments of a module with their lines."""
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string.lstrip("# ")
            elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
                text = re.sub(r"^\s*(>>>|\.\.\.).*$", "", token.string, flags=re.M)
                text = re.sub(r"`[^`\n]*`|\{[^{}]*\}", "…", text)  # code within prose
                for offset, line in enumerate(text.split("\n")):
                    if " " in line.strip():
                        yield token.start[0] + offset, line
    # A template's words are sentences too.


@cache
def banned_turns() -> list[Breach]:
    """Return the banned turns in docstrings, messages, help and comments, each with the word to use."""
    pattern = re.compile("|".join(rf"(?P<t{i}>\b(?:{turn})\b)" for i, turn in enumerate(BANNED)), re.I)
    instead = list(BANNED.values())
    breaches = []
    for path in modules().values():
        for number, text in sentences(path):
            for match in pattern.finditer(text):
                index = int((match.lastgroup or "t0")[1:]) if match.lastgroup else 0
                breaches.append(
                    Breach(f"{path.relative_to(ROOT)}:{number}", f"“{match.group(0)}”: {instead[index]}")
                )
    return breaches


LISTS = (
    module_cycles,
    package_cycles,
    upward_imports,
    facade_imports,
    private_breaches,
    names_of_submodules,
    documented_modules,
    untyped_dicts,
    aliases_of_dicts,
    private_names_of_optuna,
    banned_turns,
)


def main(arguments: list[str]) -> None:
    """Print the counts, and the breaches whose place begins with or contains an argument (all: `-v`)."""
    print(f"{modules_at_the_root():5}  modules at the root of siamkit")
    print(f"{files():5}  files in siamkit")
    for function in LISTS:
        breaches = function()
        print(f"{len(breaches):5}  {function.__name__.replace('_', ' ')}")
        for breach in breaches:
            if "-v" in arguments or any(word in str(breach) for word in arguments):
                print(f"         {breach}")


if __name__ == "__main__":
    main(sys.argv[1:])
