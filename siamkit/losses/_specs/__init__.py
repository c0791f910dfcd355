"""The specs of siamkit's own losses: a module beside each family, of the same name. No Keras here."""

from importlib import import_module
from pkgutil import iter_modules

from siamkit.registry.specs import LossSpec

LOSSES: list[LossSpec] = [
    spec
    for module in iter_modules(__path__)
    if not module.name.startswith("_")
    for spec in import_module(f"{__name__}.{module.name}").SPECS
]
