"""siamkit's conformance kit, pointed at this plugin's metric: shapes, gradients, dtypes, saving, and more."""

import pytest

from siamkit.testing import conformance

pytestmark = pytest.mark.keras

test_conformance = conformance("tanimoto")
