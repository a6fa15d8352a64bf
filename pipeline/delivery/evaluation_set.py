"""The instances that models of a person's own script answer, so that the results can compare them one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ops.core.registry import nearest
from ops.core.tasks.classification import TableClassification
from ops.core.tasks.task import TASKS, AnswerKind
from pipeline.core.errors import BouillonError
from pipeline.core.keys import digest
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import DatasetInfo, Ingested, Instances, Record

__all__ = ["EvaluationSet", "LogError"]
_SPLIT = "evaluation"


class LogError(BouillonError, ValueError):
    """What was to be logged does not fit together: the message names the argument, the problem and what would do."""


@dataclass(frozen=True)
class EvaluationSet:
    """Instances with their labels.

    test = EvaluationSet("wine", labels=y_test)
    """

    name: str
    """As the results show it."""
    labels: Sequence[Any] | np.ndarray
    """(N,): class of each instance, as a name or a number."""
    classes: Sequence[Any] | None = None
    """In the order of the columns of `probabilities`; by default the labels' own, sorted, as scikit-learn has them."""
    ids: Sequence[Any] | None = None
    """(N,): what tells instances apart; by default their positions."""
    attributes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Name -> (N,): groups that are looked at apart."""
    task: str = TableClassification.name
    """`table-classification`, or another task with classes."""
    key: str = ""
    """Identity of the set, of its content unless given: sets of one key hold the same instances."""

    def __post_init__(self) -> None:
        """Check the arguments, and put names in the place of values.

        Raises:
            LogError: naming the argument.
        """
        tasks = [name for name in TASKS if TASKS[name].answer_kind is AnswerKind.CLASS]
        if self.task not in tasks:
            raise LogError(
                f"task: models of '{self.task}' cannot be logged.{nearest(self.task, tasks)} There are {', '.join(tasks)}"
            )
        labels, classes = self._label_names()
        ids = [str(one) for one in (range(len(labels)) if self.ids is None else self.ids)]
        if len(set(ids)) < len(ids):
            raise LogError("ids: two instances have one id")
        attributes = {str(name): [_name(one) for one in own] for name, own in self.attributes.items()}
        for what, own in {"ids": ids, **{f"attributes['{name}']": own for name, own in attributes.items()}}.items():
            if len(own) != len(labels):
                raise LogError(f"{what}: expected {len(labels)} values, one for each label, got {len(own)}")
        content = {"labels": labels, "classes": classes, "ids": ids, "attributes": attributes}
        key = self.key or digest({"what": "evaluation set", "name": self.name, "task": self.task, **content})
        for name, value in {**content, "key": key}.items():
            object.__setattr__(self, name, value)

    def _label_names(self) -> tuple[list[str], list[str]]:
        """The label of each instance, and the classes, as text."""
        values = np.asarray(self.labels)
        if values.ndim != 1 or not len(values):
            raise LogError(f"labels: expected one label per instance, got an array of shape {values.shape}")
        classes = np.unique(values) if self.classes is None else np.asarray(self.classes)
        labels, names = [_name(one) for one in values.tolist()], [_name(one) for one in classes.tolist()]
        if len(set(names)) < len(names):
            raise LogError("classes: two of them have one name")
        strange = sorted(set(labels) - set(names))
        if strange:
            raise LogError(f"labels: '{strange[0]}' is none of the classes.{nearest(strange[0], names)}")
        return labels, names

    @classmethod
    def of_results(cls, results: str | Path, dataset: str | None = None) -> EvaluationSet:
        """Return the evaluation split of a data set that models of some results were evaluated on.

        Models that are logged with it stand beside those. Inputs are yours to load, in the order of `ids`.

        Args:
            results: the results file.
            dataset: name or key of the data set, where there are several.

        Raises:
            LogError: if there is none of that name, or several.
            StoreError: if the results cannot be read.
        """
        db = open_results(Path(results))
        try:
            rows = db.execute("SELECT dataset_key, dataset, task, classes FROM datasets ORDER BY ALL").fetchall()
            names = [row[1] for row in rows]
            fitting = [row for row in rows if dataset is None or dataset in (row[0], row[1])]
            if len(fitting) != 1:
                problem = (
                    "there are several"
                    if fitting
                    else f"there is none called '{dataset}'"
                    if dataset
                    else "there is none"
                )
                raise LogError(
                    f"dataset: {problem} in {results}.{nearest(dataset or '', names)} Known: {', '.join(names)}"
                )
            key, name, task, classes = fitting[0]
            instances = db.execute(
                "SELECT instance_id, label, attributes FROM instances WHERE dataset_key = ? AND split = ? ORDER BY position",
                [key, _SPLIT],
            ).fetchall()
        finally:
            db.close()
        groups = dict.fromkeys(one for _, _, own in instances for one in own)
        return cls(
            name,
            labels=[label for _, label, _ in instances],
            classes=classes,
            ids=[instance for instance, _, _ in instances],
            attributes={group: [own.get(group, "") for _, _, own in instances] for group in groups},
            task=task,
            key=key,
        )

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.labels)

    def label_numbers(self) -> np.ndarray:
        """Return the number of each instance's class, int64 (N,)."""
        place = {name: number for number, name in enumerate(self.classes or ())}
        return np.array([place[label] for label in self.labels], np.int64)

    def records(self) -> list[Record]:
        """Return what the store keeps of the set."""
        info = DatasetInfo(self.key, self.name, self.task, list(self.classes or ()), {_SPLIT: len(self)}, {})
        instances = Instances(self.key, _SPLIT, list(self.ids or ()), list(self.labels), self.attributes)
        return [info, instances, Ingested(self.key)]


def _name(value: Any) -> str:
    """Return the text of a label: a whole number that some library made a float is one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
