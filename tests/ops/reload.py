"""Run in a process of its own: load stored models without pickle and say what they give."""

import pickle
import sys
from pathlib import Path

import numpy as np
import torch

from pipeline.models import storage
from tests.ops.apply import outputs


def refuse(*_args, **_kwargs):
    raise AssertionError("a model was unpickled")


class Refusing(pickle.Unpickler):
    load = refuse


def main(folder: Path) -> None:
    pickle.load = pickle.loads = torch.load = refuse
    pickle.Unpickler = Refusing
    for artifact in sorted(folder.iterdir()):
        np.savez(artifact / "reloaded.npz", **outputs(storage.load(artifact)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
