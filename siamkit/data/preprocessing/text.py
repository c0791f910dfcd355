"""Preprocessors of tokens and texts: whole numbers of one length, 0 where there is nothing."""

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

_AT_ONCE = 10_000


@dataclass(frozen=True)
class TokenPadder(Preprocessor):
    """Token ids, cut or filled up with 0 to one length.

    Ids above the highest of training all become one id of their own, the last of the vocabulary; so
    there are `highest + 2`, counting 0.

    Args:
        max_length: the length of every prepared item; that of the longest in training.
        highest: the highest id of training.
    """

    kind: ClassVar[str] = "token_padder"

    max_length: int
    highest: int

    def __post_init__(self) -> None:
        _whole("max_length", self.max_length, 1)
        _whole("highest", self.highest, 0)

    @classmethod
    def fit(cls, views: Sequence[Leaf]) -> TokenPadder:
        """Fit on the training items of all views."""
        tokens = [_ids(single(view)) for view in views]
        # What stands after the last id other than 0 is padding already.
        lengths = [np.flatnonzero(each.any(axis=0)).max(initial=0) + 1 for each in tokens]
        return cls(int(max(lengths)), int(max(each.max(initial=0) for each in tokens)))

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
    """Texts as the ids of byte-level BPE pieces learnt from the training texts.

    Bytes leave no text without pieces; an empty one becomes the single id 1.

    Args:
        max_length: the length of every prepared text; longer ones are cut, shorter ones end in 0.
        tokenizer: the tokenizer of Hugging Face's `tokenizers`, as JSON.
    """

    kind: ClassVar[str] = "text_tokenizer"
    documents: ClassVar[tuple[str, ...]] = ("tokenizer",)

    max_length: int
    tokenizer: str

    def __post_init__(self) -> None:
        _whole("max_length", self.max_length, 1)
        if (self._engine.token_to_id(PAD), self._engine.token_to_id(UNKNOWN)) != (0, 1):
            raise DataError(f"a tokenizer should give {PAD} the id 0 and {UNKNOWN} the id 1")

    @classmethod
    def fit(cls, views: Sequence[Leaf], vocabulary_size: int = 8000, longest: int = 64) -> TextTokenizer:
        """Learn the pieces from the training texts of all views.

        Args:
            views: the texts, each view `(n,)`.
            vocabulary_size: the most pieces to learn, with the 256 bytes.
            longest: the most ids that a text may have; fewer if 99 of 100 training texts need fewer.
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
        usual = np.percentile(lengths, 99, method="higher") if lengths else 1
        return cls(int(np.clip(usual, 1, longest)), engine.to_str())

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
            raise DataError(f"a stored tokenizer cannot be read: {error}") from error
        # A text that happens to say "[PAD]" is no padding.
        engine.encode_special_tokens = True
        return engine


def _encode(engine: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    for start in range(0, len(texts), _AT_ONCE):
        for encoding in engine.encode_batch(texts[start : start + _AT_ONCE], add_special_tokens=False):
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


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DataError(f"{name} should be a whole number from {least}, got {value!r}")
