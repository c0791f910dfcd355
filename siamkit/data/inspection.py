"""Look at data before a study: what a file or folder holds, what is wrong with it, how it can be split."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siamkit.data._columns import GROUPS, ColumnFacts, is_id_name, label_column, pair_columns
from siamkit.data._sketches import equal_items, item_digests, nearly_equal_items, sketch_of
from siamkit.data.dataset import Array, Dataset, take
from siamkit.data.sources.arrays import load_arrays
from siamkit.data.sources.images import (
    CHANNELS,
    ImageHeader,
    ImageReader,
    Resizing,
    choose_resizing,
    image_size_of,
    size_text,
)
from siamkit.data.sources.table_files import SUFFIXES, read_rows
from siamkit.data.sources.tables import Table
from siamkit.data.splits import PARTS, SplitOption, by_in_words, options_for_labels, options_for_pairs
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_file, existing_folder, path_text
from siamkit.registry.registry import components
from siamkit.registry.specs import Supervision

MAX_NEAR = 3_000  # items among which nearly identical ones are searched; images that are decoded
MAX_PIXELS = 100_000_000  # that are decoded, of images chosen at random
_JPEG = 16  # a large JPEG is decoded at an eighth of its size, about so many times quicker
MAX_ROWS = 50_000  # of a table or array that are compared
_SIDE = 64  # pixels of the small pictures that are compared
_GREY = 8  # the largest difference of color channels of grey pixels, of 255: compression adds some
_NAMED = 5


@dataclass(frozen=True)
class ClassSizes:
    """The number of items of each class, by its name."""

    sizes: Mapping[str, int]

    @property
    def count(self) -> int:
        """The number of classes."""
        return len(self.sizes)

    @property
    def smallest(self) -> int:
        return min(self.sizes.values())

    @property
    def median(self) -> float:
        return float(np.median(list(self.sizes.values())))

    @property
    def largest(self) -> int:
        return max(self.sizes.values())

    @property
    def imbalance(self) -> float:
        """The size of the largest class divided by that of the smallest."""
        return self.largest / self.smallest

    def below(self, minimum: int) -> list[str]:
        """Return the classes with fewer items."""
        return [name for name, size in self.sizes.items() if size < minimum]


@dataclass(frozen=True)
class ImageFacts:
    """What the files of a folder of images have.

    Args:
        smallest, largest: (height, width) in pixels of the images with the fewest and the most pixels.
        modes: the number of images of each mode of Pillow, such as RGB, L, CMYK.
        resizing: the size that training uses, and how images of another shape fit into it.
        are_grey: whether all images that were decoded are grey, also if they are stored in color.
        decoded: the number of images that were decoded; others may be damaged behind their header.
    """

    smallest: tuple[int, int]
    largest: tuple[int, int]
    modes: Mapping[str, int]
    resizing: Resizing
    are_grey: bool
    decoded: int


@dataclass(frozen=True)
class Duplicates:
    """Items that occur more than once.

    Args:
        exact: the number of items that equal an earlier one: the same bytes of a file, the same values.
        across: the number of these in another class than an equal item.
        near: the number of further items that are nearly identical to another, among those compared.
        compared: the number of items among which nearly identical ones were searched.
        examples: ids of two equal, or else nearly identical, items.
    """

    exact: int = 0
    across: int = 0
    near: int = 0
    compared: int = 0
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DataReport:
    """What `inspect` found in a file or folder.

    Args:
        path: the file or folder.
        source: the registered dataset that reads it, `image_folder`, `npz`, `table` or a plugin's.
        params: the parameters of the source to write under `data:`: those given, and those guessed.
        input: the kind of input, as in `Dataset`; empty if nothing can be read.
        supervision: the kind of the target, as in `Dataset`; `views` without labels.
        items: the number of items that can be read.
        shape: the shape of an item as training gets it; for tabular input the number of columns.
        classes: the sizes of the classes, for labels.
        images: facts about the files of a folder of images.
        unreadable: why items cannot be read, by their ids.
        unused: images next to the folders of classes, which are not read.
        missing_labels: the number of rows without a label.
        duplicates: items that occur more than once.
        constant_columns: columns, or numbers of a vector, with the same value in all rows compared.
        id_columns: columns with another value in each row, which say nothing about an item.
        columns: the columns of a table that are neither items nor target, to split by.
        splits: the rules to split by, the sensible one first.
        min_items_per_class: what to write under `data:` so that small classes are left out; None: nothing.
        guesses: sentences, each with something that was guessed.
        problems: sentences about what keeps a study from using the data; each says what to do.
    """

    path: Path
    source: str
    params: Mapping[str, Any] = field(default_factory=dict)
    input: str = ""
    supervision: Supervision = "views"
    items: int = 0
    shape: tuple[int, ...] = ()
    classes: ClassSizes | None = None
    images: ImageFacts | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    missing_labels: int = 0
    duplicates: Duplicates = Duplicates()
    constant_columns: tuple[str, ...] = ()
    id_columns: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    splits: tuple[SplitOption, ...] = ()
    min_items_per_class: int | None = None
    guesses: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def split(self) -> SplitOption | None:
        """The sensible split; None if no split is possible."""
        return next((option for option in self.splits if option.is_possible), None)

    @property
    def data(self) -> dict[str, Any]:
        """What to write under `data:` of a study file; the path is as it was given."""
        section: dict[str, Any] = {"path": str(self.path)}
        if self.source != _source_by_suffix(self.path):
            section["source"] = self.source
        section |= self.params
        if self.split is not None:
            section["split"] = {"by": self.split.by}
        if self.min_items_per_class is not None:
            section["min_items_per_class"] = self.min_items_per_class
        return section

    def text(self) -> str:
        """Return the report as plain text, a sentence on each line."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return the report as sentences: what there is, what is odd, what keeps a study from using it."""
        lines = [self._what(), *self._looks(), *self._oddities()]
        if self.split is not None:
            lines.append(f"Split by {by_in_words(self.split.by)}: {self.split.reason}.")
        return [*lines, *(f"Guessed: {guess}" for guess in self.guesses), *self.problems]

    def _what(self) -> str:
        if not self.items:
            return f"{self.path} holds no items that can be read."
        noun = {"labels": "items", "views": "items without labels", "scores": "pairs with scores"}.get(
            self.supervision, self.supervision
        )
        noun = noun.replace("items", "images") if self.input == "image" else f"{noun} of {self.input} input"
        what = f"{self.path} holds {self.items:,} {noun}"
        if self.classes is None:
            return f"{what}."
        sizes = self.classes
        spread = f"{sizes.smallest:,} to {sizes.largest:,} items each, median {sizes.median:g}"
        if sizes.smallest == sizes.largest:
            spread = f"{sizes.smallest:,} items each"
        return f"{what} in {sizes.count:,} classes ({spread})."

    def _looks(self) -> list[str]:
        if self.images is None:
            return [f"An item has the shape {self.shape}."] if self.shape else []
        images = self.images
        sizes = f"{size_text(images.smallest)} pixels"
        if images.smallest != images.largest:
            sizes = f"from {sizes} (the smallest) to {size_text(images.largest)} (the largest)"
        modes = ", ".join(f"{count:,} {mode}" for mode, count in images.modes.items())
        lines = [f"Images have {sizes}, {modes}; training uses {_resized(images.resizing)}."]
        if images.are_grey and self.params.get("channels", "rgb") == "grey":
            lines.append("All images are grey, so `channels: grey` saves two of three channels.")
        unseen = self.items - images.decoded
        if unseen > 0:
            lines.append(
                f"Only {images.decoded:,} images were decoded; some of the other {unseen:,} may be damaged."
            )
        return lines

    def _oddities(self) -> list[str]:
        lines, copies = [], self.duplicates
        if self.unreadable:
            found = [f"{name} ({cause})" for name, cause in self.unreadable.items()]
            noun = "image" if self.source == "image_folder" else "item"
            lines.append(f"{_counted(len(found), noun)} cannot be read: {_listed(found)}.")
        if self.unused:
            are, they = ("is", "it is") if len(self.unused) == 1 else ("are", "they are")
            lines.append(
                f"{_counted(len(self.unused), 'image')} {are} not in the folder of a class, so {they} not "
                f"used: {_listed(self.unused)}."
            )
        if self.classes is not None and (alone := self.classes.below(2)):
            lines.append(f"{_counted(len(alone), 'class', 'classes')} with a single item: {_listed(alone)}.")
        if self.classes is not None and self.classes.imbalance >= 10:
            lines.append(
                f"The largest class has {self.classes.imbalance:.0f} times the items of the smallest."
            )
        if copies.exact:
            across = f", {copies.across:,} of them in another class" if copies.across else ""
            equal = "equals" if copies.exact == 1 else "equal"
            lines.append(f"{_counted(copies.exact, 'item')} {equal} an earlier one{across}{_pair(copies)}.")
        if copies.near:
            among = f" among {copies.compared:,}" if copies.compared < self.items else ""
            pair = "" if copies.exact else _pair(copies)
            equal = "equals" if copies.near == 1 else "equal"
            lines.append(f"{_counted(copies.near, 'item')}{among} nearly {equal} another{pair}.")
        if self.constant_columns:
            lines.append(f"The same value in all rows: {_listed(self.constant_columns)}.")
        if self.id_columns:
            names = [name or "the column without a name" for name in self.id_columns]
            lines.append(f"Another value in each row, so no feature: {_listed(names)}.")
        return lines


