"""The use of a trained model: embed items, compare them, decide whether two are the same, and save it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from siamkit.data.dataset import length
from siamkit.data.preprocessing import Preprocessor
from siamkit.encoders.base import as_items, on_host
from siamkit.encoders.tokens import check_token_ids
from siamkit.errors import ModelError
from siamkit.evaluation.measures import Threshold, ThresholdRule, as_threshold
from siamkit.evaluation.verification import chosen_threshold
from siamkit.io.files import atomic_path
from siamkit.metrics.base import Metric


class EmbeddingModel(keras.Model):
    """The base of `Siamese`: encoders, a metric, a preprocessor and a threshold, without training."""

    encoders: list[keras.Model]
    metric: Metric
    preprocessor: Preprocessor | None
    threshold_rule: ThresholdRule

    @property
    def threshold(self) -> float | None:
        """The threshold in the metric's orientation; None if it is not known yet.

        Setting it to a rule, such as `"f1"`, clears the number and says how `calibrate` chooses the next one.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: Threshold | None) -> None:
        found = None if threshold is None else as_threshold(threshold)
        if isinstance(found, ThresholdRule):
            self.threshold_rule, found = found, None
        self._threshold: float | None = found

    @property
    def encoder(self) -> keras.Model:
        """The shared encoder, or the first of two towers."""
        return self.encoders[0]

    def embed(
        self, x: Any, side: int = 0, batch_size: int = 256, *, preprocessed: bool = False
    ) -> np.ndarray:
        """Embed items.

        Args:
            x: one view of n raw items, an array or a dict of arrays. Images of different sizes may be a list
                of arrays.
            side: the tower to use, 0 or 1, if there are two.
            batch_size: number of items in a batch; all batches are full, so that nothing recompiles.
            preprocessed: whether the items are already preprocessed, as for `fit`.

        Returns:
            `(n, dim)` float32.

        Warns:
            UserWarning: texts are cut, or token ids are unknown; the message has their number.
        """
        if self.preprocessor is not None and not preprocessed:
            x = on_host(x)
            if altered := self.preprocessor.altered(x):
                warnings.warn(altered.sentence(), stacklevel=2)
            x = self.preprocessor(x)
        if not 0 <= side < len(self.encoders):
            raise ModelError(f"side should be from 0 to {len(self.encoders) - 1}, got {side!r}")
        if isinstance(x, (tuple, list)):
            raise ModelError(
                f"expected one view of n items, an array or a dict of arrays, got a {type(x).__name__}"
            )
        x = as_items(self.encoders[side], x)
        check_token_ids(self.encoders[side], x)
        count = length(x)
        size = min(batch_size, 1 << (count - 1).bit_length())
        padded = tree.map_structure(lambda leaf: _pad(leaf, -count % size), x)
        embeddings = self.encoders[side].predict(padded, batch_size=size, verbose=0)
        return np.asarray(embeddings[:count], dtype="float32")

    def embed_views(
        self, views: Sequence[Any], batch_size: int = 256, *, preprocessed: bool = False
    ) -> np.ndarray:
        """Embed the views of n items.

        Args:
            views: one view, or several; the second of two towers embeds all views except the first.
            batch_size, preprocessed: parameters as for `embed`.

        Returns:
            `(n, dim)` float32 for one view, `(n, views, dim)` for several.
        """
        last = len(self.encoders) - 1
        embeddings = [
            self.embed(view, min(side, last), batch_size, preprocessed=preprocessed)
            for side, view in enumerate(views)
        ]
        return embeddings[0] if len(embeddings) == 1 else np.stack(embeddings, axis=1)

    def compare(self, a: Any, b: Any, batch_size: int = 256) -> np.ndarray:
        """Compare raw items row by row.

        Args:
            a, b: n items each.
            batch_size: number of items in a batch.

        Returns:
            `(n,)` float32 in the metric's own orientation.
        """
        left = self.embed(a, 0, batch_size)
        right = self.embed(b, len(self.encoders) - 1, batch_size)
        if len(left) != len(right):
            raise ModelError(f"compare takes as many items on both sides, got {len(left)} and {len(right)}")
        size = 1 << (len(left) - 1).bit_length()
        rows = self.metric(_pad(left, size - len(left)), _pad(right, size - len(right)))
        return np.asarray(ops.convert_to_numpy(rows)[: len(left)], dtype="float32")

    def same(self, a: Any, b: Any, batch_size: int = 256, *, threshold: float | None = None) -> np.ndarray:
        """Return whether raw items are the same, row by row; `(n,)` bool.

        Args:
            a, b: n items each.
            batch_size: number of items in a batch.
            threshold: the threshold in the metric's orientation; by default the model's own.

        Raises:
            ModelError: the model has no threshold, and none is passed.
        """
        limit = self.threshold if threshold is None else as_threshold(threshold)
        if isinstance(limit, ThresholdRule):
            raise ModelError(
                f"same takes a threshold as a number, got {threshold!r}; model.calibrate(a, b, target, "
                f"{threshold!r}) chooses it from pairs with targets"
            )
        if limit is None:
            raise ModelError(
                "the model has no threshold; call model.calibrate(a, b, target), set model.threshold or pass "
                "threshold="
            )
        values, exact = self.compare(a, b, batch_size), np.float32(limit)  # as `evaluate` compares them
        return values <= exact if self.metric.sign > 0 else values >= exact

    def calibrate(
        self, a: Any, b: Any, target: Any, threshold: Threshold | None = None, batch_size: int = 256
    ) -> float:
        """Choose the threshold from pairs of raw items, set it, and return it.

        Use pairs that the model was not trained on: on training pairs the errors look too small.

        Args:
            a, b: n items each.
            target: `(n,)`, 1 for pairs that are the same, 0 for others.
            threshold: how to choose it, as for `siamkit.evaluate`: `"f1"`, `{"far": 1e-3}`, …; by default
                as the model says, which is `balanced_accuracy` unless it was built with another rule.
            batch_size: number of items in a batch.

        Returns:
            The threshold, in the metric's orientation.

        Raises:
            DataError: the targets are not 1 and 0, or no threshold keeps the limit on these pairs.

        Example:
            >>> import numpy as np, siamkit
            >>> model = siamkit.build("mlp", "euclidean", "triplet", embedding_dim=4, input_shape=(3,))
            >>> a = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
            >>> b = np.concatenate([a[:4], a[::-1][:4]])  # four pairs of equal items, four of others
            >>> threshold = model.calibrate(a, b, [1, 1, 1, 1, 0, 0, 0, 0], "f1")
            >>> model.same(a, b).tolist()
            [True, True, True, True, False, False, False, False]
        """
        rule = self.threshold_rule if threshold is None else as_threshold(threshold)
        if not isinstance(rule, ThresholdRule):
            raise ModelError(
                f"calibrate chooses a threshold from pairs; to use {rule:g} set model.threshold = {rule:g}"
            )
        self._threshold = chosen_threshold(self.compare(a, b, batch_size), target, self.metric, rule)
        self.threshold_rule = rule
        return self._threshold

    # ----------------------------------------------------------------- saving

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
        """Save as one `.keras` file, as `keras.Model.save` does; `siamkit.load_model` loads it.

        Raises:
            ModelError: the name has another ending, or the file would be a folder.
        """
        if not str(filepath).endswith(".keras") or zipped is False:
            raise ModelError(
                f"a siamkit model is saved as one .keras file, got {str(filepath)!r}"
                f"{', zipped=False' if zipped is False else ''}; write model.save('model.keras')"
            )
        path = Path(filepath)
        if path.exists() and not overwrite:
            super().save(filepath, overwrite, zipped, **kwargs)  # which asks
            return
        with atomic_path(path) as temporary:  # a full disk must not destroy an older model
            super().save(temporary, overwrite, zipped, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: other runtimes get the encoder, with its input, and the metric as a description.

        Raises:
            ModelError: always; it names what to call.
        """
        raise ModelError(
            "a Siamese model has no single input to export; save it as model.keras and export its encoder: "
            "siamkit.export.export_encoder(model, Path('model.keras'), Path('.'), ['onnx']), or for a study "
            "'siamkit best STUDY --export FOLDER --format onnx'"
        )

    def save_assets(self, inner_path: str) -> None:
        if self.preprocessor is not None:
            self.preprocessor.save(inner_path)

    def load_assets(self, inner_path: str) -> None:
        if (Path(inner_path) / "preprocessor.json").is_file():
            from siamkit.data.preprocessing.columns import load_preprocessor  # late: few models have one

            self.preprocessor = load_preprocessor(inner_path)


def _pad(leaf: np.ndarray, missing: int) -> np.ndarray:
    """Return an array lengthened by repeating its last row."""
    return np.concatenate([leaf, np.repeat(leaf[-1:], missing, axis=0)]) if missing else leaf
