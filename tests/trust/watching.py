"""Runs code on hostile files in a process of its own that takes note of what it opens, starts and connects to."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.pipeline.command import ROOT

PROGRAMS = ("gs", "gswin64c", "djpeg", "convert", "magick", "inkscape", "rsvg-convert", "ffmpeg", "dcraw", "sh")
"""Programs that libraries start to read pictures, or that a file may ask for."""

WATCH = """
import json, sys
from pathlib import Path
{imports}

events = []
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn",
          "socket.connect", "socket.getaddrinfo", "ctypes.dlopen", "pickle.find_class")


def note(event, arguments):
    if event == "open" or (event in STARTS and arguments[0] is not None):  # None: the process's own library
        events.append([event, str(arguments[0])])


def act(path):
{act}


sys.addaudithook(note)
for line in sys.stdin:
    events.clear()
    try:
        answer = {{"result": str(act(Path(json.loads(line))))}}
    except Exception as error:
        answer = {{"kind": type(error).__name__, "message": str(error)}}
    print(json.dumps(answer | {{"events": list(events)}}), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """How it ended, and what happened meanwhile."""

    result: str | None
    kind: str | None
    message: str | None
    opened: tuple[str, ...]
    started: tuple[tuple[str, str], ...]
    """Programs, connections, libraries and unpickled objects."""


def observe(imports: str, act: str, paths: list[Path], folder: Path) -> dict[Path, Observation]:
    """Call `act(path)` for each path in one process. Nothing may appear on its standard error.

    Args:
        imports: Statements that run before anything is observed.
        act: The indented body of a function of `path`.
        paths: What it is called with.
        folder: A place for programs that leave a file if they are started.
    """
    programs, witness = folder / "programs", folder / "witness"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(f"#!/bin/sh\n: > {witness}\n")
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", WATCH.format(imports=imports, act=act)],
        input="".join(json.dumps(str(path)) + "\n" for path in paths), env=environment, cwd=folder, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    assert not witness.exists()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        path: Observation(
            answer.get("result"),
            answer.get("kind"),
            answer.get("message"),
            tuple(name for event, name in answer["events"] if event == "open"),
            tuple((event, name) for event, name in answer["events"] if event != "open"),
        )
        for path, answer in zip(paths, answers, strict=True)
    }
