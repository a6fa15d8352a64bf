"""The wheel, names that clash, and the steps of the container, without a network: what is installed is what runs."""

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
ROOT = Path(__file__).resolve().parents[1]
OFFLINE = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""Settings of pip: what the wheel needs is there already. (Of options that begin with `no`, 0 sets them.)"""


def call(words, folder, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        words, check=False, cwd=folder, env={**environment, **OFFLINE, **variables}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the files that git knows, where a build leaves things."""
    folder = tmp_path_factory.mktemp("checkout")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    for name in names.decode().split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
            (folder / name).chmod((ROOT / name).stat().st_mode)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = call([sys.executable, "-m", "pip", "wheel", "--quiet", "-w", str(folder), str(checkout)], folder)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(site, code, folder):
    """Run code with the installed wheel, and the libraries of this environment, but nothing of this checkout."""
    paths = [str(site), *(path for path in sys.path if "site-packages" in path)]
    return call([sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"], folder)


def test_the_wheel_has_packages_entries_and_nothing_of_a_general_name(site):
    top = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"bouillon.py", "ops", "pipeline", "viewer"}
    assert (site / "pipeline/conf/recipe/quickstart.yaml").is_file()
    assert (site / "pipeline/store/sql/90_views.sql").is_file()
    assert (site / "viewer/static/page.js").is_file()


def test_an_installed_wheel_plans_a_recipe_of_its_own_entries(site, tmp_path):
    code = "import bouillon; assert bouillon.__file__.startswith(sys.path[0]); bouillon.main(['recipe=quickstart', 'plan_only=true'])"
    done = python(site, code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "magnitude_prune" in done.stdout


@pytest.mark.parametrize("name", ["ops", "pipeline", "viewer"])
def test_a_package_of_the_same_name_is_told_with_its_place(site, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    done = python(site, f"sys.path.insert(0, {str(tmp_path)!r}); import bouillon", tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert f"package '{name}'" in last
    assert str(tmp_path / name) in last
    assert "environment of its own" in last


def test_the_steps_of_the_container_run_without_one(checkout, tmp_path):
    """Each RUN but the one that makes the user, as it is written, in an environment that has the libraries already."""
    text = (ROOT / "Dockerfile").read_text()
    steps = re.findall(r"^RUN (.+)$", text, flags=re.MULTILINE)
    assert steps[0].startswith("useradd")
    assert text.index("USER bouillon") < text.index("pip install"), "nothing of ours is installed or run as root"
    venv = tmp_path / "venv"
    variables = {"VIRTUAL_ENV": str(venv), "PATH": f"{venv}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    libraries = [path for path in sys.path if "site-packages" in path]
    for step in steps[1:]:
        done = call(["sh", "-ec", step], checkout, **variables)
        assert done.returncode == 0, f"{step}: {done.stderr}"
        if "venv" in step:
            place = next((venv / "lib").glob("python*")) / "site-packages" / "libraries.pth"
            place.write_text("\n".join(libraries))
    entry = shlex.split(re.search(r"^ENTRYPOINT \[(.+)\]$", text, flags=re.MULTILINE)[1])
    done = call([*entry, "recipe=quickstart", "plan_only=true"], tmp_path, **variables)
    assert done.returncode == 0, done.stderr
