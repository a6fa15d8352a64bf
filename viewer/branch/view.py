"""The page of branches: a step below a model as text and as controls, its plan, and the requests of all visitors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, ClassVar

from bokeh.io import curdoc

from pipeline.delivery.branches.offer import Offer, offer_of
from pipeline.delivery.branches.queue import BranchQueue, BranchRequest, QueueError, RequestState
from viewer.branch.controls import controls_of, typed_value
from viewer.branch.drafts import (
    MOST_TEXT,
    Draft,
    DraftError,
    can_follow,
    change_of,
    from_finding,
    from_lint,
    in_place,
    parse_change,
    write_change,
)
from viewer.branch.plans import BranchPlan, operation_schemas_of, plan_of
from viewer.branch.wording import by_kind, is_below, length_text, marked_lines, step_names
from viewer.format.templates import render
from viewer.session.author import ANONYMOUS
from viewer.session.state import page_fields
from viewer.session.view import Action, NextTick, View

__all__ = ["Branch"]

_MOST_SHOWN = 50
_MOST_TRIES = 5
_MOST_OFFERED = 6
_LONGEST, _LONGEST_ADVICE = 200, 2_000
_TONES = {RequestState.DONE: "good", RequestState.FAILED: "bad", RequestState.REFUSED: "bad"}


class Branch(View):
    """A page of its own: `draw_page` gives its markup. It writes requests, and never results."""

    title: ClassVar[str] = "Branch"
    shows: ClassVar[frozenset[str]] = page_fields("branch") | {"selected"}

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._token, self._who, self._problem, self._refusal = "", "", "", ""
        self._asked_for: set[str] = set()
        """Names of the requests of this visit."""
        self._tries = 0
        self._sources: Any = None
        """What the page was drawn from, besides the state: a look at it tells whether it must be drawn again."""

    def actions(self) -> dict[str, Action]:
        """Messages of the page and of the buttons `Try` on others."""
        return {
            "try": self._try,
            "t_token": self._take_token,
            "t_text": lambda message: self._change(str(message.get("text", ""))),
            "t_op": self._choose_op,
            "t_param": self._set_param,
            "t_name": self._rename,
            "t_queue": self._queue,
            "t_save": self._save,
            "t_show": self._show,
            "t_withdraw": self._withdraw,
            "t_clear": self._clear,
        }

    # ---- drawing
    def draw_page(self) -> str:
        """Return the page's markup."""
        offer = offer_of(self.session.path)
        self._sources = self._look(offer)
        is_known = self._is_known(offer)
        return render(
            "branch",
            file=self.session.path.name,
            offered=offer is not None,
            imported=self.session.results.snapshot.is_imported,
            known=is_known,
            problem=self._problem,
            refusal=self._refusal,
            requests=self._draw_requests(),
            can_clear=bool(self._token) and any(each.status.state.is_final for each in self._requests()),
            draft=self._draft() if is_known else None,
            selected=self._selected(),
        )

    def _selected(self) -> list[tuple[str, str]]:
        """The first of the selected models, with their names: a branch may begin at each."""
        keys = self.session.known_models(self.state.selected)[:_MOST_OFFERED]
        return [(key, self.session.results.text.name(key)) for key in keys]

    def update(self, changed: Set[str]) -> None:
        super().update(changed)
        if changed & self.shows:
            self._problem = self._refusal = ""

    def look_again(self) -> None:
        """Say what has changed in the queue, and whether a plan has arrived."""
        if self.state.page == "branch" and self._sources != self._look(offer_of(self.session.path)):
            self._redraw()

    def _redraw(self) -> None:
        if self.state.page == "branch":
            with self.session.guarded("What has arrived could not be drawn."):
                self.session.send("panes", {"page": self.draw_page()})
            self.session.outbox.send()

    def _look(self, offer: Offer | None) -> Any:
        plan = self._plan() if self._is_known(offer) else None
        requests = [(each.name, each.status) for each in self._requests()]
        return offer, requests, plan is not None and plan.finished

    def _is_known(self, offer: Offer | None) -> bool:
        """Whether the visitor has given the worker's token."""
        return offer is not None and bool(self._token)

    def _requests(self) -> Sequence[BranchRequest]:
        return BranchQueue(self.session.path).requests(_MOST_SHOWN)

    def _draw_requests(self) -> list[dict[str, Any]]:
        rows, text = self.session.results.row, self.session.results.text
        return [
            {
                "name": each.name,
                "when": each.when.replace("T", " ").removesuffix("+00:00"),
                "who": each.who,
                "steps": step_names(each.change),
                "origin": text.name(each.origin) if each.origin in rows else each.origin_name,
                "state": each.status.state.value,
                "tone": _TONES.get(each.status.state, ""),
                "reason": each.status.reason,
                "progress": f"{each.status.done} of {each.status.total} jobs" if each.status.total else "",
                "models": sum(key in rows for key in each.status.models),
                "can_withdraw": each.status.state is RequestState.QUEUED and self._is_own(each),
            }
            for each in reversed(self._requests())
        ]

    def _is_own(self, request: BranchRequest) -> bool:
        """Whether a visitor who has the token asked for it: on this visit, or as whom the server knows."""
        is_known = request.user and request.user != ANONYMOUS and request.user == self.session.user
        return bool(self._token) and (request.name in self._asked_for or bool(is_known))

    # ---- the draft
    def _draft(self) -> dict[str, Any] | None:
        """What the page shows of the change at hand; None: there is none."""
        results, state = self.session.results, self.state.branch
        if state.origin not in results.row:
            return None
        schemas, problem, change = operation_schemas_of(), "", dict[str, Any]()
        try:
            change = parse_change(state.change)
        except DraftError as error:
            problem = str(error)
        name, step = next(iter(change.items()), ("", {}))
        step = step if isinstance(step, dict) else {}
        params = step.get("with") if isinstance(step.get("with"), dict) else {}
        op = step.get("op") if step.get("op") in schemas else ""
        form = schemas.get(results.forest[state.origin].op, {}).get("produces")
        controls = controls_of(schemas[op], params or {}) if op else []
        return {
            "origin": state.origin,
            "origin_name": results.text.name(state.origin),
            "text": state.change,
            "text_problem": problem,
            "name": name,
            "op": op,
            "ops": by_kind({each: schema for each, schema in schemas.items() if can_follow(schema, form)}),
            "summary": schemas[op]["summary"] if op else "",
            "controls": controls,
            "far": sum(not each.is_near for each in controls),
            "more": len(change) > 1 or bool(step.get("then")),
            "plan": self._shown_plan(),
            "who": self._who,
        }

    def _plan(self) -> BranchPlan | None:
        """The plan of the change at hand, begun if it is not there; None if the text is no change yet."""
        state, results = self.state.branch, self.session.results
        try:
            if state.origin not in results.row or not parse_change(state.change):
                return None
        except DraftError:
            return None
        notify = NextTick(curdoc(), self.look_again)
        return plan_of(self.session.path, len(results.keys), state.origin, state.change, notify)

    def _shown_plan(self) -> dict[str, Any] | None:
        plan = self._plan()
        if plan is None:
            return None
        if not plan.finished or plan.problems:
            return {"finished": plan.finished, "problems": plan.problems}
        content = plan.content
        path, steps = str(content["origin"]["path"]), content["steps"]
        return {
            "finished": True,
            "problems": [],
            "above": sum(not is_below(step, path) for step in steps),
            "lost": [step["path"] for step in steps if not is_below(step, path) and not step["is_there"]],
            "steps": [{**step, "short": step["path"][len(path) + 1 :]} for step in steps if is_below(step, path)],
            "new": sum(not step["is_there"] for step in steps),
            "jobs": content["jobs_to_run"],
            "length": length_text(content["expected_seconds"], content["jobs_of_unknown_length"]),
            "notes": content["notes"],
            "lines": marked_lines(content["origin"]["recipe"], content["recipe"]),
        }

    # ---- what a person does
    def _change(self, text: str, **more: Any) -> None:
        self._problem = ""
        self.state.change({"t_change": text[: MOST_TEXT + 1], **more})  # too long by one: the page says so

    def _open(self, draft: Draft) -> None:
        """Begin with a draft, on the page of branches."""
        forest = self.session.results.forest
        below = [forest[key] for key in forest.children(draft.origin)]
        names = {node.name.rpartition("/")[2].partition("[")[0] for node in below}
        text = write_change(change_of(draft, names)) if draft.op else ""
        self._change(text, t_origin=draft.origin, page="branch")

    def _try(self, message: Mapping[str, Any]) -> None:
        """`Try` below a model's card, beside one of its lints, or beside a finding in one of its layers."""
        key = str(message.get("key"))
        if not self.session.known_models([key]) or offer_of(self.session.path) is None:
            return
        forest, schemas = self.session.results.forest, operation_schemas_of()
        node, parent = forest[key], forest.parent(key)
        draft: Draft | None = None
        if message.get("site"):
            draft = from_finding(str(message.get("finding")), str(message["site"])[:_LONGEST], node, parent, schemas)
        elif message.get("advice"):
            draft = from_lint(str(message["advice"])[:_LONGEST_ADVICE], node, parent, schemas)
        elif message.get("how") == "instead" and parent is not None:
            draft = in_place(parent, node.op, node.params, schemas, {})
        self._open(draft or Draft(key, "", {}))

    def _choose_op(self, message: Mapping[str, Any]) -> None:
        """Another operation: its parameters are other ones, so that those of the one before go."""
        op = str(message.get("value", ""))
        if op in operation_schemas_of() and self.state.branch.origin in self.session.results.row:
            self._open(Draft(self.state.branch.origin, op, {}))

    def _set_param(self, message: Mapping[str, Any]) -> None:
        name, text = str(message.get("name")), str(message.get("value", "")).strip()[:_LONGEST]
        change, first = self._parts()
        schema = operation_schemas_of().get(str(first.get("op")))
        if schema is None or name not in schema["parameters"]["properties"]:
            return
        params = dict(first.get("with") or {})
        params.pop(name, None)
        if text:
            params[name] = typed_value(schema, name, text)
        first.pop("with", None)
        if params:
            first["with"] = params
        self._change(write_change(change))

    def _rename(self, message: Mapping[str, Any]) -> None:
        change, first = self._parts()
        name = str(message.get("value", "")).strip()[:_LONGEST]
        if name and first:
            others = list(change.items())[1:]
            self._change(write_change({name: first, **dict(others)}))

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The change at hand, and its first step, of which the controls are."""
        try:
            change = parse_change(self.state.branch.change)
        except DraftError:
            return {}, {}
        name = next(iter(change), "")
        first = change.get(name)
        if not isinstance(first, dict):
            return change, {}
        order = [word for word in ("op", "with", "then") if word in first]
        change[name] = first = {word: first[word] for word in (*order, *(w for w in first if w not in order))}
        return change, first

    def _take_token(self, message: Mapping[str, Any]) -> None:
        offer, token = offer_of(self.session.path), str(message.get("token", ""))[:_LONGEST]
        self._problem = ""
        if self._tries >= _MOST_TRIES:
            self._problem = "Too many wrong tokens. Load the page again to try another."
        elif offer is not None and offer.key(token) is not None:
            self._token, self._tries = token, 0
        else:
            self._tries += 1
            self._problem = (
                "That is not the worker's token. It printed it when it was started, or takes it from BOUILLON_TOKEN."
            )
        self._redraw()

    def _queue(self, message: Mapping[str, Any]) -> None:
        offer = offer_of(self.session.path)
        self._who = str(message.get("who", ""))[:_LONGEST]
        plan = self._plan() if self._is_known(offer) else None
        if offer is None or plan is None or not plan.finished or plan.problems:
            return
        try:
            request = BranchQueue(self.session.path).add(
                offer,
                self._token,
                origin=plan.origin,
                origin_name=self.session.results.text.name(plan.origin),
                change=plan.change,
                recipe=str(plan.content["recipe"]),
                who=self._who,
                user=self.session.user,
            )
            self._asked_for.add(request.name)
            self._problem = ""
            self.session.send("flash", "Queued")
        except QueueError as error:
            self._problem = f"Not queued: {error}."
        self._redraw()

    def _withdraw(self, message: Mapping[str, Any]) -> None:
        """Take a request of one's own away, as long as it waits."""
        name = str(message.get("name", ""))
        queue = BranchQueue(self.session.path)
        request = next((each for each in queue.requests() if each.name == name), None)  # more than the page lists
        try:
            if not self._token or (request is not None and not self._is_own(request)):
                raise QueueError("a request is withdrawn by who asked for it, or on the command line")
            queue.withdraw(name)
            self._refusal = ""
            self.session.send("flash", "Withdrawn")
        except QueueError as error:
            self._refusal = f"Not withdrawn: {error}."
        self._redraw()

    def _clear(self, message: Mapping[str, Any]) -> None:
        """Take the finished requests away; the models that they made stay."""
        if not self._token:
            return
        try:
            count = BranchQueue(self.session.path).clear()
            self._refusal = ""
            self.session.send("flash", f"{count} cleared away")
        except QueueError as error:
            self._refusal = f"Not cleared away: {error}."
        self._redraw()

    def _save(self, message: Mapping[str, Any]) -> None:
        """Download a recipe: of a request, or of the plan at hand."""
        name = str(message.get("name", ""))
        plan = self._plan() if not name and self._token else None
        text = next((each.text for each in self._requests() if each.name == name), "")
        if plan is not None and plan.finished and not plan.problems:
            name, text = "branch", str(plan.content["recipe"])
        if text:
            self.session.send("save", {"name": f"{name}.yaml", "type": "application/yaml", "text": text})

    def _show(self, message: Mapping[str, Any]) -> None:
        """Select the models that a request has made."""
        name = str(message.get("name"))
        keys = [key for each in self._requests() if each.name == name for key in each.status.models]
        models = self.session.known_models(keys)
        if models:
            self.state.change({"page": "overview", "pane": "selection"})
            self.state.pick(models)
            self.session.reveal(models[0])
