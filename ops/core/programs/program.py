"""The one file of a program: the package is looked over, the model opened, and every row read and answered."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Program"]

_TEXT = '''\
"""Answer with the model beside this file: python predict.py {words}, or rows as JSON lines on standard input."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
{imports}
HERE = Path(__file__).parent
for name, digest in json.loads((HERE / "provenance.json").read_bytes())["files"].items():
    if not (HERE / name).is_file() or hashlib.sha256((HERE / name).read_bytes()).hexdigest() != digest:
        sys.exit(f"{{HERE / name}}: is not the file that was packaged (by its sha256). Get the package anew")
SETTINGS = json.loads((HERE / "settings.json").read_bytes())
{session}
{setup}

def run(inputs):  # row by row; of outputs that are probabilities the logarithms
    kinds, names = SETTINGS["outputs"], [value.name for value in SESSION.get_inputs()]
    rows = zip(*(inputs[name] for name in names))
    parts = [SESSION.run(list(kinds), {{name: v[None] for name, v in zip(names, row)}}) for row in rows]
    outputs = zip(kinds, map(np.concatenate, zip(*parts)))
    return {{name: np.log(np.maximum(v, 1e-45)) if kinds[name] else v for name, v in outputs}}


{read}


{answer}


words, fields = sys.argv[1:], SETTINGS["fields"]
rows = [dict(zip(fields, words))] if len(fields) > 1 else [{{fields[0]: word}} for word in words]
try:
    for row in rows if words else map(json.loads, sys.stdin):
        print(json.dumps(answer(read(row), row)), flush=True)
except (KeyError, OSError, TypeError, ValueError) as error:
    sys.exit(f"predict.py: {{type(error).__name__}}: {{error}}. A row has {{', '.join(fields)}}")
'''


_ONNX = (
    ("import onnxruntime",),
    'SESSION = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])',
)
_TORCH = (
    (),
    'sys.path.insert(0, str(HERE))\nSESSION = __import__("network").Network(HERE / "model.safetensors")',
)
"""What each runtime has imported, and how it opens the model."""


@dataclass(frozen=True, slots=True)
class Program:
    """The parts of a program that a task decides. Both may use `np`, `HERE`, `SETTINGS` and `run`.

    `SETTINGS` holds what the data set says of its inputs, and `classes`. `run(inputs)` gives outputs by name, (rows, ...).
    """

    read: str
    """Defines `read(row)`: one instance as arrays by name, (1, ...), or several rows of it; `row` has the data's `fields`."""
    answer: str
    """Defines `answer(inputs, row)`: what is said of an instance, JSON-ready, with the text to compare under `answer`."""
    words: str
    """Of the command line, for people: `PICTURE ...`."""
    setup: str = ""
    """What both need, once."""
    imports: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    """Distributions that it needs besides numpy and the runtime."""

    def text(self, *, by_torch: bool = False) -> str:
        """Return the file; `by_torch`: for `network.py` in the place of `model.onnx`."""
        runtime, session = _TORCH if by_torch else _ONNX
        imports = "".join(
            f"{line}\n" for line in sorted([*self.imports, *runtime], key=lambda line: line.split()[1].lower())
        )
        return _TEXT.format(
            words=self.words,
            imports=imports,
            session=session,
            setup=self.setup.lstrip("\n"),
            read=self.read.strip("\n"),
            answer=self.answer.strip("\n"),
        )
