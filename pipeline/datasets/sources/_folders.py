"""Listing of folders of pictures: their classes and splits."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops.core.registry import nearest
from pipeline.core.errors import nearest_path
from pipeline.datasets.api import DataError, Split
from pipeline.datasets.class_order import name_list
from pipeline.datasets.paths import check_regular, readable, targets_outside
from pipeline.datasets.readers.decoding import ENDINGS
from pipeline.datasets.tabular.rows import SPLIT_NAMES

_OTHER_PICTURES = (
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".jxl",
    ".psd",
    ".svg",
    ".eps",
    ".tga",
    ".ico",
    ".dcm",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
    ".raw",
    ".exr",
    ".hdr",
    ".npy",
    ".pcx",
    ".apng",
)
"""Endings of pictures that are not read, and whose absence people should know of."""
_RANKS = ("evaluation", "validation", "valid", "val", "dev", "test")
"""Folders for evaluation, the first that is there is taken: `test` comes last, as its labels are often held back."""

_Link = tuple[int, int]
"""Device and number of a folder, by which a circle of links is known."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture below a data set's root."""

    path: str
    """Relative to the root, with slashes, as the system spells it."""
    label: str
    split: Split | None

    @property
    def id(self) -> str:
        """The path as text that can be stored."""
        return readable(self.path)


