"""Composes the configuration of a run: conf/, the person's own folder, the recipe, and the words of the command line.

Hydra composes all but the recipe, which is read as plain data: it may be long and deep. A recipe that itself has a
`defaults` list is Hydra's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.registry import nearest
from ops.core.text import cut, show
from pipeline.cli.configuration.interpolations import InterpolationError, refers, resolve
from pipeline.cli.configuration.overrides import (
    Override,
    OverrideError,
    apply_overrides,
    first_line_of,
    read_override,
    shortened,
)
from pipeline.cli.configuration.written_entries import WRITTEN_OUT, with_entries
from pipeline.cli.configuration.yaml_errors import explain_yaml
from pipeline.cli.configuration.yaml_reader import YamlFileError, read_yaml, strings
from pipeline.core import secret_values
from pipeline.core.errors import BouillonError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pipeline.sweep.prepare import Entries

_PACKAGE = Path(__file__).resolve().parents[2]
CONF = next(folder for folder in (_PACKAGE.parent / "conf", _PACKAGE / "conf") if (folder / "config.yaml").is_file())
"""Of a checkout, or of an installed wheel."""
_CALLS = 3_000
_GROUPS = ("model", "dataset", "executor", "bench")
"""Folders of conf/ of which a run uses one entry."""
_ENTRIES = ("model", "target", "bench")
"""Folders of conf/ of which a run may use any entry."""
_HYDRA_VALUES, _HYDRA_LEVELS = 5_000, 100
"""What a file may hold that Hydra composes."""
_UNSET = "???"
_LONGEST = 1_000  # characters of what Hydra says


class UsageError(BouillonError, ValueError):
    """The command line or a file that it names is wrong: the message says what would be right."""


def compose(
    overrides: Sequence[str], *, extra: Path | None = None, recipe: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], Entries]:
    """Compose conf/ with the overrides; the recipe's own `model` and `dataset` stand unless overridden.

    Args:
        overrides: Words of the command line: `recipe=NAME`, `key=value`, `~key`.
        extra: A folder of the person's own recipes, models and data sets.
        recipe: plain data in the place of the file that `recipe=NAME` names.

    Raises:
        UsageError: for an unknown recipe, model or data set (with the nearest name), a malformed word or file.
    """
    secret_values.forget()
    if extra is not None and not extra.is_dir():
        raise UsageError(f"--config-dir {shortened(str(extra))}: there is no such folder. Give one that exists")
    folders = [CONF, *([extra.resolve()] if extra else [])]
    try:
        words = [read_override(word) for word in overrides]
        if recipe is not None:
            return _from_data(recipe, words, folders)
        name, file = _recipe_file(words, folders)
        raw = read_yaml(file)
        if not raw.data:
            raise UsageError(
                f"{file}: is empty. Write at least `name: {file.stem}` and `tree: {{base: {{op: train}}}}`"
            )
        is_for_hydra = "defaults" in raw.data or _has_package(file)
        if extra is not None:
            _check_folder(extra.resolve(), any_group=is_for_hydra)
        with _few_calls():
            if is_for_hydra:
                raw = read_yaml(file, most_values=_HYDRA_VALUES, most_levels=_HYDRA_LEVELS)
                _check_defaults(raw.data.get("defaults", []))
                return _by_hydra(name, words, folders)
            return _with_recipe(raw.data, words, folders)
    except (OverrideError, YamlFileError, InterpolationError) as error:
        raise UsageError(str(error)) from None


def _from_data(
    recipe: Mapping[str, Any], words: Sequence[Override], folders: Sequence[Path]
) -> tuple[dict[str, Any], Entries]:
    names = [word.word for word in words if word.key == "recipe"]
    if names:
        raise UsageError(f"'{names[0]}': the recipe is given as data; leave the word out")
    if "defaults" in recipe:
        raise UsageError("recipe.defaults: only a file can build on others; write the recipe out")
    with _few_calls():
        return _with_recipe(dict(recipe), words, folders)


def _with_recipe(
    data: dict[str, Any], words: Sequence[Override], folders: Sequence[Path]
) -> tuple[dict[str, Any], Entries]:
    """Compose everything else around a recipe of plain data."""
    own = [word for word in words if word.key.startswith("recipe.")]
    recipe = apply_overrides(data, own)
    others = [word for word in words if word not in own and word.key != "recipe"]
    rest = _composed(["~recipe", *_entry_words(recipe, words, folders), *map(_addable, others)], folders)
    return _resolved(with_entries(rest, recipe, words)), _entries(folders)


def recipe_names(folders: Iterable[Path] = (CONF,)) -> list[str]:
    """Names of the recipes in some folders."""
    return _names("recipe", folders)


def entry_names(folders: Iterable[Path] = (CONF,)) -> dict[str, list[str]]:
    """Names of the entries that a recipe may name, by group: model, dataset and target."""
    return {group: _names(group, folders) for group in ("model", "dataset", "target")}


def _names(group: str, folders: Iterable[Path]) -> list[str]:
    """Names of the entries of a folder of conf/ and of the person's own."""
    result = [
        file.relative_to(folder / group).with_suffix("").as_posix()
        for folder in folders
        for file in (folder / group).rglob("*.yaml")
        if file.is_file()
    ]
    return sorted(set(result))


