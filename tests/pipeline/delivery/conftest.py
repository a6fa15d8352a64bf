"""A swept workspace in a home of its own, so that no other run of this person's notes anything about its data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.command import CONF, ROOT, Place


class Home(Place):
    """A place with a home."""

    def start(self, *words, **options):
        home, scratch = self.folder / "home", self.folder / "tmp"
        home.mkdir(exist_ok=True)
        scratch.mkdir(exist_ok=True)
        environment = {
            **os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch),
        }  # fmt: skip
        return subprocess.Popen(self.arguments(*words), cwd=self.folder, env=environment, text=True, **options)

    def arguments(self, *words):
        own = ["--config-dir", str(CONF)] if words[0].startswith("recipe=") else []
        return [sys.executable, "-m", "pipeline", *own, *words]


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """Digits: a base, its int8 version, and a pruned one that was tuned; some instances are set aside. Nobody changes what is in here.

    On one thread: sums of several may end in other bits on a busy machine, and so would the trained base.
    """
    place = Home(tmp_path_factory.mktemp("swept"))
    code, _, said = place.run("recipe=small", "bench=none", "executor.threads=1", "dataset.confirmation=0.4")
    assert code == 0, said
    return place


@pytest.fixture
def call(swept, monkeypatch, capsys):
    """Run a command within this process, as that home's person: exit code, standard output and error."""

    def run(*words: str, folder: Path = swept.folder) -> tuple[int, str, str]:
        monkeypatch.setenv("HOME", str(swept.folder / "home"))
        monkeypatch.chdir(folder)
        capsys.readouterr()
        code = main.run(list(words))
        return (code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def packaged(swept):
    """A package of the int8 model."""
    folder = swept.folder / "package"
    code, _, said = swept.run("package", "base/int8", str(folder))
    assert code == 0, said
    return folder


@pytest.fixture(scope="session")
def runtime_alone(tmp_path_factory):
    """A function that runs a package's program with nothing but what its requirements name, and what these need."""

    def run(package: Path, *words: str, rows: str = "") -> subprocess.CompletedProcess:
        site = tmp_path_factory.mktemp("site")
        for name in _closure(package / "requirements.txt"):
            _link(name, site)
        program = f"import runpy, sys; sys.path.append({str(site)!r}); runpy.run_path({str(package / 'predict.py')!r}, run_name='__main__')"
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", program, *words],
            check=False, cwd=package, input=rows, capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    return run


def _closure(requirements: Path) -> set[str]:
    """Names of the distributions, and of those that they need without extras."""
    import re
    from importlib import metadata

    names, waiting = set(), [line.partition("==")[0] for line in requirements.read_text().splitlines()]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            needed = [one for one in metadata.requires(name) or () if "extra ==" not in one]
            waiting += [re.match(r"[\w.-]+", one)[0] for one in needed if _installed(re.match(r"[\w.-]+", one)[0])]
    return names


def _installed(name: str) -> bool:
    from importlib import metadata

    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _link(name: str, site: Path) -> None:
    from importlib import metadata

    distribution = metadata.distribution(name)
    for top in {Path(str(file)).parts[0] for file in distribution.files or () if ".." not in str(file)}:
        source = Path(str(distribution.locate_file(top)))
        if source.exists() and not (site / top).exists():
            (site / top).symlink_to(source)