@dataclass(slots=True)
class _Findings:
    """Pictures below each top folder, what is left out, and what leads elsewhere."""

    root: Path
    pictures: dict[str, list[str]] = field(default_factory=dict)
    """Top folder -> paths relative to it."""
    empty: list[str] = field(default_factory=list)
    """Top folders without pictures."""
    loose: int = 0
    """Pictures in the root itself."""
    circles: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Links that lead nowhere, and are not called like pictures."""
    outside: list[tuple[str, Path]] = field(default_factory=list)
    """Links that lead out of the root, and where to."""
    others: Counter[str] = field(default_factory=Counter)
    """Endings of pictures that are not read -> their number."""


def list_pictures(root: Path, splits: bool | None) -> tuple[list[PictureFile], list[str]]:
    """Return all pictures, sorted by path, and notes on what is left out or lies elsewhere.

    Args:
        root: The data set's folder.
        splits: Whether the top folders are splits (True) or classes (False); None: by their names, if these leave no doubt.

    Raises:
        DataError: if there are none, if it is in doubt which folders are splits, or if a class of another split is missing
            from the training pictures.
    """
    place = readable(str(root))
    if not root.is_dir():
        raise DataError(f"root: {place}: there is no such folder{nearest_path(root)}")
    findings = _look(root)
    layout = _layout(place, findings, splits)
    notes = _notes(findings, layout)
    files: list[PictureFile] = []
    for top, split in layout.items() if layout else dict.fromkeys(findings.pictures).items():
        for path in findings.pictures[top]:
            if split is None:
                files.append(PictureFile(f"{top}/{path}", readable(top), None))
            elif "/" in path:
                files.append(PictureFile(f"{top}/{path}", readable(path.partition("/")[0]), split))
    if not files:
        raise DataError(f"{place}: no pictures in {place}/CLASS/* or {place}/train/CLASS/* ({', '.join(ENDINGS)})")
    if layout:
        _check_classes(place, files)
    return sorted(files, key=lambda file: file.path), notes


def _look(root: Path) -> _Findings:
    findings = _Findings(root)
    for entry in _entries(root):
        if not _is_folder(entry, findings):
            findings.loose += entry.name.lower().endswith(ENDINGS)
            continue
        skipped = len(entry.path) + 1
        pictures = [path[skipped:].replace(os.sep, "/") for path in _pictures(entry, (_link(root),), findings)]
        if pictures:
            findings.pictures[entry.name] = pictures
        else:
            findings.empty.append(entry.name)
    return findings


def _entries(folder: os.PathLike[str] | str) -> list[os.DirEntry[str]]:
    """List a folder, sorted by name; hidden files and folders are left out."""
    with os.scandir(folder) as entries:
        return sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)


def _pictures(folder: os.DirEntry[str], above: Sequence[_Link], findings: _Findings) -> Iterator[str]:
    """Paths of the pictures below a folder, through links, but not in circles."""
    own = _link(folder)
    if own in above:
        findings.circles.append(readable(folder.name))
        return
    for entry in _entries(folder):
        if _is_folder(entry, findings):
            yield from _pictures(entry, (*above, own), findings)
        elif entry.name.lower().endswith(ENDINGS):
            if entry.is_symlink() or not entry.is_file():
                check_regular(Path(entry.path))
                _note_target(entry, findings)
            yield entry.path
        elif entry.name.lower().endswith(_OTHER_PICTURES):
            findings.others[Path(entry.name).suffix.lower()] += 1


def _is_folder(entry: os.DirEntry[str], findings: _Findings) -> bool:
    """Whether an entry is a folder, also behind a link. Of links that lead nowhere, only those to pictures are refused later."""
    try:
        result = entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        result = False
    is_broken = not result and entry.is_symlink() and not Path(entry.path).exists()
    if is_broken and not entry.name.lower().endswith(ENDINGS):
        findings.broken.append(readable(entry.name))
    if result:
        _note_target(entry, findings)
    return result


def _note_target(entry: os.DirEntry[str], findings: _Findings) -> None:
    """Take note of a link that leads out of the root."""
    for target in targets_outside([Path(entry.path)], findings.root) if entry.is_symlink() else ():
        findings.outside.append((readable(Path(entry.path).relative_to(findings.root).as_posix()), target))


def _link(folder: os.PathLike[str]) -> _Link:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino


def _split_of(name: str) -> Split | None:
    return SPLIT_NAMES.get(name.strip().lower())


def _layout(place: str, findings: _Findings, splits: bool | None) -> dict[str, Split] | None:
    """Split of each top folder that is used; None where the top folders are classes.

    Raises:
        DataError: naming the folder in doubt, and the setting that decides.
    """
    split_tops = [top for top in findings.pictures if _split_of(top)]
    others = [top for top in findings.pictures if not _split_of(top)]
    if splits is False or (splits is None and not split_tops):
        if splits is None:
            _check_splits_inside(place, findings)
        return None
    if splits is None and others:
        raise DataError(
            f"{place}: {_quoted(split_tops)} {'is' if len(split_tops) == 1 else 'are'} called like a split, but {_quoted(others)} beside "
            "it hold pictures too. Set `splits: false` of the data set if all these folders are classes, or `splits: true` to "
            "take the splits alone"
        )
    layout = _one_per_split(place, split_tops, findings)
    if "train" not in layout.values():
        raise DataError(
            f"{place}: no folder for training pictures ({place}/train/CLASS/*) beside {_quoted(split_tops) or 'the others'}. Set "
            "`splits: false` of the data set if these folders are classes"
        )
    return layout


def _one_per_split(place: str, split_tops: Sequence[str], findings: _Findings) -> dict[str, Split]:
    """One folder for each split, of those whose pictures have classes."""
    by_split: dict[Split, list[str]] = {"train": [], "calibration": [], "evaluation": []}
    for top in split_tops:
        split = _split_of(top)
        assert split is not None, "only folders that are called like splits"
        if any("/" in path for path in findings.pictures[top]):
            by_split[split].append(top)
        elif split == "train":
            raise DataError(
                f"{place}/{readable(top)}: holds pictures, but no class folders. Sort them into {place}/{readable(top)}/CLASS/, "
                "give their labels as `dataset=table`, or set `splits: false` of the data set if it is a class"
            )
    layout: dict[str, Split] = {}
    for split, tops in by_split.items():
        ranks = {top: _RANKS.index(top.strip().lower()) if split == "evaluation" else 0 for top in tops}
        first = [top for top, rank in ranks.items() if _kind(rank) == _kind(min(ranks.values()))]
        if len(first) > 1:
            raise DataError(f"{place}: {_quoted(first)} mean the same split; leave one of them there")
        layout |= dict.fromkeys(first, split)
    return layout


def _kind(rank: int) -> int:
    """0 for `evaluation`, 1 for the folders that mean validation, 2 for `test`."""
    return 0 if rank == 0 else 2 if rank == len(_RANKS) - 1 else 1


def _check_splits_inside(place: str, findings: _Findings) -> None:
    """Refuse CLASS/train/* with CLASS/test/*, which would train on what is judged."""
    inside = {
        top: sorted({path.partition("/")[0] for path in paths if "/" in path})
        for top, paths in findings.pictures.items()
    }
    split_tops = {top: [name for name in names if _split_of(name)] for top, names in inside.items()}
    kinds = {_split_of(name) for names in split_tops.values() for name in names}
    if not all(split_tops.values()) or len(kinds) < 2:  # noqa: PLR2004 - two splits
        return
    top, names = next(iter(split_tops.items()))
    fix = (
        f"set `root` to {place}/{readable(top)}"
        if len(split_tops) == 1
        else f"put splits above classes ({place}/train/CLASS/*)"
    )
    raise DataError(
        f"{place}: its folders hold folders called like splits ({', '.join(f'{readable(top)}/{readable(name)}' for name in names)}): "
        f"{fix}, or set `splits: false` of the data set to take all pictures of a class as one"
    )


def _notes(findings: _Findings, layout: Mapping[str, Split] | None) -> list[str]:
    notes = []
    if findings.loose:
        notes.append(f"{findings.loose} pictures that lie beside the folders have no class, and are left out")
    for names, text in (
        (findings.empty, "hold no pictures, and count neither as classes nor as splits"),
        (findings.circles, "are links to a folder that they lie in, and are not followed"),
        (findings.broken, "are links that lead nowhere, and are left out"),
    ):
        if names:
            notes.append(f"{_quoted(names)} {text}")
    notes += _note_on_targets(findings.outside)
    for ending, count in sorted(findings.others.items()):
        notes.append(f"{count} files that end in {ending} are left out; save them as JPEG or PNG to have them read")
    for top in findings.pictures if layout else ():
        bare = sum("/" not in path for path in findings.pictures[top])
        if layout and top not in layout:
            notes.append(
                f"the folder {_quoted([top])} is left out: it is no split that is used, or its pictures have no class"
            )
        elif bare:
            notes.append(f"{bare} pictures in {_quoted([top])} lie in no class folder, and are left out")
    return notes


def _note_on_targets(outside: Sequence[tuple[str, Path]]) -> list[str]:
    if not outside:
        return []
    (name, target), count = outside[0], len(outside)
    many = (
        f"{count} links lead out of the folder, the first ('{name}')"
        if count > 1
        else f"'{name}' leads out of the folder,"
    )
    return [f"{many} to {readable(str(target))}, and {'are' if count > 1 else 'is'} followed"]


def _quoted(names: Sequence[str]) -> str:
    return name_list([f"'{readable(name)}'" for name in names])


def _check_classes(place: str, files: Sequence[PictureFile]) -> None:
    trained = {file.label for file in files if file.split == "train"}
    for file in files:
        if file.label not in trained:
            hint = nearest(file.label, trained)
            raise DataError(
                f"{place}/{file.id}: no training picture is of class '{file.label}'.{hint} Known: {name_list(sorted(trained))}"
            )
