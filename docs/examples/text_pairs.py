"""An LSTM on pairs of token ids, cosine similarity row by row, mean squared error against graded scores.

Vocabulary 10000, length 50. The texts mix words of a few topics; the right similarity of two texts is the
cosine of their topic shares. Prints the rank correlation on texts never seen.

    python docs/examples/text_pairs.py
"""

from __future__ import annotations

import keras
import numpy as np

import siamkit

VOCABULARY, LENGTH, TOPICS, WORDS = 10_000, 50, 4, 25


def texts(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Token ids `(count, 50)`, padded with 0 at the end, and topic shares `(count, 4)`."""
    topic_words = np.random.default_rng(1).choice(np.arange(1, VOCABULARY), (TOPICS, WORDS), replace=False)
    shares = rng.dirichlet(np.full(TOPICS, 0.4), size=count)
    topics = np.stack([rng.choice(TOPICS, size=LENGTH, p=share) for share in shares])
    tokens = topic_words[topics, rng.integers(0, WORDS, size=(count, LENGTH))]
    lengths = rng.integers(20, LENGTH + 1, size=(count, 1))
    return np.where(np.arange(LENGTH) < lengths, tokens, 0).astype("int32"), shares


def pairs(count: int, rng: np.random.Generator) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Pairs of texts and their similarity in [0, 1]."""
    (left, a), (right, b) = texts(count, rng), texts(count, rng)
    scores = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return (left, right), scores.astype("float32")


def main(count: int = 2048, epochs: int = 6, seed: int = 0) -> float:
    """Trains, and returns Spearman's correlation on fresh pairs."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = siamkit.build(
        {"lstm": {"units": 32, "token_dim": 16}},
        "cosine",
        "cosine_mse",
        embedding_dim=16,
        input_shape=(LENGTH,),
        vocabulary_size=VOCABULARY,
        optimizer=keras.optimizers.Adam(1e-2),
    )
    both, scores = pairs(count, rng)
    model.fit(both, scores, batch_size=64, epochs=epochs, verbose=0)

    (left, right), scores = pairs(512, rng)
    embeddings = np.stack([model.embed(left), model.embed(right)], axis=1)
    measures = siamkit.evaluate(embeddings, scores, metric="cosine")
    print(f"fresh pairs: Spearman {measures['spearman']:.3f}, Pearson {measures['pearson']:.3f}")
    return float(measures["spearman"])


if __name__ == "__main__":
    main()
