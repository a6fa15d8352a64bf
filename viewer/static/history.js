// The browser's history: every change is an entry, so that Back undoes it. Where the plots are looked at from is known to
// the page alone; it stands behind the # of the address.
import {hashOf, viewIn} from "./address.js";

const {listen, model, byId, send, views} = bouillon;
const PAUSE = 400, TYPING = 1500;   // milliseconds
let byHand = 0, timer = null, typed = {field: null, at: 0};

const rangesOf = (name) => [model(name).x_range, model(name).y_range];
const endsOf = (name) => rangesOf(name).flatMap(({start, end}) => [start, end]);
const written = () => hashOf(Object.fromEntries(Object.entries(views).map(([name, {whole}]) => [name, [endsOf(name), whole()]])));
const here = () => location.pathname + location.search;

function note() {
  const hash = written();
  if (hash !== location.hash) history.pushState(null, "", here() + hash);
}
function moved() {                              // ranges move with the results and the window too: that is no step of a person's
  if (performance.now() - byHand > 2 * PAUSE) return;
  byHand = performance.now();
  clearTimeout(timer);
  timer = setTimeout(note, PAUSE);
}

function look() {
  for (const [name, {show}] of Object.entries(views)) show(viewIn(location.hash, name));
}

listen("link", ({query, push}) => {
  const search = query ? "?" + query : "", url = location.pathname + search + location.hash;
  if (location.search === search) return;
  const field = document.activeElement?.matches("input:not([type=checkbox])") ? document.activeElement.id : null;
  const goesOn = field && field === typed.field && performance.now() - typed.at < TYPING;   // of a word that is typed, one step
  typed = {field, at: performance.now()};
  history[push && !goesOn ? "pushState" : "replaceState"](null, "", url);
});
addEventListener("popstate", () => { look(); send("link", {query: location.search.slice(1)}); });
listen("start", () => {
  for (const name of Object.keys(views)) {
    for (const range of rangesOf(name)) range.change.connect(moved);
    for (const kind of ["pointerdown", "pointermove", "wheel", "keydown"])
      byId(name).closest(".card").addEventListener(kind, (event) => { if (kind !== "pointermove" || event.buttons) byHand = performance.now(); }, {passive: true, capture: true});
  }
  if (location.hash) look();
});
