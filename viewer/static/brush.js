// Budgets: dragging over a histogram narrows what passes, in every view, without a journey to the server;
// when the pointer is released the server is told and its answer is what counts.
import {within, written, valuesOf, grip, dragged, stepped} from "./bounds.js";

const {send, listen, model, byId} = bouillon;
const FAINT = 0.12, FRAME = 17, RESTING = 12, PAUSE = 400;   // the last three: milliseconds
const values = {};
let ranges = [], visible = null, scope = null, drag = null, dimmed = false;

function inBudget() {
  const size = model("models").data.key.length, mask = scope ? Uint8Array.from(scope) : new Uint8Array(size).fill(1);
  for (const [metric, low, high] of ranges) {
    const column = values[metric];
    if (!column) continue;
    for (let i = 0; i < size; i++) if (mask[i] && !within(column[i], low, high)) mask[i] = 0;
  }
  return mask;
}
function passing() {
  const mask = inBudget();
  if (visible) for (let i = 0; i < mask.length; i++) mask[i] &= visible[i];
  return mask;
}

// Most moves let the same models pass: nothing to draw, unless the server has sent other data meanwhile
function whenNew(columns, dim) {
  let before = null;
  return (mask) => {
    if (before && mask.every((pass, i) => pass === before.mask[i]) && columns().every((column, i) => column === before.columns[i])) return;
    dim(mask);
    before = {mask, columns: columns()};
  };
}

const dimPoints = whenNew(() => [model("models").data.alpha], (mask) => {
  const models = model("models");
  models.data.alpha = Float32Array.from(mask, (pass) => pass ? 0.9 : FAINT);
  models.change.emit();
});

const dimMap = whenNew(() => [model("nodes").data.alpha, model("ribbons").data.child], (mask) => {
  const nodes = model("nodes"), ribbons = model("ribbons"), {model: index, members} = nodes.data, {parent, child} = ribbons.data;
  const above = new Map();                     // a step without a model is as faint as what it starts from
  child.forEach((node, i) => above.set(node, parent[i]));
  const passes = [];
  for (let i = 0; i < index.length; i++)       // parents come before their children
    passes.push(index[i] >= 0 ? mask[index[i]] : members[i].length ? members[i].some((m) => mask[m]) : passes[above.get(i)] ?? 1);
  nodes.data.alpha = Float32Array.from(passes, (pass) => pass ? 1 : FAINT);
  nodes.change.emit();
  // Ribbons that pass are the "selected" ones: that repaints, where new alphas would rebuild thousands of patches
  const kept = [];
  let all = true;
  for (let i = 0; i < child.length; i++) if (passes[child[i]] && passes[parent[i]]) kept.push(i); else all = false;
  ribbons.selected.setv({indices: all ? [] : kept.length ? kept : [-1]}, {sync: false});
});

// What is said of the budget; which model is best of those that pass, the server says on release
function count(mask) {
  const sum = (some) => some.reduce((total, each) => total + each, 0), kept = sum(mask), total = scope ? sum(scope) : mask.length;
  const verdict = byId("verdict"), words = document.createElement("b");
  words.textContent = kept ? `${kept} of ${total} models pass.` : "No model passes.";
  verdict.replaceChildren(words);
  verdict.classList.toggle("none", !kept);
  byId("tab-passing").textContent = `${kept} of ${total} pass`;
}

// A frame of both plots takes longer than the pointer's next move on most machines: as much time is left for the
// pointer as the last frame took, so that the range never lags behind the hand. The map is the larger part of it:
// while the hand moves it is drawn with every second frame of the scatterplot, and when the hand rests at once.
let drawing = false, behind = false, mapBehind = false, moved = 0;
function follow() {
  moved = performance.now();
  draw();
}
function draw() {
  if (drawing) { behind = true; return; }
  drawing = true;
  behind = false;
  requestAnimationFrame(() => {
    const start = performance.now();
    if (drag) {
      const mask = passing();
      count(inBudget());
      dimPoints(mask);
      mapBehind = !mapBehind && start - moved < RESTING;
      if (!mapBehind) dimMap(mask);
    } else mapBehind = false;
    requestAnimationFrame(() => setTimeout(() => setTimeout(() => {
      drawing = false;
      if (behind || mapBehind) draw();
    }, mapBehind && !behind ? 0 : Math.max(0, performance.now() - start - FRAME))));
  });
}

