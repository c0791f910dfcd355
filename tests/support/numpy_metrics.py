"""Metrics in plain NumPy, for tests of evaluation: whatever is written of them here is the expectation."""

import numpy as np


class Euclidean:
    orientation = "distance"

    def __call__(self, a, b):
        return np.sqrt(((a - b) ** 2).sum(-1))

    def matrix(self, a, b):
        return self(a[:, None], b[None])


class Cosine:
    orientation = "similarity"

    def __call__(self, a, b):
        return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)

    def matrix(self, a, b):
        return self(a[:, None], b[None])