def inspect(path: str | os.PathLike[str], *, source: str | None = None, **params: Any) -> DataReport:
    """Return what a file or folder holds, and how a study can use it.

    What is wrong with the data is in the report, not raised. Sizes of images are read from headers; up to
    3,000 images, chosen at random, are decoded, but not more than 100 million pixels (of JPEGs 16 times as
    many). Tables and arrays are read whole, as in training, but only the first
    50,000 rows are compared with each other. Columns of a table and arrays of an `.npz` file that `params`
    does not name are guessed.

    Args:
        path: a folder of images, an `.npz` file, a table, or what a plugin's dataset reads.
        source: the registered dataset that reads it; by default the one for its suffix.
        params: parameters of that dataset, such as `image_size=96` or `label="kind"`.

    Raises:
        DataError: the path does not exist, no dataset reads it, or the dataset has no such parameter.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from siamkit.data import inspect
        >>> file = Path(tempfile.mkdtemp(), "irises.csv")
        >>> rows = [f"{n},{n % 3},{n / 7:.2f},{['setosa', 'virginica'][n % 2]}" for n in range(40)]
        >>> _ = file.write_text("\\n".join(["id,petals,length,species", *rows]))
        >>> report = inspect(file)
        >>> report.items, report.classes.sizes, report.params["features"], report.id_columns
        (40, {'setosa': 20, 'virginica': 20}, 'petals, length', ('id',))
    """
    path = Path(path)
    path = existing_folder(path, "data") if path.is_dir() else existing_file(path, "data")
    source = source or _source_by_suffix(path)
    if source is None:
        raise DataError(
            f"{path} should be a folder of images or end in {', '.join(components().file_suffixes())}, got "
            f"{path.suffix or 'no suffix'!r}"
        )
    entry = components().find("dataset", source)
    for name in params:
        if name not in entry.spec.params:
            raise DataError(
                f"the dataset {source!r} has no parameter {name!r}; {nearest(name, entry.spec.params)}"
            )
    readers = {
        "siamkit/image_folder": _inspect_images,
        "siamkit/table": _inspect_table,
        "siamkit/npz": _inspect_npz,
    }
    read = readers.get(entry.qualified)
    findings = _Findings(path, source, params)
    try:
        if read is None:
            findings.add_dataset(entry.factory()(**{**params, **_path_of(path, entry.spec.params)}))
        else:
            read(findings)
    except DataError as error:
        findings.problems.append(str(error))
    return findings.report()


