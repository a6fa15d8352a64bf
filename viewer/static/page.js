// The page's side of the viewer: what a person does goes to the server as a message; what the server answers is put in
// its place. Markup comes from the server, escaped there; nothing here builds markup from data.
const on = {};                     // kind of update -> functions that take it
let bridge = null, count = 0, answered = 0, state = {};
const byId = (id) => document.getElementById(id);
const model = (name) => Bokeh.documents[0].get_model_by_name(name);
const view = (name) => { const found = model(name); return found && Bokeh.index.find_one(found); };

function send(kind, content = {}) {
  if (bouillon.isLost) flash("Not connected: nothing can be changed now");
  else if (bridge) bridge.setv({message: {number: ++count, kind, ...content}});
}

function listen(kind, take) { (on[kind] ??= []).push(take); }

function focusPath(pane) {
  const at = document.activeElement;
  return at && pane.contains(at) && at.id ? at.id : null;
}

// What somebody is typing while the pane around it is drawn anew, and has not sent
function unsent(field) {
  if (!field?.matches("textarea,input:not([type]),input[type=search],input[type=text],input[type=password]") || field.value === field.defaultValue) return null;
  return {value: field.value, at: [field.selectionStart, field.selectionEnd]};
}

// A large table scrolls by itself: other rows begin at their top
function scrolledTo(pane) {
  const holder = pane.querySelector(".holder[data-rows]");
  return holder && {left: holder.scrollLeft, top: holder.scrollTop, rows: holder.dataset.rows};
}
function scrollBack(pane, before) {
  const holder = before && pane.querySelector(".holder[data-rows]");
  if (holder) holder.scrollTo(before.left, holder.dataset.rows === before.rows ? before.top : 0);
}

// where the pages' names do not all fit, that of the open page is among those in sight
const showPageName = () => byId("pane-pages")?.querySelector("[aria-current]")?.scrollIntoView({block: "nearest", inline: "nearest"});
listen("start", showPageName);
// The number of the last message that the server has answered: other updates, of results that arrive, answer nothing
listen("answers", (number) => { answered = number; });
listen("panes", (panes) => {
  for (const [name, html] of Object.entries(panes)) {
    const pane = byId("pane-" + name);
    if (!pane) continue;
    const focused = focusPath(pane), top = pane.scrollTop, typing = unsent(focused && byId(focused));
    const open = [...pane.querySelectorAll("details[open][id]")].map((d) => d.id), scrolled = scrolledTo(pane);
    pane.innerHTML = html;
    open.forEach((id) => { const again = byId(id); if (again) again.open = true; });
    pane.scrollTop = top;
    scrollBack(pane, scrolled);
    const again = focused && byId(focused);
    again?.focus();
    if (again && typing) { again.value = typing.value; again.setSelectionRange(...typing.at); }
  }
  if (panes.pages) showPageName();
});
listen("state", (next) => {
  state = next;
  byId("overview")?.classList.toggle("away", next.page !== "overview");
  if (document.documentElement.dataset.choice !== next.theme) setTheme(next.theme);
});
listen("row", (key) => requestAnimationFrame(() => byId("row-" + key)?.closest("tr").scrollIntoView({block: "center"})));
listen("say", (text) => { byId("live").textContent = text; });
listen("title", (text) => { document.title = text; });
async function copy(text) {
  try { await navigator.clipboard.writeText(text); flash("Copied"); }
  catch { flash("The browser does not allow copying"); }
}
function flash(text) {
  const note = byId("live");
  note.textContent = text;
  note.classList.add("flash");
  setTimeout(() => note.classList.remove("flash"), 1800);
}
listen("copy", copy);
listen("copy_link", (query) => copy(location.origin + location.pathname + (query ? "?" + query : "") + location.hash));
listen("flash", flash);
listen("save", ({name, type, text}) => save(name, new Blob([text], {type})));

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function receive(update) {
  if (!update) return;
  for (const [kind, content] of Object.entries(update)) for (const take of on[kind] ?? []) take(content);
}

