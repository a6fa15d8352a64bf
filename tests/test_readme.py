"""Every command in the guides works as written (the long ones are planned, not run)."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from scripts.docs.guides import GUIDES, PARTS

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS_THAT_CALL_THIS_TEST = ("scripts/test", "scripts/check", ".ci/run")
LONG = ("resnet50_sweep", "user_study", "bias_study", "repair_study")
QUICKLY = ["dataset.train=600", "dataset.evaluation=200"]
"""What training takes of the digits here: a guide's command makes the same models, of fewer pictures."""
TEMPLATES = re.compile(r"\b[A-Z_]{4,}\b")  # a word that the reader is to replace


def commands():
    """Every line of the guides' shell blocks, continued lines joined."""
    blocks = [
        block for guide in GUIDES for block in re.findall(r"```bash\n(.*?)```", guide.read_text(), flags=re.DOTALL)
    ]
    text = "\n".join(blocks).replace("\\\n", " ")
    return list(
        dict.fromkeys(
            line.partition(" #")[0].strip() for line in text.splitlines() if line.strip() and not line.startswith("#")
        )
    )


def runs(*programs):
    return [line for line in commands() if line.startswith(programs)]


def call(words, folder, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BOUILLON_VENV": str(Path(sys.prefix)), **variables}
    return subprocess.run(words, check=False, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with results, which some commands read and others add to."""
    folder = tmp_path_factory.mktemp("readme")
    done = call(
        [sys.executable, "-m", "pipeline", "recipe=quickstart", "bench=smoke", *QUICKLY, *outputs(folder)], folder
    )
    assert done.returncode == 0, done.stderr
    return folder


def outputs(folder):
    return [f"workspace={folder}/work", f"results={folder}/results.duckdb"]


def test_every_command_is_of_a_kind_that_is_tested_here():
    known = ("scripts/run ", "scripts/view", "python -m pipeline ", "panel serve viewer", *SCRIPTS_THAT_CALL_THIS_TEST)
    assert [line for line in commands() if not line.startswith(known)] == []


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith(SCRIPTS_THAT_CALL_THIS_TEST)])
def test_scripts_exist(line):
    script = ROOT / shlex.split(line)[0]
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize("line", runs("scripts/run ", "python -m pipeline "))
def test_pipeline_commands_run(line, place):
    words = shlex.split(line)
    if TEMPLATES.search(line):
        words = [TEMPLATES.sub("placeholder", word) for word in words]
    words = [sys.executable, *words[1:]] if words[0] == "python" else [str(ROOT / words[0]), *words[1:]]
    if any(word.startswith("recipe=") for word in words):
        words += outputs(place)
        if any(name in line for name in LONG):
            words.append("plan_only=true")
        elif "bench=" not in line:
            words.append("bench=smoke")
        if "recipe=quickstart" in words:
            words += QUICKLY
    else:
        words += ["--results", f"{place}/results.duckdb"]
    done = call(words, place)
    if TEMPLATES.search(line):
        assert "Traceback" not in done.stderr
        assert "placeholder" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_workflow_of_the_gate_runs_as_plain_commands(place):
    guide = (ROOT / "pipeline" / "delivery" / "README.md").read_text()
    [workflow] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", guide, flags=re.DOTALL)]
    lines = [step["run"] for step in workflow["jobs"]["gate"]["steps"] if "run" in step]
    for line in lines:
        if not line.startswith(("scripts/setup", ".venv/bin/python -m pipeline recipe=")):  # the fixture has run it
            own = f"--results {place}/results.duckdb " if " gate " in line else ""
            command = line.replace(".venv/bin/python", sys.executable).replace("--rules", f"{own}--rules")
            done = call(["bash", "-ec", command], place, GITHUB_STEP_SUMMARY=str(place / "summary.md"))
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    assert "Gate passes" in (place / "summary.md").read_text()
    assert ElementTree.parse(place / "gate.xml").getroot().get("failures") == "0"


@pytest.mark.slow
@pytest.mark.parametrize("line", runs("panel serve viewer", "scripts/view"))
def test_viewer_commands_serve(line, place):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = shlex.split(line)
    program = Path(sys.executable).with_name("panel") if words[0] == "panel" else ROOT / words[0]
    variables = {
        "BOUILLON_RESULTS": f"{place}/results.duckdb",
        "BOUILLON_VENV": str(Path(sys.prefix)),
        "BROWSER": "true",
        "PORT": str(port),
    }
    server = subprocess.Popen(
        [program, *words[1:], *(("--port", str(port)) if words[0] == "panel" else ())],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert _answers(f"http://127.0.0.1:{port}/viewer", server) == 200
    finally:
        server.terminate()
        server.communicate()


def _answers(address, server):
    while True:
        if server.poll() is not None:
            pytest.fail(f"The server ended: {server.stdout.read()}")
        try:
            with urllib.request.urlopen(address) as answer:
                return answer.status
        except OSError:
            time.sleep(0.3)  # nobody listens yet


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_the_tables_of_entries_name_each_that_there_is(kind):
    text = (ROOT / "conf" / "README.md").read_text()
    rows = text.partition(f"| `{kind}=` |")[2].partition("\n\n")[0].splitlines()[2:]
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(names) == sorted(file.stem for file in (ROOT / "conf" / kind).glob("*.yaml"))


@pytest.mark.parametrize("guide", PARTS, ids=lambda guide: guide.parent.name)
def test_what_is_made_from_the_code_is_current(guide):
    """Run scripts/document after changing an operation's signature or docstring, or a view."""
    # in a process of its own: other tests register operations of theirs
    code = f"from pathlib import Path; from scripts.docs.guides import renewed; print(renewed(Path({str(guide)!r})), end='')"
    done = call([sys.executable, "-c", code], ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == guide.read_text()
