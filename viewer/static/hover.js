// What the pointer is over: the card, the linked highlight in both plots, the lines to parent and children.
const {send, listen, model, view, byId} = bouillon;
const cards = new Map(), alone = new Map();   // key -> markup: of the card, and of the pane when it alone is selected
let over = null, at = [0, 0], waiting = null, size = null;

document.addEventListener("pointermove", (event) => { at = [event.clientX, event.clientY]; if (!byId("hover").hidden) place(); }, {passive: true});

function place() {
  const card = byId("hover"), {width, height} = size, gap = 18;
  const right = at[0] + gap + width < innerWidth ? at[0] + gap : at[0] - gap - width;
  const below = at[1] + gap + height < innerHeight ? at[1] + gap : Math.max(4, innerHeight - height - 4);
  card.style.left = Math.max(4, right) + "px";
  card.style.top = Math.max(4, below) + "px";
}

function open(key) {
  const card = byId("hover");
  card.innerHTML = cards.get(key);
  card.hidden = false;
  size = card.getBoundingClientRect();         // once: the pointer's moves need not lay the page out
  place();
}

// Bokeh's hover tools call this with the index of the point under the pointer, or -1
function hovered(plot, index) {
  const source = model(plot === "map" ? "nodes" : "models").data, key = index >= 0 ? source.key[index] : null;
  if (key === over) return;
  over = key;
  byId(plot).style.cursor = key ? "pointer" : "";
  light(key);
  if (key === null) { byId("hover").hidden = true; return; }
  if (!cards.has(key) && window.bouillonLeftOut) cards.set(key, window.bouillonLeftOut);
  if (cards.has(key)) open(key);
  else { waiting = key; send("hover", {key}); }
}

// One model was clicked: its details came with its card and are shown at once; the server's answer follows.
function picked(name) {
  const {data, selected: {indices}} = model(name), at = indices[0], key = data.key[at];
  if (indices.length !== 1 || key !== over || !alone.get(key) || data.alpha[at] < 0.5) return;
  if (byId("tab-selection")?.getAttribute("aria-selected") !== "true") return;
  // the words are painted first, the plot with its selection in the frame after: it takes most of the time
  const plot = view(name === "nodes" ? "map" : "scatter");
  plot.pause();
  requestAnimationFrame(() => setTimeout(() => plot.unpause()));
  byId("pane-side").innerHTML = alone.get(key);
}

function light(key) {
  const nodes = model("nodes").data, models = model("models").data;
  const node = key === null ? -1 : nodes.key.indexOf(key), row = key === null ? -1 : models.key.indexOf(key);
  const pointer = model("pointer"), spot = model("spot"), kin = model("kin");
  Object.assign(pointer.data, node < 0 ? {x: [], y: [], r: []} : {x: [nodes.x[node]], y: [nodes.y[node]], r: [nodes.r[node] * 1.35]});
  pointer.change.emit();
  Object.assign(spot.data, row < 0 ? {x: [], y: [], size: []} : {x: [models.x[row]], y: [models.y[row]], size: [models.size[row] + 7]});
  spot.change.emit();
  const lines = {x0: [], y0: [], x1: [], y1: []};
  const line = (from, to) => {
    if (from < 0 || to < 0) return;
    lines.x0.push(models.x[from]); lines.y0.push(models.y[from]); lines.x1.push(models.x[to]); lines.y1.push(models.y[to]);
  };
  if (row >= 0) {
    line(models.parent[row], row);
    for (let i = 0; i < models.parent.length; i++) if (models.parent[i] === row) line(row, i);
  }
  Object.assign(kin.data, lines);
  kin.change.emit();
}

listen("card", ({key, html, alone: details}) => {
  cards.set(key, html);
  alone.set(key, details);
  if (key === waiting && key === over) open(key);
});
listen("forget", () => { cards.clear(); alone.clear(); });
for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  document.addEventListener(on, (event) => {
    const key = event.target.closest?.("[data-points]")?.dataset.points;
    if (key) light(key);
  });
  document.addEventListener(off, (event) => { if (event.target.closest?.("[data-points]")) light(null); });
}
document.addEventListener("pointerleave", () => hovered("map", -1));
listen("start", () => {
  for (const name of ["nodes", "models"]) model(name).selected.properties.indices.change.connect(() => picked(name));
  for (const name of ["map", "scatter"]) byId(name).addEventListener("pointerleave", () => hovered(name, -1));
  for (const [key, html] of Object.entries(window.bouillonCards ?? {})) cards.set(key, html);
});
Object.assign(bouillon, {hovered, light});
