"""Siamese: a Keras model that embeds with one encoder (or two towers) and compares through a metric."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from siamkit._version import __version__
from siamkit.backend.beyond_keras import encoded_in_parts
from siamkit.data.preprocessing import Preprocessor
from siamkit.encoders.base import check_items
from siamkit.encoders.tokens import check_token_ids
from siamkit.errors import ModelError
from siamkit.evaluation.measures import Threshold, ThresholdRule
from siamkit.io.targets import TargetRule
from siamkit.losses.base import Loss, get_loss
from siamkit.metrics.base import Metric, Tensor, get_metric
from siamkit.model._embedding import EmbeddingModel
from siamkit.model._inputs import checked_items, is_loader, prepared_arguments
from siamkit.model.keras_metrics import bind_metrics
from siamkit.model.training_state import LossStateHolder, Numbers, multiply_steps, portable
from siamkit.registry.registry import family, record_of, set_record


@keras.saving.register_keras_serializable("siamkit")
class Siamese(EmbeddingModel):
    """A Siamese model: an encoder shared by all views (or one for each of two sides), and a metric.

    Called with one view it gives embeddings `(batch, dim)`; called with a tuple or list of v views,
    `(batch, v, dim)`. A view is a tensor or a dict of tensors. A shared encoder gets all views as one
    batch. The model owns the metric's weights, the loss's state, the preprocessor and the threshold.

    Args:
        encoder: any Keras model from one input to `(batch, dim)`; a pair of models for two towers.
        metric: a `siamkit.Metric`, or its name.
        preprocessor: preprocessor that turns raw items into the encoder's input; used by `embed`, `compare`
            and `same`, and saved in the `.keras` file. `fit` and the model itself take prepared arrays.
        threshold: decision threshold, in the metric's orientation: pairs at least as near count as the same;
            or how `calibrate` chooses it, such as `"f1"` or `{"far": 1e-3}`.
        name: the model's name, as in `keras.Model`.

    Raises:
        ModelError: encoders whose embeddings differ in size, or an object that is not a Keras model.

    Example:
        >>> import numpy as np, siamkit
        >>> encoder = siamkit.get_encoder("mlp", input_shape=(10,), embedding_dim=4)
        >>> model = siamkit.Siamese(encoder, "euclidean")
        >>> model.compile("adam", siamkit.get_loss("triplet", margin=1.0))
        >>> x = np.random.default_rng(0).normal(size=(3, 8, 10)).astype("float32")
        >>> history = model.fit((x[0], x[1], x[2]), verbose=0)
        >>> model.embed(x[0]).shape, model.compare(x[0], x[1]).shape
        ((8, 4), (8,))
    """

    def __init__(
        self,
        encoder: Any,
        metric: Any,
        *,
        preprocessor: Preprocessor | None = None,
        threshold: Threshold | None = None,
        name: str = "siamese",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.encoders = list(encoder) if isinstance(encoder, (tuple, list)) else [encoder]
        for tower in self.encoders:
            if not isinstance(tower, keras.Model):
                raise ModelError(f"an encoder is a keras.Model, got {tower!r:.80}")
        if len(self.encoders) not in (1, 2):
            raise ModelError(f"a model has one shared encoder or two towers, got {len(self.encoders)}")
        self.metric: Metric = get_metric(metric)
        self.preprocessor = preprocessor
        self.threshold_rule = ThresholdRule()
        self.threshold = threshold
        self.loss_state_holder = LossStateHolder(name="loss_state")
        self.embedding_dim: int | None = None
        self._loss: Any = None
        self._micro_batch: int | None = None
        if all(each.built and hasattr(each, "output_shape") for each in self.encoders):
            self._complete([each.output_shape for each in self.encoders])

    # --------------------------------------------------------------- building

    def build(self, input_shape: Any) -> None:
        """Build encoders that are not built, then the metric and the loss's state."""
        shapes = list(input_shape) if _is_views(input_shape) else [input_shape]
        if len(self.encoders) == 1:
            shapes = shapes[:1]
        # By symbolic calls: not every encoder has a `build`, or an output shape before one.
        outputs = [encoder(_symbolic(shape)) for encoder, shape in zip(self.encoders, shapes, strict=False)]
        self._complete([output.shape for output in outputs])

    def _complete(self, output_shapes: list[Any]) -> None:
        sizes = {
            shape[-1] if isinstance(shape, tuple) and len(shape) == 2 else None for shape in output_shapes
        }
        if len(sizes) != 1 or None in sizes:
            raise ModelError(
                "an encoder gives embeddings (batch, dim), both towers of one dim; "
                f"got output shapes {output_shapes}"
            )
        (self.embedding_dim,) = sizes
        if not self.metric.built:
            # By a symbolic call, which builds whatever arguments its `build` takes.
            embeddings = keras.KerasTensor((1, self.embedding_dim))
            self.metric(embeddings, embeddings)
        self.loss_state_holder.hold(self.loss_state_holder.state, self.embedding_dim)
        self.built = True

    # ---------------------------------------------------------------- calling

    def call(self, x: Any, training: bool | None = None) -> Tensor:
        if not isinstance(x, (tuple, list)):
            if len(self.encoders) == 2:
                raise ModelError("a model of two towers takes two views, or embed(x, side=0)")
            return self._encoded(self.encoder, x, training)
        if len(self.encoders) == 2:
            if len(x) != 2:
                raise ModelError(f"a model of two towers takes two views, got {len(x)}")
            sides = [
                self._encoded(encoder, view, training) for encoder, view in zip(self.encoders, x, strict=True)
            ]
            return ops.stack(sides, axis=1)
        shapes = [tree.map_structure(lambda leaf: tuple(leaf.shape), view) for view in x]
        if any(shape != shapes[0] for shape in shapes):
            raise ModelError(
                "the views of one item should be alike in structure and shape, got "
                f"{' and '.join(map(str, shapes))}"
            )
        together = tree.map_structure(lambda *leaves: ops.concatenate(leaves, axis=0), *x)
        encoded = self._encoded(self.encoder, together, training)
        # `(views * batch, dim)` -> `(batch, views, dim)`
        stacked = ops.reshape(encoded, (len(x), -1, encoded.shape[-1]))
        return ops.transpose(stacked, (1, 0, 2))

    def _encoded(self, encoder: keras.Model, x: Any, training: bool | None) -> Tensor:
        if self._micro_batch is None:
            return encoder(x, training=training)
        return encoded_in_parts(encoder, x, self._micro_batch, training)

    # --------------------------------------------------------------- training

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *,
        micro_batch: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Compile as `keras.Model.compile` does; the loss may be a name, and is bound to the model's metric.

        Measures of embeddings for `metrics=` are made by `siamkit.metrics_for`.

        With `micro_batch=64` the loss compares all items of a batch, but the encoder gets 64 at once, so a
        batch may be larger than memory. Gradients are those of the whole batch: each micro-batch is encoded
        twice, with the same dropout (GradCache: Gao et al. 2021, https://arxiv.org/abs/2101.06983). A step
        takes about a third longer. Batch normalisation is refused unless its layers are frozen.

        Args:
            optimizer, loss: as in Keras.
            micro_batch: how many items an encoder gets at once, each view counted; None for all of a batch.
            **kwargs: other arguments, as in Keras.

        Raises:
            ModelError: a loss that is compiled into another model, or bound to another metric; metrics that
                compare class scores with classes; a `micro_batch` that is not an integer of at least 1. When
                training begins: an encoder whose layers see the batch as a whole.
            ComponentError: a loss that cannot compare through the metric.

        Example:
            >>> import numpy as np, siamkit
            >>> model = siamkit.build("mlp", "cosine", "sup_con", embedding_dim=4, input_shape=(3,))
            >>> model.compile("adam", "sup_con", micro_batch=64)
            >>> x = np.random.default_rng(0).normal(size=(512, 3)).astype("float32")
            >>> history = model.fit(x, np.arange(512) % 8, batch_size=256, verbose=0)
        """
        if micro_batch is not None and (type(micro_batch) is not int or micro_batch < 1):
            raise ModelError(f"micro_batch should be an integer of at least 1, got {micro_batch!r}")
        self._micro_batch = micro_batch
        if loss is not None:
            loss = get_loss(loss)
            if isinstance(loss, Loss):  # any other keras.losses.Loss compares by itself
                loss.bind(self.metric, self)
                bind_metrics(self.metric, kwargs.get("metrics"), kwargs.get("weighted_metrics"))
        self._loss = loss
        self.loss_state_holder.hold(loss.state if isinstance(loss, Loss) else None, self.embedding_dim)
        self.loss_state_holder.numbers = Numbers.of(loss)
        # `compute_loss` calls the loss; Keras would wrap it, and trace the wrapper in each `fit`.
        super().compile(optimizer=optimizer, loss=None, **kwargs)
        self.loss = loss
        self._jit_asked = kwargs.get("jit_compile", "auto")
        multiply_steps(self.optimizer, lambda: self.loss_state_holder.state)

    def make_train_function(self, force: bool = False) -> Any:
        self._read_numbers()
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        self._read_numbers()
        return super().make_test_function(force)

    def _read_numbers(self) -> None:
        """Let compiled steps compute with the numbers that the loss has now."""
        if self.loss_state_holder.numbers is not None:
            self.loss_state_holder.numbers.read()

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `keras.Model.fit` does; labels may be names or numbers of 64 bits, in any container.

        Batches of a loader (a PyDataset, generator, tf.data.Dataset or torch DataLoader) have labels of whole
        numbers of 32 bits; other labels are refused when their batch is loaded.

        Raises:
            DataError: a target is missing, or means nothing to the loss; or a token id is not in the
                vocabulary of the encoder.
            ModelError: a loss with class proxies has no proxies for some class ids.
        """
        with prepared_arguments(
            super().fit, self._target_rule, self._check_items, (x, y, *args), kwargs
        ) as arguments:
            return super().fit(**arguments)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as `keras.Model.evaluate` does; `y` as for `fit`."""
        with prepared_arguments(
            super().evaluate, self._target_rule, self._check_items, (x, y, *args), kwargs
        ) as arguments:
            return super().evaluate(**arguments)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Train on one batch as `keras.Model.train_on_batch` does; labels are whole numbers of 32 bits."""
        method = super().train_on_batch
        with prepared_arguments(
            method, self._target_rule, self._check_items, args, kwargs, whole=False
        ) as arguments:
            return method(**arguments)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate one batch as `keras.Model.test_on_batch` does; labels are whole numbers of 32 bits."""
        method = super().test_on_batch
        with prepared_arguments(
            method, self._target_rule, self._check_items, args, kwargs, whole=False
        ) as arguments:
            return method(**arguments)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict as `keras.Model.predict` does, after a check of items in arrays."""
        if not is_loader(x):
            x = checked_items(x, self._check_items)
        return super().predict(x, *args, **kwargs)

    def _check_items(self, x: Any) -> None:
        """Refuse prepared items that their encoder cannot take: of another shape, or unknown token ids."""
        views = x if isinstance(x, (tuple, list)) else [x]
        for side, view in enumerate(views):
            encoder = self.encoders[min(side, len(self.encoders) - 1)]
            if all(isinstance(leaf, np.ndarray) or ops.is_tensor(leaf) for leaf in tree.flatten(view)):
                check_items(encoder, view)
            check_token_ids(encoder, view)

    @property
    def _target_rule(self) -> TargetRule | None:
        return self._loss.target_rule if isinstance(self._loss, Loss) else None

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        if self._loss is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        # Not by Keras's own method: it casts class ids to a float dtype and needs a y.
        if isinstance(self._loss, Loss):
            numbers = self.loss_state_holder.numbers
            with nullcontext() if numbers is None else numbers.lent():
                total = self._loss.of_checked(y, y_pred, sample_weight, training)
        else:
            total = self._loss(y, y_pred, sample_weight)
        for extra in self.losses:
            total = total + ops.sum(ops.cast(extra, total.dtype))
        return total

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Print the summary as `keras.Model.summary` does, with the total of the model's own parameters."""
        compiled = getattr(self, "compiled", False)
        self.compiled = False  # else Keras adds the optimizer's to the total
        try:
            super().summary(*args, **kwargs)
        finally:
            self.compiled = compiled

    # ----------------------------------------------------------------- saving

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "encoders": [keras.saving.serialize_keras_object(each) for each in self.encoders],
            "metric": keras.saving.serialize_keras_object(self.metric),
            "threshold": self.threshold,
            "threshold_rule": str(self.threshold_rule),
            "components": {
                "siamkit": __version__,
                "encoder": [record_of(each) for each in self.encoders],
                "metric": [record_of(self.metric)],
                "loss": [record_of(each) for each in family(self._loss)],
            },
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Siamese:
        made = keras.saving.deserialize_keras_object
        records = config["components"]
        encoders = [made(each, custom_objects) for each in config["encoders"]]
        metric = made(config["metric"], custom_objects)
        for each, record in zip([*encoders, metric], [*records["encoder"], *records["metric"]], strict=True):
            set_record(each, record)
        model = cls(encoders, metric, threshold=config.get("threshold_rule"), name=config["name"])
        model.threshold = config["threshold"]
        model._loss_records = records["loss"]
        return model

    def get_compile_config(self) -> Any:
        config = super().get_compile_config()
        if not config:
            return config
        if "optimizer" not in config:
            raise ModelError(
                "keras.saving.save_model wrote this model in another format and dropped its optimizer; "
                "compile the model again, then write model.save('model.keras')"
            )
        # Keras writes what "auto" came to here, which on another backend may be the wrong answer.
        return {
            **config,
            "loss": keras.saving.serialize_keras_object(self.loss),
            "jit_compile": self._jit_asked,
            "micro_batch": self._micro_batch,
            "optimizer": portable(config["optimizer"]),
            "optimizer_built": self.optimizer.built,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = keras.saving.deserialize_keras_object(config)
        optimizer_built = config.pop("optimizer_built")
        for each, record in zip(family(config.get("loss")), getattr(self, "_loss_records", []), strict=False):
            set_record(each, record)
        self.compile(**config)
        if optimizer_built:  # a model that never trained has no such state in its file
            self.optimizer.build(self.trainable_variables)


def _is_views(shape: Any) -> bool:
    """Return whether a shape describes several views: a sequence of shapes, not of sizes."""
    return isinstance(shape, (tuple, list)) and bool(shape) and isinstance(shape[0], (tuple, list, dict))


def _symbolic(shape: Any) -> Any:
    """Return a symbolic tensor of a shape, or a dict of them."""
    if isinstance(shape, dict):
        return {name: _symbolic(each) for name, each in shape.items()}
    return keras.KerasTensor(shape)
