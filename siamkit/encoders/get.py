"""Encoders by name."""

from __future__ import annotations

from typing import Any

import keras

from siamkit.registry.lookup import get_component


def get_encoder(encoder: Any, /, **params: Any) -> keras.Model:
    """Return an encoder by name, or the given encoder itself.

    Args:
        encoder: a name, a mapping `{name: parameters}`, or a `keras.Model` (returned as it is).
        **params: `input_shape` and `embedding_dim`, `normalize` (True by default), the encoder's own
            parameters, and the facts about the data that it needs (`vocabulary_size`, for example).

    Raises:
        ComponentError: no such encoder or parameter, or a value that is not valid.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("mlp", input_shape=(10,), embedding_dim=4, depth=1).output_shape
        (None, 4)
    """
    return get_component("encoder", encoder, params, keras.Model)