const partAt = (svg, event) => {
  const box = svg.getBoundingClientRect();
  return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
};

// ---- a range that is being changed, by the pointer or by keys, and not yet told
function begin(svg) {
  const [edges, units] = [svg.dataset.edges, svg.dataset.units].map((text) => JSON.parse(text)), rect = svg.querySelector(".brush");
  const x = parseFloat(rect.getAttribute("x")) / 100, width = parseFloat(rect.getAttribute("width")) / 100, verdict = byId("verdict");
  verdict.style.minHeight = verdict.offsetHeight + "px";        // what stands below stays under the pointer
  return {svg, edges, units, rect, parts: [x, x + width], index: Number(svg.closest("[data-filter]").dataset.filter)};
}

function apply(parts) {
  const {svg, rect, edges, units, index} = drag, bounds = valuesOf(edges, parts), [low, high] = bounds, box = svg.closest("[data-filter]");
  Object.assign(drag, {parts, low, high});
  rect.setAttribute("x", parts[0] * 100 + "%");
  rect.setAttribute("width", (parts[1] - parts[0]) * 100 + "%");
  ["low", "high"].forEach((end, at) => {
    const text = written(bounds[at], units), field = box.querySelector(`input[data-end=${end}]`), handle = svg.querySelector(`[data-handle=${end}]`);
    if (field) field.value = text;
    handle.setAttribute("x", parts[at] * 100 + "%");
    handle.setAttribute("aria-valuenow", Math.round(parts[at] * 100));
    handle.setAttribute("aria-valuetext", text || "any");
  });
  ranges = ranges.map((range, i) => i === index ? [range[0], low, high] : range);
  follow();
}

function finish() {
  const {index, low, high, moved} = drag;
  drag = null;
  send("range", moved ? {index, low, high} : {index, low: null, high: null});   // a click clears
}

function move(event) {
  if (!drag?.hold) return;
  const part = partAt(drag.svg, event);
  drag.moved ||= Math.abs(part - drag.first) > 0.01;
  apply(dragged(drag.hold, part));
}

document.addEventListener("pointerdown", (event) => {
  const svg = event.target.closest?.("svg[data-edges]");
  if (!svg || event.button) return;
  event.preventDefault();
  if (drag) settled();
  const first = partAt(svg, event);
  drag = begin(svg);
  Object.assign(drag, {first, hold: grip(first, drag.parts)});
  svg.setPointerCapture(event.pointerId);
});
document.addEventListener("pointermove", move);
document.addEventListener("pointerup", (event) => {
  if (!drag?.hold) return;
  move(event);
  finish();
});

// ---- by keys: an end is a slider; the server is told when it rests, so that no answer overtakes the hand
let resting = null;
function settled() {
  clearTimeout(resting);
  if (drag && !drag.hold) finish();
}
document.addEventListener("keydown", (event) => {
  const handle = event.target.closest?.("[data-handle]"), svg = handle?.closest("svg[data-edges]");
  if (!svg || drag?.hold) return;
  if (drag && drag.svg !== svg) settled();
  const current = drag ?? begin(svg), parts = stepped(current.parts, handle.dataset.handle, event.key, current.edges.length - 1);
  if (!parts) return;
  event.preventDefault();
  drag = Object.assign(current, {moved: true});
  apply(parts);
  clearTimeout(resting);
  resting = setTimeout(settled, PAUSE);
});
document.addEventListener("focusout", (event) => { if (event.target.closest?.("[data-handle]")) settled(); });

listen("values", (more) => Object.assign(values, more));
listen("filters", (next) => {
  if (drag) return;
  ({ranges, visible, scope} = next);
  const dims = ranges.length > 0 || visible !== null || scope !== null;
  if (dims || dimmed) { dimPoints(passing()); dimMap(passing()); }   // else everything is drawn in full, as it came
  dimmed = dims;
});
bouillon.passing = passing;
