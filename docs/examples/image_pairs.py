"""A CNN on pairs of 64×64×3 images, Euclidean distance, contrastive loss (Hadsell et al. 2006).

The images show a disc, a square or a cross of any size and place; two are alike if their shapes are both
mostly red, mostly green or mostly blue, whatever the shape. Prints how well the distance tells alike
from unlike on images never seen.

    python docs/examples/image_pairs.py
"""

from __future__ import annotations

import keras
import numpy as np

import siamkit

HUES = 3


def draw(hue: int, rng: np.random.Generator) -> np.ndarray:
    """A disc, a square or a cross, mostly red, green or blue, on a noisy ground, `(64, 64, 3)`."""
    radius = rng.integers(8, 20)
    x0, y0 = rng.integers(radius + 1, 63 - radius, size=2)
    y, x = np.mgrid[:64, :64]
    dx, dy = abs(x - x0), abs(y - y0)
    inside = [
        dx**2 + dy**2 <= radius**2,
        (dx <= radius) & (dy <= radius),
        ((dx <= 3) & (dy <= radius)) | ((dy <= 3) & (dx <= radius)),
    ][rng.integers(3)]
    color = rng.uniform(0.1, 0.5, size=3)
    color[hue] = rng.uniform(0.6, 1.0)
    image = rng.uniform(0, 0.6, size=(64, 64, 3))
    image[inside] = color
    return image.astype("float32")


def pairs(count: int, rng: np.random.Generator) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Pairs of images, half of them alike, and 1 or 0."""
    alike = np.arange(count) % 2
    left = rng.integers(0, HUES, size=count)
    right = np.where(alike == 1, left, (left + rng.integers(1, HUES, size=count)) % HUES)
    images = tuple(np.stack([draw(hue, rng) for hue in side]) for side in (left, right))
    return images, alike.astype("int32")


def main(count: int = 512, epochs: int = 8, seed: int = 0) -> float:
    """Trains, and returns the area under the ROC curve on fresh pairs."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = siamkit.build(
        {"cnn": {"depth": 3, "filters": 8}},
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