def _source_by_suffix(path: Path) -> str | None:
    return components().dataset_for("/" if path.is_dir() else path.suffix.lower())


def _path_of(path: Path, params: Iterable[str]) -> dict[str, str]:
    return {"path": str(path)} if "path" in params else {}


class _Findings:
    """What is known so far about a path; `report` returns it."""

    def __init__(self, path: Path, source: str, given: Mapping[str, Any]) -> None:
        self.path, self.source, self.given = path, source, given
        self.params = dict(given)
        self.guesses: list[str] = []
        self.problems: list[str] = []
        self.found: dict[str, Any] = {}
        self.splits: list[SplitOption] = []

    def report(self) -> DataReport:
        return DataReport(
            self.path,
            self.source,
            self.params,
            **self.found,
            splits=tuple(self.splits),
            guesses=tuple(self.guesses),
            problems=tuple(self.problems),
        )

    def add_dataset(self, dataset: Dataset, part: str = "", group: str = "") -> None:
        """Add what a dataset in memory has.

        Args:
            dataset: the items.
            part: the column that names the parts of the split, if there is one.
            group: the column whose values should stay together, if there is one.
        """
        view = dataset.views[0]
        shape = (len(view),) if isinstance(view, dict) else view.shape[1:]
        self.found |= {
            "input": dataset.input,
            "supervision": dataset.supervision,
            "items": len(dataset),
            "shape": shape,
            "duplicates": _duplicates(dataset),
        }
        if dataset.supervision == "labels":
            names, counts = np.unique(dataset.target.astype(np.str_), return_counts=True)  # type: ignore[union-attr]
            self.add_classes(dict(zip(names.tolist(), counts.tolist(), strict=True)), part, group)
        elif dataset.is_unlabelled:
            self.add_no_labels("add labels (the array y, or a column)")
        else:
            self.splits = options_for_pairs(dataset)

    def add_classes(self, sizes: Mapping[str, int], part: str = "", group: str = "") -> None:
        """Add the sizes of the classes, and the splits that they allow."""
        classes = ClassSizes(sizes)
        self.found["classes"] = classes
        if classes.count < 2:
            if not self.problems:  # else the classes are elsewhere
                self.problems.append(
                    f"all items are of one class, {next(iter(sizes))!r}; a study compares classes"
                )
            return
        self.splits = options_for_labels(list(sizes.values()), part, group)
        # Splitting each class leaves 60 % of its items for training.
        least = 4 if self.splits[0].by == "item" else 2
        if classes.below(least) and classes.largest >= 2:
            self.found["min_items_per_class"] = 2

    def add_no_labels(self, remedy: str) -> None:
        self.problems.append(
            f"the items have no labels, which a study needs for validation and test: {remedy}"
        )


