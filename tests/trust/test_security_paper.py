"""Every line of SECURITY.md about what is not trusted names tests that are there."""

import re

from tests.pipeline.command import ROOT


def test_the_tests_that_it_names_are_there():
    paper = (ROOT / "SECURITY.md").read_text()
    table = paper.partition("## What is not trusted")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| from")]
    assert len(rows) > 15
    for row in rows:
        cell = row.rstrip(" |").rpartition("|")[2]
        file = None
        for name in re.findall(r"`([^`]+)`", cell):
            path, _, test = name.partition("::")
            file = ROOT / "tests" / path if path else file
            assert file is not None
            assert file.is_file(), f"{row}: there is no {file.name}"
            assert not test or f"def {test}(" in file.read_text(), f"{row}: {file.name} has no {test}"
        assert file is not None, row
