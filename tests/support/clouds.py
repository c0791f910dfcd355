"""Classes as clouds of points around random centres."""

import numpy as np


def clouds(classes, items, apart, dim=4, seed=0):
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), items)
    centres = apart * draw.normal(size=(classes, dim))
    return (centres[labels] + draw.normal(size=(len(labels), dim))).astype(np.float32), labels
