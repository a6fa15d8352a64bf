"""What planning costs: recipes of many steps, and files that are refused.

    python scripts/bench/planning.py

Each is planned in a process of its own; CPU seconds and peak memory are those of that process, start-up included. The exit
status is 1 if one takes more than it may.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = "name: bench\nmodel: digits_resnet\ndataset: digits\n"
PLANNED_SECONDS, REFUSED_SECONDS, GIGABYTES = 5, 10, 1


@dataclass(frozen=True)
class Case:
    """A recipe, and what becomes of it."""

    name: str
    text: str
    code: int
    """The exit status that is right."""
    words: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """CPU time that it may take."""
        return PLANNED_SECONDS if self.code == 0 else REFUSED_SECONDS


def written(steps: int, op: str = "magnitude_prune") -> str:
    lines = [f"      p{n}: {{op: {op}, with: {{sparsity: {(n + 1) / (steps + 1):.6f}}}}}\n" for n in range(steps - 1)]
    return f"{HEAD}tree:\n  base:\n    op: train\n    then:\n{''.join(lines)}"


def chain(steps: int) -> str:
    node = "{op: calibrate}"
    for _ in range(steps - 2):
        node = f"{{op: calibrate, then: {{n: {node}}}}}"
    return f"{HEAD}tree: {{base: {{op: train, then: {{n: {node}}}}}}}\n"


def each(values: int, swept: int) -> str:
    names = ("epochs", "batch_size", "learning_rate")[:swept]
    return f"{HEAD}tree: {{base: {{op: train, with: {{{', '.join(f'{name}: {{each: {list(range(1, values + 1))}}}' for name in names)}}}}}}}\n"


def bomb(levels: int, width: int = 10) -> str:
    lines = ["b0: &b0 [x]\n"]
    lines += [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * width)}]\n" for n in range(1, levels)]
    return f"{HEAD}{''.join(lines)}tree: {{base: {{op: train}}}}\n"


def cases() -> Iterator[Case]:
    yield Case("1 step", written(1), 0)
    yield Case("10,000 written steps", written(10_000), 0)
    yield Case(
        "10,000 written steps, one changed by a word", written(10_000), 0, ("recipe.tree.base.then.p7.with.sparsity=0",)
    )
    yield Case("10,000 steps of `each`", each(100, 2), 0)
    yield Case("chain of 500 steps", chain(500), 0)
    yield Case("chain of 5,000 steps", chain(5000), 2)
    yield Case("`each` of 100 x 100 x 100", each(100, 3), 2)
    yield Case("10,000 steps with a mistake each", written(10_000, op="magnitude_prun"), 2)
    yield Case("10,000 unknown words", HEAD + "".join(f"word{n}: 1\n" for n in range(10_000)) + "tree: {}\n", 2)
    yield Case("aliases that repeat aliases", bomb(10), 2)
    yield Case("aliases that repeat aliases, below a step", bomb(10).replace("b0:", "tree: {}\nb0:", 1), 2)
    yield Case(
        "references that double",
        HEAD + "t0: aaaaaaaa\n" + "".join(f"t{n}: '${{recipe.t{n - 1}}}${{recipe.t{n - 1}}}'\n" for n in range(1, 60)),
        2,
    )
    yield Case("10,000 steps beside a reference", written(10_000) + "description: ${recipe.name}\n", 2)
    yield Case("brackets in brackets", f"{HEAD}tree: {'[' * 100_000}{']' * 100_000}\n", 2)
    yield Case("open brackets", f"{HEAD}tree: {'[' * 100_000}\n", 2)
    yield Case("a number of 5 million digits", f"{HEAD}seed: {'9' * 5_000_000}\ntree: {{base: {{op: train}}}}\n", 2)
    yield Case("a file of 9 MB", HEAD + "# " + "x" * 9_000_000, 2)


def measure(case: Case) -> tuple[int, float, float]:
    """Plan in a process of its own; return its exit status, CPU time [s] and peak memory [GB]."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "recipe").mkdir()
        (Path(folder) / "recipe" / "bench.yaml").write_text(case.text)
        words = [
            "-m",
            "pipeline",
            "--config-dir",
            folder,
            "plan_only=true",
            "recipe=bench",
            f"results={folder}/r.duckdb",
        ]
        process = os.fork()
        if not process:
            os.chdir(folder)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            os.execve(sys.executable, [sys.executable, *words, *case.words], {**os.environ, "PYTHONPATH": str(ROOT)})
        _, status, usage = os.wait4(process, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def main() -> int:
    failures = 0
    print("| case | exit status | CPU s | allowed | GB |\n|---|---|---|---|---|")
    for case in cases():
        code, seconds, gigabytes = measure(case)
        fine = code == case.code and seconds <= case.seconds and gigabytes <= GIGABYTES
        failures += not fine
        print(
            f"| {case.name} | {code} | {seconds:.1f} | {case.seconds} | {gigabytes:.2f} |{'' if fine else ' **no**'}",
            flush=True,
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
