"""Small descriptions of items, by which nearly equal ones are found; and a close look at those found.

Each class is fitted on the training part, turns items into rows whose nearest neighbours are candidates,
and says of two items side by side whether they are nearly the same. No Keras here.
"""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from siamkit.data.dataset import Array, Leaf

SIDE = 32  # pixels that images are looked at with
FINEST = 6  # waves across an image, up to which its spectrum is described
STEPS = 2  # pixels of a side of SIDE by which one image may be moved against the other
ALIKE_IMAGES = 0.99
ALIKE_TEXTS = 0.9
LETTERS = 1000  # of a text that are looked at
LEAST_LETTERS = 20  # in shorter texts one letter makes another word
DIMS = 256  # of what describes a text, and at most of what describes numbers
MOST_FEATURES = 2**16  # of very wide items every second, third, … number is looked at
LEAST_FEATURES = 4  # in fewer, items lie near each other by chance


class Sketch(Protocol):
    """How items of one kind are described and looked at."""

    def rows(self, leaf: Leaf) -> Array:
        """`(n, d)` float32; nearly equal items are near each other, by Euclid."""

    def same(self, a: Leaf, b: Leaf) -> Array:
        """`(m,)` whether a's items are nearly b's, one by one."""


class Images:
    """Images: near by their spectrum, the same by correlation wherever one is moved a little.

    The amplitudes of an image's slow waves (up to 6 across; their roots, so that no wave drowns the
    others) don't change when the image moves, and hardly with noise, compression, brightness and contrast.
    Two images are nearly the same if their correlation, one moved by up to 2 of 32 pixels, is 0.99.

    On Fashion-MNIST, a thousand training images changed and looked for among 20,000: all are found when
    moved by 1 or 2 pixels, brightened, or with noise of deviation 2 (of 255); with noise 8, 94 %; JPEG of
    quality 75, 96 %; gamma 0.8, 98 %; JPEG of quality 30 or noise 16 a third. Flipped, turned or cut ones
    are not found. Of its 10,000 test images 30 look like one of those 20,000, of which about 15 are
    the same garment and the rest others of one outline, so of what is told about 1 in 700 is chance; at
    0.995 it would be none, and noise 8 found in 77 %.
    """

    def rows(self, leaf: Leaf) -> Array:
        waves = np.abs(np.fft.rfft2(_small(leaf)))
        slow = np.r_[-FINEST:0, 0 : FINEST + 1]
        found = np.sqrt(waves[:, slow, : FINEST + 1]).reshape(len(waves), -1)
        return _unit(found)

    def same(self, a: Leaf, b: Leaf) -> Array:
        x, y = _small(a), _small(b)
        product = np.fft.rfft2(x) * np.conj(np.fft.rfft2(y))
        near = np.r_[-STEPS : STEPS + 1]
        moved = np.fft.irfft2(product, s=(SIDE, SIDE))[:, near][:, :, near].max(axis=(1, 2))
        sizes = np.linalg.norm(x, axis=(1, 2)) * np.linalg.norm(y, axis=(1, 2))
        return np.asarray(moved > ALIKE_IMAGES * np.maximum(sizes, 1e-6))


