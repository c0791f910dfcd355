"""An MLP on 10 numbers, (anchor, positive, negative), triplet loss of margin 1.

Only two of the ten numbers tell the classes apart, and those by their product's sign, so no fixed distance
can do it; the rest is louder noise. Prints how often the positive is the nearer one on items never seen.

    python docs/examples/vector_triplets.py
"""

from __future__ import annotations

import keras
import numpy as np

import siamkit


def items(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Items `(n, 10)` of class 0 or 1: the sign of the product of the first two numbers."""
    x = rng.normal(0, 1.5, size=(len(labels), 10))
    x[:, :2] = rng.uniform(0.5, 1.5, size=(len(labels), 2)) * rng.choice([-1, 1], size=(len(labels), 2))
    x[:, 1] = abs(x[:, 1]) * np.sign(x[:, 0]) * np.where(labels == 1, 1, -1)
    return x.astype("float32")


def triplets(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchors, positives of the same class and negatives of the other."""
    labels = rng.integers(0, 2, size=count)
    return items(labels, rng), items(labels, rng), items(1 - labels, rng)


def main(count: int = 4096, epochs: int = 10, seed: int = 0) -> float:
    """Trains, and returns the share of fresh triplets whose positive is nearer than the negative."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = siamkit.build(
        {"mlp": {"depth": 2, "width": 64}},
        "euclidean",
        {"triplet": {"margin": 1.0}},
        embedding_dim=8,
        input_shape=(10,),
        optimizer=keras.optimizers.Adam(3e-3),
    )
    model.fit(triplets(count, rng), batch_size=128, epochs=epochs, verbose=0)

    anchors, positives, negatives = triplets(1024, rng)
    nearer = model.compare(anchors, positives) < model.compare(anchors, negatives)
    print(f"fresh triplets: the positive is nearer in {nearer.mean():.1%}")
    return float(nearer.mean())


if __name__ == "__main__":
    main()
