"""A shell completes commands, options, keys and names of entries, as a real shell sees it."""

import shutil
import subprocess
import sys

import pytest

from tests.pipeline.command import ROOT


@pytest.fixture(scope="module")
def script():
    words = [sys.executable, "-m", "pipeline", "completion", "bash"]
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["g"], ["gate"]),
        (["rec"], ["recipe="]),
        (["recipe", "=", "quick"], ["quickstart"]),
        (["recipe", "=", "quickstart", "dataset", "=", "cif"], ["cifar10"]),
        (["gate", "a", "b", "--fail"], ["--fail-if"]),
        (["import", "--ex"], ["--experiment"]),
    ],
)
def test_bash_completes(script, words, expected):
    listing = " ".join(f"'{word}'" for word in ["bouillon", *words])
    code = f"{script}\nCOMP_WORDS=({listing}); COMP_CWORD={len(words)}; _bouillon; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(shell):
    words = [sys.executable, "-m", "pipeline", "completion", shell]
    text = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "quickstart" in text
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text, check=False, capture_output=True, text=True).returncode == 0