class Numbers:
    """Vectors, series, records and tables: scaled by the training part, near by Euclid.

    Nearly the same are items whose distance is under 1 % of the median distance of two items, and
    under 2 % of the median distance to the tenth nearest: where items lie dense, in few dimensions, the
    first alone would be met by chance. (The tenth and not the first, which in data that somebody has
    enlarged by altered copies is such a copy.) Texts in a table are the same or not.

    Args:
        leaf: items of the training part.
    """

    def __init__(self, leaf: Leaf) -> None:
        given = _numbers(leaf)
        spread = given.std(axis=0)
        varied = np.flatnonzero(spread > 1e-9 * np.abs(given).max(axis=0, initial=1e-300))
        self._varied = varied[:: 1 + len(varied) // MOST_FEATURES]
        self._mean, self._spread = given[:, self._varied].mean(axis=0), spread[self._varied]
        rng = np.random.default_rng(0)
        width = len(self._varied)
        # Johnson and Lindenstrauss: a random projection keeps distances, give or take one part in √DIMS.
        self._turn = rng.normal(0, DIMS**-0.5, (width, DIMS)).astype("float32") if width > DIMS else None
        self.near = 0.0
        if width < LEAST_FEATURES:
            return
        every = self._scaled(given[rng.permutation(len(given))[:20_000]])
        apart = np.sort(np.sqrt(np.maximum(0, _squares(every[:300], every))), axis=1)[:, 1:]
        if apart.shape[1] >= 10:
            self.near = float(min(0.01 * np.median(apart), 0.02 * np.median(apart[:, 9])))

    def rows(self, leaf: Leaf) -> Array:
        return self._scaled(_numbers(leaf))

    def same(self, a: Leaf, b: Leaf) -> Array:
        near = np.linalg.norm(self.rows(a) - self.rows(b), axis=1) < self.near
        for name, values in a.items() if isinstance(a, dict) else ():
            if values.dtype.kind not in "biuf":  # other texts may have come to the same numbers
                near &= np.array([x == y for x, y in zip(values, b[name], strict=True)])
        return np.asarray(near)

    def _scaled(self, numbers: Array) -> Array:
        scaled = ((numbers[:, self._varied] - self._mean) / self._spread).astype("float32")
        return np.asarray(scaled if self._turn is None else scaled @ self._turn)


class Texts:
    """Texts: near by the letters that follow each other in them, four at a time.

    Nearly the same are texts whose counts of such fours have a cosine of 0.9: of 100 letters two may be
    wrong. Those of fewer than 20 letters are never nearly the same: one letter makes another word of them.
    """

    def rows(self, leaf: Leaf) -> Array:
        return np.asarray(self._counts(leaf, DIMS).toarray(), np.float32)

    def same(self, a: Leaf, b: Leaf) -> Array:
        x, y = (self._counts(leaf, 2**20) for leaf in (a, b))
        near = np.asarray(x.multiply(y).sum(axis=1)).ravel() > ALIKE_TEXTS
        return np.asarray(near & self._long(a) & self._long(b))

    def _long(self, leaf: Leaf) -> Array:
        return np.array([len(text) >= LEAST_LETTERS for text in plainly(leaf)], bool)

    def _counts(self, leaf: Leaf, features: int) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer  # late: slow to import

        hashing = HashingVectorizer(
            analyzer="char", ngram_range=(4, 4), n_features=features, lowercase=False, dtype=np.float32
        )
        return hashing.transform(text[:LETTERS] for text in plainly(leaf))


class Tokens(Texts):
    """Token ids: near by the tokens that follow each other, two at a time; by the same cosine, from 20 on."""

    def _long(self, leaf: Leaf) -> Array:
        return np.asarray(np.count_nonzero(leaf, axis=1) >= LEAST_LETTERS)  # type: ignore[arg-type]

    def _counts(self, leaf: Leaf, features: int) -> Any:
        from sklearn.feature_extraction import FeatureHasher  # late: slow to import
        from sklearn.preprocessing import normalize

        ids = np.asarray(leaf).tolist()
        pairs = ([f"{a} {b}" for a, b in pairwise(row) if a or b] for row in ids)
        return normalize(FeatureHasher(features, input_type="string", dtype=np.float32).transform(pairs))


def plainly(leaf: Leaf) -> list[str]:
    """Texts without what is only their dress: case, spaces, forms of Unicode."""
    return [" ".join(unicodedata.normalize("NFKC", str(text)).casefold().split()) for text in leaf]


def sketch_of(kind: str, train: Leaf) -> Sketch:
    """The sketch for a kind of input, fitted on items of the training part."""
    if kind == "image":
        return Images()
    if kind == "text":
        return Texts()
    return Tokens() if kind == "tokens" else Numbers(train)


def _small(leaf: Leaf) -> Array:
    """Images `(n, SIDE, SIDE)`, grey, each less its mean."""
    images = np.asarray(leaf)
    step = max(1, min(images.shape[1:3]) // (2 * SIDE))
    images = images[:, ::step, ::step].astype(np.float32)
    grey = images.mean(axis=3) if images.ndim == 4 else images
    down, across = _shares(grey.shape[1]), _shares(grey.shape[2])
    small = down @ grey @ across.T
    return np.asarray(small - small.mean(axis=(1, 2), keepdims=True))


def _shares(size: int) -> Array:
    """`(SIDE, size)` what each pixel of a small image takes of each of the large one: its area."""
    ends = np.linspace(0, size, SIDE + 1)
    pixels = np.arange(size)
    inside = np.minimum(ends[1:, None], pixels + 1) - np.maximum(ends[:-1, None], pixels)
    inside = np.maximum(0, inside).astype(np.float32)
    return np.asarray(inside / inside.sum(axis=1, keepdims=True))


def _numbers(leaf: Leaf) -> Array:
    """Any items as rows of numbers `(n, d)`: fields beside each other, texts hashed, the missing marked."""
    if not isinstance(leaf, dict):
        return np.asarray(leaf, np.float64).reshape(len(leaf), -1)
    columns = [_column(values, name) for name, values in leaf.items()]
    return np.concatenate(columns, axis=1)


def _column(values: Array, name: str) -> Array:
    if values.dtype.kind in "biuf":
        numbers = np.asarray(values, np.float64).reshape(len(values), -1)
        missing = np.isnan(numbers)
        return np.concatenate([np.where(missing, 0, numbers), missing], axis=1)
    from sklearn.feature_extraction import FeatureHasher

    texts = values.reshape(len(values), -1)
    hashed = FeatureHasher(16, input_type="string").transform([[f"{name}={t}" for t in row] for row in texts])
    return np.asarray(hashed.toarray(), np.float64)


def _unit(rows: Array) -> Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), np.float32)


def _squares(a: Array, b: Array) -> Array:
    """`(n, m)` squared distances."""
    return np.asarray((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T)