def _file(group: str, name: str, folders: Iterable[Path]) -> Path:
    """The file of an entry: ours come first, as in Hydra's search path."""
    return next(file for folder in folders if (file := folder / group / f"{name}.yaml").is_file())


def _recipe_file(words: Sequence[Override], folders: Sequence[Path]) -> tuple[str, Path]:
    """The recipe that the command line names, and its file."""
    present = recipe_names(folders)
    values = [word for word in words if word.key == "recipe"]
    if not values or values[-1].value in (None, "") or values[-1].deletes:
        raise UsageError(f"which recipe? Give recipe=NAME. Known: {', '.join(present)}")
    if len(values) > 1:
        raise UsageError(f"recipe is given {len(values)} times: {_words(values)}. Give it once")
    name = values[0].value
    if not isinstance(name, str):
        name = values[0].word.partition("=")[2]  # a number, say: files may be called so
    if name.endswith(".yaml") and (file := Path(name).expanduser()).is_file():
        return file.stem, file
    name = name if name in present else name.removesuffix(".yaml")
    if name in present:
        return name, _file("recipe", name, folders)
    inside = [other for other in present if other.startswith(f"{name.rstrip('/')}/")]
    if inside:
        raise UsageError(f"recipe={shortened(name)}: is a folder. Name a recipe in it: {', '.join(inside)}")
    raise _unknown("recipe", name, present)


def _words(overrides: Iterable[Override]) -> str:
    return ", ".join(shortened(override.word) for override in overrides)


def _unknown(group: str, name: str, names: Sequence[str]) -> UsageError:
    return UsageError(f"No {group} is called '{shortened(name)}'.{nearest(name, names)} Known: {', '.join(names)}")


def _check_folder(folder: Path, *, any_group: bool) -> None:
    """Read the files that Hydra may read, for its reader has no bounds: of our groups, or of any that `defaults` may name.

    The folder may be a whole project, with files of other programs in it.
    """
    groups = [path for path in sorted(folder.iterdir()) if path.name != "recipe" and path.is_dir()]
    for group in groups:
        for file in sorted(group.rglob("*.yaml")) if any_group or (CONF / group.name).is_dir() else ():
            if file.is_file():
                read_yaml(file, most_values=_HYDRA_VALUES, most_levels=_HYDRA_LEVELS)


def _has_package(file: Path) -> bool:
    """Whether the file's head tells Hydra where its content belongs."""
    with file.open(encoding="utf-8-sig") as stream:
        return bool(re.search(r"^\s*#\s*@package", stream.read(512), re.MULTILINE))


def _check_defaults(defaults: Any) -> None:
    """Check the form of a `defaults` list: words, or mappings from a group to a word."""
    parts = defaults if isinstance(defaults, list) else [defaults]
    for part in parts:
        words = list(part.values()) if isinstance(part, dict) and len(part) == 1 else [part]
        if not (isinstance(defaults, list) and all(isinstance(word, str) and "${" not in word for word in words)):
            raise UsageError(
                "recipe.defaults: expected a list of files of conf/, e.g. [/branch/recovery@tree.base.then, _self_], got "
                f"{show(part)}"
            )


