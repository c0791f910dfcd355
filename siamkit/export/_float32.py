"""Models of mixed precision turned into float32, as other runtimes need them."""

from __future__ import annotations

from typing import Any

import keras


def in_float32(model: keras.Model) -> keras.Model:
    """Return the model if it computes in float32 throughout, else a copy that does, with the same weights."""
    config = keras.saving.serialize_keras_object(model)
    float32_config = _replaced(config)
    if float32_config == config:
        return model
    copy = keras.saving.deserialize_keras_object(float32_config)
    copy.set_weights(model.get_weights())
    return copy


def _replaced(config: Any) -> Any:
    """Return a configuration with float32 in place of every other dtype policy."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {
            key: "float32" if key == "dtype" and str(value).startswith("mixed_") else _replaced(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_replaced(item) for item in config)
    return config
