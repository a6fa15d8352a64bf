"""The Python source behind a factory, as part of a model's identity: found and read, never run."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.keys import digest

_OURS = frozenset({"ops", "pipeline"})
"""What these give has versions of its own."""
_PACKAGE = "__init__.py"
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def code_of(factory: str) -> str | None:
    """Digest of the source of a factory (`package.module:function`); None if there is none of the user's own.

    It covers the factory's module and whatever that imports, directly or not, in functions too, but for the standard
    library, installed packages and Bouillon itself. Where the files lie does not matter. What is imported by a computed
    name is not seen.
    """
    seen: set[str] = set()
    sources: dict[str, str] = {}
    waiting = [factory.partition(":")[0]]
    while waiting:
        name = waiting.pop()
        if name in seen or not name:
            continue
        seen.add(name)
        around = name.rpartition(".")[0]
        waiting.append(around)  # Python runs the packages around a module too
        file = _file(name)
        if file is not None:
            source = file.read_bytes()
            sources[name] = hashlib.sha256(source).hexdigest()
            waiting.extend(_imported(source, name if file.name == _PACKAGE else around))
    return digest({"what": "code", "sources": sources}) if sources else None


def _file(name: str) -> Path | None:
    """The source of a module of the user's own. Below the first package files are looked for: `find_spec` would import it."""
    top, *below = name.split(".")
    if not top or top in sys.stdlib_module_names or top in _OURS:
        return None
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if below:
        folders = [Path(folder, *below[:-1]) for folder in spec.submodule_search_locations or ()]
        files = [folder / end for folder in folders for end in (f"{below[-1]}/{_PACKAGE}", f"{below[-1]}.py")]
    else:
        files = [Path(spec.origin)] if spec.origin else []
    return next((file for file in files if _is_own(file)), None)


def _is_own(file: Path) -> bool:
    return file.suffix == ".py" and file.is_file() and _INSTALLED.isdisjoint(file.parts)


def _imported(source: bytes, package: str) -> Iterator[str]:
    """Names that may be modules: of `from a import b`, both `a` and `a.b`."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # told when the factory is called
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.rsplit(".", node.level - 1)[0] if node.level else ""
            name = ".".join(filter(None, [start, node.module]))
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)