# ------------------------------------------------------------------ duplicates


def _duplicates(dataset: Dataset) -> Duplicates:
    """Return the equal and nearly equal items of a dataset; of pairs, equal pairs."""
    part = dataset.take(np.arange(min(len(dataset), MAX_ROWS)))
    digests = [item_digests(view, part.input) for view in part.views]
    keys = [b"".join(key) for key in zip(*digests, strict=True)]
    is_single = len(part.views) == 1
    labels = None if part.supervision != "labels" or part.target is None else part.target.astype(np.str_)
    exact, pairs = equal_items(keys, None if labels is None else labels.tolist())
    near: list[tuple[int, int]] = []
    rows = np.arange(min(len(part), MAX_NEAR))
    if is_single:
        view = take(part.views[0], rows)
        near = nearly_equal_items(sketch_of(part.input, view), view, [keys[row] for row in rows])
    return _as_duplicates(exact, pairs, near, rows, part.ids.tolist())


def _as_duplicates(
    exact: tuple[int, int],
    pairs: Sequence[tuple[int, int]],
    near: Sequence[tuple[int, int]],
    rows: Array,
    ids: Sequence[str],
) -> Duplicates:
    shown = list(pairs) or [(int(rows[a]), int(rows[b])) for a, b in near]
    examples = tuple((ids[a], ids[b]) for a, b in shown[:_NAMED])
    return Duplicates(*exact, len(near), len(rows), examples)


# ------------------------------------------------------------------ folders of images


