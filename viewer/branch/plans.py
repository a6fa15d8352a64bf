"""Plans of branches: processes of the pipeline's make them, as the viewer plans nothing itself; pages show what came out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from pipeline.core.json_text import parse_json

__all__ = ["BranchPlan", "operation_schemas_of", "plan_of"]

_SECONDS = 180.0
"""The longest that a plan may take: reading a data set for the first time is part of it."""
_MOST_KEPT = 64


@dataclass
class BranchPlan:
    """The plan of one change below one model, or why there is none."""

    results: Path
    origin: str
    change: str
    finished: bool = False
    problems: list[str] = field(default_factory=list)
    content: Mapping[str, Any] = field(default_factory=dict)
    """`recipe`, `origin`, `steps`, `jobs_to_run`, `expected_seconds`, `jobs_of_unknown_length`, `notes`."""

    def run(self, notify: Callable[[], None]) -> None:
        """Plan; `notify` is called at the end."""
        with tempfile.TemporaryDirectory(prefix="bouillon-change-") as folder:
            file = Path(folder, "change.yaml")
            try:
                file.write_text(self.change, encoding="utf-8")
                self._plan(file)
            except subprocess.TimeoutExpired:
                self.problems = [f"The plan took longer than {_SECONDS:.0f} seconds and was given up"]
            except OSError as error:
                self.problems = [f"The plan could not be made: {error.strerror}"]
            self.problems = [text.replace(f"{file} ", "").replace(f"{file}: ", "") for text in self.problems]
        self.finished = True
        notify()

    def _plan(self, file: Path) -> None:
        words = ["branch", "--results", str(self.results), "--change", str(file), "--json", "--", self.origin]
        process = subprocess.run(
            [sys.executable, "-m", "pipeline", *words],
            capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            content = parse_json(process.stdout)
        except ValueError:
            content = None
        if process.returncode == 0 and isinstance(content, dict):
            self.content = content
        elif isinstance(content, dict) and content.get("event") == "error":
            self.problems = [str(problem["message"]) for problem in content["problems"]]
        else:
            lines = [line for line in process.stderr.splitlines() if line.strip()]
            self.problems = [lines[-1] if lines else "The plan failed without a word"]


_plans: OrderedDict[tuple[Path, int, str, str], BranchPlan] = OrderedDict()
_starting, _turn = Lock(), Lock()


def plan_of(results: Path, models: int, origin: str, change: str, notify: Callable[[], None]) -> BranchPlan:
    """Return the plan of a change, begun if nobody has asked for it yet.

    Args:
        results: the results file.
        models: how many there are: with new ones it is planned anew, as what is asked for may be among them.
        origin: key of the model.
        change: YAML of the steps that are added.
        notify: called, in another thread, when the plan is there; only that of the first call for it is.
    """
    with _starting:
        where = (results.absolute(), models, origin, change)
        if where not in _plans:
            plan = _plans[where] = BranchPlan(where[0], origin, change)
            Thread(target=_one_at_a_time, args=(plan, notify), daemon=True, name="plan").start()
            while len(_plans) > _MOST_KEPT:
                _plans.popitem(last=False)
        return _plans[where]


def _one_at_a_time(plan: BranchPlan, notify: Callable[[], None]) -> None:
    with _turn:
        plan.run(notify)


@lru_cache(maxsize=1)
def operation_schemas_of() -> Mapping[str, Any]:
    """Return what each operation is and takes.

    Raises:
        OSError: if the pipeline cannot be asked.
    """
    command = [sys.executable, "-m", "pipeline", "schema", "operations"]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if process.returncode:
        raise OSError(0, "the operations cannot be listed")
    schemas: Mapping[str, Any] = json.loads(process.stdout)
    return schemas
