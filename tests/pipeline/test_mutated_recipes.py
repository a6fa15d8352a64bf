"""A mutant of a real recipe is planned, or refused in plain lines, within bounds; never anything else.

`MUTANTS=1000 pytest tests/pipeline/test_mutated_recipes.py` tries more of them, `FIRST_MUTANT=1000` others.
"""

import os
import resource
import time

import pytest

from pipeline.cli import main
from pipeline.plan.recipe import MOST_PROBLEMS
from tests.pipeline.mutations import mutant

MUTANTS, FIRST = int(os.environ.get("MUTANTS", "150")), int(os.environ.get("FIRST_MUTANT", "0"))
SLICES = 10
SECONDS, GIGABYTES = 10, 1
"""CPU time and memory that a refusal may take."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    return tmp_path / "conf"


@pytest.mark.matrix
@pytest.mark.parametrize("part", range(SLICES))
def test_a_mutant_is_planned_or_refused_in_plain_lines(place, capsys, part):
    for number in range(FIRST + part, FIRST + MUTANTS, SLICES):
        (place / "recipe" / "mutant.yaml").write_bytes(mutant(number))
        begun = time.process_time()
        code = main.run(["--config-dir", str(place), "plan_only=true", "recipe=mutant"])
        seconds = time.process_time() - begun
        out, err = capsys.readouterr()
        assert_plain(code, out, err, number)
        assert code == 0 or seconds < SECONDS, number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2**20 * GIGABYTES + BEFORE


BEFORE = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""What the tests before have taken [KiB]."""


def assert_plain(code, out, err, number):
    lines = err.splitlines()
    if code == 0:
        assert not lines, (number, err)
        assert "models; " in out, (number, out[-300:])
        return
    assert code == 2, (number, err)
    assert 1 <= len(lines) <= MOST_PROBLEMS, (number, err)
    for line in lines:
        assert line.startswith("error: "), (number, line)
        assert len(line) > len("error: something"), (number, line)
        assert len(line) < 2500, (number, line)
        assert line.isprintable(), (number, line)
        assert not any(word in line for word in ("Traceback", "RecursionError", "<class", "omegaconf", "hydra.")), (
            number,
            line,
        )