def _entry_words(recipe: Mapping[str, Any], words: Sequence[Override], folders: Sequence[Path]) -> list[str]:
    """Words that choose the model and the data set: those of the command line are checked, the recipe's own are added."""
    result = []
    for group in _GROUPS:
        present = _names(group, folders)
        values = [word for word in words if word.key == group and not word.deletes]
        if len(values) > 1:
            raise UsageError(f"{group} is given {len(values)} times: {_words(values)}. Give it once")
        for word in values:
            if word.value is None:
                raise UsageError(
                    f"'{word.word}': names nothing. Leave {group} out with ~{group}, or name one of: {', '.join(present)}"
                )
            if word.value not in present:
                raise _unknown(group, word.word.partition("=")[2], present)
        own = recipe.get(group) if group in WRITTEN_OUT else None
        if values or own is None or own == "" or isinstance(own, Mapping) or (isinstance(own, str) and "${" in own):
            continue
        if not isinstance(own, str) or own not in present:
            listing = repr(own)
            raise UsageError(
                f"recipe.{group}: expected the name of an entry of conf/{group}, got {shortened(listing)}."
                f"{nearest(str(own), present)} Known: {', '.join(present)}"
            )
        result.append(f"{group}={own}")
    return result


def _addable(override: Override) -> str:
    """Let a recipe or an entry be given words that it does not write out: Hydra alone would ask for a `+`.

    Who reads them knows all that there may be, and says what is nearest to a word that is none.
    """
    word = override.word
    return f"++{word}" if word.startswith(("recipe.", "model.", "dataset.", "bench.")) else word


def _by_hydra(name: str, words: Sequence[Override], folders: Sequence[Path]) -> tuple[dict[str, Any], Entries]:
    """Compose a recipe that has a `defaults` list."""
    own = [f"recipe={name}", *(_addable(word) for word in words if word.key.startswith("recipe."))]
    recipe = _composed(own, folders)["recipe"]
    if not isinstance(recipe, Mapping):
        raise UsageError(
            f"recipe: expected a mapping, got {shortened(repr(recipe))}. Set its parts, e.g. recipe.seed=1"
        )
    others = [_addable(word) for word in words if word.key.partition(".")[0] != "recipe"]
    raw = _composed([*own, *_entry_words(recipe, words, folders), *others], folders)
    return _resolved(raw), _entries(folders)


