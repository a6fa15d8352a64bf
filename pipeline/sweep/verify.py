"""Compare every file of a workspace with what was written, and set aside what differs, so that it is made again."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import MANIFEST, ArtifactStore
from pipeline.core.keys import Key


def verify(workspace: Path) -> tuple[list[str], int]:
    """Return a line for each artifact and one for all, and how many are damaged or incomplete.

    `ok` compares contents, not dates and sizes alone. An artifact of an older version, whose manifest lists no digests,
    is `ok` if its manifest can be read, and the line says so.
    """
    artifacts = ArtifactStore(workspace / "artifacts")
    lines, count, damaged = list[str](), 0, 0
    for key in artifacts.keys():  # noqa: SIM118 - a store is no mapping
        count += 1
        state = _state(artifacts, key)
        name = _name(artifacts, key)
        if not state.startswith("ok"):
            damaged += 1
            aside = artifacts.set_aside(key)
            state = f"{state}; set aside as {aside.relative_to(workspace)}"
        lines.append(f"{key[:12]}  {name:40}  {state}")
    summary = f"{count} artifacts, {damaged} damaged" + (": run the recipe again to make them" if damaged else "")
    return [*lines, summary], damaged


def _state(artifacts: ArtifactStore, key: Key) -> str:
    if not (artifacts.path(key) / MANIFEST).exists():
        return f"missing: {MANIFEST} is missing"
    fault = artifacts.fault(key)
    if fault is None:
        return "ok" if artifacts.has_digests(key) else "ok (of an older version: no digests to compare with)"
    return f"{'missing' if fault.endswith('is missing') else 'damaged'}: {fault}"


def _name(artifacts: ArtifactStore, key: Key) -> str:
    """Kind and path of the step, as far as the manifest can be read."""
    try:
        manifest = artifacts.manifest(key)
    except (OSError, ValueError):
        return "?"
    return f"{manifest.get('what', '?')} of {manifest.get('path', '?')}"
