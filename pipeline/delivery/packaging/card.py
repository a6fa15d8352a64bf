"""The model card: what the model is for, how it was made, what was measured, where it is weak, and how to use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ops.core.operation import Format
from ops.core.programs.program import Program
from ops.core.tasks.task import TASKS
from pipeline.delivery.packaging.deployed import COMPARED, DeployedModel
from pipeline.delivery.packaging.figure_text import figure_text
from pipeline.store.queries.model_facts import PartFigure

__all__ = ["write_cards"]

_MOST_PARTS = 100
"""Rows of a table of classes or groups."""


def write_cards(model: DeployedModel, program: Program, folder: Path) -> None:
    """Write MODEL_CARD.md and, with what Hugging Face's hub reads at its head, README.md.

    Args:
        model: that is packaged.
        program: that answers with it.
        folder: the package.
    """
    card = "\n".join(_lines(model, program)) + "\n"
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    (folder / "README.md").write_text(_front_matter(model) + card, encoding="utf-8")


def _front_matter(model: DeployedModel) -> str:
    library = "onnx" if model.form is Format.ONNX else "pytorch"
    tag = TASKS[model.architecture.task].hub_tag
    lines = [
        "---",
        f"library_name: {library}",
        *([f"pipeline_tag: {tag}"] if tag else []),
        "tags:",
        f"- {library}",
        "- bouillon",
    ]
    return "\n".join([*lines, "---", ""]) + "\n"


def _lines(model: DeployedModel, program: Program) -> Iterable[str]:
    facts = model.facts
    yield f"# {_plain(facts.name)}"
    yield ""
    yield f"A model for {model.architecture.task} on the data set `{_plain(facts.dataset.name)}`, {_form(model)}."
    yield ""
    yield "## Use"
    yield ""
    yield "```bash"
    yield "pip install -r requirements.txt"
    yield f"python predict.py {program.words}"
    yield "```"
    yield ""
    yield "Each row gives a line of JSON; rows can also come as JSON lines on standard input. What inputs have to be is in"
    yield f"`settings.json`. On {min(COMPARED, len(model.answers))} instances this program answered as the results say, before it left."
    if facts.dataset.classes:
        yield ""
        yield f"Classes ({len(facts.dataset.classes)}): {', '.join(map(_plain, facts.dataset.classes[:_MOST_PARTS]))}"
    yield from _origin(model)
    yield from _measured(model)
    yield from _limits(model)


def _form(model: DeployedModel) -> str:
    return "as an ONNX file" if model.form is Format.ONNX else "as tensors with a module of PyTorch's operators"


def _origin(model: DeployedModel) -> Iterable[str]:
    facts = model.facts
    sizes = ", ".join(f"{count:,} for {split}" for split, count in facts.dataset.splits.items())
    yield ""
    yield "## How it was made"
    yield ""
    yield f"Data: `{_plain(facts.dataset.name)}` ({sizes}), fingerprint `{facts.dataset.key}`."
    yield ""
    yield "| step | operation | parameters |"
    yield "|---|---|---|"
    for each in facts.lineage:
        values = ", ".join(f"{name} {_plain(value)}" for name, value in each.params.items() if value is not None)
        yield f"| `{_cell(each.path)}` | {_cell(each.op)} (version {each.version}) | {_cell(values)} |"
    yield ""
    yield f"`recipe.yaml` is this branch alone: `python -m pipeline reproduce DIR` makes it anew and compares. Run `{facts.run.run_id}`"
    commit = f" at commit `{facts.run.git_commit}`" if facts.run.git_commit else ""
    yield f"of recipe `{_plain(facts.run.recipe)}`{commit}; versions and digests are in `provenance.json`."


def _measured(model: DeployedModel) -> Iterable[str]:
    facts = model.facts
    yield ""
    yield "## Figures"
    yield ""
    yield f"On {facts.target}, machine `{facts.device}`; intervals are of 95 %."
    yield ""
    yield "| figure | value | interval | |"
    yield "|---|---|---|---|"
    for each in facts.figures:
        has_interval = each.low is not None and each.high is not None
        ends = f"{figure_text(each.low or 0, each)} to {figure_text(each.high or 0, each)}" if has_interval else ""
        yield f"| {_cell(each.metric)} | {figure_text(each.value, each)} | {ends} | {_cell(each.description)} |"
    yield from _confirmed(model)
    yield from _table("By class", "class", facts.classes)
    yield from _table("By group", "group", facts.groups)


def _confirmed(model: DeployedModel) -> Iterable[str]:
    """The figures on instances that no choice had seen, of the first look."""
    values, known = model.facts.confirmed, {each.metric: each for each in model.facts.figures}
    if not values:
        return
    first = values[0]
    number = "" if first.look == 1 else f", look {first.look} at them"
    yield ""
    yield "### Confirmed"
    yield ""
    yield f"On {first.instances:,} instances that nothing else reads, {first.looked_at:%Y-%m-%d}{number}; chosen among {first.among:,} models."
    yield ""
    yield "| figure | chosen at | confirmed at | interval | |"
    yield "|---|---|---|---|---|"
    for each in values:
        figure = known.get(each.metric)
        if figure is None or each.chosen_value is None:
            continue
        has_interval = each.low is not None and each.high is not None
        ends = f"{figure_text(each.low or 0, figure)} to {figure_text(each.high or 0, figure)}" if has_interval else ""
        noise = {True: "within noise", False: "differs by more than chance", None: ""}[each.within_noise]
        yield (
            f"| {_cell(each.metric)} | {figure_text(each.chosen_value, figure)} | {figure_text(each.value, figure)} | {ends} "
            f"| {noise} |"
        )


def _table(title: str, noun: str, parts: Sequence[PartFigure]) -> Iterable[str]:
    if not parts:
        return
    worst = sorted(parts, key=lambda part: part.accuracy)
    yield ""
    yield f"### {title}, the weakest first"
    yield ""
    yield f"| {noun} | instances | accuracy | interval |"
    yield "|---|---|---|---|"
    for each in worst[:_MOST_PARTS]:
        yield f"| {_cell(each.part)} | {each.instances:,} | {each.accuracy:.1%} | {each.low:.1%} to {each.high:.1%} |"
    if len(worst) > _MOST_PARTS:
        yield ""
        yield f"and {len(worst) - _MOST_PARTS:,} more."


def _limits(model: DeployedModel) -> Iterable[str]:
    facts = model.facts
    yield ""
    yield "## Limits"
    yield ""
    for rule, message, advice in facts.lints:
        yield f"- **{rule}**: {_plain(message)}. {_plain(advice)}"
    count = facts.dataset.splits.get("evaluation", 0)
    yield f"- All figures of answers are of {count:,} instances of `{_plain(facts.dataset.name)}`; nothing is known of other data."
    yield "- Times are those of one machine and one session."
    yield "- What the licences of the weights and the data allow is not known to the program that wrote this card."


def _plain(value: object) -> str:
    """In one line, without what Markdown takes for code or HTML."""
    return " ".join(str(value).split()).replace("`", "'").replace("<", "&lt;")


def _cell(value: object) -> str:
    return _plain(value).replace("\\", "\\\\").replace("|", "\\|")
