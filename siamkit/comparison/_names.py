"""What contenders are called that people gave by their paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath

from siamkit.comparison.from_trial import trial_in

ENDINGS = (".npy", ".npz", ".parquet", ".keras", ".yaml", ".yml")


def names_of(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The files' own names without endings; of those of one name as much of the path as tells them apart.

    Example:
        >>> from siamkit.comparison._names import names_of
        >>> names_of(["old/vectors.npz", "new/vectors.npz", "new/others.npy", "study.yaml#14"])
        ['old/vectors.npz', 'new/vectors.npz', 'others', 'study#14']
    """
    names = [_name(path, 0) for path in paths]
    deepest = max((len(PurePath(path).parts) for path in paths), default=0)
    for depth in range(1, deepest + 1):
        twice = {name for name in names if names.count(name) > 1}
        names = [
            _name(path, depth) if name in twice else name for path, name in zip(paths, names, strict=True)
        ]
    return names


def _name(path: str | os.PathLike[str], depth: int) -> str:
    """The last parts of a path, or the last without its ending; and the trial, if it names one."""
    trial = trial_in(path)
    file = PurePath(trial[0] if trial else path)
    own = file.stem if file.suffix in ENDINGS else file.name
    told = "/".join(file.parts[-depth:]) if depth else own
    return told if trial is None else f"{told}#{trial[1]}"
