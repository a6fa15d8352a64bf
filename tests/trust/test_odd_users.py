"""Users whom the system does not know, streams that are closed, folders that somebody else made: a run goes on."""

import getpass
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.core import environment
from pipeline.core.machine import user
from pipeline.core.machine.lock import BusyError, lock_file, working
from tests.pipeline.command import ROOT


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A user id without an entry, a name or a home, as containers have them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_):
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("pwd.getpwuid", unknown)


def test_a_user_id_without_an_entry_has_a_lock_a_name_and_a_home(nobody, tmp_path):
    assert user.user_name() == f"uid-{os.getuid()}"
    assert lock_file() == tmp_path / f"bouillon-uid-{os.getuid()}" / "machine.lock"
    user.settle_user()
    assert getpass.getuser() == f"uid-{os.getuid()}"
    assert Path.home() == tmp_path / f"bouillon-home-{os.getuid()}"
    assert Path.home().stat().st_mode & 0o777 == 0o700
    home = Path.home()
    os.environ.pop("HOME")
    user.settle_user()
    assert Path.home() == home  # what one run has fetched is there in the next


def test_a_name_that_is_no_file_name_has_a_lock(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "domain/../user name")
    with working():
        assert lock_file() == tmp_path / "bouillon-domain_.._user_name" / "machine.lock"


def test_a_known_user_is_left_alone(monkeypatch):
    before = dict(os.environ)
    user.settle_user()
    assert dict(os.environ) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user id without an entry")
def test_the_program_runs_as_a_user_id_without_an_entry():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pipeline.cli.main import run; from pipeline.core.machine.lock import working\n"
        "code = run(['help'])\n"
        "with working(): print(code)"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        nobody = {"user": 54321, "group": 54321, "extra_groups": (), "cwd": folder, "env": {"TMPDIR": folder}}
        try:
            subprocess.run(
                [sys.executable, "-c", "import sys; open(sys.argv[1])", ROOT / "README.md"], check=True, **nobody
            )
        except (PermissionError, subprocess.CalledProcessError):
            pytest.skip("another user cannot read the installed packages or the checkout")
        done = subprocess.run(
            [sys.executable, "-c", script, ROOT], capture_output=True, text=True, check=False, **nobody
        )
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "0")


def test_a_lock_folder_of_somebody_else_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = tmp_path / f"bouillon-{user.user_name()}"
    own.touch()
    own.with_name(f"{own.name}-1").symlink_to(tmp_path)
    assert lock_file() == own.with_name(f"{own.name}-2") / "machine.lock"
    with working():
        assert lock_file().exists()
    assert own.with_name(f"{own.name}-2").stat().st_mode & 0o777 == 0o700


def test_without_any_folder_for_the_lock_the_message_names_the_fix(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = tmp_path / f"bouillon-{user.user_name()}"
    for end in ("", *(f"-{number}" for number in range(1, 100))):
        own.with_name(own.name + end).touch()
    with pytest.raises(BusyError, match=r"are somebody else's\. Set TMPDIR"):
        lock_file()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_opened_to_nowhere(tmp_path, closed):
    """Else the next file that is opened is standard output: what is printed would be written into it."""
    script = (
        "import os\n"
        "from pipeline.cli.main import run\n"
        "code = run(['help'])\n"
        f"with open({str(tmp_path / 'file')!r}, 'w') as file: fileno = file.fileno()\n"
        "os._exit(10 + code if fileno > 2 else 3)"
    )
    environment_ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f'"{sys.executable}" -c "$SCRIPT" {closed}'
    done = subprocess.run(
        ["bash", "-c", command], env={**environment_, "SCRIPT": script}, capture_output=True, check=False
    )
    assert done.returncode == 10, done.stderr
    assert done.stderr == b""


@pytest.mark.parametrize("git", ["#!/bin/sh\nexec sleep 60\n", "#!/bin/sh\nexit 1\n", None])
def test_git_that_is_slow_broken_or_absent_is_no_commit(monkeypatch, tmp_path, git):
    monkeypatch.setattr(environment, "_GIT_SECONDS", 0.2)
    if git is not None:
        (tmp_path / "git").write_text(git)
        (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if git else str(tmp_path))
    assert environment.git_commit(ROOT) is None
