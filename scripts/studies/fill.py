"""Write what the stores of the studies say into the page: answers to its queries, and whether its claims hold.

    python scripts/studies/fill.py FOLDER [--page FILE]

FOLDER holds a folder per study (`user`, `bias`, ...), each with its results.duckdb. Below a query that begins with
```sql STUDY, the table between <!-- answer --> and <!-- end --> is its answer; `<!-- claims STUDY -->` begins a table of
that study's claims. What belongs to a store that is not there stays as it is.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from claims import CLAIMS

from pipeline.store.reader import Connection, open_results

_LARGE = 1000
PAGE = Path(__file__).with_name("README.md")
ANSWER = re.compile(r"```sql (?P<study>\w+)\n(?P<sql>.*?)```\n\n<!-- answer -->\n(?P<table>.*?)<!-- end -->", re.DOTALL)
VERDICTS = re.compile(r"<!-- claims (?P<study>\w+) -->\n(?P<table>.*?)<!-- end -->", re.DOTALL)


def filled(page: str, stores: dict[str, Connection]) -> str:
    """The page with every table of the given studies written anew."""

    def answered(found: re.Match[str]) -> str:
        db = stores.get(found["study"])
        return found[0] if db is None else _with_table(found, answer(db, found["sql"]))

    def judged(found: re.Match[str]) -> str:
        db = stores.get(found["study"])
        return found[0] if db is None else _with_table(found, verdicts(db, found["study"]))

    return VERDICTS.sub(judged, ANSWER.sub(answered, page))


def _with_table(found: re.Match[str], table: str) -> str:
    start, end = (place - found.start() for place in found.span("table"))
    return found[0][:start] + table + found[0][end:]


def answer(db: Connection, sql: str) -> str:
    """A query's result as a table in Markdown."""
    result = db.sql(sql)
    return _table(result.columns, result.fetchall())


def verdicts(db: Connection, study: str) -> str:
    """The claims of a study, and what the store says of them."""
    rows = []
    for claim in CLAIMS:
        if claim.study == study:
            try:
                holds, figures = judge(db, claim.sql)
            except ValueError:
                rows.append((claim.text, "not measured", ""))
                continue
            shown = ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in figures.items())
            rows.append((claim.text, "yes" if holds else "**no**", shown))
    return _table(("claim", "held here", "figures"), rows)


def judge(db: Connection, sql: str) -> tuple[bool, dict[str, Any]]:
    """Whether a claim holds, and the figures that decide it.

    Raises:
        ValueError: if the store has not what the claim is about.
    """
    result = db.sql(sql)
    names, rows = result.columns, result.fetchall()
    if len(rows) != 1 or rows[0][0] is None:
        raise ValueError(f"The store does not decide this claim (rows: {rows})")
    return bool(rows[0][0]), dict(zip(names[1:], rows[0][1:], strict=True))


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [names, ["---"] * len(names), *[[_text(value) for value in row] for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, float | Decimal):
        return f"{value:.3g}" if abs(value) < _LARGE else f"{value:,.0f}"
    return "" if value is None else str(value).replace("|", "\\|")


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("folder", type=Path)
    args.add_argument("--page", type=Path, default=PAGE)
    asked = args.parse_args()
    stores = {file.parent.name: open_results(file) for file in sorted(asked.folder.glob("*/results.duckdb"))}
    asked.page.write_text(filled(asked.page.read_text(), stores))
    print(f"{asked.page}: filled from {', '.join(stores) or 'nothing'}")


if __name__ == "__main__":
    main()