def _inspect_images(findings: _Findings) -> None:
    reader = ImageReader(findings.path, CHANNELS["rgb"], skip=True, remedy="")
    files = list(reader.files())
    headers = reader.headers(file for file, _ in files)
    images = [
        _ImageFile(file, label, reader.id(file), header)
        for (file, label), header in zip(files, headers, strict=True)
        if isinstance(header, ImageHeader)
    ]
    small = _small_pictures(reader, images)
    unreadable = {
        reader.id(file): header
        for (file, _), header in zip(files, headers, strict=True)
        if isinstance(header, str)
    } | reader.unreadable
    findings.found["unreadable"] = unreadable
    images = [image for image in images if image.id not in unreadable]
    if not images:
        findings.problems.append(_no_images(findings.path))
        return
    decoded = np.array([row for row, image in enumerate(images) if image.id in small], dtype=np.int64)
    pictures = np.stack([small[images[row].id] for row in decoded]) if len(decoded) else None
    ranges = (
        np.zeros(1)
        if pictures is None
        else np.quantile(np.ptp(pictures[:, ::2, ::2], axis=3), 0.99, axis=(1, 2))
    )
    are_grey = pictures is not None and bool((ranges <= _GREY).all())
    if unreadable or len(decoded) < len(images):
        findings.params.setdefault("skip_unreadable", True)
    if are_grey:
        findings.params.setdefault("channels", "grey")
    given = findings.given
    sizes = np.array([image.header.size for image in images])
    resizing = choose_resizing(sizes, image_size_of(given.get("image_size")), given.get("fit", "auto"))
    by_area = sorted((image.header.size for image in images), key=lambda size: size[0] * size[1])
    modes = Counter(image.header.mode for image in images)
    findings.found |= {
        "input": "image",
        "supervision": "views" if images[0].label is None else "labels",
        "items": len(images),
        "shape": (*resizing.size, CHANNELS.get(findings.params.get("channels", "rgb"), 3)),
        "images": ImageFacts(
            by_area[0], by_area[-1], dict(modes.most_common()), resizing, are_grey, len(decoded)
        ),
        "duplicates": _duplicate_images(images, decoded, pictures),
    }
    if images[0].label is None:
        findings.add_no_labels("put the images of each class into a folder of its own")
        return
    labels = [str(image.label) for image in images]
    loose = [path for path in sorted(findings.path.iterdir()) if path.is_file()]
    found = zip(loose, reader.headers(loose), strict=True)
    findings.found["unused"] = tuple(reader.id(path) for path, header in found if not isinstance(header, str))
    _check_folders(findings, reader, set(labels))
    findings.add_classes(dict(sorted(Counter(labels).items())))


class _ImageFile(NamedTuple):
    path: Path
    label: str | None
    id: str
    header: ImageHeader


def _duplicate_images(images: Sequence[_ImageFile], decoded: Array, pictures: Array | None) -> Duplicates:
    keys = [str(image.path.stat().st_size).encode() for image in images]
    for most in (1 << 16, None):  # files that are equal so far are compared further, at last whole
        often = Counter(keys)
        keys = [
            key if often[key] == 1 else key + _file_digest(image.path, most)
            for image, key in zip(images, keys, strict=True)
        ]
    exact, pairs = equal_items(keys, [image.label for image in images])
    near = []
    if pictures is not None:
        near = nearly_equal_items(sketch_of("image", pictures), pictures, [keys[row] for row in decoded])
    return _as_duplicates(exact, pairs, near, decoded, [image.id for image in images])


def _small_pictures(reader: ImageReader, images: Sequence[_ImageFile]) -> dict[str, Array]:
    """Return small pictures of images chosen at random, by their ids; as many as may be decoded."""
    order = np.random.default_rng(0).permutation(len(images))[:MAX_NEAR]
    pixels = np.cumsum([_pixels(images[row].header) for row in order])
    chosen = [images[row] for row in np.sort(order[: 1 + int(np.searchsorted(pixels, MAX_PIXELS))])]
    stretched = reader.read((image.path for image in chosen), Resizing((_SIDE, _SIDE), "stretch"))
    return {
        image.id: picture.astype(np.uint8)
        for image, picture in zip(chosen, stretched, strict=True)
        if picture is not None
    }


def _pixels(header: ImageHeader) -> int:
    """Return the number of pixels that take as long to decode as this image."""
    return header.size[0] * header.size[1] // (_JPEG if header.format in ("JPEG", "MPO") else 1)


