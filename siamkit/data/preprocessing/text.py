"""Preprocessors of tokens and texts: token ids of one length, padded with 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from siamkit.data.dataset import Array, Leaf
from siamkit.data.preprocessing.base import Preprocessor, single
from siamkit.errors import DataError

PAD, UNKNOWN = "[PAD]", "[UNK]"

_BATCH_TEXTS = 10_000  # texts that are tokenized at a time


@dataclass(frozen=True)
class TokenPadder(Preprocessor):
    """A preprocessor of token ids: cuts them, or pads them with 0, to one length.

    Ids above the highest id of the training items become one id, the last of the vocabulary; so the
    vocabulary has `highest + 2` ids with 0.

    Args:
        max_length: the length of every prepared item, which is the length of the longest training item.
        highest: the highest id of the training items.
    """

    kind: ClassVar[str] = "token_padder"

    max_length: int
    highest: int

    def __post_init__(self) -> None:
        _check_whole("max_length", self.max_length, 1)
        _check_whole("highest", self.highest, 0)

    @classmethod
    def fit(cls, views: Sequence[Leaf]) -> TokenPadder:
        """Fit on the training items of all views."""
        tokens = [_ids(single(view)) for view in views]
        # Zeros after the last other id are padding already.
        lengths = [np.flatnonzero(view.any(axis=0)).max(initial=0) + 1 for view in tokens]
        return cls(int(max(lengths)), int(max(view.max(initial=0) for view in tokens)))

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

    def config(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "highest": self.highest}


@dataclass(frozen=True)
class TextTokenizer(Preprocessor):
    """A preprocessor of texts: turns them into ids of byte-level BPE tokens learned from the training texts.

    Every text has tokens, because each byte is one; an empty text becomes the single id 1.

    Args:
        max_length: the length of every prepared text; longer texts are cut, shorter ones padded with 0.
        tokenizer: the tokenizer of Hugging Face's `tokenizers`, as JSON.
    """

    kind: ClassVar[str] = "text_tokenizer"
    documents: ClassVar[tuple[str, ...]] = ("tokenizer",)

    max_length: int
    tokenizer: str

    def __post_init__(self) -> None:
        _check_whole("max_length", self.max_length, 1)
        if (self._engine.token_to_id(PAD), self._engine.token_to_id(UNKNOWN)) != (0, 1):
            raise DataError(f"the tokenizer should give {PAD} the id 0 and {UNKNOWN} the id 1")

    @classmethod
    def fit(cls, views: Sequence[Leaf], vocabulary_size: int = 8000, max_length: int = 64) -> TextTokenizer:
        """Learn the tokens from the training texts of all views.

        Args:
            views: the texts, each view `(n,)`.
            vocabulary_size: the maximum number of tokens, including the 256 bytes.
            max_length: the maximum number of ids of a text; fewer if fewer are enough for 99 % of the
                training texts.
        """
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        texts = [text for view in views for text in _texts(single(view))]
        engine = Tokenizer(models.BPE())
        engine.normalizer = normalizers.NFC()
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        engine.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=[PAD, UNKNOWN],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        engine.train_from_iterator(texts, trainer)
        lengths = [len(ids) for ids in _encode(engine, texts)]
        needed = np.percentile(lengths, 99, method="higher") if lengths else 1
        return cls(int(np.clip(needed, 1, max_length)), engine.to_str())

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

    def config(self) -> dict[str, Any]:
        return {"max_length": self.max_length}

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


def _encode(engine: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    for start in range(0, len(texts), _BATCH_TEXTS):
        for encoding in engine.encode_batch(texts[start : start + _BATCH_TEXTS], add_special_tokens=False):
            yield encoding.ids


def _texts(values: Array) -> list[str]:
    texts: list[str] = values.tolist() if values.ndim == 1 else []
    if values.ndim != 1 or not all(isinstance(text, str) for text in texts):
        raise DataError(f"should be texts (n,), got {values.dtype} of shape {values.shape}")
    return texts


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
