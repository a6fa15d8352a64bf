"""The one way into a store.

Facts go to a private working file beside the results, `.bouillon/<results>.working`, in short transactions: DuckDB lets
only one process have a file, so pipelines take turns by a file lock that is held for the length of one call.
`publish` copies the working file beside the results and puts it in their place in one rename: readers never wait, never
block a writer, and never see half of a call.

    store = Store(Path("results.duckdb"))
    store.write([run, model, measurement])
    store.publish()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from pipeline.store.database import Stamp, attach_results, attached, check_version, connect, read_stamp
from pipeline.store.documents import json_mapping
from pipeline.store.errors import ForeignFileError, InvalidRecordError, WriteError
from pipeline.store.merge import MergeReport, merge_tables, own_tables
from pipeline.store.publication import StoreFiles
from pipeline.store.queries.metrics import stored_metrics
from pipeline.store.records.run_records import EvaluationSetContent, Metric, Record
from pipeline.store.schema import definition, scoreboard
from pipeline.store.views import settle_views
from pipeline.store.write.transaction import Incoming


class Store:
    """Results under construction. To be used by one thread; any number of processes may have one on the same file."""

    def __init__(self, results: Path) -> None:
        """Open the store of `results`, or make one. Raises a `StoreError` that says what is wrong with it."""
        self.results = results.expanduser().resolve()
        self._files = StoreFiles(self.results)
        self._files.prepare()
        self._db: duckdb.DuckDBPyConnection | None = None
        with self._files.turn():
            if not self._files.open_working():
                with self._attached() as db:
                    settle_views(db, self._files.working)
            self._files.check_published(self._files.published_stamp(), self._files.working_stamp())

    def write(self, records: Iterable[Record]) -> int:
        """Add facts in one transaction: all of them or none. Returns the number of rows that were not there yet.

        Writing a fact again changes nothing. The order does not matter, but a fact must not name a model, run, metric,
        device or data set that is neither in the store nor among `records`.
        """
        incoming = Incoming(records)
        if not incoming:
            return 0
        with self._files.turn(), self._attached() as db:
            db.execute("BEGIN")
            added = incoming.insert(db, datetime.now(UTC).replace(tzinfo=None))
            if incoming.defines_metrics:  # with the facts: a metric that the view cannot show is not written at all
                scoreboard.refresh(db)
            if added:
                definition.count_revision(db)
            db.execute("COMMIT")
        return added

    def publish(self) -> bool:
        """Let readers see what was written so far. Returns False if they do already.

        Costs a copy of the file: about a second per GB.
        """
        with self._files.turn():
            with self._attached() as db:
                db.execute("BEGIN")
                scoreboard.refresh(db)
                db.execute("COMMIT")
                db.execute("CHECKPOINT store")
                stamp = self._stamp(db)
            published = self._files.published_stamp()
            if published == stamp:
                return False
            self._files.check_published(published, stamp)
            self._files.publish()
        return True

    def merge(self, source: Path) -> MergeReport:
        """Add what other results have and this store lacks, in one transaction; what both have stays as it is here.

        Raises:
            StoreError: if they cannot be read, are not of this program's version, or contradict themselves.
        """
        with self._files.turn(), closing(connect(self._files.working, source, threads=1)) as db:
            try:
                with attached(db, self._files.working, read_only=False):
                    self._stamp(db)
                    check_version(source, attach_results(db, source, "source"))
                    db.execute("BEGIN")
                    report = merge_tables(db, own_tables(db))
                    if report.rows:
                        scoreboard.refresh(db)
                        definition.count_revision(db)
                    db.execute("COMMIT")
                    db.execute("DETACH source")
            except InvalidRecordError as error:
                raise InvalidRecordError(f"{source}: nothing was merged: {error}") from None
            except (duckdb.IntegrityError, duckdb.DataError) as error:
                raise InvalidRecordError(f"{source}: nothing was merged: {error}") from None
            except duckdb.Error as error:
                raise WriteError(self._files.explain(error)) from error
        return report

    @property
    def identity(self) -> str:
        """The store's own name: it stays what it is when the file is moved, copied or written to."""
        with self._files.turn():
            return self._files.working_stamp().store_id

    def ingested(self) -> set[str]:
        """Keys of the evidence that is in the store."""
        return {key for (key,) in self._read("SELECT evidence_key FROM ingestion")}

    def set_contents(self, dataset_key: str) -> list[EvaluationSetContent]:
        """Return which contents the names of evaluation sets beside a data set's own stand for."""
        query = "SELECT name, identity, definition FROM evaluation_set WHERE dataset_key = ? ORDER BY ALL"
        rows = self._read(query, dataset_key)
        return [EvaluationSetContent(dataset_key, name, identity, json_mapping(text)) for name, identity, text in rows]

    def has_models(self) -> bool:
        """Whether there is any model, or failed step, in the store."""
        return bool(self._read("SELECT 1 FROM model LIMIT 1"))

    def metrics(self) -> dict[str, Metric]:
        """Name -> what the metric means now."""
        with self._files.turn(), self._attached() as db:
            return stored_metrics(db)

    def durations(self) -> dict[tuple[str, str], float]:
        """(job, operation) -> median seconds that it took."""
        result = self._read("SELECT job, op, median(seconds) FROM step WHERE outcome = 'done' GROUP BY job, op")
        return {(job, op): seconds for job, op, seconds in result if seconds is not None}

    def last_steps(self, recipe: str) -> dict[str, dict[str, Any]]:
        """Path -> what its operation was when a run of this recipe last had its result.

        Each value has model_key, parent_key, op, op_version, kind, params, references, notes, run_id, config (of that
        run) and finished_at.
        """
        columns = "path", "model_key", "parent_key", "op", "op_version", "kind", "run_id", "finished_at"
        documents = "params", "references", "notes", "config"
        result = self._read(_LAST_STEPS, recipe)
        steps = {}
        for row in result:
            step = dict(zip(columns, row, strict=False))
            step |= {name: json_mapping(text) for name, text in zip(documents, row[len(columns) :], strict=True)}
            steps[step.pop("path")] = step
        return steps

    def close(self) -> None:
        """Let go of the files. Nothing is lost without it."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._files.turn(), self._attached() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def _attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The working file, open for this block. An error undoes the transaction and becomes a `StoreError`."""
        if self._db is None:
            # one thread: parallel inserts would take the processors from the steps
            self._db = connect(self._files.working, threads=1)
        done = False
        try:
            with attached(self._db, self._files.working, read_only=False):
                self._stamp(self._db)
                yield self._db
            done = True
        except (duckdb.IntegrityError, duckdb.DataError) as error:  # a constraint, or a value of another type
            raise InvalidRecordError(f"{self.results}: nothing was written: {error}") from None
        except duckdb.Error as error:
            raise WriteError(self._files.explain(error)) from error
        finally:
            if not done:  # a closed connection has no open transaction and no attached file, whatever went wrong
                self.close()

    def _stamp(self, db: duckdb.DuckDBPyConnection) -> Stamp:
        stamp = read_stamp(db, "store")
        if stamp is None:
            raise ForeignFileError(f"{self._files.working} is not a working file of a store. Move it away.")
        check_version(self.results, stamp)
        return stamp


_LAST_STEPS = """
SELECT path, step.model_key, step.parent_key, step.op, coalesce(model.op_version, 0), step.kind, run_id, step.finished_at,
       step.params, coalesce(model.reference_keys, '{}'), coalesce(model.notes, '{}'), run.config
FROM step JOIN run USING (run_id) LEFT JOIN model ON model.model_key = step.model_key
WHERE run.recipe = ? AND job = 'operation' AND outcome IN ('done', 'cached')
QUALIFY row_number() OVER (PARTITION BY path ORDER BY run.started_at DESC, step.recorded_at DESC) = 1
"""
