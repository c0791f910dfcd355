"""The specs of the built-in losses, a family a module."""

from siamkit.losses._specs.batch import BATCH
from siamkit.losses._specs.proxies import PROXIES
from siamkit.losses._specs.views import VIEWS
from siamkit.losses._specs.wrappers import WRAPPERS

LOSSES = [*BATCH, *PROXIES, *VIEWS, *WRAPPERS]
