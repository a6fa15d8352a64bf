"""From a recipe to a plan: names resolved, parameters checked, formats chained, every step keyed.

Pure: no file, no clock, no database. `make_plan` finds every mistake that needs no computing.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.core.errors import BadParamsError
from ops.core.operation import OPERATIONS, Ancestry, Format, OpSpec, Requirement, Uses
from ops.core.registry import UnknownNameError, nearest
from ops.core.text import show
from pipeline.core.keys import CONTENT, Key, canonical_json, step_key
from pipeline.core.machine.libraries import releases
from pipeline.plan.recipe import MOST_PROBLEMS, SEEDS, Recipe, RecipeError, RecipeNode, is_seed
from pipeline.plan.steps import SEED, Facts, Plan, Step

_WITHOUT_LABELS = (
    "Without labels there are `load`, `magnitude_prune`, `channel_prune`, `factorize`, `quantize`, `calibrate`, and `finetune` "
    "with `teacher: base` and `distillation_weight: 1`"
)
_WITHOUT_INSTANCES = (
    "`quantize` with `method: dynamic`, `weight_only` or `float16`, `magnitude_prune`, `factorize`, `palettize`"
)


def entry_id(entry: Mapping[str, Any]) -> str:
    """Name of a conf/model entry by what it says."""
    return canonical_json(entry).decode()


def make_plan(recipe: Recipe, facts: Facts) -> Plan:
    """Check every step and give it its key.

    Raises:
        RecipeError: with one line per mistake, each naming the step's path, the problem and the nearest fix.
    """
    planner = _Planner(recipe, facts)
    planner.plan_all()
    if planner.problems:
        raise RecipeError(planner.problems)
    return Plan(recipe, facts, tuple(planner.steps.values()), planner.aliases, planner.omissions)


@dataclass(slots=True)
class _Planner:
    recipe: Recipe
    facts: Facts
    steps: dict[Key, Step] = field(default_factory=dict)
    aliases: dict[str, Key] = field(default_factory=dict)
    at: dict[str, Step] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    ancestries: dict[str, Ancestry] = field(default_factory=dict)
    omissions: dict[str, str] = field(default_factory=dict)

    def plan_all(self) -> None:
        """Plan nodes parents first; one that names a model planned later waits for it."""
        self._check_names_of_targets()
        paths = {node.path for node in self.recipe.nodes}
        waiting: dict[str, list[int]] = defaultdict(list)
        failed = set[str]()
        this_round, next_round = list(range(len(self.recipe.nodes))), list[int]()
        while this_round and len(self.problems) < MOST_PROBLEMS:
            place = heapq.heappop(this_round)
            node = self.recipe.nodes[place]
            awaited = self._try(node, paths, failed)
            if awaited is not None:
                waiting[awaited].append(place)
            for freed in waiting.pop(node.path, []) if awaited is None else []:
                if freed > place:
                    heapq.heappush(this_round, freed)
                else:
                    next_round.append(freed)
            if not this_round:
                this_round, next_round = sorted(next_round), []
        blocked = [self.recipe.nodes[place] for place in sorted(itertools.chain(*waiting.values()))]
        if blocked and not self.problems:
            self._report_circle(blocked)

    def _try(self, node: RecipeNode, paths: set[str], failed: set[str]) -> str | None:
        """Plan a node, or note that it or its parent has a mistake; return the path of a step that must come first."""
        if node.parent in failed:
            failed.add(node.path)
            return None
        if node.parent is not None and node.parent not in self.at:
            return node.parent
        awaited = self._plan(node, paths)
        if awaited in failed:
            failed.add(node.path)
            return None
        if awaited is None and node.path not in self.at:
            failed.add(node.path)
        return awaited

    def _check_names_of_targets(self) -> None:
        present = self.facts.known_targets
        self.problems.extend(
            f"recipe.targets: no target is called '{target}'.{nearest(target, present)} Known: {', '.join(sorted(present))}"
            for target in self.recipe.targets
            if target not in self.facts.accepts
        )

    def _report_circle(self, blocked: list[RecipeNode]) -> None:
        """Report steps that still wait: each names itself or its own descendant."""
        names = ", ".join(f"'{node.path}'" for node in blocked[:3])
        self.problems.append(
            f"Steps {names}: they name each other, or their own descendants, as the model to use. Name a step above them"
        )

    def _plan(self, node: RecipeNode, paths: set[str]) -> str | None:
        """Plan one node, or add its mistake to the problems; return the path of a step that it names and has to wait for."""
        parent = self.at[node.parent] if node.parent else None
        try:
            spec = OPERATIONS[node.op]
            values, seed = _without_seed(spec, self._completed(spec, node.params))
            params = spec.check(values)
            settled = dict(spec.settle(params, self.facts.processor)) if spec.settle else {}
            params |= settled
            if seed is not None and Uses.SEED not in spec.uses_with(params):
                raise BadParamsError(f"Operation '{spec.name}': seed: no random numbers are drawn here; leave it out")
            references = self._references(spec, params, node, paths)
            if isinstance(references, str):
                return references
            self._check_chain(spec, parent)
            ancestry = self._ancestry(node, spec, params, parent)
            if spec.refuse and (reason := spec.refuse(ancestry, params)):
                raise BadParamsError(f"'{spec.name}' cannot be applied here: {reason}")
            self._check_requirement(spec, params)
            self._check_targets(spec)
        except (UnknownNameError, BadParamsError) as error:
            if node.is_variant:
                self.omissions[node.path] = str(error)
            else:
                self.problems.append(f"Step '{node.path}': {error}")
            return None
        self.ancestries[node.path] = Ancestry(
            ancestry.model, ancestry.task, (*ancestry.operations, (spec.name, params))
        )
        self._add(node, spec, params, references, parent, own_seed=seed, settled=tuple(settled))
        return None

    def _completed(self, spec: OpSpec, params: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the name of a conf/model entry (or its absence) by the entry itself, and write what suits the targets."""
        values = dict(params)
        for name in spec.marked("channel multiple"):
            if values.get(name) is None:
                values[name] = self.facts.channel_multiple
        for name in spec.marked("model entry"):
            expected = self.facts.default_model if values.get(name) is None else values[name]
            if isinstance(expected, Mapping):
                values[name] = self._identified(expected)
                continue
            if expected is not None and not isinstance(expected, str):
                raise BadParamsError(
                    f"Operation '{spec.name}': {name}: expected the name of a model, or an entry of conf/model written out, "
                    f"got {show(expected)}"
                )
            if expected is None:
                raise BadParamsError(
                    f"Operation '{spec.name}': which model? Give `model:` here or in the recipe, or model=NAME on the command line"
                )
            if expected not in self.facts.models:
                present = self.facts.models
                raise UnknownNameError(
                    f"No model is called '{expected}'.{nearest(expected, present)} Known: {', '.join(sorted(present))}"
                )
            values[name] = dict(self.facts.models[expected])
        return values

    def _identified(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """An entry that a step writes out, with the digest of its files and code: never one that the recipe claims."""
        plain = {key: value for key, value in entry.items() if key != CONTENT}
        content = self.facts.contents.get(entry_id(plain))
        return plain if content is None else {**plain, CONTENT: content}

    def _references(
        self, spec: OpSpec, params: Mapping[str, Any], node: RecipeNode, paths: set[str]
    ) -> dict[str, Key] | str:
        """Keys of the models that parameters name, or the path of one that is not planned yet."""
        result: dict[str, Key] = {}
        for name in spec.marked("model reference"):
            if params.get(name) is None:
                continue
            path = self._resolve(str(params[name]), node, paths)
            if path not in self.at:
                return path
            result[name] = self.at[path].key
            if self.at[path].format is not Format.TORCH:
                raise BadParamsError(
                    f"Operation '{spec.name}': {name} '{path}' is an ONNX model; name a torch model, e.g. its parent"
                )
        return result

    def _resolve(self, reference: str, node: RecipeNode, paths: set[str]) -> str:
        """`base`, the name of the nearest ancestor so called, or a full path."""
        lineage = []
        path: str | None = node.parent
        while path is not None:
            lineage.append(path)
            path = path.rpartition("/")[0] or None
        for ancestor in lineage:
            last = ancestor.rpartition("/")[2]
            if reference in (last, last.partition("[")[0]):
                return ancestor
        if reference in paths and f"{reference}/".startswith(f"{node.path}/"):
            which = "this step itself" if reference == node.path else "made from this step"
            raise BadParamsError(
                f"Operation '{node.op}': '{reference}' is {which}. Name a step above it, or in another branch"
            )
        if reference in paths:
            return reference
        if reference == "base" and lineage:
            return lineage[-1]
        above = [path.rpartition("/")[2] for path in lineage]
        outside = sorted(path for path in paths if not f"{path}/".startswith(f"{node.path}/"))
        present = list(dict.fromkeys(["base", *above, *outside]))
        listing = ", ".join(present[:9])
        raise BadParamsError(
            f"Operation '{node.op}': no step is called '{reference}'.{nearest(reference, present)} Known: {listing}"
        )

    def _check_chain(self, spec: OpSpec, parent: Step | None) -> None:
        if spec.consumes is None and parent is not None:
            raise BadParamsError(f"'{spec.name}' takes no model, so it can only stand at the top of `tree`")
        if spec.consumes is not None and parent is None:
            raise BadParamsError(f"'{spec.name}' needs a model: put it under `then` of a `load` or `train` step")
        if parent is not None and spec.consumes is Format.TORCH and parent.format is Format.ONNX:
            root = self.steps[parent.root]
            if root.format is Format.ONNX:
                able = sorted(name for name in OPERATIONS if OPERATIONS[name].consumes is Format.ONNX)
                raise BadParamsError(
                    f"'{spec.name}' takes a torch network, and '{root.op}' gives an ONNX file, which only {', '.join(able)} "
                    f"can take. Begin with `load` or `train` and the network itself, or leave '{spec.name}' out"
                )
            raise BadParamsError(
                f"'{spec.name}' takes a torch model, but '{parent.op}' gives an ONNX model, which cannot be trained or edited. "
                f"Put '{spec.name}' before '{parent.op}' (for training that knows of the int8 rounding to come: "
                "`finetune` with `quantization_aware: true`, then `quantize`)"
            )

    def _check_targets(self, spec: OpSpec) -> None:
        """A torch model can be exported, so only an ONNX model may find no target that takes it."""
        targets = [target for target in self.recipe.targets if target in self.facts.accepts]
        if spec.produces is Format.ONNX and targets and all(self.facts.accepts[t] is Format.TORCH for t in targets):
            raise BadParamsError(
                f"'{spec.name}' gives an ONNX model, which none of the targets takes ({', '.join(targets)}). "
                "Add `onnxruntime` to `targets`"
            )

    def _check_requirement(self, spec: OpSpec, params: Mapping[str, Any]) -> None:
        """Refuse a step that needs what the data lack.

        Raises:
            BadParamsError: naming it, and what can be done without.
        """
        needs = spec.needs(params) if spec.needs else None
        if needs is Requirement.LABELS and not self.facts.has_labels:
            raise BadParamsError(
                f"'{spec.name}' cannot be applied here: it needs to be told what is right, and the data are without a task. "
                f"{_WITHOUT_LABELS}"
            )
        if needs is not None and not self.facts.has_instances:
            raise BadParamsError(
                f"'{spec.name}' cannot be applied here: it needs inputs as the model will see them, and the data are random "
                f"numbers. Give arrays (`dataset.path`), or take {_WITHOUT_INSTANCES}"
            )

    def _ancestry(self, node: RecipeNode, spec: OpSpec, params: Mapping[str, Any], parent: Step | None) -> Ancestry:
        if parent is not None and node.parent is not None:
            return self.ancestries[node.parent]
        entries = [params[name] for name in spec.marked("model entry")]
        return Ancestry(entries[0] if entries else {}, self.facts.task, ())

    def _add(
        self,
        node: RecipeNode,
        spec: OpSpec,
        params: dict[str, Any],
        references: dict[str, Key],
        parent: Step | None,
        *,
        own_seed: int | None,
        settled: tuple[str, ...],
    ) -> None:
        seed = own_seed if own_seed is not None else parent.seed if parent else self.recipe.seed
        export = None
        if parent is not None and spec.consumes is Format.ONNX and parent.format is Format.TORCH:
            export = self.facts.export_key(parent.key)
        uses = spec.uses_with(params)
        key = step_key(
            op=spec.name,
            version=spec.version,
            params=params,
            parent=export or (parent.key if parent else None),
            references=references,
            data=self.facts.data_fingerprint if Uses.DATA in uses else None,
            seed=seed if Uses.SEED in uses else None,
            # the fingerprint of the data covers its interface
            interface=self.facts.interface if Uses.INTERFACE in uses and Uses.DATA not in uses else None,
            code=self.facts.code.get(spec.name),
            libraries=releases(spec.libraries, self.facts.libraries),
        )
        step = Step(
            key=key,
            path=node.path,
            parent=parent.key if parent else None,
            root=parent.root if parent else key,
            depth=parent.depth + 1 if parent else 0,
            op=spec.name,
            kind=spec.kind.value,
            version=spec.version,
            params=params,
            references=references,
            seed=seed,
            format=spec.produces,
            export=export,
            gives_seed=own_seed is not None,
            settled=settled,
        )
        self.at[node.path] = self.steps.setdefault(key, step)
        if self.steps[key] is not step:
            self.aliases[node.path] = key


def _without_seed(spec: OpSpec, params: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Take the seed out of a step's parameters; to an operation that draws no random numbers, it is a parameter like any."""
    values = dict(params)
    if SEED not in values or Uses.SEED not in spec.uses:
        return values, None
    seed = values.pop(SEED)
    if not is_seed(seed):
        raise BadParamsError(f"Operation '{spec.name}': seed: expected {SEEDS} (got {show(seed)})")
    return values, seed
