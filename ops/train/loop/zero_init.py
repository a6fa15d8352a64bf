"""Finds the normalisation that ends each residual branch, whatever the network's classes are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm


def residual_norms(module: torch.nn.Module, outputs: Iterable[torch.Tensor]) -> list[torch.nn.Module]:
    """Return the batch normalisations whose output is added to a shortcut, read off the outputs' gradient graph.

    Where the shortcut ends in a normalisation too, the longer of the two branches is meant.
    """
    owners = {id(part.weight): part for part in module.modules() if isinstance(part, _BatchNorm) and part.affine}
    norms: dict[int, torch.nn.Module] = {}
    for node in _ancestors([output.grad_fn for output in outputs]):
        if not node.name().startswith("AddBackward"):
            continue
        ends = [(source, _owner(source, owners)) for source, _ in node.next_functions if source is not None]
        branches = [(source, part) for source, part in ends if part is not None]
        if branches:
            _, part = max(branches, key=lambda branch: sum(1 for _ in _ancestors([branch[0]])))
            norms[id(part)] = part
    return list(norms.values())


def _owner(node: Any, owners: Mapping[int, torch.nn.Module]) -> torch.nn.Module | None:
    """Return the batch normalisation that a node of the graph is the output of, if it is one."""
    if "BatchNorm" not in node.name():
        return None
    leaves = [getattr(source, "variable", None) for source, _ in node.next_functions if source is not None]
    return next((owners[id(leaf)] for leaf in leaves if id(leaf) in owners), None)


def _ancestors(nodes: Iterable[Any]) -> Iterator[Any]:
    visited: set[Any] = set()
    waiting = [node for node in nodes if node is not None]
    while waiting:
        node = waiting.pop()
        if node in visited:
            continue
        visited.add(node)
        yield node
        waiting += [source for source, _ in node.next_functions if source is not None]
