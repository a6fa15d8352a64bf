"""An open model of which the task's outputs are seen, as logits: what metrics and decoding expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from ops.core.output_kind import LOGITS, logits_of

if TYPE_CHECKING:
    import numpy as np

    from ops.core.tasks.task import Task
    from pipeline.targets.api import Session


class LogitsSession:
    """A session without the outputs that the task has no use for. A softmax that the model took is taken back."""

    def __init__(self, session: Session, task: Task, output_kinds: Mapping[str, str]) -> None:
        """Wrap an open model.

        Args:
            session: the open model.
            task: decides which outputs there are to be; a model with others is left as it is.
            output_kinds: what outputs are that are no logits (`ops.core.output_kind`).
        """
        self._session = session
        present = [name for name in task.outputs if name in session.outputs]
        self.inputs = session.inputs
        self.outputs = tuple(present or session.outputs)
        self._places = [session.outputs.index(name) for name in self.outputs]
        self._kinds = [output_kinds.get(name, LOGITS) for name in self.outputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """As `Session.run`."""
        result = self._session.run(inputs)
        return tuple(logits_of(result[place], kind) for place, kind in zip(self._places, self._kinds, strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._session.__exit__(*exc)
