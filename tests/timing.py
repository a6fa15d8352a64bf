"""What something costs, told in a unit that is measured beside it: machines differ, and are shared."""

import gc
import time

REPEATS = 3


def in_loops(work, repeats=REPEATS):
    """CPU time of `work()` as a multiple of that of a plain loop of 100,000 additions; the least of some runs."""
    works, loops = [], []
    gc.collect()
    for _ in range(repeats):
        loops.append(_cpu_seconds(_loop))
        works.append(_cpu_seconds(work))
    return min(works) / min(loops)


def _cpu_seconds(work):
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def _loop():
    total = 0
    for number in range(100_000):
        total += number