function valueOf(element) {
  if (element.type === "checkbox") return element.checked;
  return element.dataset.value ?? element.value;
}

// `input` and `click` only: they cross shadow roots, `change` does not
document.addEventListener("input", (event) => {
  const {set, typed} = event.target.dataset;
  if (set) send("set", {field: set, value: valueOf(event.target)});
  else if (typed) send(typed, {...event.target.dataset, text: event.target.value});
});
document.addEventListener("change", (event) => {
  const {commit} = event.target.dataset;
  if (commit) event.target.defaultValue = event.target.value;
  if (commit) send(commit, {...event.target.dataset, value: event.target.value});
});
document.addEventListener("submit", (event) => {
  const {submit} = event.target.dataset;
  if (!submit) return;
  event.preventDefault();
  event.target.querySelectorAll("input,textarea").forEach((field) => { field.defaultValue = field.value; });
  send(submit, {...event.target.dataset, ...Object.fromEntries(new FormData(event.target)), submitted: true});
});
document.addEventListener("click", (event) => {
  const target = event.target.closest?.("[data-do],button[data-set],[data-here]");
  document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  if (!target) return;
  if (target.dataset.set) send("set", {field: target.dataset.set, value: valueOf(target)});
  else if (target.dataset.here) (on["do " + target.dataset.here] ?? []).forEach((take) => take(target, event));
  else send(target.dataset.do, {...target.dataset, add: event.shiftKey});
  if (target.closest("details.menu") && !target.dataset.stays) target.closest("details.menu").open = false;
});
document.addEventListener("keydown", (event) => {
  const target = event.target.closest?.("svg [data-do],[role=button]:not(button,summary)");
  if (target && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    target.dispatchEvent(new MouseEvent("click", {bubbles: true, shiftKey: event.shiftKey}));
  }
  if (event.key === "Escape") document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; });
  if (event.target.role === "tab") otherTab(event);
});
// A menu hangs from its button, which may stand anywhere in a row that wraps: what would lie beyond an edge is moved inside
const EDGE = 4;   // pixels
document.addEventListener("toggle", ({target}) => {
  if (!target.matches?.("details.menu[open]")) return;
  const box = target.lastElementChild;
  box.style.translate = "";
  const {left, right} = box.getBoundingClientRect();
  const shift = left < EDGE ? EDGE - left : Math.min(0, document.documentElement.clientWidth - EDGE - right);
  if (shift) box.style.translate = `${shift}px`;
}, true);
// Of a row of tabs the chosen one is reached by Tab, the others by the arrows (ARIA's pattern for tabs)
function otherTab(event) {
  const tabs = [...event.target.closest("[role=tablist]").querySelectorAll("[role=tab]")], at = tabs.indexOf(event.target);
  const to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1}[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const next = tabs.at(to % tabs.length);
  next.focus();
  next.click();
}
window.addEventListener("bouillon-theme", () => (on.theme ?? []).forEach((take) => take()));

// Bokeh has drawn both plots without their data by now: what they show, and from where, is settled before they are
// drawn with it, once.
function start() {
  const document_ = window.Bokeh?.documents[0];
  const ready = document_ && model("map") && view("map") && model("scatter") && view("scatter");
  if (!ready || !document_.is_idle) { requestAnimationFrame(start); return; }
  const plots = [view("map"), view("scatter")];
  plots.forEach((plot) => plot.pause());
  bridge = model("bridge");
  bridge?.properties.update.change.connect(() => receive(bridge.update));
  const first = bridge?.first ?? window.bouillonFirst;
  receive(first);
  (on.start ?? []).forEach((take) => take());
  for (const plot of plots) {
    plot.model.renderers.forEach((renderer) => renderer.setv({visible: true}, {sync: false}));
    plot.unpause(true);
    plot.paint();
  }
  window.bouillonReady = performance.now();
}
window.bouillon = {
  send, listen, model, view, byId, save, state: () => state, live: () => bridge !== null,
  sent: () => count, answered: () => answered,
};
if (window.Bokeh) requestAnimationFrame(start);
