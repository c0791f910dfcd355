"""Preprocessors of tokens and texts: token ids of one length, padded with 0."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from siamkit.data.dataset import Array, Leaf
from siamkit.data.preprocessing import Altered, Preprocessor, single
from siamkit.errors import DataError

PAD, UNKNOWN = "[PAD]", "[UNK]"

_BATCH_TEXTS = 10_000  # texts that are tokenized at a time
SMALLEST_VOCABULARY = 258
MIN_OCCURRENCES = 100  # of two pieces side by side that become one piece
ROOM = 1.5  # length of a prepared text, in pieces of the longest training texts
MAX_LENGTH = 128  # pieces of a text, unless the caller sets it


@dataclass(frozen=True)
class TokenPadder(Preprocessor):
    """A preprocessor of token ids: cuts them, or pads them with 0, to one length.

    Ids above the highest id of the training items become one id, the last of the vocabulary; so the
    vocabulary has `highest + 2` ids with 0. `altered` counts the items that have such ids.

    Args:
        max_length: the length of every prepared item; longer items are cut, shorter ones padded with 0.
        highest: the highest id of the training items.
    """

    kind: ClassVar[str] = "token_padder"

    max_length: int
    highest: int

    def __post_init__(self) -> None:
        _check_whole("max_length", self.max_length, 1)
        _check_whole("highest", self.highest, 0)

    @classmethod
    def fit(cls, views: Sequence[Leaf], max_length: int | None = None) -> TokenPadder:
        """Fit on the training items of all views.

        Args:
            views: the ids, each view `(n, length)`.
            max_length: the length of a prepared item; by default that of the longest training item.
        """
        tokens = [_ids(single(view)) for view in views]
        if max_length is None:
            max_length = max(1, *(int(_lengths(view).max(initial=0)) for view in tokens))
        return cls(max_length, int(max(view.max(initial=0) for view in tokens)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.max_length,)

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocabulary_size": self.highest + 2, "max_length": self.max_length}

    def __call__(self, leaf: Leaf) -> Array:
        tokens = _ids(single(leaf))[:, : self.max_length]
        padded = np.zeros((len(tokens), self.max_length), dtype=np.int32)
        padded[:, : tokens.shape[1]] = np.minimum(tokens, self.highest + 1)
        return padded

    def altered(self, leaf: Leaf) -> Altered:
        tokens = _ids(single(leaf))
        lengths = _lengths(tokens)
        return Altered(
            items=len(tokens),
            cut=int((lengths > self.max_length).sum()),
            unknown=int((tokens > self.highest).any(axis=1).sum()),
            max_length=self.max_length,
            longest=int(lengths.max(initial=0)),
            highest=self.highest,
        )

    def config(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "highest": self.highest}


@dataclass(frozen=True)
class TextTokenizer(Preprocessor):
    """A preprocessor of texts: turns them into ids of pieces, learned from the training texts.

    A piece is a byte, or two pieces that often stand side by side (byte-level BPE). Each byte is a piece, so
    every text has ids; an empty text becomes the single id 1. A merge needs 100 occurrences in the training
    texts (after Gowda, May 2020), so few texts have short pieces: words of few texts would be pieces that
    no other text has, and a new word would be made of pieces that were never trained.

    Args:
        max_length: the length of every prepared text; longer texts are cut, shorter ones padded with 0.
        tokenizer: the tokenizer of Hugging Face's `tokenizers`, as JSON.
        dropout: the probability that `vary` splits a piece into the two that it was merged from.
    """

    kind: ClassVar[str] = "text_tokenizer"
    documents: ClassVar[tuple[str, ...]] = ("tokenizer",)

    max_length: int
    tokenizer: str
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check_whole("max_length", self.max_length, 1)
        if not 0 <= self.dropout < 1:
            raise DataError(f"dropout should be from 0 to below 1, got {self.dropout!r}")
        if (self._engine.token_to_id(PAD), self._engine.token_to_id(UNKNOWN)) != (0, 1):
            raise DataError(f"the tokenizer should give {PAD} the id 0 and {UNKNOWN} the id 1")

    @classmethod
    def fit(
        cls,
        views: Sequence[Leaf],
        vocabulary_size: int = 8000,
        max_length: int | None = None,
        dropout: float = 0.1,
    ) -> TextTokenizer:
        """Learn the pieces from the training texts of all views.

        Args:
            views: the texts, each view `(n,)`.
            vocabulary_size: the maximum number of pieces, including the 256 bytes and 2 special ones.
            max_length: the number of ids of a prepared text; by default as many as 99 % of the training texts
                have bytes, and at least 1.5 times as many as they have pieces, but at most 128.
            dropout: the probability that `vary` splits a piece.
        """
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        if vocabulary_size < SMALLEST_VOCABULARY:
            raise DataError(
                f"vocabulary_size should be at least {SMALLEST_VOCABULARY}, the 256 bytes and 2 special "
                f"pieces, got {vocabulary_size}"
            )
        # A text that is in many pairs is one text.
        texts = list(dict.fromkeys(text for view in views for text in _texts(single(view))))
        engine = Tokenizer(models.BPE())
        engine.normalizer = normalizers.NFC()
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        engine.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            min_frequency=MIN_OCCURRENCES,
            special_tokens=[PAD, UNKNOWN],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        engine.train_from_iterator(texts, trainer)
        if max_length is None:
            pieces = _longest([len(ids) for ids in _encode(engine, texts)])
            # A text of new words has a piece a byte, and a space before the first.
            bytes_ = _longest([1 + len(text.encode()) for text in texts])
            max_length = min(MAX_LENGTH, max(math.ceil(ROOM * pieces), bytes_))
        return cls(max_length, engine.to_str(), dropout)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.max_length,)

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocabulary_size": self._engine.get_vocab_size(), "max_length": self.max_length}

    def __call__(self, leaf: Leaf) -> Array:
        texts = _texts(single(leaf))
        padded = np.zeros((len(texts), self.max_length), dtype=np.int32)
        for row, ids in zip(padded, _encode(self._engine, texts), strict=True):
            kept = ids[: self.max_length] or [1]
            row[: len(kept)] = kept
        return padded

    def vary(self, leaf: Leaf, rng: np.random.Generator) -> Leaf:
        """Split pieces at random, so that training also sees the shorter pieces of its words.

        It is the dropout of BPE merges (Provilkov et al. 2020) on prepared texts, as in StochasTok (Sims et
        al. 2025): each piece is split with probability `dropout`, and so are its parts.
        """
        ids = single(leaf)
        candidates = np.ones(ids.shape, dtype=bool)
        is_merge = self._parts[:, 1] > 0
        while (split := candidates & is_merge[ids] & (rng.random(ids.shape) < self.dropout)).any():
            left, right = np.moveaxis(self._parts[ids], 2, 0)
            pieces = _interleaved(np.where(split, left, ids), right)
            # The pieces that stay move to the left; the second half of a piece that is not split goes.
            order = np.argsort(_interleaved(np.zeros_like(split), ~split), axis=1, kind="stable")
            order = order[:, : ids.shape[1]]
            ids = np.take_along_axis(pieces, order, axis=1)
            candidates = np.take_along_axis(_interleaved(split, split), order, axis=1)
        return ids

    def restored(self, leaf: Leaf) -> Array:
        """Return the texts of prepared items, without the ends that were cut, in Unicode's form NFC."""
        texts = self._engine.decode_batch(single(leaf).tolist(), skip_special_tokens=True)
        # The first piece begins with a space; a character that was cut in two ends as a replacement.
        return np.array([text.removeprefix(" ").rstrip("\ufffd") for text in texts], dtype=object)

    def altered(self, leaf: Leaf) -> Altered:
        texts = _texts(single(leaf))
        # A piece has a byte or more, and a text begins with a space: shorter texts are not cut.
        long = [text for text in texts if len(unicodedata.normalize("NFC", text).encode()) >= self.max_length]
        lengths = [len(ids) for ids in _encode(self._engine, long)]
        return Altered(
            items=len(texts),
            cut=sum(length > self.max_length for length in lengths),
            max_length=self.max_length,
            longest=max(lengths, default=0),
        )

    def config(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "dropout": self.dropout}

    def texts(self) -> dict[str, str]:
        return {"tokenizer": self.tokenizer}

    @cached_property
    def _engine(self) -> Any:
        from tokenizers import Tokenizer

        try:
            engine = Tokenizer.from_str(self.tokenizer)
        except Exception as error:  # tokenizers raises nothing more precise
            raise DataError(f"the stored tokenizer cannot be read: {error}") from error
        # The text "[PAD]" in the data is not padding.
        engine.encode_special_tokens = True
        return engine

    @cached_property
    def _parts(self) -> Array:
        """The two pieces that each piece was merged from, `(vocabulary_size, 2)` int32; 0 for a byte."""
        model = json.loads(self.tokenizer)["model"]
        parts = np.zeros((self._engine.get_vocab_size(), 2), dtype=np.int32)
        for left, right in model["merges"]:
            parts[model["vocab"][left + right]] = model["vocab"][left], model["vocab"][right]
        return parts


