"""Tools for numerical checks: messages for failures, and gradients compared with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from siamkit.backend.beyond_keras import compiled, compiled_if_eager_compiles, gradient_function, stateless

EPSILON = float(np.finfo("float32").eps)
STEPS = (1e-3, 3e-3, 3e-4, 1e-2)
ROUNDINGS = 8  # how many of them a value may be off by
POINTS, DIRECTIONS = 3, 2


AT_ZERO = (
    "; siamkit.metrics has norm, unit, safe_sqrt, quotient and absolute, and siamkit.losses masked_mean, "
    "which are finite at 0, gradients included"
)
"""The remedy for values or gradients that are not finite at points that are equal or zero."""

TOO_LARGE = (
    "; bound what exp, cosh or a power gets, as ops.minimum(x, 80.0) does, or use ops.logsumexp, "
    "ops.softplus, or siamkit.metrics.norm, which squares no large number"
)
"""The remedy for values or gradients that overflow at large points."""


class CannotCheck(Exception):
    """A check that cannot be done here; its message gives the reason."""


def require(condition: object, sentence: str) -> None:
    """Fail with a message; not an `assert`, which `python -O` would drop."""
    if not condition:
        raise AssertionError(sentence)


@contextmanager
def while_doing(action: str) -> Iterator[None]:
    """Turn an error of the component into a message that names the action."""
    try:
        yield
    except (AssertionError, CannotCheck):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]  # Keras explains over many lines
        raise AssertionError(f"{action} fails with {type(error).__name__}: {reason}") from error


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Set a dtype policy inside a `with` block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def numpy(tensor: Any) -> np.ndarray:
    """Return a tensor of any dtype as a float64 array."""
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), dtype="float64")


def number(tensor: Any) -> float:
    """Return a scalar tensor's value; torch warns about `float` of a tensor with a gradient."""
    return float(numpy(tensor))


def finite(values: Any) -> bool:
    return bool(np.isfinite(values).all())


def close(a: Any, b: Any, relative: float = 1e-5, absolute: float = 1e-5) -> bool:
    return bool(np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=relative, atol=absolute))


def worst(a: Any, b: Any) -> str:
    """Return in words where two arrays differ most."""
    a, b = np.asarray(a, dtype="float64"), np.asarray(b, dtype="float64")
    if a.shape != b.shape:
        return f"shape {a.shape} and {b.shape}"
    place = np.unravel_index(np.argmax(np.nan_to_num(np.abs(a - b), nan=np.inf)), a.shape)
    return f"{a[place]:.6g} and {b[place]:.6g}"


def frozen(function: Callable[..., Any], *inputs: Any) -> Any:
    """Return a function's result without changing any Keras variable."""
    with keras.StatelessScope():
        return function(*inputs)


