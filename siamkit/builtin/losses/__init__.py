"""The specs of the built-in losses, a family a module."""

from siamkit.builtin.losses.batch import BATCH
from siamkit.builtin.losses.proxies import PROXIES
from siamkit.builtin.losses.views import VIEWS
from siamkit.builtin.losses.wrappers import WRAPPERS

LOSSES = [*BATCH, *PROXIES, *VIEWS, *WRAPPERS]
