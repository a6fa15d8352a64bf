"""A cluster without machines: the real scheduler, jobs that last as long as is said, a clock that jumps, nodes that are lost."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from pipeline.core.keys import Key
from pipeline.engine.jobs import ClusterNode, Done, Job, Resources
from pipeline.engine.stage import NoParameters


def jobs_of_a_study(count, chance):
    """Jobs as of many recipes: short chains of operations, each model with some that observe it; and how long each takes.

    Returns (jobs, key -> seconds).
    """
    jobs, seconds = [], {}

    def add(kind, needs, model=None):
        key = Key(f"{len(jobs):064x}")
        jobs.append(Job(key, kind, f"job{len(jobs)}", model or key, tuple(needs), NoParameters()))
        seconds[key] = min(chance.lognormvariate(3.0, 0.8), 200.0)
        return key

    while len(jobs) < count:
        model = add("operation", [])
        for _ in range(chance.randint(1, 4)):
            for kind in ("predict", "layers"):
                add(kind, [model], model)
            model = add("operation", [model])
    return jobs[:count], seconds


class Made:
    """Keys of finished jobs, in the place of a store of artifacts."""

    def __init__(self):
        self.keys = set()

    def __contains__(self, key):
        return key in self.keys

    def share(self, keys):
        """There are no others."""


@dataclass
class SimulatedCluster:
    """An executor whose time passes when the scheduler waits."""

    seconds: dict
    made: Made
    nodes_count: int
    cpus: int = 4
    losses: int = 0
    """How many nodes are lost, one after the other; another comes in the place of each after a minute."""
    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self):
        self.clock, self.work = 0.0, 0.0
        self.done, self.lost_jobs = Counter(), 0
        self.started = Counter()
        self._events = []  # (time, number, kind, what)
        self._number = 0
        self._idle = deque(node for _ in range(self.cpus) for node in range(self.nodes_count))
        self._queue = deque()
        self._on = {node: {} for node in range(self.nodes_count)}
        self._gone = set()
        span = sum(self.seconds.values()) / (self.nodes_count * self.cpus)
        for _ in range(self.losses):
            self._at(self.chance.uniform(0.05, 0.8) * span, "lost", self.chance.randrange(self.nodes_count))

    @property
    def workers(self):
        return self.nodes_count * self.cpus

    def nodes(self):
        return [ClusterNode(f"node{node}", "simulated", self.cpus) for node in self._on]

    def refuse(self, resources: Resources):
        return None

    def free(self, resources: Resources):
        return len(self._idle) > len(self._queue)

    def cancel(self, key):
        raise NotImplementedError("nothing is cancelled here")

    def submit(self, job):
        future = Future()
        self._queue.append((job, future, self.seconds[job.key]))
        self._start()
        return future

    def wait(self):
        """Let time pass until a job has ended."""
        while True:
            self.clock, _, kind, what = heapq.heappop(self._events)
            if kind == "end":
                node, number = what
                if number in self._on[node]:
                    job, future, _, began, length = self._on[node].pop(number)
                    self.work += self.clock - began
                    self._idle.append(node)
                    self.done[job.key] += 1
                    self.made.keys.add(job.key)
                    self._start()
                    future.set_result(Done(job.key, length))
                    return
            elif kind == "lost":
                self._lose(what)
            else:
                self._gone.discard(what)
                self._idle.extend([what] * self.cpus)
                self._start()

    def _lose(self, node):
        """Jobs of a node that is lost begin again elsewhere, at their last checkpoint: half of what was done."""
        if node in self._gone:
            return
        self._gone.add(node)
        self._idle = deque(each for each in self._idle if each != node)
        for job, future, left, began, _ in self._on[node].values():
            spent = self.clock - began
            self.work += spent
            self.lost_jobs += 1
            self._queue.appendleft((job, future, left - spent / 2))
        self._on[node] = {}
        self._at(self.clock + 60, "back", node)
        self._start()

    def _start(self):
        while self._idle and self._queue:
            node = self._idle.popleft()
            job, future, left = self._queue.popleft()
            self._number += 1
            self.started[job.key] += 1
            self._on[node][self._number] = (job, future, left, self.clock, self.seconds[job.key])
            self._at(self.clock + left, "end", (node, self._number))

    def _at(self, time, kind, what):
        self._number += 1
        heapq.heappush(self._events, (time, self._number, kind, what))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


def longest_chain(jobs, seconds):
    """Seconds of the longest chain of jobs that need one another."""
    ends = {}
    for job in jobs:  # each comes after what it needs
        ends[job.key] = seconds[job.key] + max((ends[need] for need in job.needs if need in ends), default=0.0)
    return max(ends.values())
