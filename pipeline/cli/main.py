"""The command line: compose the configuration with Hydra, then leave Hydra behind.

python -m pipeline recipe=NAME [key=value ...]
python -m pipeline import compress-and-compare FILE
python -m pipeline export compress-and-compare FILE
python -m pipeline migrate
python -m pipeline merge FILE ...
python -m pipeline push URL
python -m pipeline pull URL
python -m pipeline verify
python -m pipeline gate CANDIDATE REFERENCE --fail-if RULE
python -m pipeline package MODEL DIR
python -m pipeline reproduce DIR
python -m pipeline confirm MODEL
python -m pipeline clean
python -m pipeline compare MODEL REFERENCE
python -m pipeline branch MODEL --change FILE
python -m pipeline serve
python -m pipeline sensitivity recipe=NAME at=PATH
python -m pipeline search recipe=NAME minutes=30 budget="file_bytes <= 5 MB" best=accuracy
python -m pipeline show DATASET
"""

from __future__ import annotations

import argparse
import gc
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ops.core.registry import nearest
from ops.core.text import cut
from pipeline.cli.commands.table import COMMANDS, run_command
from pipeline.cli.configuration.compose import CONF, UsageError, compose, recipe_names
from pipeline.cli.configuration.overrides import shortened
from pipeline.core import secret_values
from pipeline.core.machine.streams import open_standard_streams
from pipeline.core.machine.user import settle_user

