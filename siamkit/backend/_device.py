"""What Keras lacks: the one module that imports backends, a function for each, and only inside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

# ----------------------------------------------------------------- versions and devices


def _jax() -> tuple[str, list[str]]:
    import jax

    return jax.__version__, [f"{each.platform}:{each.id} {each.device_kind}" for each in jax.devices()]


def _torch() -> tuple[str, list[str]]:
    import torch

    cuda = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return torch.__version__, [*cuda, *mps, "cpu"]


def _tensorflow() -> tuple[str, list[str]]:
    import tensorflow

    devices = tensorflow.config.list_physical_devices()
    return tensorflow.__version__, [each.name.removeprefix("/physical_device:").lower() for each in devices]


ASK: dict[str, Callable[[], tuple[str, list[str]]]] = {
    "jax": _jax,
    "torch": _torch,
    "tensorflow": _tensorflow,
}


# ----------------------------------------------------------------- value and gradient


def value_and_gradient(
    function: Callable[..., Any], *inputs: Any, variables: Sequence[Any] = ()
) -> tuple[float, list[Any]]:
    """A scalar function's value, and its gradient by each input and then by each Keras variable.

    Whatever the function does to the variables' values is forgotten.

    Args:
        function: of as many tensors as there are inputs.
        *inputs: arrays or tensors of floating point, whose dtypes are kept.
        variables: Keras variables that the function reads.

    Returns:
        The value, and float64 NumPy arrays.

    Example:
        >>> value, (gradient,) = value_and_gradient(lambda x: x * x, 3.0)
        >>> value, float(gradient)
        (9.0, 6.0)
    """
    return differentiated(function, len(inputs), variables)(*inputs, *(v.value for v in variables))


def differentiated(
    function: Callable[..., Any],
    inputs: int,
    variables: Sequence[Any] = (),
    run: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda plain: plain,
) -> Callable[..., tuple[float, list[Any]]]:
    """As `value_and_gradient`, to be called often: with the inputs and then the variables' values.

    Args:
        function: scalar, of the inputs.
        inputs: how many.
        variables: Keras variables that it reads.
        run: `compiled` or `quick`, to run it so.
    """
    import keras
    import numpy as np
    from keras import ops

    both = run(_GRADIENT[keras.backend.backend()](stateless(function, inputs, variables)))

    def call(*values: Any) -> tuple[float, list[Any]]:
        value, gradients = both(*(ops.convert_to_tensor(each) for each in values))
        return float(value), [np.asarray(ops.convert_to_numpy(g), dtype="float64") for g in gradients]

    return call


def stateless(function: Callable[..., Any], inputs: int, variables: Sequence[Any]) -> Callable[..., Any]:
    """A function of its inputs and then of the variables' values, that leaves the variables alone."""
    import keras

    def call(*values: Any) -> Any:
        state = list(zip(variables, values[inputs:], strict=True))
        with keras.StatelessScope(state_mapping=state):
            return function(*values[:inputs])

    return call


def _jax_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    import jax

    return lambda *leaves: jax.value_and_grad(function, argnums=tuple(range(len(leaves))))(*leaves)


def _tensorflow_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def run(*leaves: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            value = function(*leaves)
        gradients = tape.gradient(value, leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return value, [tf.convert_to_tensor(each) for each in gradients]

    return run


def _torch_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    def run(*leaves: Any) -> tuple[Any, list[Any]]:
        with torch.enable_grad():
            watched = [leaf.detach().clone().requires_grad_() for leaf in leaves]
            value = function(*watched)
            gradients = torch.autograd.grad(value, watched, allow_unused=True)
        return value.detach(), [
            torch.zeros_like(leaf) if g is None else g for leaf, g in zip(watched, gradients, strict=True)
        ]

    return run


_GRADIENT: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "jax": _jax_gradient,
    "tensorflow": _tensorflow_gradient,
    "torch": _torch_gradient,
}


def release() -> None:
    """Gives memory of an accelerator that is held for reuse back to others, where the backend can."""
    import keras

    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors compiled by XLA on JAX and TensorFlow.

    On torch it comes back as it is: Keras trains eagerly there, and `torch.compile` wants a C++ compiler
    on the machine.
    """
    import keras

    name = keras.backend.backend()
    if name == "jax":
        import jax

        return jax.jit(function)  # type: ignore[no-any-return]
    if name == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)  # type: ignore[no-any-return]
    return function


def quick(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, compiled on JAX, which eagerly compiles each operation for each shape anew."""
    import keras

    return compiled(function) if keras.backend.backend() == "jax" else function


# ----------------------------------------------------------------- exports


def torch_onnx(encoder: Any, path: str, items: Any) -> None:
    """Writes an encoder on torch as ONNX for any number of items, traced by torch.export.

    Keras traces such exports by the older TorchScript, which cannot express a layer normalisation then.

    Args:
        encoder: a Keras model.
        path: of the file.
        items: some, an array or a dict of arrays.
    """
    import torch

    names = sorted(items) if isinstance(items, dict) else ["items"]

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, *leaves: Any) -> Any:
            whole = dict(zip(names, leaves, strict=True)) if isinstance(items, dict) else leaves[0]
            return self.encoder(whole, training=False)

    leaves = tuple(torch.tensor(items[name] if isinstance(items, dict) else items) for name in names)
    batch = torch.export.Dim("batch", min=1)
    traced = torch.onnx.export(
        Flat().eval(),
        leaves,
        dynamo=True,
        dynamic_shapes=(tuple({0: batch} for _ in leaves),),
        input_names=names,
        verbose=False,
    )
    traced.save(path)


def run_saved_model(path: str, items: Any) -> Any:
    """What the endpoint `serve` of a SavedModel gives, as NumPy."""
    import tensorflow as tf

    whole = {name: tf.constant(leaf) for name, leaf in items.items()} if isinstance(items, dict) else items
    loaded = tf.saved_model.load(path)  # held: its variables die with it
    return loaded.serve(whole).numpy()


def main(arguments: list[str]) -> None:
    """`python -m siamkit.backend._device NAME` prints the version and devices of a backend, as JSON."""
    version, devices = ASK[arguments[0]]()
    told: dict[str, Any] = {"version": str(version), "devices": devices}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
