"""Questions on contexts whose answers are texts, whichever way a model gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ops.core.tasks.answer_text import normalized
from ops.core.tasks.task import Evaluation, Judgement, Task

if TYPE_CHECKING:
    import numpy as np


class QuestionAnswering(Task):
    """An answer is right if it equals an accepted one, and as good as the words that it shares with the best of them."""

    has_contexts = True

    def instance_rows(self, ids: Sequence[str], targets: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return one row per question: its first window that holds the answer, else its first."""
        import numpy as np

        inside = targets.get("start_positions", np.zeros(len(ids))) > 0
        selection: dict[str, int] = {}
        for row, question in enumerate(ids):
            if question not in selection or (inside[row] and not inside[selection[question]]):
                selection[question] = row
        return np.fromiter(selection.values(), dtype=np.int64)

    def answers(self, dataset: Any, outputs: Mapping[str, np.ndarray]) -> tuple[str, ...]:
        """Let the data set, which has the contexts and the tokenizer, make texts of the outputs."""
        return tuple(dataset.answers(outputs).texts)

    def references(self, dataset: Any) -> tuple[tuple[str, ...], ...]:
        """Return the accepted answers to each question of the evaluation split."""
        return tuple(dataset.references())

    def judge(self, evaluation: Evaluation) -> Judgement:
        """`score` is the token F1 to the nearest accepted answer. No probability is attached to a text."""
        import numpy as np

        unknown = np.full(len(evaluation.ids), np.nan, np.float32)
        return Judgement(
            predicted=evaluation.answers,
            confidence=unknown,
            label_probability=unknown,
            correct=self.correct(evaluation),
            score=token_f1_rows(evaluation).astype(np.float32),
        )

    def correct(self, evaluation: Evaluation) -> np.ndarray:
        """Return whether the answer is one of the accepted ones, bool (N,)."""
        import numpy as np

        pairs = zip(evaluation.answers, evaluation.references, strict=True)
        return np.array(
            [
                max(normalized(answer) == normalized(reference) for reference in references or ("",))
                for answer, references in pairs
            ],
            dtype=bool,
        )

    def agreement(self, evaluation: Evaluation, base: Evaluation) -> np.ndarray | None:
        """Return whether both give one answer, bool (N,)."""
        import numpy as np

        if not evaluation.references:
            return None
        pairs = zip(evaluation.answers, base.answers, strict=True)
        return np.array([normalized(mine) == normalized(other) for mine, other in pairs], dtype=bool)


def token_f1_rows(evaluation: Evaluation) -> np.ndarray:
    """Best F1 of the answer's words against each accepted answer: float64 (N,)."""
    import numpy as np

    pairs = zip(evaluation.answers, evaluation.references, strict=True)
    return np.array(
        [max(_token_f1(answer, reference) for reference in references or ("",)) for answer, references in pairs],
        dtype=np.float64,
    )


def _token_f1(answer: str, reference: str) -> float:
    words, expected = normalized(answer).split(), normalized(reference).split()
    if not words or not expected:  # no answer is right only where none is wanted
        return float(words == expected)
    common = (Counter(words) & Counter(expected)).total()
    return 2 * common / (len(words) + len(expected))
