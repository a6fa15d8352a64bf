"""The files of a store: the published results, the working file and the lock, and how one becomes the other."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from pipeline.store.database import Inspector, Stamp, attached, connect, is_damage, write_ahead_log
from pipeline.store.errors import (
    DamagedFileError,
    EmptyResultsError,
    ForeignFileError,
    NoResultsError,
    StoreError,
    StrayLogError,
    WriteError,
)
from pipeline.store.schema import definition

FOLDER = ".bouillon"
_OWN = stat.S_IRUSR | stat.S_IWUSR
_PATIENCE = 600.0
"""Seconds to wait for other pipelines; one turn takes milliseconds, or seconds while a large store is published."""


class StoreFiles:
    """Paths, and the steps from one to the next. The caller holds the lock."""

    def __init__(self, results: Path) -> None:
        folder = results.parent / FOLDER
        self.results = results
        self.working = folder / f"{results.name}.working"
        self._lock = FileLock(folder / f"{results.name}.lock")
        self._inspector = Inspector(self.results, self.working)
        self._scratch = results.parent / f".{results.name}.publishing"

    def prepare(self) -> None:
        """Make the folder."""
        try:
            self.working.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the store alone, for the length of the block. Turns may be nested."""
        try:
            self._lock.acquire(timeout=_PATIENCE)
        except Timeout:
            raise WriteError(
                f"{self.results}: another pipeline has had the store for {_PATIENCE:.0f} s. Find it: "
                f"fuser {self._lock.lock_file}"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            yield
        finally:
            self._lock.release()

    def open_working(self) -> bool:
        """Make the working file if it is missing: from the published results if there are any, else a new one.

        A damaged one is set aside first, unless the results cannot be read either. Returns whether the file is a new and
        empty store, which has this program's schema.
        """
        damage = self._damage()
        if self.working.exists() and not damage:
            return False
        scratch = self.working.with_suffix(".making")
        try:
            for remaining in (scratch, write_ahead_log(scratch)):
                remaining.unlink(missing_ok=True)
            new = self._fill(scratch)
            _flush(scratch)
            if damage:
                self._set_aside(damage)
            write_ahead_log(self.working).unlink(missing_ok=True)
            scratch.replace(self.working)
        except (OSError, duckdb.Error) as error:
            for remaining in (scratch, write_ahead_log(scratch)):
                remaining.unlink(missing_ok=True)
            raise WriteError(self.explain(error)) from None
        return new

    def _damage(self) -> str:
        """Return the fault in the content of the working file; empty if there is none, or no file."""
        try:
            if self.working.exists():
                self._inspector.look(self.working)
        except (DamagedFileError, EmptyResultsError, StrayLogError) as error:
            return str(error).partition(". ")[0]
        except StoreError:  # another program has it, or it is not ours: told where it is opened
            pass
        return ""

    def _set_aside(self, damage: str) -> None:
        aside = self._keep_damaged()
        begins = f"from the published {self.results}" if self.results.exists() else "with an empty store"
        sys.stderr.write(f"{damage}. It is kept as {aside}; this run begins {begins}.\n")

    def _keep_damaged(self) -> Path:
        aside = _unused(str(self.working.with_suffix(".damaged")))
        self.working.replace(aside)
        if write_ahead_log(self.working).exists():
            write_ahead_log(self.working).replace(write_ahead_log(aside))
        return aside

    def _check_copy(self) -> None:
        """Read all of what is about to be published: damage that no earlier read has met must not replace what is sound."""
        try:
            with connect(self._scratch, threads=1) as db, attached(db, self._scratch, read_only=True):
                query = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'store'"
                for names in db.execute(query).fetchall():
                    schema, table = (
                        name.replace('"', '""') for name in names
                    )  # somebody else's may be called anything
                    db.execute(f'SELECT bit_xor(hash(whole)) FROM "{schema}"."{table}" AS whole').fetchall()
        except duckdb.Error as error:
            self._scratch.unlink(missing_ok=True)
            if not is_damage(str(error)):
                raise WriteError(f"{self.explain(error)} Readers see the state before.") from None
            aside = self._keep_damaged()
            goes_on = "goes on from what is published" if self.results.exists() else "begins anew"
            raise WriteError(
                f"{self.results}: not published, since {self.working.name} is damaged: {_reason(error)}. It is kept as {aside}; "
                f"the next run {goes_on}, and takes the figures from the workspace."
            ) from None

    def published_stamp(self) -> Stamp | None:
        """Return the identity of the published results; None if there are none, or only an empty file."""
        try:
            return self._look_at_results()
        except (NoResultsError, EmptyResultsError):
            return None

    def _look_at_results(self) -> Stamp:
        """Look at the results. A log beside them with which they cannot be read is not theirs: they never have one."""
        try:
            return self._inspector.look(self.results)
        except StrayLogError:
            self._move_log_aside()
            return self._inspector.look(self.results)

    def _move_log_aside(self) -> None:
        """Keep what another program left beside the results under another name: results are published without a log."""
        log = write_ahead_log(self.results)
        if log.exists():
            aside = _unused(f"{log}.aside")
            log.replace(aside)
            sys.stderr.write(f"{log} is not a log of this program's. It is kept as {aside}.\n")

    def working_stamp(self) -> Stamp:
        """Return the identity of the working file."""
        return self._inspector.look(self.working)

    def check_published(self, published: Stamp | None, own: Stamp) -> None:
        """Refuse to put this store in the place of anything but an earlier state of itself."""
        if published is None:
            return
        if published.store_id != own.store_id or published.revision > own.revision:
            raise ForeignFileError(
                f"{self.results} is not what {self.working} was published as: publishing would overwrite results that "
                f"are only there. To go on with {self.results.name}, remove {self.working}; to go on with the working "
                f"file, move {self.results.name} away."
            )

    def publish(self) -> None:
        """Put a copy of the working file, which must be checkpointed and closed, in the place of the results."""
        try:
            shutil.copyfile(self.working, self._scratch)
            _flush(self._scratch)
            self._check_copy()
            self._move_log_aside()
            if self.results.exists():
                _keep_permissions(self.results, self._scratch)
            self._scratch.replace(self.results)
            _flush(self.results.parent)
        except OSError as error:
            self._scratch.unlink(missing_ok=True)
            raise WriteError(f"{self.explain(error)} Readers see the state before.") from None

    def explain(self, error: Exception) -> str:
        """Say what went wrong while writing, and that nothing else was lost."""
        reason = error.strerror if isinstance(error, OSError) else _reason(error)
        if is_damage(reason or ""):
            return (
                f"{self.results}: writing failed, since {self.working} is damaged: {reason}. Move it away and run again: what is "
                f"published in {self.results.name} is taken from there."
            )
        advice = "Free some space and run again" if _is_full(reason or "") else "Run again when the cause is removed"
        return f"{self.results}: writing failed: {reason}. {advice}: what was written before is safe in {self.working}."

    def backup(self, version: int) -> Path:
        """Return the file in which the last state of a schema version is kept."""
        return self.working.with_suffix(f".version-{version}")

    def back_up(self, version: int) -> Path:
        """Copy the working file, beside it, as the last state of a schema version."""
        backup = self.backup(version)
        try:
            shutil.copyfile(self.working, backup)
            _flush(backup)
        except OSError as error:
            backup.unlink(missing_ok=True)
            raise WriteError(self.explain(error)) from None
        return backup

    def _unwritable(self, error: OSError) -> WriteError:
        return WriteError(
            f"{self.working.parent} cannot be written: {error.strerror}. Name a results file in a folder of yours: "
            "results=PATH"
        )

    def _fill(self, scratch: Path) -> bool:
        """Copy the results; without any, make a new store and return True."""
        try:
            self._look_at_results()
        except (NoResultsError, EmptyResultsError):
            with connect(scratch, threads=1) as db, attached(db, scratch, read_only=False):
                definition.create(db)
            return True
        shutil.copyfile(self.results, scratch)
        scratch.chmod(stat.S_IMODE(self.results.stat().st_mode) | _OWN)
        return False


def _keep_permissions(old: Path, new: Path) -> None:
    """Let a file be read and written by those who may read and write the one whose place it takes."""
    status = old.stat()
    with suppress(PermissionError):  # only some may give files away
        os.chown(new, status.st_uid, status.st_gid)
    new.chmod(stat.S_IMODE(status.st_mode))


def _unused(name: str) -> Path:
    """The first of NAME-1, NAME-2, ... that is not there."""
    number = 1
    while (path := Path(f"{name}-{number}")).exists():
        number += 1
    return path


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    """DuckDB wraps what the system said: `Checkpoint failed ... Original error: ... No space left on device`."""
    return str(error).rpartition("Original error: ")[2].partition("\n")[0]


def _is_full(reason: str) -> bool:
    return any(sign in reason for sign in ("No space left", "File too large", "Disk quota"))
