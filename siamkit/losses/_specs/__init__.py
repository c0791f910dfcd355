"""The specs of siamkit's own losses: a module for each family, with the family's name. No Keras here.

A new module of this folder is collected if it has a list `SPECS`; nothing else names it.
"""

from importlib import import_module
from pkgutil import iter_modules

from siamkit.registry.specs import LossSpec

LOSSES: list[LossSpec] = [
    spec
    for module in iter_modules(__path__)
    if not module.name.startswith("_")
    for spec in import_module(f"{__name__}.{module.name}").SPECS
]
