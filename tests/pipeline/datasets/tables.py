"""Reviews as tables of every format."""

import csv
import json
from pathlib import Path

PRAISE, BLAME = "the film was good and fun", "a dull bad film"


def reviews(count=80):
    """Rows of texts of two classes; every text is different."""
    return [
        {
            "key": f"r{row:03d}",
            "text": f"{PRAISE if row % 3 else BLAME} . number {row}",
            "label": "praise" if row % 3 else "blame",
            "source": "city" if row % 2 else "river",
        }
        for row in range(count)
    ]


def save(file: Path, rows):
    """Write rows as the file's ending says."""
    import pyarrow as pa
    from pyarrow import parquet

    if file.suffix in (".csv", ".tsv"):
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if file.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif file.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)
