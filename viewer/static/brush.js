// Budgets: dragging over a histogram narrows what passes, in every view, without a journey to the server;
// when the pointer is released the server is told and its answer is what counts.
(() => {
  const {send, listen, model, byId} = bouillon;
  const FAINT = 0.12, FRAME = 17, RESTING = 12;   // the last two: milliseconds
  let values = {}, ranges = [], visible = null, scope = null, drag = null, dimmed = false;

  const within = (value, low, high) => value >= (low ?? -Infinity) && value <= (high ?? Infinity);   // NaN never is

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
    const sum = (some) => some.reduce((total, each) => total + each, 0), kept = sum(mask), total = scope ? sum(scope) : mask.length, verdict = byId("verdict"), words = document.createElement("b");
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

  // As the server writes bounds, in the same units, with fewer digits
  const digits = new Intl.NumberFormat("en", {maximumSignificantDigits: 4}), TINY = 1e-4;
  function written(value, units) {
    if (value === null) return "";
    const fitting = units.filter(([, divisor]) => value === 0 ? divisor === 1 : Math.abs(value) >= divisor * 0.9995);
    const [unit, divisor] = fitting.at(-1) ?? units[0], shown = value / divisor;
    return (shown === 0 || Math.abs(shown) >= TINY ? digits.format(shown) : String(Number(shown.toPrecision(4)))) + unit;
  }

  const fraction = (svg, event) => {
    const box = svg.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const valueAt = (edges, part) => {            // bins are equally wide on screen, whatever their values
    const at = part * (edges.length - 1), bin = Math.min(edges.length - 2, Math.floor(at));
    return edges[bin] + (edges[bin + 1] - edges[bin]) * (at - bin);
  };

  function move(event) {
    if (!drag) return;
    const part = fraction(drag.svg, event);
    const [from, to] = drag.shift !== undefined
      ? [drag.start[0] + part - drag.shift, drag.start[1] + part - drag.shift].map((v) => Math.min(1, Math.max(0, v)))
      : [Math.min(drag.anchor, part), Math.max(drag.anchor, part)];
    const low = from <= 0 ? null : valueAt(drag.edges, from), high = to >= 1 ? null : valueAt(drag.edges, to);
    Object.assign(drag, {from, to, low, high, moved: drag.moved || Math.abs(part - drag.first) > 0.01});
    drag.rect.setAttribute("x", from * 100 + "%");
    drag.rect.setAttribute("width", (to - from) * 100 + "%");
    const fields = drag.svg.closest("[data-filter]").querySelectorAll("input[data-end]");
    if (fields.length === 2) { fields[0].value = written(low, drag.units); fields[1].value = written(high, drag.units); }
    ranges = ranges.map((range, i) => i === drag.index ? [range[0], low, high] : range);
    follow();
  }

  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.("svg[data-edges]");
    if (!svg || event.button) return;
    event.preventDefault();
    const [edges, units] = [svg.dataset.edges, svg.dataset.units].map((text) => JSON.parse(text));
    const rect = svg.querySelector(".brush"), first = fraction(svg, event);
    const [a, b] = [parseFloat(rect.getAttribute("x")) / 100, (parseFloat(rect.getAttribute("x")) + parseFloat(rect.getAttribute("width"))) / 100];
    const index = Number(svg.closest("[data-filter]").dataset.filter), verdict = byId("verdict");
    drag = {svg, edges, units, rect, first, index, anchor: first, start: [a, b]};
    verdict.style.minHeight = verdict.offsetHeight + "px";       // what stands below stays under the pointer
    if (Math.abs(first - a) < 0.025) drag.anchor = b;            // an end is taken
    else if (Math.abs(first - b) < 0.025) drag.anchor = a;
    else if (first > a && first < b && b - a < 0.999) drag.shift = first;   // the whole range is taken
    svg.setPointerCapture(event.pointerId);
  });
  document.addEventListener("pointermove", move);
  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    move(event);
    const {index, low, high, moved} = drag;
    drag = null;
    send("range", moved ? {index, low, high} : {index, low: null, high: null});   // a click clears
  });

  listen("values", (more) => Object.assign(values, more));
  listen("filters", (next) => {
    if (drag) return;
    ({ranges, visible, scope} = next);
    const dims = ranges.length > 0 || visible !== null || scope !== null;
    if (dims || dimmed) { dimPoints(passing()); dimMap(passing()); }   // else everything is drawn in full, as it came
    dimmed = dims;
  });
  bouillon.passing = passing;
})();
