"""From outcomes to facts in the store. Facts are collected and written together, so that steps stay cheap."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ops.core.tasks.task import TASKS, AnswerKind
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.environment import device_id, id_of
from pipeline.core.errors import blame, reason
from pipeline.core.keys import Key
from pipeline.datasets.api import SPLITS, Dataset, Split, group_names
from pipeline.engine.jobs import Done, Failed, Job, Outcome, Skipped, state_of
from pipeline.engine.progress import JobProgress
from pipeline.engine.runner import unsound
from pipeline.engine.stage import STAGES, Recording
from pipeline.plan.steps import Plan
from pipeline.store.errors import InvalidRecordError
from pipeline.store.heartbeat import RunProgress, heartbeat
from pipeline.store.records.run_records import DatasetInfo, Device, Ingested, Instances, Record, Step

if TYPE_CHECKING:
    from pipeline.store.writer import Store

_FLUSH_SECONDS = 2.0
_PUBLISH_SHARE = 0.05
"""Publishing copies the store; it may take this share of a run's time."""


class Recorder:
    """Writes what happens in one run."""

    def __init__(self, store: Store, plan: Plan, artifacts: ArtifactStore, *, run_id: str) -> None:
        self._store, self._artifacts, self._run_id = store, artifacts, run_id
        self._recording = Recording(plan, artifacts, run_id)
        self._ingested = store.ingested()
        self.news = False
        """Whether this run has added anything to what was known of its models."""
        self.refused: dict[Key, Failed] = {}
        """Jobs whose records the store did not take, and why."""
        self._groups: list[tuple[list[Record], Job[Any] | None]] = []
        """Records that make sense together only, and the job that they are of, if any."""
        self._flushed = time.monotonic()
        self._published, self._publishing_took = time.monotonic(), 0.0
        self._jobs: JobProgress | None = None
        self._timed: tuple[int, int] | None = None

    @contextlib.contextmanager
    def heartbeat(self, jobs: Sequence[Job[Any]], workers: int) -> Iterator[None]:
        """Give signs of life for the length of a block, and say how far the run is.

        Args:
            jobs: all of the run.
            workers: how many jobs run at a time.
        """
        operations = {key: step.op for key, step in self._recording.steps.items()}
        self._jobs = JobProgress(jobs, operations, self._store.durations(), workers)
        with heartbeat(self._store.results, self._run_id, self._progress):
            yield

    def _progress(self) -> RunProgress | None:
        if self._timed is not None:
            return RunProgress(*self._timed, unit="groups of models timed")
        jobs = self._jobs
        return None if jobs is None else RunProgress(jobs.done, jobs.total, jobs.remaining_seconds())

    def start(self, job: Job[Any]) -> None:
        """Take note that a job runs."""
        if self._jobs is not None:
            self._jobs.start(job)

    def note_timing(self, done: int, total: int) -> None:
        """Take note of how many groups of models are timed."""
        self._timed = done, total

    def record(self, job: Job[Any], outcome: Outcome) -> Outcome:
        """Take note of an outcome; it reaches the store within seconds, and readers soon after.

        Returns:
            The outcome as it is recorded: a failure where the job's stage says that its artifact is not whole, which is then made
            again next time, or where the stage cannot turn it into records. A plug-in's stage may raise anything.
        """
        if self._jobs is not None:
            self._jobs.end(job)
        if isinstance(outcome, Done):
            outcome = self._record_evidence(job, outcome)
        self._artifacts.release()
        self._groups.append(([self._step(job, outcome)], None))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()
        return outcome

    def _record_evidence(self, job: Job[Any], outcome: Done) -> Outcome:
        """Add what the artifact says to the store, unless it is there already."""
        try:
            error = STAGES[job.stage].failure(job, self._recording)
            if error is None and not self._is_news(job):
                return outcome
            records = self._with_devices(job, self._read(job))
        except Exception as cause:  # noqa: BLE001 - boundary: a stage of the user's may raise anything
            text = f"its records cannot be made: {blame(cause)}"
            return Failed(job.key, outcome.seconds, text, "".join(traceback.format_exception(cause)))
        self.news = True
        if error is not None:
            self._groups.append((records, job))
            self._artifacts.remove(job.key)
            return Failed(job.key, outcome.seconds, error)
        self._ingested.add(job.key)
        self._groups.append(([*records, Ingested(job.key)], job))
        return outcome

    def damaged(self, jobs: Sequence[Job[Any]]) -> list[tuple[Job[Any], str]]:
        """Jobs whose results are there but damaged, and why. Only what the store or a job still lacks is read."""
        faults = []
        for job in jobs:
            if self._artifacts.is_damaged(job.key):
                faults.append((job, self._artifacts.fault(job.key) or "it was changed in the meantime"))
            elif job.key in self._artifacts and self._is_news(job):
                try:
                    self._read(job)
                except Exception as error:  # noqa: BLE001 - boundary: a damaged file can make its reader raise anything
                    if self._artifacts.fault(job.key) is None and self._artifacts.has_digests(job.key):
                        continue  # what was written is there: it is the reader that fails, as `record` tells
                    faults.append((job, f"{type(error).__name__}: {reason(error)}"))
        return faults + unsound(jobs, self._artifacts, {job.key for job, _ in faults})

    def add(self, records: Iterable[Record]) -> None:
        """Write facts that do not come from a job."""
        self._groups.append((list(records), None))

    def flush(self, *, publish: bool = False) -> None:
        """Write what was collected, and publish it if that is due or asked for.

        What the store refuses of a job makes that job a failure (`refused`); all else is written.

        Raises:
            StoreError: if it cannot be written. Of what the store refuses, what is of no job is dropped, and all else is written
                before; what the disk refuses is kept for the next time.
        """
        try:
            self._store.write(record for records, _ in self._groups for record in records)
        except InvalidRecordError:
            self._write_apart()
        self._groups = []
        now = time.monotonic()
        if publish or (now - self._published) * _PUBLISH_SHARE > self._publishing_took:
            self._store.publish()
            self._published = time.monotonic()
            self._publishing_took = self._published - now
        self._flushed = time.monotonic()

    def _write_apart(self) -> None:
        """Write group by group; raise the first refusal of what is of no job, after all else."""
        refusals: list[InvalidRecordError] = []
        for records, job in self._groups:
            try:
                self._store.write(records)
            except InvalidRecordError as error:
                if job is None:
                    refusals.append(error)
                else:
                    self._ingested.discard(job.key)
                    self.refused[job.key] = Failed(job.key, 0.0, f"its records do not fit the store: {error}")
                    with contextlib.suppress(InvalidRecordError):
                        self._store.write([self._step(job, self.refused[job.key])])
        self._groups = []
        if refusals:
            raise refusals[0]

    def _step(self, job: Job[Any], outcome: Outcome) -> Step:
        step = self._recording.steps[job.model]
        common: dict[str, Any] = {
            "run_id": self._run_id,
            "path": job.path,
            "job": job.stage,
            "model_key": job.model,
            "parent_key": step.parent,
            "op": step.op,
            "kind": step.kind,
            "params": step.written,
            "outcome": state_of(outcome),
            "finished_at": datetime.now(UTC),
            "target": job.target,
        }
        if isinstance(outcome, Done):
            common |= {"seconds": outcome.seconds, "cpu_seconds": outcome.cpu_seconds, "peak_bytes": outcome.peak_bytes}
        elif isinstance(outcome, Failed):
            common |= {"seconds": outcome.seconds, "error": outcome.error, "traceback": outcome.traceback}
        elif isinstance(outcome, Skipped):
            common |= {"error": outcome.because}
        return Step(**common)

    def _with_devices(self, job: Job[Any], records: Sequence[Record]) -> list[Record]:
        """Put the machines that an artifact's records name before them: it may have been made on another than this one."""
        names = {getattr(record, "device", "") or "" for record in records}
        machines = self._artifacts.manifest(job.key).get("machines", {})
        descriptions = {name: machine for name, machine in machines.items() if id_of(machine) == name}
        return [*(Device(name, descriptions.get(name, {})) for name in sorted(names - {"", device_id()})), *records]

    def _is_news(self, job: Job[Any]) -> bool:
        return job.key not in self._ingested and STAGES[job.stage].stored

    def _read(self, job: Job[Any]) -> list[Record]:
        return list(STAGES[job.stage].records(job, self._recording))


def dataset_records(data: Dataset, entry: Mapping[str, Any]) -> list[Record]:
    """The data set and the instances of its evaluation split, which predictions refer to."""
    # a data set of one's own may know of neither
    kind, tolerances, withheld = (
        TASKS[data.task].answer_kind,
        getattr(data, "tolerances", ()),
        getattr(data, "withheld", 0),
    )
    known = kind in (AnswerKind.LABELS, AnswerKind.NUMBERS, AnswerKind.NOTHING)
    answers = {"answers": str(kind), "tolerances": list(tolerances)} if known else {}
    info = DatasetInfo(
        dataset_key=data.fingerprint,
        name=data.name,
        task=data.task,
        classes=[] if kind is AnswerKind.NUMBERS else list(data.classes),
        splits={split: data.size(split) for split in SPLITS} | ({"confirmation": withheld} if withheld else {}),
        entry=dict(entry) | answers,
    )
    split: Split = "evaluation"
    instances = Instances(data.fingerprint, split, data.ids(split), data.labels(split), group_names(data, split))
    return [info, instances, Ingested(data.fingerprint)]
