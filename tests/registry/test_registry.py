"""The registry: discovery that no plugin can break, names, and code of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib import metadata

import pytest

import siamkit.registry.registry as registry_module
from siamkit.errors import ComponentError, PluginError, UnknownComponentError
from siamkit.registry.registry import Registry
from siamkit.registry.specs import LossSpec, MetricSpec

GOOD = """
    import siamkit

    @siamkit.hookimpl
    def siamkit_losses():
        return [siamkit.LossSpec(name={name!r}, factory="acme.losses:Loss", supervision="labels")]
"""


@pytest.fixture
def distributions(tmp_path, monkeypatch):
    """Installs made-up distributions into a folder of their own, and gives a registry of them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    # Removed again afterwards, and free for a second test to import.
    before = set(sys.modules)
    installed = Installed(tmp_path)
    yield installed
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]


class Installed:
    def __init__(self, folder):
        self.folder = folder

    def add(self, name, *codes, version="1.0"):
        """A distribution with one entry point, and one module, for each of the codes."""
        modules = [f"plugin_{name.lower().replace('-', '_')}_{i}" for i in range(len(codes))]
        for module, code in zip(modules, codes, strict=True):
            self.module(module, code)
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = "".join(f"{module} = {module}\n" for module in modules)
        (info / "entry_points.txt").write_text(f"[siamkit]\n{points}")

    def module(self, name, code):
        (self.folder / f"{name}.py").write_text(textwrap.dedent(code))

    def points(self):
        found = metadata.distributions(path=[str(self.folder)])
        return [point for dist in found for point in dist.entry_points if point.group == "siamkit"]

    def registry(self, allowed=None):
        core = [p for p in metadata.entry_points(group="siamkit") if p.dist.name == "siamkit"]
        assert len(core) == 1
        # The core comes last: the registry has to look for it.
        return Registry([*self.points(), *core], allowed)


def problem_of(registry, distribution):
    (problem,) = [str(p) for p in registry.problems if p.origin.distribution == distribution]
    return problem


# ------------------------------------------------------------------- discovery


def test_a_plugin_hands_over_specs_with_its_distribution_and_version(distributions):
    distributions.add("Acme_Things", GOOD.format(name="acme"), version="2.5")
    registry = distributions.registry()
    entry = registry.losses["acme"]
    assert registry.problems == []
    assert str(entry.origin) == "acme-things 2.5"
    assert entry.record() == {"name": "acme-things/acme", "version": "2.5"}
    assert registry.losses["acme-things/acme"] is entry
    assert registry.find("loss", "acme") is entry
    assert str(registry.plugins["acme-things"]) == "acme-things 2.5"


def test_the_built_ins_come_through_the_same_hooks(distributions):
    registry = distributions.registry()
    assert registry.problems == []
    assert registry.metrics["euclidean"].qualified == "siamkit/euclidean"
    assert registry.metrics["siamkit/euclidean"] is registry.metrics["euclidean"]
    assert {"mlp", "cnn", "lstm"} <= set(registry.encoders)