def _file_digest(path: Path, most: int | None) -> bytes:
    """Return a digest of the first bytes of a file, at most so many."""
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(-1 if most is None else most), digest_size=16).digest()


def _no_images(folder: Path) -> str:
    tables = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in (*SUFFIXES, ".npz")]
    instead = f"; to use {tables[0]}, name this file, not its folder" if tables else ""
    return f"{folder} holds no images that can be read{instead}"


def _check_folders(findings: _Findings, reader: ImageReader, labels: set[str]) -> None:
    """Add problems of subfolders that hold something else than a class."""
    folders = [folder.name for folder in reader.folders()]
    root = findings.path
    if empty := [name for name in folders if path_text(name) not in labels]:
        findings.problems.append(
            f"no image can be read in {_listed(empty)}; remove these folders, or add images of these classes"
        )
    deeper = [path.name for path in sorted((root / folders[0]).iterdir()) if path.is_dir()]
    if len(folders) == 1 and len(deeper) > 1:
        findings.problems.append(f"the classes seem to be in {root / folders[0]}; use this folder")
    elif len(folders) > 1 and {name.lower() for name in folders} <= _PART_NAMES:
        findings.problems.append(
            f"the folders {', '.join(folders)} seem to be parts of a split, not classes; use one folder per "
            f"class, such as {root / folders[0]}, of which siamkit splits the images"
        )


_PART_NAMES = {"train", "training", "valid", "val", "validation", "dev", "test", "testing"}


# ------------------------------------------------------------------ tables


def _inspect_table(findings: _Findings) -> None:
    whole = Table(findings.path, read_rows(findings.path))
    head = Table(findings.path, whole.arrow.slice(0, MAX_ROWS))
    facts = {name: ColumnFacts.of(head, name) for name in head.names}
    findings.found["items"] = len(whole.arrow)
    findings.found["constant_columns"] = tuple(name for name, fact in facts.items() if fact.distinct <= 1)
    given = {"left", "right", "target", "label", "features"} & set(findings.given)
    if not given and (pairs := pair_columns(facts)):
        findings.params |= pairs
        findings.guesses.append("the rows are pairs, " + ", ".join(f"{k}: {v}" for k, v in pairs.items()))
    elif not given & {"left", "right", "target"}:
        _choose_labelled(findings, facts)
        if findings.problems:
            return
    used = {
        name.strip()
        for role in ("left", "right", "target", "label", "features")
        for name in str(findings.params.get(role) or "").split(",")
    }
    rest = [name for name in head.names if name not in used and not facts[name].is_nested]
    findings.found["columns"] = tuple(rest)
    label = findings.params.get("label")
    if label in facts:
        texts = whole.optional_texts(label)
        missing = int(sum(text == "" for text in texts))
        findings.found["missing_labels"] = missing
        if missing:
            findings.problems.append(
                f"{missing:,} of {len(texts):,} rows have no label in the column {label}; fill them in, or "
                "remove these rows"
            )
            counts = Counter(text for text in texts if text)
            findings.found |= {"supervision": "labels", "classes": ClassSizes(dict(sorted(counts.items())))}
            return
    source = components().find("dataset", findings.source).factory()
    part = next((name for name in rest if facts[name].values <= set(PARTS) and facts[name].distinct == 3), "")
    if not part and (parts := next((name for name in rest if _names_parts(facts[name])), "")):
        values = ", ".join(sorted(facts[parts].values))
        findings.guesses.append(
            f"the column {parts} is not used; to split by it, its values should be {', '.join(PARTS)}, got "
            f"{values}"
        )
    group = next((name for name in rest if name.lower() in GROUPS and facts[name].repeats), "")
    findings.add_dataset(source(path=findings.path, **findings.params), part, group)


def _names_parts(facts: ColumnFacts) -> bool:
    """Return whether the values of a column are names of the parts of a split, also other than siamkit's."""
    return facts.distinct > 1 and {value.lower() for value in facts.values} <= _PART_NAMES


