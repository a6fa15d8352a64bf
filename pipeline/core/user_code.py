"""The Python source of a person's own code (factories, plug-ins), as part of identities: found and read, never run."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from ops.core.registry import nearest
from pipeline.core.keys import digest

_OURS = frozenset({"ops", "pipeline"})
"""What these give has versions of its own."""
_PACKAGE = "__init__.py"
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def code_of(factory: str) -> str | None:
    """Digest of the source of a factory (`package.module:function`) or module; None if there is none of the user's own.

    It covers the module and whatever that imports, directly or not, in functions too, but for the standard library,
    installed packages and Bouillon itself. Where the files lie does not matter. What is imported by a computed name is
    not seen.
    """
    sources = sources_of(factory)
    return digest({"what": "code", "sources": sources}) if sources else None


def sources_of(factory: str) -> dict[str, str]:
    """Return module -> sha256 of its source as it is now, for the code that `code_of` covers."""
    visited: set[str] = set()
    sources: dict[str, str] = {}
    waiting = [factory.partition(":")[0]]
    while waiting:
        name = waiting.pop()
        if name in visited or not name:
            continue
        visited.add(name)
        around = name.rpartition(".")[0]
        waiting.append(around)  # Python runs the packages around a module too
        file = _file(name)
        if file is not None:
            status = file.stat()
            state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            sources[name], imported = _read(file, state, name if file.name == _PACKAGE else around)
            waiting.extend(imported)
    return sources


@lru_cache(maxsize=4096)
def _read(file: Path, state: tuple[int, int, int], package: str) -> tuple[str, tuple[str, ...]]:
    """Digest of a source and the names that it imports; read again when `state` is another (no copy can fake the last)."""
    source = file.read_bytes()
    return hashlib.sha256(source).hexdigest(), tuple(_imported(source, package))


def missing_code(factory: str) -> str | None:
    """Say what there is not of a function (`package.module:function`): a module, or the function in it; None if all is there.

    Only the user's own modules are read, and nothing is imported: what code makes when it runs is not called missing.
    """
    place, colon, name = factory.partition(":")
    if not (place and colon and name):
        return f"must be package.module:function (got '{factory}')"
    top, *below = place.split(".")
    spec = _top_spec(top)
    if spec is None:
        return f"there is no module '{top}'; is its folder on PYTHONPATH?"
    file = _file(place)
    if file is None:
        folders = [Path(folder, *below[:-1]) for folder in spec.submodule_search_locations or ()]
        present = {entry.name.partition(".")[0] for folder in folders if folder.is_dir() for entry in folder.iterdir()}
        is_own = any(_INSTALLED.isdisjoint(folder.parts) for folder in folders)
        if below and is_own and top not in sys.stdlib_module_names | _OURS and below[-1] not in present:
            return f"there is no module '{place}'.{nearest(below[-1], present)}"
        return None
    names = _defined(file.read_bytes())
    return None if names is None or name in names else f"'{place}' has no function '{name}'.{nearest(name, names)}"


def _defined(source: bytes) -> set[str] | None:
    """Names that a module binds; None where only running it tells."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # told when it is imported
        return None
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return None if names & {"*", "__getattr__", "globals", "vars", "setattr", "exec"} else names


def code_of_definition(item: object) -> str | None:
    """Digest of the code of a registered function or class; None for ours, which has versions."""
    return code_of(str(getattr(item, "__module__", "")))


def edited(factory: str) -> list[str]:
    """Return the modules behind a factory whose source has changed since this process imported them."""
    return [name for name, source in sources_of(factory).items() if _IMPORTED.get(name, source) != source]


def record_imports() -> None:
    """Take note, from now on, of the source that each module of the user's own is imported from.

    It is read and compiled at that moment: Python's cache of compiled code takes an edit for none that leaves the length
    of a file and the second of its date as they were.
    """
    if not any(isinstance(finder, _Recorder) for finder in sys.meta_path):
        # other finders (pytest's, which rewrites tests) keep their turn
        place = next(
            (number for number, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path)
        )
        sys.meta_path.insert(place, _Recorder())


_IMPORTED: dict[str, str] = {}
"""Module -> sha256 of the source that this process runs of it."""


class _Recorder(MetaPathFinder):
    """Finds the user's own modules as Python does, and lets `_Source` load them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in _OURS or fullname.partition(".")[0] in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader and _is_own(Path(spec.loader.path)):
            spec.loader = _Source(fullname, spec.loader.path)
        return spec


class _Source(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType | None:
        source = self.get_data(self.path)
        _IMPORTED[fullname] = hashlib.sha256(source).hexdigest()
        return compile(source, self.path, "exec", dont_inherit=True)


def _file(name: str) -> Path | None:
    """The source of a module of the user's own. Below the first package files are looked for: `find_spec` would import it."""
    top, *below = name.split(".")
    if not top or top in sys.stdlib_module_names or top in _OURS:
        return None
    spec = _top_spec(top)
    if spec is None:
        return None
    if below:
        folders = [Path(folder, *below[:-1]) for folder in spec.submodule_search_locations or ()]
        files = [folder / end for folder in folders for end in (f"{below[-1]}/{_PACKAGE}", f"{below[-1]}.py")]
    else:
        files = [Path(spec.origin)] if spec.origin else []
    return next((file for file in files if _is_own(file)), None)


def _top_spec(name: str) -> ModuleSpec | None:
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(name)
    return None


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
