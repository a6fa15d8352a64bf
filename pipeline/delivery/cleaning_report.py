"""What a workspace holds and what of it goes, for a terminal and for a program."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from pipeline.core.units import readable_multiple
from pipeline.delivery.cleaning import Holding, WorkspaceCleaning

__all__ = ["cleaning_json", "cleaning_text"]

_MOST = 60
"""Models in the text; the JSON has all."""


def cleaning_text(done: WorkspaceCleaning) -> str:
    """Return lines for a terminal: by model, by kind, and what goes."""
    return "\n".join(_lines(done))


def cleaning_json(done: WorkspaceCleaning) -> str:
    """Return everything as one JSON object; sizes in bytes."""
    content = {
        "workspace": str(done.workspace),
        "removed": done.removed,
        "bytes": _size(done.holdings),
        "removable_bytes": _size(_removable(done)),
        "models": [
            {
                "model": path,
                "model_key": key,
                "bytes": _size(some),
                "removable_bytes": _size([each for each in some if each.folder in done.removable]),
                "kinds": {kind: _size(members) for kind, members in _by_kind(some).items()},
            }
            for (key, path), some in _by_model(done).items()
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def _lines(done: WorkspaceCleaning) -> Iterator[str]:
    yield f"{done.workspace}: {len(done.holdings)} artifacts, {_text(_size(done.holdings))}"
    models = sorted(_by_model(done).items(), key=lambda item: -_size(item[1]))
    for (_, path), some in models[:_MOST]:
        yield f"  {_state(done, some):24} {_text(_size(some)):>8}  {path}: {_kinds(some)}"
    if len(models) > _MOST:
        yield f"  and {len(models) - _MOST:,} models more"
    yield f"by kind: {_kinds(done.holdings, most=None)}"
    total, count = _text(_size(_removable(done))), len(done.removable)
    if done.removed:
        yield f"{count} artifacts removed, {total}. The results keep all figures; a run that needs an artifact makes it again"
    elif count:
        yield f"{count} artifacts, {total}, would go. Nothing was removed: say --yes"
    else:
        yield "Nothing would go. Say what to keep: names of models, --keep best=3, --older 30d"


def _state(done: WorkspaceCleaning, some: Sequence[Holding]) -> str:
    word = "removed" if done.removed else "would go"
    removal = [each for each in some if each.folder in done.removable]
    return "kept" if not removal else word if len(removal) == len(some) else f"{_text(_size(removal))} {word}"


def _kinds(some: Iterable[Holding], most: int | None = 3) -> str:
    """Sizes by kind, the largest first."""
    sizes = sorted(((_size(members), kind) for kind, members in _by_kind(some).items()), reverse=True)
    text = ", ".join(f"{kind} {_text(size)}" for size, kind in sizes[:most])
    return text if most is None or len(sizes) <= most else f"{text}, ..."


def _removable(done: WorkspaceCleaning) -> list[Holding]:
    return [each for each in done.holdings if each.folder in done.removable]


def _by_model(done: WorkspaceCleaning) -> dict[tuple[str, str], list[Holding]]:
    """A model may have been made under several paths: the first by name stands for it."""
    paths: dict[str, str] = {}
    for each in done.holdings:
        paths[each.model] = min(paths.get(each.model, each.path), each.path)
    grouped: dict[tuple[str, str], list[Holding]] = defaultdict(list)
    for each in done.holdings:
        grouped[each.model, paths[each.model]].append(each)
    return dict(grouped)


def _by_kind(some: Iterable[Holding]) -> dict[str, list[Holding]]:
    groups: dict[str, list[Holding]] = defaultdict(list)
    for each in some:
        groups[each.kind].append(each)
    return dict(groups)


def _size(some: Iterable[Holding]) -> int:
    return sum(each.size for each in some)


def _text(size: int) -> str:
    multiple = readable_multiple(size, "B")
    return f"{size / multiple.divisor:.3g} {multiple.unit}"
