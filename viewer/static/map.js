// The map in the browser: where it is looked at from, its column headers, the labels that fit, and its keyboard.
import {measured, widest, forget} from "./pen.js";
import {nodeLabels} from "./placement.js";
import {ROW, COLUMN, STEEP, slanted, headerHeight, fitting, zoomed, held, beyond, partInSight} from "./camera.js";
import {ARROWS, neighbour} from "./neighbour.js";

const {send, listen, model, view, byId} = bouillon;
const NOTE = 10, MARGIN = 30;                   // pixels
let content = null, cursor = -1, touched = false, under = 0;   // `under`: the height of the headers

const nodes = () => model("nodes").data;
const set = (range, [start, end]) => range.setv({start, end}, {sync: false});
const endsOf = ({start, end}) => [start, end];

function frame() {
  const {x_scale: x, y_scale: y, bbox: {left, top, width, height}} = view("map").frame;
  return {x, y, left, top, width, height};
}

function widthsOf(headers) {
  const words = (some) => some.flatMap(({text}) => text.split(" "));
  return {
    word: widest(words(headers), 600), last: widest(words(headers.slice(-1)), 600),
    longest: Math.min(STEEP.longest, widest(headers.map(({text}) => text), 500) + 10),
  };
}

function look(everything) {
  if (!content) return;
  const {x_range, y_range} = model("map"), [across, down] = fitting(content, frame(), everything);
  set(x_range, across);
  set(y_range, down);
}

function zoom(factor, px, py) {
  if (!content) return;
  const {x, y, left, top, width, height} = frame(), {x_range, y_range} = model("map"), [across, down] = fitting(content, frame(), true);
  const [cx, cy] = [x.invert(px ?? left + width / 2), y.invert(py ?? top + height / 2)];
  set(x_range, zoomed(endsOf(x_range), factor, across, width / COLUMN.closest, cx));
  set(y_range, zoomed(endsOf(y_range), factor, down, height / ROW.closest, cy));
  touched = true;
}

function hold() {
  const {x_range, y_range} = model("map"), {width, height} = frame();
  if (!content || width < 1 || height < 1) return;   // another page is open
  for (const [range, ends] of [
    [x_range, held(endsOf(x_range), content.columns, width, 0)],
    [y_range, held(endsOf(y_range), content.rows, height, under)],
  ]) if (ends[0] !== range.start) set(range, ends);
}

function pan(dx, dy) {
  const {x, y} = frame(), {x_range, y_range} = model("map");
  const moveX = x.invert(dx) - x.invert(0), moveY = y.invert(dy) - y.invert(0);
  set(x_range, [x_range.start + moveX, x_range.end + moveX]);
  set(y_range, [y_range.start + moveY, y_range.end + moveY]);
  touched = true;
}

function bring(index) {                         // pan just enough that a node is seen
  const {x, y, left, top, width, height} = frame(), {x: xs, y: ys} = nodes();
  const dx = beyond(x.compute(xs[index]), left + MARGIN, left + width - MARGIN);
  const dy = beyond(y.compute(ys[index]), top + under + MARGIN, top + height - MARGIN);
  if (dx || dy) pan(dx, dy);
}

// ---- headers: real buttons over the canvas
function headers() {
  const box = byId("map-headers");
  if (!content?.headers.length) { box.replaceChildren(); box.style.height = "0"; under = 0; return; }
  const {x, left, width} = frame(), step = x.compute(1) - x.compute(0), steep = slanted(step, content.names);
  under = headerHeight(step, content.names);
  box.style.height = under + "px";
  box.style.setProperty("--foot", under - 24 + "px");
  box.classList.toggle("steep", steep);
  box.classList.toggle("steepest", step < 20);
  while (box.children.length > content.headers.length) box.lastChild.remove();
  content.headers.forEach((header, at) => {
    const button = box.children[at] ?? box.appendChild(document.createElement("button"));
    const px = x.compute(at), rest = left + width - px;
    Object.assign(button.dataset, {do: "column", column: at});
    button.textContent = header.text;
    button.title = header.title;
    button.setAttribute("aria-label", `Select the models of column ${at + 1}: ${header.title}`);
    button.style.left = px + "px";
    const inside = steep && step >= 20 ? Math.min(content.names.longest, rest / STEEP.cos - 6) : 0;   // none is cut off at the edge
    button.hidden = px < left + (steep ? 4 : -5) || rest < -5 || (steep && step >= 20 && inside < 30);
    button.style.maxWidth = steep ? (inside ? inside + "px" : "") : Math.max(40, Math.min(step - 4, 2 * rest - 6)) + "px";
  });
}

function labels() {
  const source = model("labels"), seen = frame(), {left, top, height} = seen, note = byId("map-more"), bottom = top + height;
  const over = note?.textContent ? [left, bottom - note.offsetHeight - NOTE, left + NOTE + note.offsetWidth, bottom] : null;
  Object.assign(source.data, nodeLabels(nodes(), seen, {under, over, measured}));
  source.change.emit();
}

