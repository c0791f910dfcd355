from siamkit.specs import INPUTS, Choice, DatasetSpec, Int, Text

DATASETS: list[DatasetSpec] = [
    DatasetSpec(
        name="digits",
        factory="siamkit.data.sources:digits",
        supervision=("labels",),
        inputs=("image",),
        summary="1797 handwritten digits, 8 by 8 pixels, that come with scikit-learn",
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
            "path": Text(help="the folder of the .gz files; Debian's package's, unless given"),
            "part": Choice("train", options=("train", "test", "all"), help="which of the published parts"),
        },
    ),
    DatasetSpec(
        name="npz",
        factory="siamkit.data.sources:npz",
        supervision=("labels", "pairs", "scores"),
        inputs=("image", "tokens", "text", "series", "vector"),
        suffixes=(".npz",),
        summary="arrays x and y (labels), or a, b and y (pairs, scores), of an .npz file",
        params={
            "path": Text(help="the file"),
            "x": Text("x", help="the array of items"),
            "y": Text("y", help="the array of labels, or the target of pairs"),
            "input": Choice("auto", options=("auto", *INPUTS), help="the kind of input"),
        },
    ),
    DatasetSpec(
        name="image_folder",
        factory="siamkit.data.sources:image_folder",
        supervision=("labels",),
        inputs=("image",),
        suffixes=("/",),
        summary="a folder of images with one subfolder a class",
        params={
            "path": Text(help="the folder"),
            "image_size": Int(None, minimum=1, help="the side in pixels to resize to"),
            "channels": Choice("rgb", options=("rgb", "grey"), help="colour, or one channel"),
        },
    ),
    DatasetSpec(
        name="table",
        factory="siamkit.data.sources:table",
        supervision=("pairs", "scores", "labels"),
        inputs=("text", "vector", "tokens"),
        suffixes=(".csv", ".tsv", ".parquet", ".jsonl"),
        summary="pairs, or labelled rows, from a table",
        params={
            "path": Text(help="the file"),
            "left": Text(help="the column, or columns with commas, of the first of a pair"),
            "right": Text(help="those of the second"),
            "target": Text(help="the column of 1 and 0, or of graded similarity"),
            "supervision": Choice("auto", options=("auto", "pairs", "scores"), help="what the target says"),
            "label": Text(help="the column of classes, for labelled rows"),
            "features": Text(help="the column, or columns with commas, of a labelled row's item"),
        },
    ),
]
