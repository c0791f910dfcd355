"""Models of mixed precision, computing in float32: what other runtimes take."""

from __future__ import annotations

from typing import Any

import keras


def in_float32(model: keras.Model) -> keras.Model:
    """The model if it computes in float32 throughout, else one that does, with the same weights."""
    config = keras.saving.serialize_keras_object(model)
    wanted = _replaced(config)
    if wanted == config:
        return model
    made = keras.saving.deserialize_keras_object(wanted)
    made.set_weights(model.get_weights())
    return made


def _replaced(config: Any) -> Any:
    """A configuration with float32 in the place of every other dtype policy."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {
            key: "float32" if key == "dtype" and str(value).startswith("mixed_") else _replaced(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_replaced(each) for each in config)
    return config
