"""Composition of the configuration with Hydra, and Hydra's errors in one line of ours."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.registry import nearest
from pipeline.cli.yaml_errors import explain_yaml
from pipeline.core.errors import BouillonError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pipeline.sweep.prepare import Entries


CONF = Path(__file__).resolve().parents[2] / "conf"


_CALLS = 10_000


class UsageError(BouillonError, ValueError):
    """The command line is wrong: the message says what would be right."""


def compose(overrides: list[str], *, extra: Path | None = None) -> tuple[dict[str, Any], Entries]:
    """Compose conf/ with the overrides; the recipe's own `model` and `dataset` stand unless overridden.

    Raises:
        UsageError: for an unknown recipe, model or data set (with the nearest name) or a malformed override.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if extra is not None and not extra.is_dir():
        raise UsageError(f"--config-dir {extra}: there is no such folder")
    search = [f"hydra.searchpath=[{extra.resolve().as_uri()}]"] if extra else []
    with _deep(), initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        options = partial(loader.get_group_options, config_name="config", overrides=search)

        def composed(words: list[str]) -> dict[str, Any]:
            with _hydra_errors(options, extra):
                config = hydra_compose("config", overrides=[*search, *words])
                plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            assert isinstance(plain, dict)
            return {str(key): value for key, value in plain.items()}

        overrides = [_addable(word) for word in overrides]
        recipe = composed([word for word in overrides if word.lstrip("+~").startswith("recipe")])["recipe"] or {}
        defaults = [
            f"{group}={recipe[group]}"
            for group in ("model", "dataset")
            if isinstance(recipe, dict)
            and recipe.get(group)
            and not any(word.startswith(f"{group}=") for word in overrides)
        ]
        try:
            raw = composed([*defaults, *overrides])
            with _hydra_errors(options, extra):
                entries = _entries({group: options(group) for group in ("model", "target", "bench")}, search)
        except OmegaConfBaseException as error:
            raise UsageError(f"{error.full_key or 'config'}: {str(error).splitlines()[0]}") from None
    return raw, entries


def _addable(word: str) -> str:
    """Let a recipe or an entry be given words that it does not write out: Hydra alone would ask for a `+`.

    Who reads them knows all that there may be, and says what is nearest to a word that is none.
    """
    return f"++{word}" if word.startswith(("recipe.", "model.", "dataset.", "bench.")) else word


@contextmanager
def _deep() -> Iterator[None]:
    """Let recipes be long chains: composing takes some twenty calls for each step of one."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _CALLS))
    try:
        yield
    except RecursionError:
        raise UsageError(
            "recipe: its steps are nested too deeply to be composed. Some 300 steps in a row are the most"
        ) from None
    finally:
        sys.setrecursionlimit(usual)


def _entries(groups: Mapping[str, Sequence[str]], search: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Every entry of some groups, those of the user's own folder too. Composed at once: one by one takes five times as long.

    Hydra looks for a single file in its own folder only. Within one composition each entry gets a place of its own, by
    number, since a file may have a name that is none for Hydra.
    """
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    places = [(group, name, f"entry{number}") for group in groups for number, name in enumerate(groups[group])]
    words = [f"+{group}@entries.{group}.{place}={name}" for group, name, place in places]
    composed = hydra_compose("config", overrides=[*search, "~recipe", *words])
    plain = OmegaConf.to_container(composed["entries"], resolve=True)
    assert isinstance(plain, dict)
    entries: dict[str, dict[str, dict[str, Any]]] = {group: {} for group in groups}
    for group, name, place in places:
        entries[group][name] = {str(key): value for key, value in plain[group][place].items()}
    return entries


class _hydra_errors:  # noqa: N801 - a context manager reads as a function
    """Turn Hydra's errors into one message of ours with the nearest name."""

    def __init__(self, options: Callable[[str], list[str]], extra: Path | None) -> None:
        self._options, self._extra = options, extra

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from hydra.errors import HydraException, MissingConfigException

        broken = explain_yaml(error, [CONF, *([self._extra] if self._extra else [])])
        if broken is not None:
            raise UsageError(broken) from None
        if isinstance(error, MissingConfigException) and error.missing_cfg_file and "/" in error.missing_cfg_file:
            group, _, name = error.missing_cfg_file.partition("/")
            names = self._options(group)
            raise UsageError(
                f"No {group} is called '{name}'.{nearest(name, names)} Known: {', '.join(names)}"
            ) from None
        if isinstance(error, HydraException | ValueError) and not isinstance(error, UsageError):
            text = " ".join(line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line)
            if "must specify 'recipe'" in text:
                text = f"which recipe? Give recipe=NAME. Known: {', '.join(self._options('recipe'))}"
            wrong = re.match("Could not override '(.+?)'", text)
            if wrong:
                text = f"unknown key '{wrong[1]}'.{nearest(wrong[1], _keys())} Known: {', '.join(_keys())}"
            raise UsageError(text) from None


def _keys() -> list[str]:
    """What can be set besides the words of recipes and entries."""
    from pipeline.sweep.config import Config, ExecutorConfig, LimitsConfig

    groups: dict[str, type[BaseModel]] = {"executor": ExecutorConfig, "limits": LimitsConfig}
    inner = [f"{group}.{name}" for group, fields in groups.items() for name in fields.model_fields]
    return [*(name for name in Config.model_fields if name not in groups), *inner]
