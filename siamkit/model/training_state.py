"""What training adds to a model: the loss's state, and steps that Keras's optimizers lack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from siamkit.backend.select import backend_module
from siamkit.losses.base import Loss
from siamkit.losses.wrappers import LossStates
from siamkit.registry.registry import family


@dataclass(frozen=True)
class Numbers:
    """The numbers of a loss, for a compiled step.

    Not a weight: Keras does not find the variable in here, so it is neither counted nor saved.

    Args:
        places: each loss, among those that a loss wraps, with the name of a number of it.
        variable: the numbers, `(places,)`.
    """

    places: list[tuple[Loss, str]]
    variable: keras.Variable

    @classmethod
    def of(cls, loss: Any) -> Numbers | None:
        """Return the numbers of a loss; None if it has none, or the backend keeps no compiled steps."""
        if not isinstance(loss, Loss) or not backend_module().EAGER_COMPILES:
            return None
        losses = [each for each in family(loss) if isinstance(each, Loss)]
        places = [(each, name) for each in losses for name in each.numbers]
        places = [(each, name) for each, name in places if isinstance(getattr(each, name), float)]
        if not places:
            return None
        values = [getattr(each, name) for each, name in places]
        return cls(places, keras.Variable(values, trainable=False, dtype="float32", name="loss_numbers"))

    def read(self) -> None:
        """Take the values that the loss has now."""
        self.variable.assign([getattr(each, name) for each, name in self.places])

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let the loss compute with the variable's values in place of its own."""
        own = [getattr(each, name) for each, name in self.places]
        try:
            for index, (each, name) in enumerate(self.places):
                setattr(each, name, self.variable.value[index])
            yield
        finally:
            for value, (each, name) in zip(own, self.places, strict=True):
                setattr(each, name, value)


@keras.saving.register_keras_serializable("siamkit")
class LossStateHolder(keras.layers.Layer):
    """A layer that holds the state of the compiled loss: a built Keras model accepts no new layer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.state: keras.layers.Layer | None = None
        self.numbers: Numbers | None = None
        self.built = True  # it has no weights of its own

    @property
    def variables(self) -> list[Any]:
        """The state's variables, and the loss's numbers, which a step takes with them."""
        numbers = [] if self.numbers is None else [self.numbers.variable]
        return [*super().variables, *numbers]

    def hold(self, state: keras.layers.Layer | None, embedding_dim: int | None) -> None:
        """Replace the state, and build it if the embedding dimension is known."""
        if self.state is not state:
            # Assigning over a layer, or deleting it, leaves its weights among the trainable ones.
            self._tracker.untrack(self.state)
            del self.state
            self.state = state
        if state is not None and not state.built and embedding_dim is not None:
            state(keras.KerasTensor((1, embedding_dim)))


def multiply_steps(optimizer: Any, state: Callable[[], keras.layers.Layer | None]) -> None:
    """Multiply each optimizer step of the weights in a loss's state by its `learning_rate_multiplier`.

    A Keras optimizer has no parameter groups, and scaling gradients does not change the steps of Adam. So the
    optimizer steps as usual, and the step is then lengthened: w ← w_old + m (w_new - w_old). A learning rate
    m times as high would do the same under SGD, momentum and Adam.

    Args:
        optimizer: the optimizer of a compiled model; it is changed in place, its config is not.
        state: function that returns the loss's state at the time of a step.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # a LossScaleOptimizer steps through it
    step = type(optimizer).apply

    def apply(grads: Any, trainable_variables: Any = None) -> None:
        # Copies: torch steps in place.
        before = [(weight, factor, ops.copy(weight.value)) for weight, factor in multiplied(state())]
        step(optimizer, grads, trainable_variables)
        averages = averaged(optimizer) if before else {}
        for weight, factor, old in before:
            added = (factor - 1) * (weight.value - old)
            weight.assign(weight.value + added)
            if (average := averages.get(id(weight))) is not None:  # it has the short step already
                # The first average is the weight itself.
                share = ops.where(optimizer.iterations > 1, 1 - optimizer.ema_momentum, 1.0)
                average.assign(average.value + ops.cast(share, average.dtype) * added)

    optimizer.apply = apply


def multiplied(state: keras.layers.Layer | None) -> list[tuple[Any, float]]:
    """Return the trained weights of a state with their multipliers, except multipliers of 1."""
    by_id: dict[int, tuple[Any, float]] = {}  # a loss that is wrapped twice has its state there twice
    for layer in _leaves(state):
        factor = float(getattr(layer, "learning_rate_multiplier", 1.0))
        if factor != 1.0:
            by_id |= {id(weight): (weight, factor) for weight in layer.trainable_variables}
    return list(by_id.values())


def _leaves(state: keras.layers.Layer | None) -> list[keras.layers.Layer]:
    """Return the states that a state is made of at any depth, or the state itself."""
    if isinstance(state, LossStates):
        return [leaf for inner in state.states for leaf in _leaves(inner)]
    return [] if state is None else [state]


def schedule_steps(optimizer: Any, share: Callable[[Any], Any]) -> None:
    """Let the learning rate of an optimizer follow a schedule; its own learning rate is the peak.

    A schedule of Keras is part of the compiled step and of the model's file: each peak would be compiled
    again, and a model whose schedule has ended could not be trained further. Here the peak is a variable, and
    the file has an optimizer with it. So a model that is loaded to continue needs this call again.

    Args:
        optimizer: the optimizer of a compiled model; it is changed in place, its config is not.
        share: function of the number of steps so far, a float tensor, that returns the share of the peak.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    step = optimizer.apply

    def apply(grads: Any, trainable_variables: Any = None) -> None:
        rate = optimizer.learning_rate
        peak = ops.copy(rate.value)
        rate.assign(peak * ops.cast(share(ops.cast(optimizer.iterations, "float32")), rate.dtype))
        step(grads, trainable_variables)
        rate.assign(peak)

    optimizer.apply = apply


def averaged(optimizer: Any) -> dict[int, Any]:
    """Return the averages that an optimizer with `use_ema` keeps, by the id of their weight."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.use_ema:
        return {}
    # Keras has no public way to them; its callback SwapEMAWeights takes the same.
    pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
    return {id(weight): average for weight, average in pairs if average is not None}


def swap_averages(model: keras.Model) -> None:
    """Exchange the weights of a model for the averages that its optimizer keeps of them, or back."""
    averages = averaged(model.optimizer)
    for weight in model.trainable_variables:
        if (average := averages.get(id(weight))) is not None:
            value = ops.copy(weight.value)
            weight.assign(average.value)
            average.assign(value)


def portable(config: Any) -> Any:
    """Return an optimizer's config for any backend: on torch, Keras names torch's own classes in it."""
    if not isinstance(config, dict):
        return config
    config = {key: portable(value) for key, value in config.items()}
    if str(config.get("module")).startswith("keras.src.backend."):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config
