"""Nodes: what this one has, and what a job needs that none has."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cache

import psutil

from pipeline.core.environment import device, device_id
from pipeline.core.machine.cpu_quota import cores
from pipeline.engine.jobs import ClusterNode, Resources

__all__ = ["missing", "suits", "this_machine"]

_GIGA = 1e9
_SEVERAL = 5


@cache
def this_machine() -> ClusterNode:
    """Return the machine that this process runs on."""
    gpus = len(device().get("accelerators", ()))
    return ClusterNode(platform.node(), device_id(), cores(), gpus, int(psutil.virtual_memory().total))


def suits(resources: Resources, node: ClusterNode) -> bool:
    """Whether a node has what a job needs when nothing else runs there. A job may share processors, so one is enough."""
    return (
        min(resources.cpus, 1.0) <= node.cpus
        and resources.gpus <= node.gpus
        and (resources.memory_bytes is None or node.memory_bytes is None or resources.memory_bytes <= node.memory_bytes)
        and resources.device in ("", node.device)
    )


def missing(resources: Resources, nodes: Sequence[ClusterNode]) -> str | None:
    """Say what a job needs that no node has; None if one has all of it."""
    if any(suits(resources, node) for node in nodes):
        return None
    needs = []
    if resources.gpus:
        needs.append(f"{resources.gpus:g} GPUs")
    if resources.memory_bytes is not None:
        needs.append(f"{resources.memory_bytes / _GIGA:.1f} GB of memory")
    if resources.device:
        needs.append(f"a machine of the kind {resources.device}")
    needs.append(f"{resources.cpus:g} processors")
    present = "; ".join(
        f"{node.name}: {node.cpus:g} processors, {node.gpus:g} GPUs{_memory(node)}" for node in nodes[:_SEVERAL]
    )
    more = f"; and {len(nodes) - _SEVERAL} more" if len(nodes) > _SEVERAL else ""
    return f"No node has what the job needs ({', '.join(needs)}). There are: {present or 'no nodes'}{more}"


def _memory(node: ClusterNode) -> str:
    return "" if node.memory_bytes is None else f", {node.memory_bytes / _GIGA:.0f} GB"