__all__ = ["CONF", "compose", "main", "run"]
_log = logging.getLogger(__name__)
_LOG_LEVELS = ("debug", "info", "warning", "error")
_LONGEST_PATH = 500  # characters of it in a message
_OBJECTS = 200_000
"""New objects between two collections of garbage: a plan of 10,000 steps has a million, and all of them stay."""
_NAMES = tuple(command.name for command in COMMANDS)
HELP = """\
Compress models by recipe, measure what came out, and show it.

  python -m pipeline recipe=quickstart                     run a recipe
  python -m pipeline recipe=quickstart plan_only=true      show what it would do, and how long
  python -m pipeline recipe=quickstart executor.workers=2 recipe.seed=1
  python -m pipeline import compress-and-compare models.json
  python -m pipeline export compress-and-compare models.json
  python -m pipeline migrate                               bring an older results file up to date
  python -m pipeline merge a.duckdb b.duckdb               bring results together in results.duckdb
  python -m pipeline push URL                              send results to an object store (pull URL: fetch them)
  python -m pipeline verify                                look for damaged files in the workspace
  python -m pipeline gate CANDIDATE REFERENCE --fail-if "accuracy drop > 0.5pt"
                                                           may a model take the place of another?
  python -m pipeline package MODEL DIR                     a folder to deploy: the model with all that it takes
  python -m pipeline reproduce DIR                         make a package's or a store's model anew, and compare
  python -m pipeline confirm MODEL                         is it as good as it was chosen for? on instances nothing else reads
  python -m pipeline clean                                 what the workspace holds, and what may go
  python -m pipeline compare MODEL REFERENCE               compare the layers of any two models
  python -m pipeline branch MODEL --change FILE            add steps below a model: print the recipe, or --run it
  python -m pipeline serve                                 run the branches that visitors of the page ask for
  python -m pipeline sensitivity recipe=NAME at=PATH       measure what each layer of a model can lose
  python -m pipeline search recipe=NAME minutes=30 budget="file_bytes <= 5 MB" best=accuracy
                                                           try the values that a recipe leaves open, within a budget
  python -m pipeline view                                  serve the page of the results
  python -m pipeline schema                                print the JSON schema of recipes, for editors
  python -m pipeline mcp                                   serve an assistant over standard input and output

Any key of conf/config.yaml can be set as key=value; --config-dir DIR adds a folder of your own recipes, models and
data sets (DIR/recipe/mine.yaml, ...); --log-level info tells every job on standard error; --json tells everything as
JSON lines on standard output; --version names the versions of this program and its libraries.
Afterwards: `panel serve viewer`, or any SQL client on results.duckdb.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 if all went well, 1 if a step failed, 2 if nothing could be started."""
    gc.set_threshold(_OBJECTS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or a pipe that takes ASCII alone must not end the run
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command and return its exit code. Every mistake of the user's is one message, never a traceback."""
    open_standard_streams()
    settle_user()
    with secret_values.hidden_output():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help", "--version"):
        sys.stdout.write(
            _versions() if arguments == ["--version"] else f"{HELP}\nRecipes: {', '.join(recipe_names())}\n"
        )
        return 0 if arguments else 2
    try:
        if arguments[0] in _NAMES:
            return run_command(arguments)
        return _sweep(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. What is finished is kept: run the same command again to go on.\n")
        return 130
    except Exception as error:
        message = _explanation(error)
        if message is None:
            raise
        _print_error(message, as_json="--json" in arguments)
        return 2


def _explanation(error: Exception) -> str | None:
    """What to tell of an error; None if it is a fault of ours."""
    from pipeline.core.errors import BouillonError, blame, own_frames
    from pipeline.store.database import DatabaseError

    if isinstance(error, BouillonError):
        return str(error)
    if isinstance(error, DatabaseError | OSError):
        return _of_the_system(error)
    if not own_frames(error):
        return None
    _log.debug("in code of the user's own", exc_info=error)
    return f"{blame(error)}: raised by code of your own; --log-level debug shows where it was called"


def _print_error(text: str, *, as_json: bool) -> None:
    if as_json:
        from pipeline.cli.json_output import print_error

        print_error(text, 2)
    else:
        sys.stderr.write("".join(f"error: {line}\n" for line in text.splitlines()))


def _versions() -> str:
    from pipeline.core.environment import versions

    return "".join(f"{name} {version}\n" for name, version in versions().items())


def _of_the_system(error: Exception) -> str:
    """Return the message of the file system or the database, with what to do."""
    if isinstance(error, OSError):
        where = f"{cut(str(error.filename), _LONGEST_PATH)}: " if error.filename else ""
        return f"{where}{error.strerror or error}. What is finished is kept: run again when it is mended"
    return f"the results cannot be read: {str(error).splitlines()[0]}. Another program may have changed them"


def _sweep(arguments: list[str]) -> int:
    from pipeline.cli.console import run_and_print
    from pipeline.cli.json_output import run_as_json
    from pipeline.cli.library import prepared_run

    options, overrides = _options(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    prepared = prepared_run(*compose(overrides, extra=options.config_dir))
    return run_as_json(prepared) if options.json else run_and_print(prepared)


def _options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m pipeline", add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config-dir", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--log-level", choices=_LOG_LEVELS, default="warning")
    try:
        options, overrides = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        name = error.argument_name or "--config-dir"
        usage = f"--log-level {'|'.join(_LOG_LEVELS)}" if name == "--log-level" else "--config-dir DIR"
        raise UsageError(f"{name}: {error.message}. Write {usage}") from None
    for word in overrides:
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UsageError(
                f"{word.encode('utf-8', 'backslashreplace').decode()}: not UTF-8, so that results cannot record it; rename the "
                "file or folder, or make a link to it (ln -s)"
            )
        if word.startswith("--"):
            raise UsageError(
                f"unknown option '{shortened(word)}'. Known: --config-dir DIR, --json, --log-level LEVEL, --version, --help; "
                "everything else is key=value"
            )
        if "=" not in word and not word.startswith("~"):
            raise UsageError(f"'{shortened(word)}' is not key=value.{_instead(word, options.config_dir)}")
    return options, overrides


def _instead(word: str, extra: Path | None) -> str:
    """Return a suggestion for a word that sets nothing."""
    if word in _NAMES:
        return f" A command comes first: python -m pipeline {word} ..."
    recipes = recipe_names([CONF, *([extra] if extra else [])])
    if word in recipes:
        return f" Try: recipe={word}"
    close = nearest(word, [*_NAMES, *recipes]) or " Write key=value, e.g. recipe=quickstart."
    return f"{close} Commands: {', '.join(_NAMES)}; recipes: {', '.join(recipes)}"