function outOfSight() {                              // says when part of the map is out of sight
  const note = byId("map-more"); if (!note || !content) return;
  const {x, y, left, top, width, height} = frame();
  note.textContent = [
    ...partInSight("Row", y.invert(top + under), y.invert(top + height), content.rows),
    ...partInSight("column", x.invert(left), x.invert(left + width), content.columns),
  ].join(", ").replace(/^c/, "C");
}

let waiting = false, live = false;              // before the start nothing is drawn: it is settled at once then
function settle() {                             // once per frame, however many ranges changed
  if (waiting || !live) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; settleNow(); });
}
function settleNow() { headers(); outOfSight(); labels(); }

// ---- colours of text follow the page's theme
function paint() {
  const style = getComputedStyle(document.documentElement), ink = (name) => style.getPropertyValue(name).trim();
  for (const name of ["map-labels", "front-labels"])
    model(name)?.glyph?.setv({text_color: ink("--ink"), background_fill_color: ink("--card")}, {sync: false});
  for (const name of ["map", "scatter"]) view(name)?.request_paint();
}

// ---- wheel pans, with Ctrl it zooms, as people know it from maps of their editor
function wheel(event) {
  event.preventDefault();
  event.stopPropagation();
  const box = byId("map").getBoundingClientRect();
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
  else pan(event.shiftKey ? event.deltaY : event.deltaX, event.shiftKey ? 0 : event.deltaY);
}

// ---- keyboard
function key(event) {
  if (event.target !== byId("map")) return;
  const {key: keys, x: xs, y: ys} = nodes();
  if (ARROWS[event.key]) {
    cursor = neighbour(xs, ys, cursor < 0 ? model("nodes").selected.indices.at(-1) ?? -1 : cursor, ARROWS[event.key]);
    if (cursor >= 0) { bring(cursor); point(cursor); send("hover", {key: keys[cursor], aloud: true}); }
  } else if ((event.key === "Enter" || event.key === " ") && cursor >= 0) {
    send("node", {key: keys[cursor], add: event.shiftKey});
  } else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "Escape") send("clear");
  else if (event.key === "0") look(false);
  else return;
  event.preventDefault();
}

function point(index) {
  const source = model("pointer"), {x, y, r} = nodes();
  const there = index >= 0 && index < x.length;
  Object.assign(source.data, there ? {x: [x[index]], y: [y[index]], r: [r[index] * 1.35]} : {x: [], y: [], r: []});
  source.change.emit();
}

listen("map", (next) => {
  forget();
  content = {...next, names: widthsOf(next.headers)};
  cursor = -1;
  if (!touched || next.fresh) { look(false); touched = false; } else hold();
  settle();
});
listen("bring", (key_) => { const at = nodes().key.indexOf(key_); if (at >= 0) { bring(at); cursor = at; point(at); } });
listen("do fit", ({dataset: {plot}}) => { if (plot !== "scatter") { look(true); touched = false; } });
listen("do closer", () => zoom(1.3));
listen("do farther", () => zoom(1 / 1.3));
listen("do tool", (button) => {
  const {plot, tool} = button.dataset, toolbar = model(plot).toolbar;
  const active = toolbar.tools.find((t) => t.name === tool);
  toolbar.setv({active_drag: active}, {sync: false});
  toolbar.tools.forEach((t) => { if (["pan", "box", "lasso"].includes(t.name)) t.active = t === active; });
  document.querySelectorAll(`[data-here=tool][data-plot=${plot}]`).forEach((b) => b.setAttribute("aria-pressed", b === button));
});
const ground = () => send("ground", {dark: document.documentElement.dataset.theme === "dark"});
listen("theme", () => { paint(); ground(); });
listen("start", () => {
  const map = model("map"), box = byId("map");
  for (const range of [map.x_range, map.y_range]) range.change.connect(() => { hold(); settle(); });
  for (const size of [map.properties.inner_width, map.properties.inner_height])
    size.change.connect(() => { if (touched) hold(); else look(false); settle(); });
  // Bokeh takes any two clicks within 300 ms for a double click, wherever they are, and starts no tool for those
  for (const {toolbar} of [model("map"), model("scatter")])
    toolbar.gestures.doubletap.active = toolbar.tools.find((tool) => tool.gesture === "doubletap");
  // what takes the keys is the element around a plot, also after a click
  for (const name of ["map", "scatter"]) view(name).canvas.events_el.removeAttribute("tabindex");
  box.addEventListener("wheel", wheel, {passive: false, capture: true});
  box.addEventListener("keydown", key);
  box.addEventListener("pointerdown", () => { touched = true; });
  box.addEventListener("dblclick", () => { const at = model("nodes").inspected.indices[0]; if (at !== undefined) send("fold", {key: nodes().key[at]}); });
  box.addEventListener("blur", () => point(-1));
  paint();
  ground();
  live = true;
  settleNow();
});

// Where the map is looked at from: [start, end] of both ranges; `null` shows it as at the start
function show(ends) {
  if (!ends) { touched = false; look(false); return; }
  set(model("map").x_range, ends.slice(0, 2));
  set(model("map").y_range, ends.slice(2));
  touched = true;
}
const whole = () => content && frame().width > 1 ? fitting(content, frame(), false).flat() : null;
Object.assign(bouillon, {look, zoom, pan, frame, views: {map: {show, whole}}, headersOf: () => content?.headers ?? []});
