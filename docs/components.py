"""Writes docs/components.md, the table of all built-in components, from the registry.

    python docs/components.py            # writes it
    python docs/components.py --check    # exits with 1 if it is not what it should be

What each component was checked against is told by the tests themselves (`CHECKED` in their modules).
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from siamkit import Choice, Float, Int, components
from siamkit.registry import CORE, Kind, Param, Registered, Spec

HERE = Path(__file__).parent
PAGE = HERE / "components.md"
UNITS = {"typical_distance": " typical distances", "typical_value": " typical distances from identity"}

HEAD = """\
# Components

Generated from the registry by `python docs/components.py`; a test compares it with the registry. Parameters
are written `name = default`, followed in brackets by the range that a study searches by default ("log": on a
logarithmic scale). Every component passes the conformance kit (`siamkit.testing`, see
[plugins.md](plugins.md)) on JAX, PyTorch and TensorFlow: shapes, finite gradients that equal finite
differences, half precision, compiled and not, awkward batches, configs and files, determinism. "Checked
against" also names an independent reference.

s is the metric as a similarity, d as a distance; a, p, n an anchor, its positives and its negatives; x an
item and pⱼ, c the learned proxies and centres of the classes; [x]₊ = max(x, 0). Angles (`margin` of the
losses of angles, `alpha` of `angular`) are in degrees. "Unit vectors" means that the loss expects
them and does not normalise: set the encoder's `normalize=True`; pytorch-metric-learning (PML)
normalises inside its losses.
`contrastive` squares its hinges as the paper does; PML's is `power=1`.
"""


def checked() -> dict[str, dict[str, str]]:
    """For each kind, what each component is checked against, as the tests have it."""
    tests = HERE.parent / "tests"
    sys.path[:0] = [str(tests / "support"), str(tests / "losses")]
    import metric_references

    losses: dict[str, str] = {}
    for path in sorted((tests / "losses").glob("test_*.py")):
        losses |= getattr(import_module(path.stem), "CHECKED", {})
    return {"metric": metric_references.CHECKED, "loss": losses}


def built_in(kind: Kind) -> list[Registered[Any]]:
    """siamkit's own components of one kind."""
    return [each for each in components().catalog(kind).all() if each.origin.distribution == CORE]


def page() -> str:
    """The whole page."""
    known = checked()
    parts = [HEAD]
    titles: dict[str, Kind] = {"Losses": "loss", "Metrics": "metric", "Encoders": "encoder"}
    for title, kind in titles.items():
        specs = [each.spec for each in built_in(kind)]
        parts.append(f"## {title}: {len(specs)}\n\n" + _table(kind, specs, known.get(kind, {})))
    return "\n".join(parts)


def _table(kind: str, specs: list[Any], known: dict[str, str]) -> str:
    columns: dict[str, Any] = {
        "name": lambda spec: f"`{spec.name}`",
        "what": lambda spec: spec.summary,
        "formula": lambda spec: f"`{spec.formula}`" if spec.formula else "",
        "reference": lambda spec: spec.reference,
    }
    if kind == "loss":
        columns["learns from"] = lambda spec: ", ".join(spec.supervision)
        columns["metric"] = _wants
    elif kind == "metric":
        columns["orientation, range"] = lambda spec: (
            f"{spec.orientation}, {_interval(*spec.range)}" + (", with weights" if spec.trainable else "")
        )
    else:
        columns["takes"] = lambda spec: ", ".join(spec.inputs)
    columns["parameters"] = _parameters
    if kind != "encoder":
        columns["checked against"] = lambda spec: known[spec.name]
    rows = [list(columns), ["---"] * len(columns)]
    rows += [[_cell(show(spec)) for show in columns.values()] for spec in specs]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _wants(spec: Any) -> str:
    """What a loss wants of its metric."""
    if not spec.uses_metric:
        return "none: it does not compare through it"
    if spec.metrics:
        return " or ".join(spec.metrics)
    wanted = spec.orientation if spec.orientation != "any" else "any"
    if spec.range[1] != float("inf"):
        wanted += f" in {_interval(*spec.range)}"
    return wanted + ("; unit vectors" if spec.normalized else "")


def _interval(low: float, high: float) -> str:
    left = "(-∞" if low == -float("inf") else f"[{low:g}"
    return f"{left}, {'∞)' if high == float('inf') else f'{high:g}]'}"


def _parameters(spec: Spec) -> str:
    shown = [_parameter(name, param) for name, param in spec.params.items()]
    shown += [f"`{need}` from the data" for need in spec.needs]
    return "; ".join(shown)


def _parameter(name: str, param: Param) -> str:
    text = f"`{name}` = {'its own choice' if param.default is None else param.default}"
    if isinstance(param, Float | Int) and param.low is not None and param.high is not None:
        unit = UNITS.get(getattr(param, "unit", ""), "")
        text += f" [{param.low:g} to {param.high:g}{unit}{', log' if param.log else ''}]"
    elif isinstance(param, Choice):
        others = [str(each) for each in param.options if each not in param.search]
        text += f" [{', '.join(map(str, param.search))}]" + (f" or {', '.join(others)}" if others else "")
    return text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != page() and f"{PAGE} is not up to date")
    PAGE.write_text(page(), encoding="utf-8")
