"""Programs for the store's tests that several processes, or one that is killed, run: `python -m ...writing WHAT RESULTS`."""

import sys
import time
from itertools import count
from pathlib import Path

from pipeline.store.reader import NoResultsError, open_results
from pipeline.store.records import run_records
from pipeline.store.writer import Store
from tests.pipeline.store.facts import (
    ACCURACY,
    DATA,
    DEVICE,
    INSTANCES,
    RUN,
    layer,
    measurement,
    model,
    predictions,
    step,
)

GROUND = [RUN, DEVICE, DATA, ACCURACY, INSTANCES]
LEAST = 3
"""What each process does at least, however busy the machine is."""


def batch(writer, number):
    """One step with its evidence: whole in the store, or not there at all."""
    name = f"{writer}-{number}"
    return [
        *GROUND,
        model(name, f"{writer}-{number - 1}" if number else None),
        step(name),
        measurement(name, "accuracy", number / 1000, data="data1"),
        layer(name, "net.weight"),
        predictions(name, [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]),
        run_records.Ingested(name),
    ]


def write(results, writer, seconds):
    """Write batches that the store lacks, at least a few, say which are done, publish now and then."""
    store, end = Store(results), time.monotonic() + seconds
    done = store.ingested()
    for number in count():
        if number > LEAST and time.monotonic() > end:
            break
        if f"{writer}-{number}" not in done:
            store.write(batch(writer, number))
            sys.stdout.write(f"{writer}-{number}\n")
            sys.stdout.flush()
        if number % 5 == 0:
            store.publish()
    store.publish()


def read(results, seconds):
    """Read over and over; every state that is seen must be whole, and later ones must not lack anything."""
    end, seen, reads = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end or reads < LEAST:
        try:
            db = open_results(results)
        except NoResultsError:
            continue
        models = whole(db)
        db.close()
        assert models >= seen, (models, seen)
        seen, reads = models, reads + 1
    sys.stdout.write(f"{reads}\n")


def whole(db):
    """Check that every batch is in the store with all its facts; return the number of batches."""
    counts = {
        view: db.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0]
        for view in ("models", "steps", "measurements", "layers", "ingestion", "predictions")
    }
    expected = counts["models"]
    assert counts == {**dict.fromkeys(counts, expected), "predictions": 4 * expected}, counts
    return expected


if __name__ == "__main__":
    what, path, *rest = sys.argv[1:]
    if what == "write":
        write(Path(path), rest[0], float(rest[1]))
    else:
        read(Path(path), float(rest[0]))
