"""Nodes: what this one has, and what a job needs that none has."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cache

import psutil

from pipeline.core.environment import device, device_id
from pipeline.core.machine.cpu_quota import cores
from pipeline.engine.jobs import Node, Resources

__all__ = ["fits", "missing", "this_machine"]

_GIGA = 1e9


@cache
def this_machine() -> Node:
    """Return the machine that this process runs on."""
    gpus = len(device().get("accelerators", ()))
    return Node(platform.node(), device_id(), cores(), gpus, int(psutil.virtual_memory().total))


def fits(resources: Resources, node: Node) -> bool:
    """Whether a node has what a job needs when nothing else runs there. A job may share processors, so one is enough."""
    return (
        min(resources.cpus, 1.0) <= node.cpus
        and resources.gpus <= node.gpus
        and (resources.memory_bytes is None or node.memory_bytes is None or resources.memory_bytes <= node.memory_bytes)
        and resources.device in ("", node.device)
    )


def missing(resources: Resources, nodes: Sequence[Node]) -> str | None:
    """Say what a job needs that no node has; None if one has all of it."""
    if any(fits(resources, node) for node in nodes):
        return None
    needs = []
    if resources.gpus:
        needs.append(f"{resources.gpus:g} GPUs")
    if resources.memory_bytes is not None:
        needs.append(f"{resources.memory_bytes / _GIGA:.1f} GB of memory")
    if resources.device:
        needs.append(f"a machine of the kind {resources.device}")
    needs.append(f"{resources.cpus:g} processors")
    present = "; ".join(f"{node.name}: {node.cpus:g} processors, {node.gpus:g} GPUs{_memory(node)}" for node in nodes[:5])
    more = f"; and {len(nodes) - 5} more" if len(nodes) > 5 else ""
    return f"No node has what the job needs ({', '.join(needs)}). There are: {present or 'no nodes'}{more}"


def _memory(node: Node) -> str:
    return "" if node.memory_bytes is None else f", {node.memory_bytes / _GIGA:.0f} GB"
