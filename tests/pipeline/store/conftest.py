import pytest

from pipeline.store.reader import open_results
from pipeline.store.writer import Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.duckdb"


@pytest.fixture
def store(path):
    return Store(path)


@pytest.fixture
def query(path):
    """Ask the published results."""

    def ask(sql, *values):
        db = open_results(path)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    return ask
