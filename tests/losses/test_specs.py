"""The specs of siamkit's own losses stand where their classes do, and say what these say."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import siamkit.losses._specs as specs
from siamkit.losses._specs import MINING
from siamkit.registry.specs import Choice

FOLDER = Path(specs.__file__).parent
DERIVED = {"histogram": {"delta"}, "snr_contrastive": {"power"}}
"""The parameters that are in the spec or in the config only, since another one or the name decides them."""

FAMILIES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_spec_is_in_the_module_of_its_family(family):
    module = import_module(f"siamkit.losses._specs.{family}")
    assert module.SPECS
    for spec in module.SPECS:
        assert spec.factory.partition(":")[0] == f"siamkit.losses.{family}"
        assert spec in specs.LOSSES


def test_each_family_has_specs():
    modules = {path.stem for path in FOLDER.parent.glob("[!_]*.py")}
    assert modules - {"base", "get"} == set(FAMILIES)


@pytest.mark.keras
@pytest.mark.one_backend
def test_the_kinds_of_mining_are_those_of_the_specs():
    import siamkit.losses

    assert MINING.options == siamkit.losses.MINING
    for spec in specs.LOSSES:
        mining = spec.params.get("mining")
        assert mining is None or (isinstance(mining, Choice) and mining.options == MINING.options)


@pytest.mark.keras
@pytest.mark.one_backend
@pytest.mark.parametrize("spec", specs.LOSSES, ids=lambda spec: spec.name)
def test_a_loss_writes_the_parameters_of_its_spec_into_its_config(spec):
    import siamkit

    loss = siamkit.get_loss(spec.name, **({"num_classes": 3} if "num_classes" in spec.needs else {}))
    config = loss.get_config()
    assert config["name"] == loss.name == spec.name
    assert set(config) ^ {*spec.params, *spec.needs, "name"} == DERIVED.get(spec.name, set())
