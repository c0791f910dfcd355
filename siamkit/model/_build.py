"""A compiled Siamese model from names."""

from __future__ import annotations

from typing import Any

from siamkit.encoders.get import get_encoder
from siamkit.errors import ComponentError, nearest
from siamkit.losses.get import get_loss
from siamkit.metrics.get import get_metric
from siamkit.model.siamese import Siamese
from siamkit.registry.lookup import resolve_spec, split_name
from siamkit.registry.registry import components
from siamkit.registry.specs import Kind


def build(
    encoder: Any = "cnn",
    metric: Any = "cosine",
    loss: Any = "triplet",
    *,
    embedding_dim: int = 64,
    input_shape: tuple[int, ...] | None = None,
    optimizer: Any = "adam",
    normalize: bool = True,
    **needs: Any,
) -> Siamese:
    """Return a compiled Siamese model from names.

    Args:
        encoder, metric, loss: names, mappings `{name: parameters}`, or objects.
        embedding_dim: numbers in an embedding.
        input_shape: of one item, without the batch; needed unless the encoder is an object.
        optimizer: as in `keras.Model.compile`.
        normalize: whether the encoder ends in unit length.
        **needs: the facts about the data that the components need: `num_classes`, `vocabulary_size`, …

    Raises:
        ComponentError: an unknown name or argument, or components that do not fit together.

    Example:
        >>> import siamkit
        >>> model = siamkit.build("mlp", "euclidean", "triplet", embedding_dim=8, input_shape=(10,))
        >>> model.embedding_dim
        8
    """
    _check_known(needs)
    shape = {} if input_shape is None else {"input_shape": input_shape}
    if split_name("encoder", encoder)[0] is not None:
        encoder = get_encoder(
            encoder,
            embedding_dim=embedding_dim,
            normalize=normalize,
            **shape,
            **_needed("encoder", encoder, needs),
        )
    if split_name("loss", loss)[0] is not None:
        loss = get_loss(loss, **_needed("loss", loss, needs))
    model = Siamese(encoder, get_metric(metric))
    model.compile(optimizer=optimizer, loss=loss)
    return model


def _check_known(needs: dict[str, Any]) -> None:
    specs = [entry.spec for catalog in components().catalogs() for entry in catalog.all()]
    known = {need for spec in specs for need in spec.needs}
    for name in needs:
        if name not in known:
            raise ComponentError(
                f"build has no argument {name!r}; {nearest(name, known)} Parameters of a "
                "component go with its name: {'triplet': {'margin': 1.0}}."
            )


def _needed(kind: Kind, component: Any, needs: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that this component needs."""
    return {key: needs[key] for key in resolve_spec(kind, component).needs if key in needs}
