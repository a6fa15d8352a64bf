"""The scheduler at a size that no test reaches: 10,000 jobs on 200 simulated nodes, some of which are lost.

    python scripts/bench/scheduler.py [--jobs 10000] [--nodes 200] [--losses 60]

The scheduler is the real one; the cluster is a clock that jumps. Prints the makespan against the bound that no schedule beats (all
work over all processors, and the longest chain), CPU time per job and memory; exits with 1 if a limit is broken.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.engine.jobs import Done
from pipeline.engine.runner import run
from tests.pipeline.simulated_cluster import Made, SimulatedCluster, jobs_of_a_study, longest_chain

LIMITS = {"makespan over bound": 1.10, "CPU ms a job": 1.0, "memory MB": 1000.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--losses", type=int, default=60)
    options = parser.parse_args()
    jobs, seconds = jobs_of_a_study(options.jobs, random.Random(0))
    made = Made()
    cluster = SimulatedCluster(seconds, made, nodes_count=options.nodes, losses=options.losses, cpus=1)
    start = time.process_time()
    ends = [outcome for _, outcome in run(jobs, cluster, made, waiting=cluster.wait) if outcome is not None]
    cpu = time.process_time() - start
    whole = len(ends) == len(jobs) and all(isinstance(end, Done) for end in ends) and set(cluster.done.values()) == {1}
    away = options.losses * 60 * cluster.cpus
    bound = max((cluster.work + away) / cluster.workers, longest_chain(jobs, seconds))
    figures = {
        "makespan over bound": cluster.clock / bound,
        "CPU ms a job": 1000 * cpu / len(jobs),
        "memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }
    print(
        f"{len(jobs):,} jobs on {options.nodes} nodes, {cluster.lost_jobs} lost with their nodes and sent again: ",
        end="",
    )
    print("each done once" if whole else "JOBS WERE LOST OR DONE TWICE")
    for name, value in figures.items():
        print(f"{name}: {value:.3g} (limit {LIMITS[name]:g})")
    return 0 if whole and all(value <= LIMITS[name] for name, value in figures.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
