"""Sketches: short descriptions of items that find nearly identical ones, and the exact check of candidates.

Each class turns items into rows whose nearest neighbors are candidates, and decides for each candidate pair
whether the two items are nearly the same. Equal items have equal digests. No Keras here.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from siamkit.data.dataset import Array, Leaf, take

IMAGE_SIDE = 32  # pixels of a side that images are scaled to
MAX_WAVES = 6  # waves across an image up to which its spectrum is described
MAX_SHIFT = 2  # pixels of IMAGE_SIDE by which one image may be moved against the other
MIN_IMAGE_CORRELATION = 0.99
MIN_TEXT_COSINE = 0.9
MAX_LETTERS = 1000  # of a text that are compared
MIN_LETTERS = 20  # in a shorter text one letter makes another word
SKETCH_DIMS = 256  # of a text, and at most of numbers
MAX_FEATURES = 2**16  # of wider items only every second, third, … number is compared
MIN_FEATURES = 4  # with fewer, items are close to each other by chance


class Sketch(Protocol):
    """A description of one kind of items."""

    def rows(self, leaf: Leaf) -> Array:
        """Return `(n, d)` float32 rows; those of nearly identical items are close in Euclidean distance."""

    def same(self, a: Leaf, b: Leaf) -> Array:
        """Return whether each item of a is nearly identical to the item of b in the same row, `(m,)`."""


class Images:
    """Images: compared by their spectrum, then by correlation at small shifts.

    The rows are square roots of the amplitudes of an image's low frequencies (up to 6 waves across; the root
    keeps single frequencies from dominating). They do not change when the image moves, and hardly with noise,
    compression, brightness and contrast. Two images are nearly identical if their correlation, with one of
    them moved by up to 2 of 32 pixels, is 0.99.

    Recall on Fashion-MNIST, with a thousand changed training images among 20,000: 100 % when moved by 1 or 2
    pixels, brightened, or with noise of deviation 2 (of 255); 94 % with noise 8; 96 % after JPEG of quality
    75; 98 % after gamma 0.8; a third after JPEG of quality 30 or noise 16. Flipped, rotated or cropped images
    are not found. Precision: 30 of its 10,000 test images match one of those 20,000; about 15 show the same
    garment, the others only have the same outline, so about 1 in 700 images matches by chance. With a limit
    of 0.995 none would match by chance, but recall with noise 8 would be 77 %.
    """

    def rows(self, leaf: Leaf) -> Array:
        spectrum = np.abs(np.fft.rfft2(_small_images(leaf)))
        low = np.r_[-MAX_WAVES:0, 0 : MAX_WAVES + 1]
        return _unit(np.sqrt(spectrum[:, low, : MAX_WAVES + 1]).reshape(len(spectrum), -1))

    def same(self, a: Leaf, b: Leaf) -> Array:
        x, y = _small_images(a), _small_images(b)
        product = np.fft.rfft2(x) * np.conj(np.fft.rfft2(y))
        shifts = np.r_[-MAX_SHIFT : MAX_SHIFT + 1]
        inner = np.fft.irfft2(product, s=(IMAGE_SIDE, IMAGE_SIDE))[:, shifts][:, :, shifts].max(axis=(1, 2))
        norms = np.linalg.norm(x, axis=(1, 2)) * np.linalg.norm(y, axis=(1, 2))
        return np.asarray(inner > MIN_IMAGE_CORRELATION * np.maximum(norms, 1e-6))


class Numbers:
    """Vectors, series, records and tables: standardized by the training part, compared by Euclidean distance.

    Two items are nearly identical if their distance is below 1 % of the median distance of two items, and
    below 2 % of the median distance to the tenth nearest item: if items are dense, as in few dimensions,
    unrelated items would meet the first condition. (The tenth is used because in augmented data the nearest
    item is an altered copy of the same item.) Texts in a table must be equal.

    Args:
        leaf: items of the training part.
    """

    def __init__(self, leaf: Leaf) -> None:
        numbers = _numbers(leaf)
        std = numbers.std(axis=0)
        varied = np.flatnonzero(std > 1e-9 * np.abs(numbers).max(axis=0, initial=1e-300))
        self._varied = varied[:: 1 + len(varied) // MAX_FEATURES]
        self._mean, self._std = numbers[:, self._varied].mean(axis=0), std[self._varied]
        rng = np.random.default_rng(0)
        width = len(self._varied)
        # Johnson and Lindenstrauss: a random projection keeps distances, within one part in √SKETCH_DIMS.
        self._projection = (
            rng.normal(0, SKETCH_DIMS**-0.5, (width, SKETCH_DIMS)).astype("float32")
            if width > SKETCH_DIMS
            else None
        )
        self.max_distance = 0.0
        if width < MIN_FEATURES:
            return
        sample = self._scaled(numbers[rng.permutation(len(numbers))[:20_000]])
        distances = np.sort(np.sqrt(np.maximum(0, _squared_distances(sample[:300], sample))), axis=1)[:, 1:]
        if distances.shape[1] >= 10:
            self.max_distance = float(min(0.01 * np.median(distances), 0.02 * np.median(distances[:, 9])))

    def rows(self, leaf: Leaf) -> Array:
        return self._scaled(_numbers(leaf))

    def same(self, a: Leaf, b: Leaf) -> Array:
        same = np.linalg.norm(self.rows(a) - self.rows(b), axis=1) < self.max_distance
        for name, values in a.items() if isinstance(a, dict) else ():
            if values.dtype.kind not in "biuf":  # different texts may have the same hash
                same &= np.array([x == y for x, y in zip(values, b[name], strict=True)])
        return np.asarray(same)

    def _scaled(self, numbers: Array) -> Array:
        scaled = ((numbers[:, self._varied] - self._mean) / self._std).astype("float32")
        return np.asarray(scaled if self._projection is None else scaled @ self._projection)


class Texts:
    """Texts: compared by their sequences of four letters.

    Two texts are nearly identical if the counts of their four-letter sequences have a cosine of at least 0.9:
    two of 100 letters may differ. Texts of fewer than 20 letters are never nearly identical, because one
    letter can change the word.
    """

    def rows(self, leaf: Leaf) -> Array:
        return np.asarray(self._counts(leaf, SKETCH_DIMS).toarray(), np.float32)

    def same(self, a: Leaf, b: Leaf) -> Array:
        x, y = (self._counts(leaf, 2**20) for leaf in (a, b))
        similar = np.asarray(x.multiply(y).sum(axis=1)).ravel() > MIN_TEXT_COSINE
        return np.asarray(similar & self._is_long(a) & self._is_long(b))

    def _is_long(self, leaf: Leaf) -> Array:
        return np.array([len(text) >= MIN_LETTERS for text in normalized_texts(leaf)], bool)

    def _counts(self, leaf: Leaf, features: int) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer  # late: slow to import

        hashing = HashingVectorizer(
            analyzer="char", ngram_range=(4, 4), n_features=features, lowercase=False, dtype=np.float32
        )
        return hashing.transform(text[:MAX_LETTERS] for text in normalized_texts(leaf))


class Tokens(Texts):
    """Token ids: compared by their pairs of consecutive tokens, with the same cosine, from 20 tokens."""

    def _is_long(self, leaf: Leaf) -> Array:
        return np.asarray(np.count_nonzero(leaf, axis=1) >= MIN_LETTERS)  # type: ignore[arg-type]

    def _counts(self, leaf: Leaf, features: int) -> Any:
        from sklearn.feature_extraction import FeatureHasher  # late: slow to import
        from sklearn.preprocessing import normalize

        ids = np.asarray(leaf).tolist()
        pairs = ([f"{a} {b}" for a, b in pairwise(row) if a or b] for row in ids)
        return normalize(FeatureHasher(features, input_type="string", dtype=np.float32).transform(pairs))


def normalized_texts(leaf: Leaf) -> list[str]:
    """Return texts without differences of case, spaces and forms of Unicode."""
    return [" ".join(unicodedata.normalize("NFKC", str(text)).casefold().split()) for text in leaf]


def item_digests(leaf: Leaf, kind: str) -> list[bytes]:
    """Return a digest of each item; texts are compared without case, spaces and forms of Unicode."""
    if kind == "text":
        return [_digest(text.encode("utf-8", "surrogatepass")) for text in normalized_texts(leaf)]
    columns = [values for _, values in sorted(leaf.items())] if isinstance(leaf, dict) else [leaf]
    return [_digest(b"\0".join(row)) for row in zip(*map(_bytes, columns), strict=True)]


def _bytes(values: Array) -> list[bytes]:
    if values.dtype.kind in "biuf":
        return [np.ascontiguousarray(item).tobytes() for item in values]
    return [repr(item if isinstance(item, str) else str(item)).encode() for item in values]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def sketch_of(kind: str, train: Leaf) -> Sketch:
    """Return the sketch for a kind of input, fitted on items of the training part."""
    if kind == "image":
        return Images()
    if kind == "text":
        return Texts()
    return Tokens() if kind == "tokens" else Numbers(train)


def _small_images(leaf: Leaf) -> Array:
    """Return the images as `(n, IMAGE_SIDE, IMAGE_SIDE)`, grey, each minus its mean."""
    images = np.asarray(leaf)
    step = max(1, min(images.shape[1:3]) // (2 * IMAGE_SIDE))
    images = images[:, ::step, ::step].astype(np.float32)
    grey = images.mean(axis=3) if images.ndim == 4 else images
    small = _area_weights(grey.shape[1]) @ grey @ _area_weights(grey.shape[2]).T
    return np.asarray(small - small.mean(axis=(1, 2), keepdims=True))


def _area_weights(size: int) -> Array:
    """Return the weight of each of `size` pixels in each pixel of the small image, `(IMAGE_SIDE, size)`."""
    ends = np.linspace(0, size, IMAGE_SIDE + 1)
    pixels = np.arange(size)
    overlap = np.minimum(ends[1:, None], pixels + 1) - np.maximum(ends[:-1, None], pixels)
    overlap = np.maximum(0, overlap).astype(np.float32)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))


def _numbers(leaf: Leaf) -> Array:
    """Return items as rows of numbers `(n, d)`: fields concatenated, texts hashed, missing values marked."""
    if not isinstance(leaf, dict):
        return np.asarray(leaf, np.float64).reshape(len(leaf), -1)
    columns = [_column_numbers(values, name) for name, values in leaf.items()]
    return np.concatenate(columns, axis=1)


def _column_numbers(values: Array, name: str) -> Array:
    if values.dtype.kind in "biuf":
        numbers = np.asarray(values, np.float64).reshape(len(values), -1)
        missing = np.isnan(numbers)
        return np.concatenate([np.where(missing, 0, numbers), missing], axis=1)
    from sklearn.feature_extraction import FeatureHasher

    texts = values.reshape(len(values), -1)
    words = [[f"{name}={text}" for text in row] for row in texts]
    return np.asarray(FeatureHasher(16, input_type="string").transform(words).toarray(), np.float64)


def _unit(rows: Array) -> Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), np.float32)


def _squared_distances(a: Array, b: Array) -> Array:
    """Return the squared distances `(n, m)`."""
    return np.asarray((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T)


# ------------------------------------------------------------------ items of one set that are equal


def equal_items(
    keys: Sequence[bytes], labels: Sequence[str | None] | None
) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return how many items equal an earlier one, how many of these are of another class; and such pairs."""
    first: dict[bytes, int] = {}
    pairs = []
    for row, key in enumerate(keys):
        if first.setdefault(key, row) != row:
            pairs.append((first[key], row))
    across = [pair for pair in pairs if labels is not None and labels[pair[0]] != labels[pair[1]]]
    return (len(pairs), len(across)), across + [pair for pair in pairs if pair not in set(across)]


def nearly_equal_items(sketch: Sketch, leaf: Leaf, keys: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return pairs of items of different keys: an item and its nearest one, if they are nearly identical."""
    if len(keys) < 3:
        return []
    rows = sketch.rows(leaf)
    squares = (rows**2).sum(axis=1)
    codes = np.unique(np.array(keys, dtype=object), return_inverse=True)[1].ravel()
    nearest_row = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), 512):
        block = slice(start, start + 512)
        distances = squares - 2 * rows[block] @ rows.T
        distances[codes[block][:, None] == codes] = np.inf
        nearest_row[block] = distances.argmin(axis=1)
    everything = np.arange(len(rows))
    is_same = np.zeros(len(rows), bool)
    for start in range(0, len(rows), 512):
        block = slice(start, start + 512)
        is_same[block] = sketch.same(take(leaf, everything[block]), take(leaf, nearest_row[block]))
    is_same &= codes != codes[nearest_row]  # all items may be equal
    found = {
        (min(a, b), max(a, b))
        for a, b in zip(everything[is_same].tolist(), nearest_row[is_same].tolist(), strict=True)
    }
    return sorted(found)
