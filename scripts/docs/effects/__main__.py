"""Write the operations guide's tables of effects from results: what each operation does to quality, speed and size.

    python -m scripts.docs.effects RESULTS.duckdb ... [--roots NAME ...]

One table per network, with what became of it when it was recalibrated, restored, fine-tuned, distilled or quantized
afterwards, and with what the table shows. Models of several stores that have the same root stand in one table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.docs.effects.markdown import markdown
from scripts.docs.effects.networks import networks
from scripts.docs.guides import OPERATIONS_GUIDE, with_part


def main() -> None:
    """Write the tables into the guide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--roots", nargs="+", default=(), help="names of root steps; default: all")
    given = parser.parse_args()
    OPERATIONS_GUIDE.write_text(
        with_part(OPERATIONS_GUIDE.read_text(), "effects", markdown(networks(given.stores, given.roots)))
    )


if __name__ == "__main__":
    main()
