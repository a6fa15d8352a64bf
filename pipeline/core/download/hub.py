"""A folder of one's own or a Hugging Face hub id: both end as a local folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import BouillonError, nearest_path, reason

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

_COMMIT = re.compile("[0-9a-f]{40}")
_NO_FILES = "no-file"
"""A pattern that fits nothing: of a repository only the commit is asked for."""
_SECONDS = 10.0


class HubError(BouillonError, ValueError):
    """A folder or hub id leads nowhere: the message says what was looked for and what to do."""


def local_folder(
    name: str, *, patterns: Sequence[str], complete: Callable[[Path], bool], revision: str | None = None
) -> Path:
    """Return the folder called `name`, or the local copy of the hub repository `name`, fetched if need be.

    `patterns` are the files to fetch; `complete` says whether a folder has what the caller needs.

    Raises:
        HubError: if there is no such folder, or no copy and no way to fetch one.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not complete(folder):
            raise HubError(incomplete(folder, patterns))
        return folder
    if not is_hub_id(name):
        raise HubError(f"{name}: there is no such folder{nearest_path(folder)}")
    cached = _cached(name, patterns, revision)
    if cached is not None and complete(cached):
        return cached
    fetched = _fetched(name, patterns, revision)
    if not complete(fetched):
        raise HubError(f"Hub repository '{name}' holds none of {', '.join(patterns)}, or not all that belong together")
    return fetched


def incomplete(folder: Path, patterns: Sequence[str]) -> str:
    """Say that a folder has none of the files that are looked for, or too few."""
    return f"{folder}: the folder holds none of {', '.join(patterns)}, or not all that belong together"


def is_hub_id(name: str) -> bool:
    """Whether a name can be one of a hub repository: `./bert` and `models/bert/1` are folders."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def commit_of(name: str, revision: str | None) -> str | None:
    """Return the commit that a hub id means now: that of the local copy, or else the hub's; None if the revision is one.

    Raises:
        HubError: if there is neither a folder, nor a copy, nor a way to fetch one.
    """
    if not is_hub_id(name):
        raise HubError(f"{name}: there is no such file or folder{nearest_path(Path(name).expanduser())}")
    cached = _cached(name, [_NO_FILES], revision)
    commit = cached.name if cached is not None else _asked(name, revision)
    return None if revision and _COMMIT.fullmatch(revision) else commit


def _cached(name: str, patterns: Sequence[str], revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        result = snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return Path(result)


def _fetched(name: str, patterns: Sequence[str], revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    with _explained(name):
        _info(name, revision)  # asks once; a download would retry for half a minute
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))


def _asked(name: str, revision: str | None) -> str | None:
    """The commit, as the hub says."""
    with _explained(name):
        return _info(name, revision).sha


def _info(name: str, revision: str | None) -> ModelInfo:
    from huggingface_hub import HfApi

    return HfApi().model_info(name, revision=revision, timeout=_SECONDS)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say in one line why the hub gives nothing under a name."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is of the client library, which changes
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    here = f"'{name}' is neither a folder nor in the local Hugging Face cache"
    hint = nearest_path(Path(name))
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError(
            f"{here}, and HF_HUB_OFFLINE is set: give a local folder, or fetch it once while online{hint}"
        ) from None
    except RepositoryNotFoundError:
        raise HubError(f"{here}, and the hub has no public repository of that name{hint}") from None
    except (HTTPError, OSError) as error:
        raise HubError(
            f"{here}, and the hub cannot be reached ({reason(error)}): "
            f"give a local folder, or fetch it once while online{hint}"
        ) from None