class Probe:
    """A scalar function of some inputs and Keras variables, and its gradient.

    Args:
        what: the subject of messages about the function.
        function: function of the inputs, in their order; it does not change the variables.
        inputs: names of the inputs. Those that start with `_` are data, which are not differentiated by.
        variables: Keras variables that the function reads.
    """

    def __init__(
        self, what: str, function: Callable[..., Any], inputs: Sequence[str], variables: Sequence[Any] = ()
    ) -> None:
        self.what = what
        self.function = function
        self.names = [*inputs, *["its weights"] * len(variables)]
        self.inputs = len(inputs)
        self.variables = list(variables)
        self.gradient_at = gradient_function(
            function, self.inputs, self.variables, compiled_if_eager_compiles
        )
        # Where it is compiled the gradient costs nothing more, and a second compilation would.
        plain = stateless(function, self.inputs, self.variables)
        self.eager = compiled_if_eager_compiles(plain) is plain
        self.value_at = plain if self.eager else lambda *values: self.gradient_at(*values)[0]

    def __call__(self, *inputs: Any) -> tuple[float, list[np.ndarray]]:
        with while_doing(self.what):
            return self.gradient_at(*inputs, *self.state())

    def state(self) -> list[Any]:
        return [variable.value for variable in self.variables]

    def require_finite(self, where: str, *inputs: Any, remedy: str = "") -> float:
        """Fail unless value and gradients are finite, with a remedy; return the value."""
        what = f"{self.what}{where}"
        with while_doing(what):
            value, gradients = self.gradient_at(*inputs, *self.state())
        require(np.isfinite(value), f"{what} should give a finite value, got {value}{remedy}")
        for name, gradient in zip(self.names, gradients, strict=True):
            bad = next(iter(gradient[~np.isfinite(gradient)]), 0.0)
            require(finite(gradient), f"{what} should give a finite gradient by {name}, got {bad}{remedy}")
        return value

    def require_same_compiled(self, *inputs: Any) -> None:
        """Check that compiled and eager values and gradients agree."""
        with while_doing(f"compiling {self.what}"):
            run = self.gradient_at
            if self.eager:
                run = gradient_function(self.function, self.inputs, self.variables, compiled)
            value, gradients = run(*inputs, *self.state())
        expected = number(frozen(self.function, *map(ops.convert_to_tensor, inputs)))
        require(
            close(value, expected, 1e-4),
            f"{self.what} compiled should give {expected:.6g} as eagerly, got {value:.6g}",
        )
        for a, b in zip(gradients, self(*inputs)[1], strict=True):
            scale = max(1e-3, float(np.abs(b).max()))
            require(
                close(a / scale, b / scale, 1e-3, 1e-3),
                f"{self.what} compiled should give the gradient it gives eagerly, got {worst(a, b)}",
            )

    def require_differences_agree(self, inputs_at: Callable[[int], Sequence[np.ndarray]]) -> None:
        """Compare the gradient with central differences along random directions.

        Losses have kinks, and means over active terms jump where a term becomes inactive. So the derivative
        is compared at several points, along several directions and with several steps; a step counts if its
        rounding is small compared with the derivative, one agreement is enough, and most directions must
        agree. All variables are moved together.

        Args:
            inputs_at: function that returns the inputs of the k-th point; the variables change slightly
                between points.
        """
        answers: dict[str, list[bool]] = {}
        wrong: dict[str, str] = {}
        for k in range(POINTS):
            rng = np.random.default_rng(100 + k)
            moved = [numpy(each) + 0.02 * k * rng.normal(size=each.shape) for each in self.state()]
            leaves = [np.asarray(each, dtype="float32") for each in (*inputs_at(k), *moved)]
            with while_doing(f"the gradient of {self.what}"):
                _, gradients = self.gradient_at(*leaves)
            for group in dict.fromkeys(name for name in self.names if not name.startswith("_")):
                for _ in range(DIRECTIONS):
                    direction = _direction(gradients, [name == group for name in self.names], rng)
                    claimed = float(sum((g * d).sum() for g, d in zip(gradients, direction, strict=True)))
                    agrees, measured = _agrees(self.value_at, leaves, direction, claimed)
                    answers.setdefault(group, []).append(agrees)
                    if not agrees:
                        wrong[group] = f"{measured:.4g} along a random direction, got {claimed:.4g}"
        for group, agreed in answers.items():
            require(
                sum(agreed) * 3 >= len(agreed) * 2,
                f"the gradient of {self.what} by {group} should be that of finite differences, "
                f"{wrong.get(group)} ({sum(agreed)} of {len(agreed)} agree)",
            )


def _direction(gradients: list[np.ndarray], chosen: list[bool], rng: np.random.Generator) -> list[np.ndarray]:
    """Return a unit vector, half along the gradient (whose signal is strong there), half random."""
    parts = []
    for gradient, wanted in zip(gradients, chosen, strict=True):
        random = np.asarray(rng.normal(size=gradient.shape))
        length = float(np.linalg.norm(gradient)) or 1.0
        part = gradient / length + random / np.linalg.norm(random)
        # Of a single number the two may cancel.
        part = part if np.linalg.norm(part) > 1e-3 else random
        parts.append(part / np.linalg.norm(part) if wanted else np.zeros_like(part))
    return [part / np.sqrt(sum(chosen)) for part in parts]


def _agrees(
    value_at: Callable[..., Any], leaves: list[np.ndarray], direction: list[np.ndarray], claimed: float
) -> tuple[bool, float]:
    """Return whether a step's difference equals the derivative, and the difference of the first step."""
    first: float | None = None
    for step in STEPS:
        ahead, behind = (number(value_at(*_moved(leaves, direction, sign * step))) for sign in (1.0, -1.0))
        measured = (ahead - behind) / (2 * step)
        first = measured if first is None else first
        rounding = ROUNDINGS * EPSILON * max(abs(ahead), abs(behind), 1e-2) / step
        size = max(abs(claimed), abs(measured))
        informative = rounding <= 0.1 * size or (step == max(STEPS) and size <= rounding)
        if informative and abs(measured - claimed) <= 0.02 * size + rounding:
            return True, first
    return False, first if first is not None else 0.0


def _moved(leaves: list[np.ndarray], direction: list[np.ndarray], step: float) -> list[Any]:
    return [
        ops.convert_to_tensor((leaf + step * part).astype("float32"))
        for leaf, part in zip(leaves, direction, strict=True)
    ]
