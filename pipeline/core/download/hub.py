"""A folder of one's own or a Hugging Face hub id: both end as a local folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.core.errors import BouillonError, reason

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
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
            raise HubError(f"{folder}: the folder holds none of {', '.join(patterns)}, or not all that belong together")
        return folder
    if folder.is_absolute() or name.startswith((".", "~")) or not _HUB_ID.fullmatch(name):
        raise HubError(f"{name}: there is no such folder")
    cached = _cached(name, patterns, revision)
    if cached is not None and complete(cached):
        return cached
    fetched = _fetched(name, patterns, revision)
    if not complete(fetched):
        raise HubError(f"Hub repository '{name}' holds none of {', '.join(patterns)}, or not all that belong together")
    return fetched


def commit_of(name: str, revision: str | None) -> str | None:
    """Return the commit that a hub id means now: that of the local copy, or else the hub's; None if neither is there.

    A revision that is a commit needs no look.
    """
    if not _HUB_ID.fullmatch(name) or (revision and _COMMIT.fullmatch(revision)):
        return None
    cached = _cached(name, [_NO_FILES], revision)
    if cached is not None:
        return cached.name
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is of the client library, which changes
        HfHubHTTPError,
        HTTPError,
        OfflineModeIsEnabled,
    )

    try:
        return HfApi().model_info(name, revision=revision, timeout=_SECONDS).sha
    except (OfflineModeIsEnabled, HfHubHTTPError, HTTPError, OSError):
        return None  # it cannot be fetched either, which is said when it is needed


def _cached(name: str, patterns: Sequence[str], revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        result = snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return Path(result)


def _fetched(name: str, patterns: Sequence[str], revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is of the client library, which changes
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    here = f"'{name}' is neither a folder nor in the local Hugging Face cache"
    try:
        HfApi().model_info(
            name, revision=revision, timeout=_SECONDS
        )  # asks once; a download would retry for half a minute
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except OfflineModeIsEnabled:
        raise HubError(
            f"{here}, and HF_HUB_OFFLINE is set: give a local folder, or fetch it once while online"
        ) from None
    except RepositoryNotFoundError:
        raise HubError(f"{here}, and the hub has no public repository of that name") from None
    except (HTTPError, OSError) as error:
        raise HubError(
            f"{here}, and the hub cannot be reached ({reason(error)}): "
            "give a local folder, or fetch it once while online"
        ) from None
