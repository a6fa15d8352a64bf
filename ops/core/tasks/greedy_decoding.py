"""Let a model write: greedy decoding with a graph that gives the logits of all next tokens at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from ops.core.tasks.task import OpenModel

_ROWS = 16
"""Questions answered at a time: the logits of one pass are rows x tokens x vocabulary."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Token numbers that a written answer begins with, ends with and is padded with."""

    start: int
    end: int
    pad: int


def write_answers(session: OpenModel, inputs: Mapping[str, np.ndarray], decoding: Decoding) -> dict[str, np.ndarray]:
    """Return `tokens` int64 (N, T), padded after the end token, and `log_probability` float32 (N,) of what was written.

    Every token is the most likely one after those before it, as in greedy search. All are guessed at once and the guess
    is given back to the model until it stays: after k passes the first k tokens are those of greedy search, mostly more
    (Jacobi decoding: Santilli et al., "Accelerating Transformer Inference for Translation via Parallel Decoding", ACL
    2023). The graph keeps no state between passes, so that one file serves training's and decoding's shapes.

    Args:
        session: the exported graph, opened.
        inputs: by name, instances along the first axis; `decoder_input_ids` int64 (N, T) sets how many tokens fit.
        decoding: the tokens that begin, end and pad an answer.
    """
    import numpy as np

    count = len(inputs["decoder_input_ids"])
    parts = [
        _written(session, {name: array[start : start + _ROWS] for name, array in inputs.items()}, decoding)
        for start in range(0, count, _ROWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _written(session: OpenModel, inputs: Mapping[str, np.ndarray], decoding: Decoding) -> dict[str, np.ndarray]:
    import numpy as np

    place = session.outputs.index("logits")
    rows, length = inputs["decoder_input_ids"].shape
    tokens = np.full((rows, length), decoding.pad, np.int64)
    first = np.full((rows, 1), decoding.start, np.int64)
    for _ in range(length):
        decoder_input = np.concatenate([first, tokens[:, :-1]], axis=1)
        logits = session.run({**inputs, "decoder_input_ids": decoder_input})[place]
        before, tokens = tokens, _ended(logits.argmax(axis=2), decoding)
        if np.array_equal(before, tokens):
            break
    return {"tokens": tokens, "log_probability": _log_probability(logits, tokens, decoding)}


def _ended(tokens: np.ndarray, decoding: Decoding) -> np.ndarray:
    """Padding after the first end token."""
    import numpy as np

    ends = tokens == decoding.end
    after = np.cumsum(ends, axis=1) - ends > 0
    return np.where(after, decoding.pad, tokens)


def _log_probability(logits: np.ndarray, tokens: np.ndarray, decoding: Decoding) -> np.ndarray:
    """Sum over the tokens up to the end; NaN where logits are not numbers."""
    import numpy as np

    ends = tokens == decoding.end
    counted = np.cumsum(ends, axis=1) - ends == 0
    highest = logits.max(axis=2, keepdims=True)
    with np.errstate(invalid="ignore"):
        total = np.log(np.exp(logits - highest).sum(axis=2)) + highest[:, :, 0]
    token_logits = np.take_along_axis(logits, tokens[:, :, None], axis=2)[:, :, 0]
    result: np.ndarray = np.where(counted, token_logits - total, 0).sum(axis=1).astype(np.float32)
    return result
