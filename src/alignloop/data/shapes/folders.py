"""Folders of data sets: as `datasets` saves them to disk, and as they lie in a repository on the Hugging Face hub."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

from alignloop.data.shapes.containers import KINDS, Container, kind_of, open_file
from alignloop.errors import DataError

_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
_ORDER = {"train": 0, "validation": 1, "test": 2}
# What stands beside the data and is none.
_BESIDE = {
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "config.json",
    "package.json",
    "requirements.txt",
    "readme.txt",
    "license.txt",
}


def open_folder(folder: Path, split: str | None = None) -> tuple[str, list[Container]]:
    """What the folder is, and its files: train first, then validation, test and others.

    Args:
        folder: What `save_to_disk` wrote, or any folder with files of data in it or below.
        split: Read this split alone.

    Raises:
        DataError: there is no data in it, or no such split, or a file cannot be read.
        ModuleNotFoundError: it needs pyarrow, which is not installed.
    """
    if (folder / "dataset_dict.json").is_file():
        names = _strings(_json(folder / "dataset_dict.json").get("splits"))
        paths = {name: _saved(folder / _plain(name, folder)) for name in names}
        label = "saved DatasetDict"
    elif (folder / "state.json").is_file() and "_data_files" in _json(folder / "state.json"):
        name = str(_json(folder / "state.json").get("_split") or "")
        paths = {name: _saved(folder)}
        label = "saved Dataset"
    else:
        paths, label = _scattered(folder)
    if split is not None:
        wanted = _SPLITS.get(split, split)
        if not (chosen := {name: p for name, p in paths.items() if name in (split, wanted)}):
            known = ", ".join(f"'{name}'" for name in paths if name)
            raise DataError(
                f"{folder}: no split '{split}'; {f'there is {known}' if known else 'there are no splits'}"
            )
        paths = chosen
    ordered = sorted(paths.items(), key=lambda item: (_ORDER.get(item[0], len(_ORDER)), item[0]))
    containers = [open_file(path, str(path)) for _, files in ordered for path in files]
    if not containers:
        raise DataError(f"{folder}: the data set has no files")
    names = [name for name, _ in ordered if name]
    splits = f" of {', '.join(names)}" if names else ""
    count = f"{len(containers)} file{'s' if len(containers) > 1 else ''}"
    return f"{label}, {count}{splits}", containers


def _saved(folder: Path) -> list[Path]:
    """The Arrow files of one saved Dataset, in its order."""
    state = _json(folder / "state.json")
    files = state.get("_data_files")
    if not isinstance(files, list):
        raise DataError(f"{folder / 'state.json'}: does not name the files of the data set")
    names = [
        cast(Any, one).get("filename") if isinstance(one, dict) else None
        for one in cast(list[Any], files)
    ]
    return [folder / _plain(name, folder) for name in _strings(names)]


def _scattered(folder: Path) -> tuple[dict[str, list[Path]], str]:
    """split -> files, of the kind of which there are most; hidden files and folders are passed over."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if any(part.startswith(".") for part in inside) or path.name.lower() in _BESIDE:
            continue
        if (kind := kind_of(path)) and path.is_file():
            found.setdefault(kind, []).append(path)
    if not found:
        raise DataError(f"{folder}: no data in it; looked for {', '.join(KINDS)}, gzipped or not")
    order = list(dict.fromkeys(KINDS.values()))
    kind = min(found, key=lambda kind: (-len(found[kind]), order.index(kind)))
    splits: dict[str, list[Path]] = {}
    for path in found[kind]:
        splits.setdefault(_split_of(path.relative_to(folder)), []).append(path)
    others = Counter({other: len(paths) for other, paths in found.items() if other != kind})
    left = "".join(f"; {count} of {other} left alone" for other, count in others.items())
    return splits, f"folder of {kind}{left}"


def _split_of(path: Path) -> str:
    """The split that a file's name says it belongs to, or a folder's above it; '' where none does."""
    for part in reversed(path.parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: a JSON object is needed")
    return cast(dict[str, Any], value)


def _strings(value: Any) -> list[str]:
    return (
        [one for one in cast(list[Any], value) if isinstance(one, str)]
        if isinstance(value, list)
        else []
    )


def _plain(name: str, folder: Path) -> str:
    """A name that leads nowhere but into the folder."""
    if name in ("", ".", "..") or Path(name).name != name:
        raise DataError(f"{folder}: names a file outside the folder ({name!r})")
    return name
