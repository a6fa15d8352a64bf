"""The base of all data sets: three disjoint splits, fixed samples, shuffles, batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.core.keys import digest
from pipeline.datasets.api import SPLITS, Batch, DataError, Dataset, Split
from pipeline.datasets.class_order import ClassOrder
from pipeline.datasets.division import first_spread
from pipeline.datasets.errors import errors_named
from pipeline.datasets.reader import Reader, RowReader

if TYPE_CHECKING:
    from pipeline.datasets.reserve import Reserve

_ARRAYS = "arrays"
"""Field of a row that is a file of arrays."""
_POOL = 32
"""Batches among which rows are sorted by length: enough to save most padding, few enough to leave the order random."""


@dataclass(frozen=True, slots=True)
class SplitInstances:
    """All instances of a data set, columnar."""

    ids: np.ndarray
    """str objects (N,)."""
    labels: Sequence[str]
    """As people read them."""
    strata: np.ndarray
    """int (N,): the class, over which samples are spread; all zero where there are no classes."""
    splits: Mapping[Split, np.ndarray]
    """Rows of each split, in stored order."""
    classes: tuple[str, ...]
    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    reader: Reader
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lengths: np.ndarray | None = None
    """int (N,): tokens of each instance without padding; None where all instances are of one size."""
    order: ClassOrder | None = None
    """Where the order of the classes comes from; None where it is part of the data set's definition."""
    tolerances: tuple[float, ...] = ()
    """Of numbers that are estimated, how far off one may be and still be right, for each; empty of other tasks."""
    groups: Sequence[str] | None = None
    """Of each row: rows of one group (a patient, a document) stay in one split. None: each row is a group."""
    withheld: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Rows in no split: they are set aside for confirmation."""
    notes: Callable[[], Sequence[str]] = tuple
    """What people should know of how the data are read, in sentences."""


class SplitDataset:
    """A `Dataset`. Nothing but the fingerprint is known until instances are asked for; then `load` is called, once."""

    def __init__(
        self, *, name: str, task: str, fingerprint: str, load: Callable[[], SplitInstances], is_own: bool = False
    ) -> None:
        """Take what is known before instances are read.

        Args:
            name: Of the data set, for messages.
            task: As `Dataset.task`.
            fingerprint: As `Dataset.fingerprint`.
            load: Reads the instances.
            is_own: Whether a person's own files say which classes there are; only then are there an order and notes.
        """
        self.name = name
        self.task = task
        self.fingerprint = fingerprint
        self.is_random = False
        """Whether random numbers stand in the place of inputs as models will see them."""
        self._load = load
        self._is_own = is_own
        self.instances_change: Callable[[SplitInstances], SplitInstances] = lambda instances: instances
        self.reserve: Reserve | None = None
        """What is set aside for confirmation."""

    @cached_property
    def _all(self) -> SplitInstances:
        with errors_named(self.name):
            instances = self._load()
            _check_disjoint(instances)
            return self.instances_change(instances)

    def change_instances(self, change: Callable[[SplitInstances], SplitInstances]) -> None:
        """Have the instances be what `change` makes of those that are loaded, in the place of an earlier change."""
        self.instances_change = change
        for name in ("_all", "_row_of", "notes"):
            self.__dict__.pop(name, None)

    @property
    def withheld(self) -> int:
        """Number of instances that are set aside for confirmation."""
        return len(self._all.withheld)

    def withheld_in(self, other: Dataset, *, most: int = 64) -> int:
        """Return how many of the instances set aside here another data set's evaluation split holds: of one id and equal inputs.

        Args:
            other: data of the same inputs.
            most: of those of one id so many are read and compared, and counted.
        """
        own = {str(self._all.ids[row]): int(row) for row in self._all.withheld}
        common = [name for name in other.ids("evaluation") if name in own][:most]
        if not common:
            return 0
        count, remaining = 0, set(common)
        for batch in other.batches("evaluation", batch_size=most):
            for place, name in enumerate(batch.ids):
                if name in remaining:
                    remaining.discard(name)
                    mine, _ = self._all.reader.read(np.array([own[name]]), None)
                    count += all(np.array_equal(mine[key][0], batch.inputs[key][place]) for key in mine)
            if not remaining:
                break
        return count

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits; empty for question answering."""
        return self._all.classes

    @property
    def class_order(self) -> ClassOrder | None:
        """The rule behind the order of the classes; None where it is part of the data set's definition."""
        return self._all.order if self._is_own else None

    @property
    def tolerances(self) -> tuple[float, ...]:
        """Return how far off estimates may be and still be right, for each number; empty of other tasks."""
        return self._all.tolerances

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Sentences that say how the data are read, where other programs may read them in another way.

        Raises:
            DataError: for a file that cannot be read.
        """
        if not self._is_own:
            return ()
        instances = self._all
        with errors_named(self.name):
            return tuple(instances.notes())

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int, ...]]]:
        """Forward argument -> (NumPy dtype name, shape of one instance)."""
        return self._all.inputs

    def ids(self, split: Split) -> Sequence[str]:
        """As `Dataset.ids`."""
        return tuple(self._all.ids[self._rows(split)])

    def size(self, split: Split) -> int:
        """Number of instances."""
        return len(self._rows(split))

    def labels(self, split: Split) -> Sequence[str]:
        """As `Dataset.labels`."""
        return self._pick(self._all.labels, split)

    def attributes(self, split: Split) -> Mapping[str, Sequence[str]]:
        """As `Dataset.attributes`."""
        return {name: self._pick(values, split) for name, values in self._all.attributes.items()}

    def batches(
        self,
        split: Split,
        *,
        batch_size: int,
        samples: int | None = None,
        seed: int | None = None,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """As `Dataset.batches`."""
        rows = self._sample(split, samples)
        if seed is not None:
            shuffling = np.random.default_rng(seed)
            rows = shuffling.permutation(rows)
            if split == "train" and self._all.lengths is not None:
                rows = bucketed(rows, self._all.lengths, batch_size, shuffling)
        rows = self._expanded(rows, split)
        noise = np.random.default_rng([seed or 0, 1]) if augment and split == "train" else None
        yield from self._read(rows, batch_size, noise)

    def batches_of(self, ids: Sequence[str], *, batch_size: int) -> Iterator[Batch]:
        """Yield instances of the evaluation split by their ids; ids of others are passed over."""
        known = set(self._rows("evaluation").tolist())
        rows = [row for name in ids if (row := self._row_of.get(name)) in known]
        yield from self._read(self._expanded(np.array(rows, np.int64), "evaluation"), batch_size, None)

    def _read(self, rows: np.ndarray, batch_size: int, noise: np.random.Generator | None) -> Iterator[Batch]:
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            with errors_named(self.name):
                inputs, targets = self._all.reader.read(part, noise)
            yield Batch(tuple(self._all.ids[part]), inputs, targets)

    def show(self, instance_id: str) -> Mapping[str, Any]:
        """As `Dataset.show`.

        Raises:
            DataError: if there is no such instance.
        """
        if instance_id not in self._row_of:
            raise DataError(f"Data set '{self.name}' has no instance '{instance_id}'")
        return self._all.reader.show(self._row_of[instance_id])

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """As `Dataset.write_inputs`."""
        reader = self._all.reader
        with errors_named(self.name):
            return reader.write_settings(folder) if isinstance(reader, RowReader) else {"fields": [_ARRAYS]}

    def write_row(self, instance_id: str, folder: Path) -> dict[str, str]:
        """As `Dataset.write_row`."""
        row, reader = self._row_of[instance_id], self._all.reader
        with errors_named(self.name):
            if isinstance(reader, RowReader):
                return reader.write_row(row, folder)
            inputs, _ = reader.read(np.array([row]), None)
        file = folder / f"{row}.npz"
        np.savez(file, allow_pickle=False, **{name: values[0] for name, values in inputs.items()})
        return {_ARRAYS: str(file)}

    def _rows(self, split: Split) -> np.ndarray:
        return self._all.splits[split]

    def _sample(self, split: Split, samples: int | None) -> np.ndarray:
        rows = self._rows(split)
        return rows if samples is None else first_spread(rows, self._all.strata, samples)

    def _expanded(self, rows: np.ndarray, split: Split) -> np.ndarray:
        """Rows of `batches` for the rows of instances."""
        return rows

    def _pick(self, values: Sequence[str], split: Split) -> tuple[str, ...]:
        return tuple(values[row] for row in self._rows(split))

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {str(self._all.ids[row]): int(row) for split in SPLITS for row in self._rows(split)}


def bucketed(rows: np.ndarray, lengths: np.ndarray, batch_size: int, shuffling: np.random.Generator) -> np.ndarray:
    """Put shuffled rows of about the same length into one batch, so that few tokens of a batch are padding.

    Rows are sorted by length within pools of many batches, and the batches shuffled again. A last, smaller batch stays
    the last.

    Args:
        rows: int (N,), shuffled.
        lengths: tokens of every row of the data set.
        batch_size: rows per batch.
        shuffling: shuffles the batches.
    """
    whole, pool = len(rows) // batch_size * batch_size, _POOL * batch_size
    sorted_rows = rows[:whole].copy()
    for start in range(0, whole, pool):
        part = sorted_rows[start : start + pool]
        part[:] = part[np.argsort(lengths[part], kind="stable")]
    batches = shuffling.permutation(sorted_rows.reshape(-1, batch_size))
    return np.concatenate([batches.reshape(-1), rows[whole:]])


def _check_disjoint(instances: SplitInstances) -> None:
    """Prove that no id is in two splits, or twice in one."""
    owner: dict[str, str] = {}
    for split in SPLITS:
        ids = instances.ids[instances.splits[split]]
        if twice := owner.keys() & set(ids):
            one = min(twice)
            raise DataError(f"the instance id '{one}' is in '{owner[one]}' and in '{split}'; ids must be unique")
        before = len(owner)
        owner |= dict.fromkeys(ids, split)
        if len(owner) < before + len(ids):
            values, counts = np.unique(ids, return_counts=True)
            raise DataError(f"the instance id '{values[counts > 1][0]}' is twice in '{split}'; ids must be unique")


def fingerprint(name: str, *, version: int, content: str, **settings: Any) -> str:
    """Identity of a data set: its content, and every setting that changes what models see of it.

    Raise `version` when the code of a data set gives other instances, splits or inputs than before.

    Args:
        name: that of the data set's kind.
        version: that of its code.
        content: digest of the files that it reads.
        settings: parameters that change what models see, JSON-ready.
    """
    return digest({"what": "dataset", "dataset": name, "version": version, "content": content, "settings": settings})
