"""From components to test cases: one for each component and check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from siamkit.backend.select import prepare
from siamkit.errors import ComponentError, nearest
from siamkit.registry.catalog import SESSION, Origin, Registered
from siamkit.registry.registry import components
from siamkit.registry.specs import Kind, Spec

prepare()  # before the checks import keras

import keras  # noqa: E402

from siamkit.testing import _common, _encoders, _fresh_process, _losses, _metrics  # noqa: E402
from siamkit.testing._numbers import CannotCheck  # noqa: E402
from siamkit.testing._subject import Subject  # noqa: E402

KINDS: tuple[Kind, ...] = ("encoder", "metric", "loss", "dataset")
CHECKS: Mapping[str, tuple[Callable[[Subject], None], ...]] = {
    "encoder": (*_encoders.CHECKS, _fresh_process.fresh_process),
    "metric": (*_metrics.CHECKS, _fresh_process.fresh_process),
    "loss": (*_losses.CHECKS, _fresh_process.fresh_process),
    "dataset": _common.DATASET_CHECKS,
}


@dataclass(frozen=True)
class Case:
    """One check of one component, as a test case."""

    subject: Subject
    check: Callable[[Subject], None]
    excuse: str | None = None

    @property
    def id(self) -> str:
        subject = self.subject
        learnt_from = (subject.supervision,) if subject.kind == "loss" else ()
        return "-".join((subject.kind, subject.spec.name, *learnt_from, self.check.__name__))

    def run(self) -> None:
        """Run the check: it passes, fails with a message, or skips with a reason."""
        __tracebackhide__ = True
        if self.excuse is not None:
            pytest.skip(self.excuse)
        keras.utils.set_random_seed(0)
        try:
            with self.subject.known():
                self.check(self.subject)
        except CannotCheck as reason:
            pytest.skip(str(reason))


def conformance(*names: str | Spec, kind: Kind | None = None, **options: Any) -> Callable[[Case], None]:
    """Return a pytest test of components: assign it to a name that starts with `test`.

    Args:
        *names: components by name or qualified name, or specs.
        kind: `"encoder"`, `"metric"`, `"loss"` or `"dataset"`; needed if several kinds have the same name.
        **options: further arguments of `cases`.

    Returns:
        A parametrised test function, a case for each component and check.

    Example:
        >>> from siamkit.testing import conformance
        >>> test_conformance = conformance("cosine", "manhattan")
    """
    made = cases(*names, kind=kind, **options)

    @pytest.mark.parametrize("case", [pytest.param(each, id=each.id) for each in made])
    def test_conformance(case: Case) -> None:
        """Check that the component conforms to its spec."""
        __tracebackhide__ = True
        case.run()

    return test_conformance


def cases(
    *names: str | Spec,
    kind: Kind | None = None,
    params: Mapping[str, Any] | None = None,
    needs: Mapping[str, Any] | None = None,
    metric: Any = None,
    items: Callable[[int, Any], Any] | None = None,
    plugins: Sequence[str] = (),
    excuse: Mapping[str, str] | None = None,
) -> list[Case]:
    """Return the test cases of components.

    Args:
        *names: components by name or qualified name, or specs.
        kind: the kind of the components; needed if several kinds have the same name.
        params: fixed parameters; the others are tried over their ranges.
        needs: values of the components' needs that the kit cannot generate, by name; for an encoder also the
            `input_shape`.
        metric: name of the metric that a loss compares through; by default one that fits.
        items: for an encoder, a function `(n, rng)` that makes n items.
        plugins: modules that register the components, loaded here and in a fresh process.
        excuse: checks to skip, by name, each with its reason.

    Raises:
        ComponentError: an unknown component or check, or a need that the kit cannot generate.
    """
    for module in plugins:
        components().load_module(module)
    excuse = excuse or {}
    made = []
    for name in names:
        entry = find(name, kind)
        subject = Subject(entry, params or {}, needs or {}, metric, items, tuple(plugins))
        # A loss once for each supervision that it learns from.
        each_way = [subject]
        if subject.kind == "loss":
            each_way = [replace(subject, supervision=each) for each in subject.spec.supervision]
        made += [
            Case(s, check, excuse.get(check.__name__)) for s in each_way for check in CHECKS[subject.kind]
        ]
    known = {case.check.__name__ for case in made}
    for check in excuse:
        if check not in known:
            raise ComponentError(f"excuse names the unknown check {check!r}; {nearest(check, known)}")
    return made


def find(name: str | Spec, kind: Kind | None = None) -> Registered[Any]:
    """Return a component by name, of any kind, or a spec unchanged."""
    if isinstance(name, Spec):
        return Registered(name, Origin(SESSION))
    having = [each for each in KINDS if kind in (None, each) and name in components().catalog(each)]
    if len(having) > 1:
        raise ComponentError(
            f"{name!r} is the name of {' and '.join(f'a {each}' for each in having)}; say which with kind="
        )
    if not having:
        asked = KINDS if kind is None else (kind,)
        known = [each for k in asked for each in components().catalog(k)]
        # A name that two plugins claim is also unknown; the catalog says so.
        for each in asked:
            if components().catalog(each).namesakes(name):
                components().find(each, name)
        raise ComponentError(f"unknown {' or '.join(asked)} {name!r}; {nearest(name, known)}")
    return components().find(having[0], name)


def of_distribution(distribution: str) -> list[Registered[Any]]:
    """Return all components of an installed distribution that the kit can check."""
    catalogs = [components().catalog(kind) for kind in KINDS]
    found = [e for c in catalogs for e in c.all() if e.origin.distribution == distribution]
    if not found:
        raise ComponentError(
            f"no distribution {distribution!r} hands components to siamkit; "
            f"{nearest(distribution, components().plugins)}"
        )
    return found
