"""One convolution on pairs of 64×64×3 images, Euclidean distance, contrastive loss (Hadsell et al. 2006).

The images show a disc, a square or a cross of any size and color on a noisy ground; two are alike if the
shapes are in the same quarter of the image, whatever they look like. An encoder that averages over all places
cannot tell. Prints how well the distance tells alike from unlike on images never seen.

    python docs/examples/image_pairs.py
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import siamkit

PLACES = 4


def classic() -> keras.Model:
    """The classic network, layer by layer; the name `"cnn"` in its place does as well."""
    return keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(16),
            keras.layers.UnitNormalization(),
        ]
    )


def draw(place: int, rng: np.random.Generator) -> np.ndarray:
    """A shape of any kind, size and color in a quarter of the image, `(64, 64, 3)`."""
    radius = rng.integers(6, 12)
    x0, y0 = 16 + 32 * np.array(divmod(place, 2)) + rng.integers(-4, 5, size=2)
    y, x = np.mgrid[:64, :64]
    dx, dy = abs(x - x0), abs(y - y0)
    inside = [
        dx**2 + dy**2 <= radius**2,
        (dx <= radius) & (dy <= radius),
        ((dx <= 2) & (dy <= radius)) | ((dy <= 2) & (dx <= radius)),
    ][rng.integers(3)]
    image = rng.uniform(0, 0.6, size=(64, 64, 3))
    image[inside] = rng.uniform(0.4, 1.0, size=3)
    return image.astype("float32")


def pairs(count: int, rng: np.random.Generator) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Pairs of images, half of them alike, and 1 or 0."""
    alike = np.arange(count) % 2
    left = rng.integers(0, PLACES, size=count)
    right = np.where(alike == 1, left, (left + rng.integers(1, PLACES, size=count)) % PLACES)
    images = tuple(np.stack([draw(place, rng) for place in side]) for side in (left, right))
    return images, alike.astype("int32")


def main(count: int = 512, epochs: int = 8, seed: int = 0, encoder: Any = None) -> float:
    """Trains the classic network, or another encoder, and returns the ROC AUC on fresh pairs."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = siamkit.build(
        encoder or classic(),
        "euclidean",
        {"contrastive": {"neg_margin": 1.0}},
        embedding_dim=16,
        input_shape=(64, 64, 3),
        optimizer=keras.optimizers.Adam(1e-3),
    )
    images, alike = pairs(count, rng)
    model.fit(images, alike, batch_size=64, epochs=epochs, verbose=0)

    (left, right), alike = pairs(256, rng)
    embeddings = np.stack([model.embed(left), model.embed(right)], axis=1)
    measures = siamkit.evaluate(embeddings, alike, metric="euclidean")
    model.threshold = measures["threshold"]
    right_answers = (model.same(left, right) == (alike == 1)).mean()
    print(
        f"fresh pairs: ROC AUC {measures['roc_auc']:.3f}, right at distance {model.threshold:.3f}: "
        f"{right_answers:.1%}"
    )
    return float(measures["roc_auc"])


if __name__ == "__main__":
    main()
