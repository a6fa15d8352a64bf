"""The scheduler on a simulated cluster: every job once, in order of need, and nodes are kept busy."""

import random
from dataclasses import replace

import pytest

from pipeline.engine.jobs import Done, Resources
from pipeline.engine.runner import run
from tests.pipeline.simulated_cluster import Made, SimulatedCluster, jobs_of_a_study, longest_chain


@pytest.mark.parametrize("losses", [0, 10])
def test_no_job_is_lost_or_done_twice_and_the_nodes_are_kept_busy(losses):
    jobs, seconds = jobs_of_a_study(3000, random.Random(3))
    made = Made()
    cluster = SimulatedCluster(seconds, made, nodes_count=5, losses=losses)
    ends, begun = {}, set()
    for job, outcome in run(jobs, cluster, made, waiting=cluster.wait):
        if outcome is None:
            assert all(need in ends for need in job.needs)
            assert job.key not in begun
            begun.add(job.key)
        else:
            assert job.key not in ends
            ends[job.key] = outcome
    assert len(ends) == len(jobs)
    assert all(isinstance(end, Done) and not end.cached for end in ends.values())
    assert set(cluster.done.values()) == {1}
    assert (cluster.lost_jobs > 0) == (losses > 0)
    assert cluster.started.total() == len(jobs) + cluster.lost_jobs
    away = losses * 60 * cluster.cpus  # processors of lost nodes, until others have come
    bound = max((cluster.work + away) / cluster.workers, longest_chain(jobs, seconds))
    assert cluster.clock <= 1.1 * bound


def test_jobs_that_no_node_has_room_for_hold_up_no_others():
    jobs, seconds = jobs_of_a_study(40, random.Random(1))
    large = Resources(gpus=1)
    jobs = [replace(job, resources=large) if not job.needs else job for job in jobs]
    made = Made()

    class OneGpu(SimulatedCluster):
        """Has room for one job that needs a GPU."""

        active = 0

        def free(self, resources):
            return self.active == 0 if resources.gpus else super().free(resources)

        def submit(self, job):
            future = super().submit(job)
            if job.resources.gpus:
                self.active += 1
                assert self.active == 1
                future.add_done_callback(lambda _: setattr(self, "active", self.active - 1))
            return future

    cluster = OneGpu(seconds, made, nodes_count=2)
    order = [job for job, outcome in run(jobs, cluster, made, waiting=cluster.wait) if outcome is None]
    assert len(order) == len(jobs)
    first_small = next(at for at, job in enumerate(order) if not job.resources.gpus)
    assert any(job.resources.gpus for job in order[first_small:])