BROKEN = {
    "raises": ("raise RuntimeError('no licence')", "fails with RuntimeError: no licence"),
    "imports-nothing": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "bad-syntax": ("def", "fails with SyntaxError"),
    "exits": ("raise SystemExit(3)", "fails with SystemExit: 3"),
    "bad-spec": (
        GOOD.format(name="Bad Name"),
        "fails with ValueError: name should be lower case",
    ),
    "hook-raises": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_losses():
            raise OSError("disk gone")
     """,
        "siamkit_losses fails with OSError: disk gone",
    ),
    "hook-exits": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_losses():
            raise SystemExit("bye")
     """,
        "siamkit_losses fails with SystemExit: bye",
    ),
    "returns-text": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_losses():
            return "triplet"
     """,
        "siamkit_losses should return a list of LossSpec, got 'triplet'",
    ),
    "returns-nothing": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_losses():
            pass
     """,
        "siamkit_losses should return a list of LossSpec, got None",
    ),
    "wrong-kind": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_losses():
            return [siamkit.MetricSpec(name="m", factory="a:B", orientation="distance")]
     """,
        "siamkit_losses should return LossSpecs, got MetricSpec(",
    ),
    "wrong-api": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_losses():
            return [siamkit.LossSpec(name="future", factory="a:B", supervision="labels", api=2)]
     """,
        "loss 'future' needs api 2, this siamkit has api 1",
    ),
    "wrong-arguments": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_losses(surprise):
            return []
     """,
        "its hooks are wrong",
    ),
    "misspelt-hook": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_loss():
            return []
     """,
        "implements the unknown hook 'siamkit_loss'; did you mean 'siamkit_losses'",
    ),
    "unmarked": ("def siamkit_losses(): return []", "has no function marked @siamkit.hookimpl"),
    "twice": (
        """
        import siamkit
        @siamkit.hookimpl
        def siamkit_losses():
            return [siamkit.LossSpec(name="same", factory="a:B", supervision="labels")] * 2
     """,
        "returns the loss 'same' twice",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_with_its_cause_and_nothing_else_suffers(distributions, name):
    code, cause = BROKEN[name]
    distributions.add(name, code)
    # One that is found before it, and one after.
    distributions.add("aaa-fine", GOOD.format(name="first"))
    distributions.add("zzz-fine", GOOD.format(name="last"))
    registry = distributions.registry()
    assert problem_of(registry, name).startswith(f"{name} 1.0: ")
    assert cause in problem_of(registry, name)
    assert len(registry.problems) == 1
    assert {"first", "last", "triplet"} <= set(registry.losses)


def test_one_entry_point_of_a_distribution_may_fail_and_the_other_work(distributions):
    distributions.add("half", "1 / 0", GOOD.format(name="whole"))
    registry = distributions.registry()
    assert "ZeroDivisionError" in problem_of(registry, "half")
    assert registry.losses["whole"].qualified == "half/whole"


def test_a_module_named_by_two_entry_points_is_told_and_used_once(distributions):
    distributions.add("double", GOOD.format(name="only"))
    points = distributions.folder / "double-1.0.dist-info" / "entry_points.txt"
    points.write_text("[siamkit]\na = plugin_double_0\nb = plugin_double_0\n")
    registry = distributions.registry()
    assert "names the module 'plugin_double_0', a second time" in problem_of(registry, "double")
    assert "only" in registry.losses


def test_a_slow_plugin_is_told_and_still_used(distributions, monkeypatch):
    monkeypatch.setattr(registry_module, "SLOW_SECONDS", 0.05)
    distributions.add("slow", "import time; time.sleep(0.1)\n" + textwrap.dedent(GOOD.format(name="sleepy")))
    registry = distributions.registry()
    assert "took 0.1 s to load" in problem_of(registry, "slow")
    assert "sleepy" in registry.losses


@pytest.mark.parametrize("where", ["at the top", "in the hook"])
def test_a_plugin_that_imports_a_backend_while_discovered_is_told_and_not_used(distributions, where):
    (distributions.folder / "jax").mkdir()
    (distributions.folder / "jax" / "__init__.py").write_text("")
    code = textwrap.dedent(GOOD.format(name="heavy"))
    if where == "at the top":
        code = "import jax\n" + code
    else:
        code = code.replace("    return [", "    import jax\n    return [")
    distributions.add("heavy", code)
    distributions.add("light", GOOD.format(name="light"))
    script = f"""
        from importlib import metadata
        from siamkit.registry.registry import Registry
        found = metadata.distributions(path=[{str(distributions.folder)!r}])
        registry = Registry([p for dist in found for p in dist.entry_points])
        print(*registry.problems, sep="\\n")
        print(sorted(registry.losses))
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(distributions.folder)},
    )
    *problems, losses = told.stdout.splitlines()
    assert losses == "['light']"
    (problem,) = problems
    assert problem.startswith("heavy 1.0: ")
    assert "imports jax; a plugin's specs must not" in problem


# ----------------------------------------------------------------------- names


def test_a_plugin_cannot_take_a_name_of_the_core(distributions):
    distributions.add("pirate", GOOD.format(name="triplet"))
    registry = distributions.registry()
    assert registry.losses["triplet"].qualified == "siamkit/triplet"
    assert registry.losses["pirate/triplet"].spec.factory == "acme.losses:Loss"
    assert "the loss name 'triplet' is siamkit's own; write 'pirate/triplet'" in problem_of(
        registry, "pirate"
    )


def test_a_name_claimed_by_two_plugins_is_refused_with_both(distributions):
    distributions.add("left", GOOD.format(name="shared"))
    distributions.add("right", GOOD.format(name="shared"))
    registry = distributions.registry()
    with pytest.raises(
        UnknownComponentError, match="ambiguous; write 'left/shared' or 'right/shared'"
    ) as caught:
        registry.losses["shared"]
    assert str(caught.value).count("\n") == 0
    assert "shared" not in registry.losses
    assert registry.losses["right/shared"].origin.distribution == "right"
    assert {"left/shared", "right/shared"} <= set(registry.losses)
    (problem,) = registry.problems
    assert "left/shared" in problem.message
    assert "right/shared" in problem.message


def test_iteration_and_length_agree_and_every_name_finds_its_component(distributions):
    distributions.add("left", GOOD.format(name="shared"))
    distributions.add("right", GOOD.format(name="shared"))
    distributions.add("pirate", GOOD.format(name="triplet"))
    losses = distributions.registry().losses
    names = list(losses)
    assert len(names) == len(set(names)) == len(losses) == len(losses.all())
    assert [losses[name] for name in names] == losses.all()


def test_an_unknown_name_is_answered_with_the_nearest(distributions):
    registry = distributions.registry()
    with pytest.raises(
        UnknownComponentError, match="unknown loss 'tripplet'; did you mean 'triplet'"
    ) as caught:
        registry.losses["tripplet"]
    assert isinstance(caught.value, (ComponentError, KeyError))
    assert not str(caught.value).startswith(("'", '"'))  # KeyError would quote the whole sentence
    with pytest.raises(
        UnknownComponentError, match="unknown metric 'xyz'; choose from angular, bilinear, braycurtis"
    ):
        registry.metrics["xyz"]


# ------------------------------------------------------- which plugins are loaded


def test_only_the_allowed_plugins_are_loaded_and_the_core_always(distributions):
    distributions.add("wanted", GOOD.format(name="wanted"))
    distributions.add("unwanted", "raise RuntimeError('was imported')")
    registry = distributions.registry(frozenset({"wanted"}))
    assert registry.problems == []
    assert {"wanted", "triplet"} <= set(registry.losses)
    alone = distributions.registry(frozenset())
    assert set(alone.plugins) == {"siamkit"}
    assert "plugin_unwanted_0" not in sys.modules


@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        (None, {"siamkit", "one", "two-three"}),
        ("", {"siamkit"}),
        ("one", {"siamkit", "one"}),
        (" one , Two_Three ,", {"siamkit", "one", "two-three"}),
    ],
)
def test_the_environment_says_which_plugins_are_loaded(distributions, monkeypatch, value, loaded):
    distributions.add("one", GOOD.format(name="one"))
    distributions.add("two.three".replace(".", "-"), GOOD.format(name="two"))
    core = [p for p in metadata.entry_points(group="siamkit") if p.dist.name == "siamkit"]
    monkeypatch.setattr(
        registry_module.metadata, "entry_points", lambda group: [*core, *distributions.points()]
    )
    monkeypatch.setattr(registry_module, "_current", None)
    if value is None:
        monkeypatch.delenv("SIAMKIT_PLUGINS", raising=False)
    else:
        monkeypatch.setenv("SIAMKIT_PLUGINS", value)
    registry = registry_module.components()
    assert set(registry.plugins) == loaded
    assert registry.problems == []
    assert registry_module.components() is registry


def test_an_allowed_plugin_that_is_not_installed_is_told(distributions):
    registry = distributions.registry(frozenset({"ghost"}))
    assert problem_of(registry, "ghost") == ("ghost: is named in SIAMKIT_PLUGINS, but is not installed")


# ------------------------------------------------------------- code of one's own

METRIC = MetricSpec(name="mine", factory=dict, orientation="distance")


def test_register_adds_a_spec_of_the_session(distributions):
    registry = distributions.registry()
    registry.register(METRIC)
    assert registry.metrics["mine"].qualified == "session/mine"
    assert registry.metrics["mine"].factory() is dict  # a callable factory is taken as it is


def test_register_again_replaces_as_a_notebook_wants(distributions):
    registry = distributions.registry()
    registry.register(METRIC)
    registry.register(MetricSpec(name="mine", factory=list, orientation="distance"))
    assert registry.metrics["mine"].factory() is list


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (MetricSpec(name="cosine", factory="a:B", orientation="distance"), "name 'cosine' is siamkit's own"),
        (MetricSpec(name="new", factory="a:B", orientation="distance", api=7), "'new' needs api 7"),
        ("cosine", "register takes a spec"),
        (MetricSpec, "register takes a spec"),
    ],
)
def test_register_refuses_in_a_sentence(distributions, spec, words):
    registry = distributions.registry()
    with pytest.raises(ComponentError, match=words):
        registry.register(spec)
    assert "new" not in registry.metrics


def test_a_name_of_the_core_is_free_in_another_kind(distributions):
    registry = distributions.registry()
    registry.register(LossSpec(name="cosine", factory="a:B", supervision="labels"))
    assert registry.losses["cosine"].qualified == "session/cosine"


def test_a_module_of_ones_own_is_loaded_once(distributions):
    distributions.module(
        "plugin_mine", "__version__ = '3.1'\n" + textwrap.dedent(GOOD.format(name="my_loss"))
    )
    registry = distributions.registry()
    registry.load_module("plugin_mine")
    registry.load_module("plugin_mine")
    assert registry.losses["my_loss"].record() == {"name": "plugin_mine/my_loss", "version": "3.1"}


def test_a_module_may_implement_no_hook_since_it_may_register(distributions):
    distributions.module("plugin_quiet", "answer = 42")
    registry = distributions.registry()
    registry.load_module("plugin_quiet")
    assert registry.problems == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "module 'plugin_bad' cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "module 'plugin_bad' cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit(1)", "cannot be imported: SystemExit: 1"),
        (GOOD.format(name="triplet"), "plugin_bad: the loss name 'triplet' is siamkit's own"),
        (BROKEN["returns-text"][0], "plugin_bad: siamkit_losses should return a list"),
        (BROKEN["misspelt-hook"][0], "plugin_bad: implements the unknown hook"),
    ],
)
def test_a_module_that_cannot_be_used_is_refused_every_time(distributions, code, words):
    if code is not None:
        distributions.module("plugin_bad", code)
    registry = distributions.registry()
    for _ in range(2):
        with pytest.raises(PluginError, match=words):
            registry.load_module("plugin_bad")


# ------------------------------------------------------------------- factories


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("no_such_module:Loss", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("math:no_such_name", "AttributeError: module 'math' has no attribute 'no_such_name'"),
        ("plugin_raises:Loss", "ZeroDivisionError: division by zero"),
        ("math:pi", "'math:pi' of 'session/mine' is not callable"),
    ],
)
def test_a_factory_that_cannot_be_used_is_named_with_its_cause(distributions, factory, words):
    distributions.module("plugin_raises", "1 / 0")
    registry = distributions.registry()
    registry.register(LossSpec(name="mine", factory=factory, supervision="labels"))
    with pytest.raises(PluginError, match=words) as caught:
        registry.losses["mine"].factory()
    assert "session/mine" in str(caught.value)


def test_a_factory_may_be_an_attribute_of_an_attribute(distributions):
    registry = distributions.registry()
    registry.register(LossSpec(name="mine", factory="collections:OrderedDict.fromkeys", supervision="labels"))
    assert registry.losses["mine"].factory()("ab") == {"a": None, "b": None}


def test_a_plugin_that_registers_while_it_is_discovered_is_a_problem_not_a_loop(distributions, monkeypatch):
    distributions.add(
        "eager",
        """
        import siamkit
        siamkit.register(siamkit.LossSpec(name="eager", factory="a:b", supervision="labels"))
        """,
    )
    monkeypatch.setattr(registry_module.metadata, "entry_points", lambda group: distributions.points())
    monkeypatch.setattr(registry_module, "_current", None)
    monkeypatch.delenv("SIAMKIT_PLUGINS", raising=False)
    (problem,) = registry_module.components().problems
    assert problem.origin.distribution == "eager"
    assert "return specs from hooks" in problem.message
