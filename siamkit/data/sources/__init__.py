"""The built-in sources of data: functions of keyword parameters that return a `Dataset`, and their specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.registry.specs import IMAGE_FITS, INPUTS, Bool, Choice, DatasetSpec, Int, Text

if TYPE_CHECKING:
    from siamkit.data.sources.arrays import digits, fashion_mnist, npz
    from siamkit.data.sources.images import image_folder
    from siamkit.data.sources.tables import table

__all__ = ["DATASETS", "digits", "fashion_mnist", "image_folder", "npz", "table"]

# Lazy: listing the components needs the specs only, and no NumPy.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "digits": "arrays",
        "fashion_mnist": "arrays",
        "image_folder": "images",
        "npz": "arrays",
        "table": "tables",
    },
)

DATASETS: list[DatasetSpec] = [
    DatasetSpec(
        name="digits",
        factory="siamkit.data.sources:digits",
        supervision=("labels",),
        inputs=("image",),
        summary="1797 handwritten digits, 8 by 8 pixels, included in scikit-learn",
        reference="Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits",
    ),
    DatasetSpec(
        name="fashion_mnist",
        factory="siamkit.data.sources:fashion_mnist",
        supervision=("labels",),
        inputs=("image",),
        summary="70000 images of clothes, 28 by 28 pixels, from local IDX .gz files",
        reference="Xiao, Rasul and Vollgraf 2017",
        params={
            "path": Text(help="folder with the .gz files; by default that of the Debian package"),
            "part": Choice("train", options=("train", "test", "all"), help="published part to read"),
        },
    ),
    DatasetSpec(
        name="npz",
        factory="siamkit.data.sources:npz",
        supervision=("labels", "pairs", "scores", "views"),
        inputs=("image", "tokens", "text", "series", "vector"),
        suffixes=(".npz",),
        summary="arrays x and y (labels), a, b and y (pairs, scores), or x (no labels), of an .npz file",
        params={
            "path": Text(help="file to read"),
            "x": Text("x", help="array of items"),
            "y": Text("y", help="array of labels, or of the targets of pairs"),
            "input": Choice("auto", options=("auto", *INPUTS), help="kind of input"),
            "supervision": Choice("auto", options=("auto", "pairs", "scores"), help="meaning of the target"),
        },
    ),
    DatasetSpec(
        name="image_folder",
        factory="siamkit.data.sources:image_folder",
        supervision=("labels", "views"),
        inputs=("image",),
        suffixes=("/",),
        summary="a folder of images with one subfolder per class, or without subfolders and labels",
        params={
            "path": Text(help="folder to read"),
            "image_size": Int(
                None, minimum=1, help="side in pixels to resize the images to; null: as the images suggest"
            ),
            "fit": Choice(
                "auto",
                options=("auto", *IMAGE_FITS),
                help="how images of another shape fit: auto crops, or pads if much would be cut off",
            ),
            "channels": Choice("rgb", options=("rgb", "grey"), help="color channels"),
            "skip_unreadable": Bool(False, help="whether to leave out images that cannot be read"),
        },
    ),
    DatasetSpec(
        name="table",
        factory="siamkit.data.sources:table",
        supervision=("pairs", "scores", "labels"),
        inputs=("text", "vector", "tokens", "tabular"),
        suffixes=(".csv", ".tsv", ".parquet", ".jsonl"),
        summary="pairs, or labelled rows, from a table",
        params={
            "path": Text(help="file to read"),
            "left": Text(help="column of the first item of a pair, or columns separated by commas"),
            "right": Text(help="column or columns of the second item"),
            "target": Text(help="column of 1 (alike) and 0 (not), or of graded similarity"),
            "supervision": Choice("auto", options=("auto", "pairs", "scores"), help="meaning of the target"),
            "label": Text(help="column of classes, for labelled rows"),
            "features": Text(help="column of the item of a labelled row, or columns separated by commas"),
            "input": Choice("auto", options=("auto", "tabular"), help="tabular to force tabular input"),
            "categorical": Text(help="numeric columns that hold names, not quantities, separated by commas"),
            "id": Text(help="column of ids, a different one in each row; by default id, else row numbers"),
        },
    ),
]
