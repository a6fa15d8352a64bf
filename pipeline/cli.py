"""The command line: compose the configuration with Hydra, then leave Hydra behind.

python -m pipeline recipe=NAME [key=value ...]
python -m pipeline import compress-and-compare FILE
python -m pipeline export compress-and-compare FILE
python -m pipeline migrate
python -m pipeline compare MODEL REFERENCE
python -m pipeline show DATASET
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.finite import not_finite
from ops.registry import nearest
from pipeline.broken_yaml import explain_yaml

if TYPE_CHECKING:
    from pydantic import BaseModel

CONF = Path(__file__).resolve().parents[1] / "conf"
_CALLS = 10_000
COMMANDS = ("import", "export", "migrate", "compare", "show")
HELP = """\
Compress models by recipe, measure what came out, and show it.

  python -m pipeline recipe=quickstart                     run a recipe
  python -m pipeline recipe=quickstart plan_only=true      show what it would do, and how long
  python -m pipeline recipe=quickstart executor.workers=2 recipe.seed=1
  python -m pipeline import compress-and-compare models.json
  python -m pipeline export compress-and-compare models.json
  python -m pipeline migrate                               bring an older results file up to date
  python -m pipeline compare MODEL REFERENCE               compare the layers of any two models

Any key of conf/config.yaml can be set as key=value; --config-dir DIR adds a folder of your own recipes, models and
data sets (DIR/recipe/mine.yaml, ...). Afterwards: `panel serve viewer`, or any SQL client on results.duckdb.
"""


class UsageError(ValueError):
    """The command line is wrong: the message says what would be right."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 if all went well, 1 if a step failed, 2 if nothing could be started."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command and return its exit code. Every mistake of the user's is one message, never a traceback."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(f"{HELP}\nRecipes: {', '.join(_recipe_names())}\n")
        return 0 if arguments else 2
    from pipeline.config import ConfigError
    from pipeline.datasets.api import DataError
    from pipeline.keys import IdentityError
    from pipeline.recipe import RecipeError
    from pipeline.store.errors import StoreError

    try:
        if arguments[0] in COMMANDS:
            from pipeline.commands import run_command

            return run_command(arguments)
        return _sweep(arguments)
    except (UsageError, ConfigError, RecipeError, DataError, IdentityError, StoreError) as error:
        sys.stderr.write("".join(f"error: {line}\n" for line in str(error).splitlines()))
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(
            f"error: {where}{error.strerror or error}. What is finished is kept: run again when it is mended\n"
        )
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. What is finished is kept: run the same command again to go on.\n")
        return 130


def _sweep(arguments: list[str]) -> int:
    from pipeline.config import check
    from pipeline.sweep import sweep

    options, overrides = _options(arguments)
    raw, entries = compose(overrides, extra=options.config_dir)
    odd = not_finite(raw)
    if odd is not None:
        raise UsageError(f"{odd[0]}: must be a finite number (got {odd[1]})")
    return sweep(check(raw), entries)


def _options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m pipeline", add_help=False)
    parser.add_argument("--config-dir", type=Path)
    options, overrides = parser.parse_known_args(arguments)
    for word in overrides:
        if word.startswith("--"):
            raise UsageError(f"unknown option '{word}'. Known: --config-dir DIR, --help; everything else is key=value")
        if "=" not in word and not word.startswith("~"):
            raise UsageError(
                f"'{word}' is not key=value.{nearest(word, [*COMMANDS, 'recipe=' + word])} Try: recipe={word}"
            )
    return options, overrides


Entries = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Group (`model`, `target`, `bench`) -> name -> entry: what a run may use besides what its own keys name."""


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
        chosen = [
            f"{group}={recipe[group]}"
            for group in ("model", "dataset")
            if isinstance(recipe, dict)
            and recipe.get(group)
            and not any(word.startswith(f"{group}=") for word in overrides)
        ]
        try:
            raw = composed([*chosen, *overrides])
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
    found: dict[str, dict[str, dict[str, Any]]] = {group: {} for group in groups}
    for group, name, place in places:
        found[group][name] = {str(key): value for key, value in plain[group][place].items()}
    return found


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
            known = self._options(group)
            raise UsageError(
                f"No {group} is called '{name}'.{nearest(name, known)} Known: {', '.join(known)}"
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
    from pipeline.config import Config, ExecutorConfig, LimitsConfig

    groups: dict[str, type[BaseModel]] = {"executor": ExecutorConfig, "limits": LimitsConfig}
    inner = [f"{group}.{name}" for group, fields in groups.items() for name in fields.model_fields]
    return [*(name for name in Config.model_fields if name not in groups), *inner]


def _recipe_names() -> list[str]:
    return sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))
