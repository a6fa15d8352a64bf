"""Train in a folder and die after some epochs: `python -m tests.ops.train_in_scratch OPERATION FOLDER EPOCHS`.

EPOCHS = 0: do not die. The digests of the result and the first progress message are then printed as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path

from ops.core.operation import OPERATIONS
from tests.ops.apply import snapshot
from tests.ops.context import NETS, SEED, make_context, need

PARAMS = {"epochs": 3, "samples": 128, "batch_size": 32, "clip_norm": 0.1}


def main(op: str, folder: Path, dies_after: int) -> None:
    """Apply `train` or `finetune` to a small network."""
    from pipeline.models.build import build
    from pipeline.stages.operation import settle

    context = make_context(folder)
    messages = []

    def progress(done: int, total: int, text: str = "") -> None:
        messages.append(text)
        if dies_after and text.startswith(f"epoch {dies_after + 1}/"):
            os.kill(os.getpid(), signal.SIGKILL)

    context.progress = progress
    settle(SEED, threads=1)
    spec = OPERATIONS[op]
    if spec.consumes is None:
        result = spec.apply(context, **spec.check({**PARAMS, "model": NETS["residual"]}))
    else:
        result = spec.apply(build(NETS["residual"], need()), context, **spec.check(PARAMS))
    sys.stdout.write(json.dumps({"first": messages[0], "result": snapshot(result), "losses": context.notes["losses"]}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
