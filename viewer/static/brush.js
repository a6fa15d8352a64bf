// Budgets: dragging over a histogram narrows what passes, in every view, without a journey to the server;
// when the pointer is released the server is told and its answer is what counts.
import {within, written, valuesOf} from "./bounds.js";
import {RangeControl} from "./range_control.js";
import {FAINT, dimming} from "./dimming.js";

const {send, listen, model, byId} = bouillon;
const FRAME = 17, RESTING = 12;                 // milliseconds
const values = {};
let ranges = [], visible = null, scope = null, dimmed = false;

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
  const nodes = model("nodes"), ribbons = model("ribbons"), {alpha, full} = dimming(nodes.data, ribbons.data, mask);
  nodes.data.alpha = alpha;
  nodes.change.emit();
  // Ribbons that are seen are the "selected" ones: that repaints, where new alphas would rebuild thousands of patches
  ribbons.selected.setv({indices: full === null ? [] : full.length ? full : [-1]}, {sync: false});
});

// What is said of the budget; which model is best of those that pass, the server says on release
function count(mask) {
  const sum = (some) => some.reduce((total, each) => total + each, 0), count = sum(mask), total = scope ? sum(scope) : mask.length;
  const verdict = byId("verdict"), words = document.createElement("b");
  words.textContent = count ? `${count} of ${total} models pass.` : "No model passes.";
  verdict.replaceChildren(words);
  verdict.classList.toggle("none", !count);
  byId("tab-passing").textContent = `${count} of ${total} pass`;
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
    if (control.held) {
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

const edgesOf = (svg) => JSON.parse(svg.dataset.edges);
const indexOf = (svg) => Number(svg.closest("[data-filter]").dataset.filter);

const control = new RangeControl("svg[data-edges]", {
  binsOf: (svg) => edgesOf(svg).length - 1,
  begin() {
    const verdict = byId("verdict");
    verdict.style.minHeight = verdict.offsetHeight + "px";      // what stands below stays under the pointer
  },
  change(svg, parts) {
    const bounds = valuesOf(edgesOf(svg), parts), units = JSON.parse(svg.dataset.units), box = svg.closest("[data-filter]");
    ["low", "high"].forEach((end, at) => {
      const text = written(bounds[at], units);
      box.querySelector(`input[data-end=${end}]`).value = text;
      box.querySelector(`[data-handle=${end}]`).setAttribute("aria-valuetext", text || "any");
    });
    ranges = ranges.map((range, i) => i === indexOf(svg) ? [range[0], ...bounds] : range);
    follow();
  },
  done(svg, parts) {                            // a click clears
    const [low, high] = parts ? valuesOf(edgesOf(svg), parts) : [null, null];
    send("range", {index: indexOf(svg), low, high});
  },
}).listen();

listen("values", (more) => Object.assign(values, more));
listen("filters", (next) => {
  if (control.held) return;
  ({ranges, visible, scope} = next);
  const dims = ranges.length > 0 || visible !== null || scope !== null;
  if (dims || dimmed) { dimPoints(passing()); dimMap(passing()); }   // else everything is drawn in full, as it came
  dimmed = dims;
});
bouillon.passing = passing;