def _composed(words: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """Compose with Hydra; references between values stay as they are written."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    search = [f"hydra.searchpath=['file://{_quoted(folder)}']" for folder in folders[1:]]
    with _hydra_errors(folders), initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(hydra_compose("config", overrides=[*search, *words]), resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _quoted(folder: Path) -> str:
    """A path between single quotes: Hydra takes it as it is, not as an address."""
    return str(folder).replace("\\", "\\\\").replace("'", "\\'")


def _resolved(config: dict[str, Any]) -> dict[str, Any]:
    """Put values in the place of references (`${...}`), and see that nothing is left to be set."""
    rest = {key: value for key, value in config.items() if key != "recipe"}
    if refers(config["recipe"]) or any("${" in text and "recipe" in text for text in strings(rest)):
        config = resolve(config)
    elif refers(rest):
        config = {**resolve(rest), "recipe": config["recipe"]}
    unset = next(_unset(config), None) if _UNSET in strings(config) else None
    if unset is not None:
        raise UsageError(f"{unset}: must be set, e.g. {unset}=... on the command line")
    return config


def _unset(config: Mapping[str, Any]) -> Iterator[str]:
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting:
        path, value = waiting.pop()
        if value == _UNSET:
            yield path
        parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        waiting.extend((f"{path}.{name}" if path else str(name), part) for name, part in reversed(list(parts)))


@contextmanager
def _few_calls() -> Iterator[None]:
    """Let OmegaConf follow what is nested as deeply as it may be: it takes some twenty calls for each level."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _CALLS))
    try:
        yield
    except RecursionError:
        raise UsageError(
            "recipe: it is nested too deeply, or its references (${...}) are, to be composed. Write values out; some "
            f"{_HYDRA_LEVELS // 2} steps in a row are the most beside `defaults` and references"
        ) from None
    finally:
        sys.setrecursionlimit(usual)


def _entries(folders: Sequence[Path]) -> Entries:
    """Every entry that a run may use, those of the person's own folder too.

    Those that build on others or refer to something are composed by Hydra, all at once: one by one takes five times as
    long. Hydra looks for a single file in its own folder only. Within one composition each entry gets a place of its
    own, by number, since a file may have a name that is none for Hydra.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {}
    places: list[tuple[str, str, str]] = []
    for group in _ENTRIES:
        result[group] = {}
        for name in _names(group, folders):
            file = _file(group, name, folders)
            data = read_yaml(file, most_values=_HYDRA_VALUES, most_levels=_HYDRA_LEVELS).data
            result[group][name] = {str(key): value for key, value in data.items()}
            if "defaults" in data or refers(data) or _has_package(file):
                places.append((group, name, f"entry{len(places)}"))
    if places:
        words = [f"+{group}@entries.{group}.{place}={name}" for group, name, place in places]
        composed = resolve(_composed(["~recipe", *words], folders))["entries"]
        for group, name, place in places:
            result[group][name] = {str(key): value for key, value in composed[group][place].items()}
    return result


def _missing_file(name: str, folders: Sequence[Path]) -> UsageError:
    """The error for a file that a `defaults` list names and that no folder has."""
    group, _, entry = name.partition("/")
    present = _names(group, folders) if entry else []
    if present:
        return _unknown(group, entry, present)
    groups = {path.name for folder in folders for path in folder.iterdir() if path.is_dir()}
    files = [f"/{one}/{entry}" for one in sorted(groups) for entry in _names(one, folders)]
    return UsageError(
        f"recipe.defaults: no folder of conf/ has '{shortened(name)}'.{nearest(f'/{name}', files)} Write /FOLDER/NAME, e.g. "
        "/branch/recovery"
    )


class _hydra_errors:  # noqa: N801 - a context manager reads as a function
    """Turn Hydra's errors into one message of ours with the nearest name."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from hydra.errors import MissingConfigException
        from omegaconf.errors import OmegaConfBaseException

        broken = explain_yaml(error, self._folders)
        if broken is not None:
            raise UsageError(broken) from None
        if isinstance(error, MissingConfigException) and error.missing_cfg_file:
            raise _missing_file(str(error.missing_cfg_file).lstrip("/"), self._folders) from None
        if isinstance(error, OmegaConfBaseException):
            raise UsageError(
                f"{error.full_key or 'config'}: {first_line_of(error)}. Correct the key or its value"
            ) from None
        # its assertions are among what it raises about files of people's own
        if isinstance(error, Exception) and not isinstance(error, BouillonError | RecursionError):
            raise UsageError(_explained(error)) from None


def _explained(error: BaseException) -> str:
    """One line of what Hydra says, with the nearest key where it does not know one."""
    message = "" if isinstance(error, AssertionError) else str(error)  # what it says of itself is code
    text = " ".join(line.strip() for line in message.splitlines() if line.strip() and "hydra.cc" not in line)
    wrong = re.match("Could not (?:override|append|delete from)[^']*'(.+?)'", text)
    if wrong:
        return f"unknown key '{shortened(wrong[1])}'.{nearest(wrong[1], _keys())} Known: {', '.join(_keys())}"
    return (
        cut(text, _LONGEST)
        or "config: cannot be composed. Check `defaults` in the recipe, e.g. [/branch/recovery@tree.base.then, _self_]"
    )


def _keys() -> list[str]:
    """Return the keys that can be set besides the words of recipes and entries."""
    from pipeline.sweep.config import ArtifactsConfig, Config, ExecutorConfig, LimitsConfig

    groups: dict[str, type[BaseModel]] = {
        "executor": ExecutorConfig,
        "limits": LimitsConfig,
        "artifacts": ArtifactsConfig,
    }
    inner = [f"{group}.{name}" for group, fields in groups.items() for name in fields.model_fields]
    return [*(name for name in Config.model_fields if name not in groups), *inner]