def _choose_labelled(findings: _Findings, facts: Mapping[str, ColumnFacts]) -> None:
    """Choose the columns of labelled rows that are not given."""
    ids = [name for name, fact in facts.items() if fact.is_id(name)]
    findings.found["id_columns"] = tuple(ids)
    label = findings.given.get("label") or label_column(facts, ids)
    if label is None:
        findings.problems.append(
            f"no column of {findings.path} looks like a label; name it and the features, `data: {{label: …, "
            f"features: …, …}}`, or add one; there are {', '.join(facts)}"
        )
        return
    if label not in findings.given.values():
        findings.params["label"] = label
        findings.guesses.append(f"the label is the column {label}")
    if "features" in findings.given:
        return
    constant = findings.found["constant_columns"]
    rest = [name for name in facts if name not in (label, *ids, *constant)]
    rest = [name for name in rest if not (_names_parts(facts[name]) or name.lower() in GROUPS)]
    nested = [name for name in rest if facts[name].is_nested]
    alone = [name for name in ids if not (facts[name].is_numeric or is_id_name(name))]
    if not rest and len(alone) == 1:  # words that differ in each row are the items, if there is nothing else
        rest = alone
        findings.found["id_columns"] = tuple(name for name in ids if name not in rest)
    texts = [name for name in rest if facts[name].is_free_text]
    features = nested[:1] or sorted(texts, key=lambda name: -facts[name].words)[:1] or rest
    if not features:
        findings.problems.append(f"{findings.path} has no column for the items besides the label {label}")
        return
    if odd := [name for name in features if not name or "," in name or name != name.strip()]:
        findings.problems.append(
            f"rename the column {odd[0]!r} of {findings.path}: a name should not be empty, and have no comma "
            "and no space at its ends"
        )
        return
    findings.params["features"] = ", ".join(features)
    findings.guesses.append(f"the features are {_listed(features)}")


# ------------------------------------------------------------------ arrays

_ITEM_ARRAYS = (
    "x",
    "data",
    "images",
    "features",
    "items",
    "inputs",
    "texts",
    "embeddings",
    "x_train",
    "arr_0",
)
_LABEL_ARRAYS = ("y", "labels", "label", "target", "targets", "classes", "y_train", "arr_1")


def _inspect_npz(findings: _Findings) -> None:
    arrays = load_arrays(findings.path, "an .npz file")
    lower = {name.lower(): name for name in arrays}
    if not {"a", "b"} <= set(arrays):
        choices = {"x": _ITEM_ARRAYS, "y": _LABEL_ARRAYS}
        for role, names in choices.items():
            found = next((lower[name] for name in names if name in lower), None)
            if found is None and role not in findings.given and len(arrays) > 1:
                raise DataError(
                    f"{findings.path} has no array {role!r}; name those of the items and labels, "
                    f"`data: {{x: …, y: …, …}}`; there are {_listed(list(arrays))}"
                )
            if role not in findings.given and found not in (None, role):
                findings.params[role] = found
                what = "items" if role == "x" else "labels"
                findings.guesses.append(f"the {what} are the array {found}")
    factory = components().find("dataset", findings.source).factory()
    dataset = factory(path=findings.path, **findings.params)
    findings.found["columns"] = tuple(dataset.columns)
    part = next((name for name, values in dataset.columns.items() if set(values.tolist()) == set(PARTS)), "")
    findings.add_dataset(dataset, part)
    view = dataset.views[0]
    if isinstance(view, np.ndarray) and dataset.input == "vector":
        rows = view[:MAX_ROWS]
        constant = np.flatnonzero((rows == rows[0]).all(axis=0))
        findings.found["constant_columns"] = tuple(f"number {index}" for index in constant)


# ------------------------------------------------------------------ words


def _listed(names: Sequence[str]) -> str:
    others = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {others:,} more" if others > 0 else "")


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _pair(copies: Duplicates) -> str:
    return f" ({copies.examples[0][0]} and {copies.examples[0][1]})" if copies.examples else ""


def _resized(resizing: Resizing) -> str:
    how = {"crop": "cropped at the center", "pad": "padded with white", "stretch": "stretched"}[resizing.fit]
    return f"{size_text(resizing.size)}, {how}"
