"""Random kill -9 of driver or workers during a small sweep, each resumed: is what is left that of a calm run?

python scripts/bench/kill.py [--kills 100] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.pipeline.command import Place
from tests.pipeline.killing import WORDS, files, fingerprint, kill_and_resume


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        calm, shaken = Place(Path(name) / "calm"), Place(Path(name) / "shaken")
        for place in (calm, shaken):
            place.folder.mkdir()
        code, _, err = calm.run(*WORDS)
        assert code == 0, err
        done = hits = 0
        while hits < chosen.kills:  # a kill that found the sweep finished does not count: begin a new sweep
            hits += kill_and_resume(shaken, min(10, chosen.kills - hits), seed=chosen.seed + done, calm=files(calm))
            done += 1
            if fingerprint(calm) != fingerprint(shaken):
                print(f"different after {hits} kills")
                return 1
            print(f"{hits} kills in {done} sweeps", flush=True)
            shaken = Place(Path(name) / f"shaken{done}")
            shaken.folder.mkdir()
    print(f"{hits} kills in {done} sweeps: artifacts and store identical to those of an undisturbed run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
