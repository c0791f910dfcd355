"""The kit on pytest's command line: `pytest --siamkit NAME`. Importing this imports no backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from siamkit.testing._suite import Case


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("siamkit", "siamkit's conformance kit")
    group.addoption(
        "--siamkit", action="append", default=[], metavar="NAME", help="check this component; may be repeated"
    )
    group.addoption(
        "--siamkit-distribution",
        action="append",
        default=[],
        metavar="NAME",
        help="check every component of this installed distribution; may be repeated",
    )


def _asked(config: pytest.Config) -> bool:
    return bool(config.getoption("--siamkit") or config.getoption("--siamkit-distribution"))


def pytest_configure(config: pytest.Config) -> None:
    # Without a file on the command line only the components are checked, not the tests of the folder.
    if _asked(config) and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    if _asked(config):
        items.extend(Components.from_parent(session, name="siamkit").collect())


class Components(pytest.Collector):
    """The components requested on the command line."""

    def collect(self) -> Iterator[Check]:
        from siamkit.errors import SiamkitError
        from siamkit.testing._suite import cases, find, of_distribution

        option = self.config.getoption
        try:
            entries = [find(name) for name in option("--siamkit")]
            for distribution in option("--siamkit-distribution"):
                entries += of_distribution(distribution)
            made = [case for entry in entries for case in cases(entry.qualified, kind=entry.spec.kind)]
        except SiamkitError as error:
            raise pytest.UsageError(str(error)) from None
        for case in made:
            yield Check.from_parent(self, name=case.id, case=case)


class Check(pytest.Item):
    """One check of one component, as a pytest item."""

    def __init__(self, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case

    def runtest(self) -> None:
        self.case.run()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, AssertionError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[str, None, str]:
        return "siamkit", None, self.name
