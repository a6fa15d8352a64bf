"""All comparisons of operations with what they are measured against, one after the other.

    python scripts/bench/operations.py [PART ...]

The parts are the files of `scripts/bench/operations/`; each can be run by itself and has options of its own. Exits with 1 if
a part finds ours behind what is promised.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).with_suffix("")


def main() -> None:
    """Run the parts in turn, never two at once: they time."""
    parts = sys.argv[1:] or sorted(file.stem for file in FOLDER.glob("*.py"))
    failed = []
    for part in parts:
        print(f"== {part}", flush=True)
        if subprocess.run([sys.executable, FOLDER / f"{part}.py"], check=False).returncode:
            failed.append(part)
    if failed:
        print(f"behind: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