def _longest(lengths: Sequence[int]) -> int:
    """Return the length that 99 % of the training texts do not exceed, at least 1."""
    return max(1, int(np.percentile(lengths, 99, method="higher"))) if lengths else 1


def _interleaved(first: Array, second: Array) -> Array:
    """Return `(n, 2 * length)` with the columns of two arrays `(n, length)` in turn."""
    return np.stack([first, second], axis=2).reshape(len(first), -1)


def _encode(engine: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    for start in range(0, len(texts), _BATCH_TEXTS):
        for encoding in engine.encode_batch(texts[start : start + _BATCH_TEXTS], add_special_tokens=False):
            yield encoding.ids


def _texts(values: Array) -> list[str]:
    if values.ndim != 1 or values.dtype.kind not in "UTO":
        raise DataError(f"items should be texts (n,), got {values.dtype} of shape {values.shape}")
    texts: list[str] = values.tolist()
    other = next((item for item, text in enumerate(texts) if not isinstance(text, str)), None)
    if other is not None:
        raise DataError(f"items should be texts, got {texts[other]!r:.60} in item {other}")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        item = next(number for number, text in enumerate(texts) if re.search("[\ud800-\udfff]", text))
        raise DataError(
            f"text {item} has half a character (a lone surrogate), got {texts[item]!r:.60}; decode its file "
            "as UTF-8, or leave it out"
        ) from None
    return texts


def _lengths(tokens: Array) -> Array:
    """Return the number of ids of each item, `(n,)`: zeros after the last other id are padding already."""
    return np.asarray(np.max((tokens > 0) * np.arange(1, tokens.shape[1] + 1), axis=1, initial=0))


def _ids(tokens: Array) -> Array:
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise DataError(
            f"tokens should be whole numbers (n, length), got {tokens.dtype} of shape {tokens.shape}"
        )
    if tokens.size and tokens.min() < 0:
        raise DataError(f"token ids should be 0 or above, got {tokens.min()}")
    return tokens


def _check_whole(name: str, value: object, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise DataError(f"{name} should be a whole number from {minimum}, got {value!r}")
