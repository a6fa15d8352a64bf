"""Run the command line as a person does, in a folder of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "tests" / "conf"


@dataclass(frozen=True)
class Place:
    """A folder with a workspace and results."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results.duckdb"

    @property
    def artifacts(self) -> Path:
        return self.folder / ".bouillon" / "artifacts"

    def arguments(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pipeline", "--config-dir", str(CONF), *words]

    def start(self, *words: str, **options) -> subprocess.Popen:
        (self.folder / "tmp").mkdir(exist_ok=True)
        # a lock of its own: a test must not wait until the machine is free for timing
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.folder / "tmp"),
        }
        return subprocess.Popen(self.arguments(*words), cwd=self.folder, env=environment, text=True, **options)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Return (exit code, standard output, standard error)."""
        with self.start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate()
            except BaseException:
                process.kill()  # a test that is stopped leaves nothing running
                raise
        return process.returncode, out, err

    def sql(self, query: str, *values: object) -> list[tuple]:
        with duckdb.connect() as db:
            db.execute(f"ATTACH '{self.results}' AS r (READ_ONLY)")
            db.execute("USE r")
            return db.execute(query, values).fetchall()
