"""Value and gradient of a function of tensors, under the name that the tests know it by."""

from collections.abc import Callable, Sequence
from typing import Any

from siamkit.backend.beyond_keras import compiled_if_eager_compiles, gradient_function, value_and_gradient

__all__ = ["value_and_gradient", "value_and_gradient_at_once"]


def value_and_gradient_at_once(
    function: Callable[..., Any], *inputs: Any, variables: Sequence[Any] = ()
) -> tuple[float, list[Any]]:
    """As `value_and_gradient`, compiled as a whole on JAX.

    For what is asked once: eagerly, each operation is compiled for shapes that come nowhere else.
    """
    run = gradient_function(function, len(inputs), variables, compiled_if_eager_compiles)
    return run(*inputs, *(variable.value for variable in variables))
