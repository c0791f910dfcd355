"""Value and gradient of a function of tensors, under the name that the tests know it by."""

from siamkit.device import value_and_gradient

__all__ = ["value_and_gradient"]
