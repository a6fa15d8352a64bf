"""Fetch a source archive of a project as it is: `python source_archives.py REQUIREMENT FILE FOLDER`.

`pip download` builds a source archive to learn of its dependencies: it runs code in it. So pip is asked where the archive
is, by its own configuration (indexes, mirrors, certificates, proxies), and to fetch that file alone. It has no command for
that: the classes behind its commands are used, in a process of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

__all__ = ["fetch_archive"]

_QUIET = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--ignore-requires-python"]
_BLOCK = 1 << 20


def fetch_archive(requirement: str, archive: str, folder: str) -> int:
    """Write the archive into the folder; returns the exit code.

    Args:
        requirement: NAME==VERSION.
        archive: file name of the source archive.
        folder: where it is written to.
    """
    from pip._internal.commands import create_command

    class Fetch(type(create_command("download"))):  # type: ignore[misc]  # pip has no types for others
        """`pip download` with another body."""

        def run(self, options: Any, words: list[str]) -> int:
            """Find the archive and fetch it."""
            session = self.get_default_session(options)
            candidates = self._build_package_finder(options, session).find_all_candidates(words[0].partition("==")[0])
            links = [candidate.link for candidate in candidates if candidate.link.filename == archive]
            if not links:
                sys.stderr.write(f"ERROR: No archive {archive} of {words[0]} was found\n")
                return 1
            _fetch(session, links[0], Path(folder) / archive)
            return 0

    command = Fetch("download", "")
    return int(command.main([*_QUIET, "--no-deps", "--no-binary", ":all:", requirement]))


def _fetch(session: Any, link: Any, file: Path) -> None:
    with session.get(link.url_without_fragment, stream=True, headers={"Accept-Encoding": "identity"}) as answer:
        answer.raise_for_status()
        with file.open("wb") as stream:
            for block in answer.iter_content(_BLOCK):
                stream.write(block)


if __name__ == "__main__":
    sys.exit(fetch_archive(*sys.argv[1:]))
