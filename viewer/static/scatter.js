// The scatterplot in the browser: where it is looked at from, the names on its Pareto front, and its keyboard.
import {measured} from "./pen.js";
import {frontLabels} from "./placement.js";
import {ARROWS, neighbour} from "./neighbour.js";

const {send, listen, model, view, byId} = bouillon;
let front = [], whole = [], cursor = null;      // `whole`: the ranges that show all points; `cursor`: the key of a model
let naming = false, live = false;               // before the start nothing is drawn: it is settled at once then

const ranges = () => [model("scatter").x_range, model("scatter").y_range];
const set = (range, [start, end]) => range.setv({start, end}, {sync: false});

function frame() {
  const {x_scale: x, y_scale: y, bbox: {left, top, width, height}} = view("scatter").frame;
  return {x, y, left, top, width, height};
}

function names() {
  const {labels, lines} = frontLabels(front, model("models").data, frame(), measured);
  for (const [name, data] of [["front_labels", labels], ["front_lines", lines]]) {
    Object.assign(model(name).data, data);
    model(name).change.emit();
  }
}
function name() {                               // once per frame, however many ranges changed
  if (naming || !live) return;
  naming = true;
  requestAnimationFrame(() => { naming = false; names(); });
}

// ---- keyboard: the arrows go from point to point as they are seen, whatever the axes
function key(event) {
  if (event.target !== byId("scatter")) return;
  const {key: keys, x: xs, y: ys} = model("models").data;
  if (ARROWS[event.key]) {
    const {x, y, left, top, width, height} = frame(), px = Array.from(xs, (at) => x.compute(at)), py = Array.from(ys, (at) => y.compute(at));
    const inside = (i) => px[i] >= left && px[i] <= left + width && py[i] >= top && py[i] <= top + height;
    px.forEach((_, i) => { if (!inside(i)) px[i] = NaN; });
    const from = cursor === null ? model("models").selected.indices.at(-1) ?? -1 : keys.indexOf(cursor);
    const at = neighbour(px, py, from, ARROWS[event.key]);
    cursor = keys[at] ?? null;
    bouillon.light(cursor);
    if (cursor !== null) send("hover", {key: cursor, aloud: true});
  } else if ((event.key === "Enter" || event.key === " ") && cursor !== null) send("node", {key: cursor, add: event.shiftKey});
  else if (event.key === "Escape") send("clear");
  else if (event.key === "0") show(null);
  else return;
  event.preventDefault();
}

// Where it is looked at from: [start, end] of both ranges; `null` shows it as at the start
function show(ends) {
  const target = ends ?? whole.flat();
  if (target.length === 4) ranges().forEach((range, at) => set(range, target.slice(2 * at, 2 * at + 2)));
}

listen("front", (next) => {
  front = next.named;
  whole = next.whole;
  name();
});
listen("do fit", ({dataset: {plot}}) => { if (plot === "scatter") show(null); });
listen("start", () => {
  const scatter = model("scatter"), box = byId("scatter");
  for (const each of [...ranges(), scatter.properties.inner_width, scatter.properties.inner_height]) each.change.connect(name);
  box.addEventListener("keydown", key);
  box.addEventListener("blur", () => bouillon.light(null));
  live = true;
  names();
});
bouillon.views.scatter = {show, whole: () => whole.length ? whole.flat() : null};
