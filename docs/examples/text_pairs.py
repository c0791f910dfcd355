"""An LSTM on pairs of token ids, cosine similarity row by row, mean squared error against graded scores.

Vocabulary 10000, length 50. A text is about one topic first and about another one then; the similarity of two
texts is the share of these two that they have in common. Half of the pairs have the same two topics, half of
these in the other order, so that the words alone do not decide. Prints the rank correlation on new texts.

    python docs/examples/text_pairs.py
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import siamkit

VOCABULARY, LENGTH, TOPICS, WORDS = 10_000, 50, 4, 25


def texts(topics: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Token ids `(n, 50)`, padded with 0 at the end, of texts about first and second topics `(n, 2)`."""
    topic_words = np.random.default_rng(1).choice(np.arange(1, VOCABULARY), (TOPICS, WORDS), replace=False)
    count = len(topics)
    lengths = rng.integers(8, LENGTH // 2, size=(count, 1))
    turns = rng.integers(3, lengths - 3)  # where the second topic begins
    steps = np.arange(LENGTH)
    of = np.where(steps < turns, topics[:, :1], topics[:, 1:])
    tokens = topic_words[of, rng.integers(0, WORDS, size=(count, LENGTH))]
    return np.where(steps < lengths, tokens, 0).astype("int32")


def two_topics(count: int, rng: np.random.Generator) -> np.ndarray:
    """A first and another second topic for each text, `(count, 2)`."""
    first = rng.integers(0, TOPICS, size=count)
    return np.stack([first, (first + rng.integers(1, TOPICS, size=count)) % TOPICS], axis=1)


def pairs(count: int, rng: np.random.Generator) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Pairs of texts and their similarity: 0, 0.5 or 1."""
    left, other = two_topics(count, rng), two_topics(count, rng)
    kind = rng.integers(0, 4, size=(count, 1))  # the same topics, in the same order or swapped; or others
    right = np.where(kind == 0, left, np.where(kind == 1, left[:, ::-1], other))
    return (texts(left, rng), texts(right, rng)), (left == right).mean(axis=1).astype("float32")


def main(count: int = 2048, epochs: int = 6, seed: int = 0, encoder: Any = None) -> float:
    """Trains an LSTM, or another encoder, and returns Spearman's correlation on fresh pairs."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = siamkit.build(
        encoder or {"lstm": {"units": 32, "token_dim": 16}},
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
