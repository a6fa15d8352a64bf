// Labels of the plots: each is put where it meets neither a mark nor another label, nor what lies over the plot.
// Pure: takes positions and widths, gives columns of Bokeh's labels.
const CAPITAL = 9;   // pixels: Bokeh centres digits by that height and words by theirs, so that the
                     // middle gives both one baseline, where "bottom" would lift words
const LINE = 12, LEGIBLE = 15, MOST_LINES = 12, FAR = 22;   // pixels, pixels between rows, lines, pixels

export class Taken {                            // rectangles in a coarse grid: each test looks at a few neighbours
  constructor() { this.cells = new Map(); }
  * near(box) {
    for (let cx = box[0] >> 6; cx <= box[2] >> 6; cx++) for (let cy = box[1] >> 5; cy <= box[3] >> 5; cy++) yield cx * 65536 + cy;
  }
  add(box) { for (const cell of this.near(box)) (this.cells.get(cell) ?? this.cells.set(cell, []).get(cell)).push(box); }
  free(box) {
    for (const cell of this.near(box)) for (const other of this.cells.get(cell) ?? [])
      if (box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]) return false;
    return true;
  }
}

export function shorten(text, room, measured) { // "" where not even four letters have room
  if (measured(text) <= room) return text;
  for (let length = text.length - 1; length >= 4; length--) {
    const shorter = text.slice(0, length).replace(/[\s,]+$/, "") + "…";
    if (measured(shorter) <= room) return shorter;
  }
  return "";
}

// A value alone tells nothing: of "sparsity 0.8", bound by a space that does not break, the name is cut, never left away
export function cut(text, room, measured) {
  const at = text.indexOf("\u00a0"), name = text.slice(0, at), value = text.slice(at);
  if (at < 0 || measured(text) <= room) return shorten(text, room, measured);
  for (let length = name.length - 1; length >= 2; length--) {
    const shorter = name.slice(0, length).trimEnd() + "…" + value;
    if (measured(shorter) <= room) return shorter;
  }
  return "";
}

class Sheet {                                   // what is written so far, and where nothing else may stand
  constructor([left, top, right, bottom], margin, measured) {
    Object.assign(this, {left, top, right, bottom, margin, measured, taken: new Taken()});
    this.out = {x: [], y: [], text: [], align: [], dx: [], dy: []};
  }
  // A text whose baseline is [dx, dy] pixels from its mark at [px, py]; false where it has no room
  write({x, y, px, py}, text, align, dx, dy) {
    const wide = this.measured(text), start = px + dx - wide * {left: 0, center: 0.5, right: 1}[align], {margin} = this;
    const box = [start - margin, py + dy - LINE, start + wide + margin, py + dy + margin];
    const inside = box[0] >= this.left && box[2] <= this.right && box[1] >= this.top && box[3] <= this.bottom;
    if (!text || !inside || !this.taken.free(box)) return false;
    this.taken.add(box);
    const {out} = this;
    out.x.push(x); out.y.push(y); out.text.push(text); out.align.push(align); out.dx.push(dx); out.dy.push(dy - CAPITAL / 2);
    return true;
  }
}

// ---- names of the map's nodes
function inSight({x: xs, y: ys, r}, {x, y, left, top, width, height}, perRow) {
  const seen = [];
  for (let i = 0; i < xs.length; i++) {
    const px = x.compute(xs[i]), py = y.compute(ys[i]);
    if (px < left - 20 || px > left + width + 200 || py < top - 10 || py > top + height + 10) continue;
    seen.push({i, x: xs[i], y: ys[i], px, py, radius: r[i] * perRow});
  }
  return seen;
}

// First what a column has room for; what is wider takes what is left free beside it, and only then is it cut
function writeSteps(sheet, seen, {x: xs, y: ys, label, brief}, perColumn) {
  const {measured} = sheet, wide = [], ends = new Map();   // row -> its last node: after it, there is no ribbon to write on
  for (let i = 0; i < xs.length; i++) ends.set(ys[i], Math.max(xs[i], ends.get(ys[i]) ?? -1));
  const fits = (node, text, after) => {
    const {radius} = node, above = Math.min(radius * 0.55, 6) + 3;
    return sheet.write(node, text, "right", -radius - 3, -above)
      || sheet.write(node, text, "center", 0, -radius - 3)
      || sheet.write(node, after, "left", radius + 4, 4);
  };
  for (const node of seen) {
    const {i, radius} = node, room = perColumn - radius - 14;
    if (!label[i]) continue;
    const text = [label[i], brief[i]].find((words) => measured(words) <= room);
    if (text === undefined) wide.push(node);
    else fits(node, text, cut(brief[i], perColumn - radius - 6, measured));
  }
  for (const node of wide) {
    const {i, radius} = node, text = (columns, gap) => cut(brief[i], columns * perColumn - radius - gap, measured);
    const most = ends.get(ys[i]) === xs[i] ? Infinity : 1;
    [Infinity, 4, 3, 2.5, 2, 1.5, 1].some((columns) => fits(node, text(columns, 14), columns <= most ? text(columns, 6) : ""));
  }
}

// `frame` has Bokeh's scales and its box, `under` the height of the headers, `over` a box that lies over the plot
export function nodeLabels(nodes, frame, {under, over, measured}) {
  const {x, y, left, top, width, height} = frame, sheet = new Sheet([left, top + under, left + width, top + height], 1, measured);
  const perRow = Math.abs(y.compute(1) - y.compute(0)), perColumn = x.compute(1) - x.compute(0);
  const seen = inSight(nodes, frame, perRow), {inside, name} = nodes;
  for (const {px, py, radius} of seen) sheet.taken.add([px - radius, py - radius, px + radius, py + radius]);
  if (over) sheet.taken.add(over);
  for (const node of seen) if (inside[node.i]) sheet.write(node, inside[node.i], "left", node.radius + 4, 4);
  if (perRow < LEGIBLE) return sheet.out;
  for (const node of seen) {
    if (!name[node.i]) continue;
    const text = shorten(name[node.i], Math.max(130, perColumn * 1.6), measured), above = -node.radius - 4;
    if (!sheet.write(node, text, "center", 0, above)) sheet.write(node, text, "left", -node.radius, above);
  }
  writeSteps(sheet, seen, nodes, perColumn);
  return sheet.out;
}

// ---- names on the Pareto front: beside their points, or at the end of a line
const BESIDE = [[10, 4, "left"], [-10, 4, "right"], [9, -8, "left"], [-9, -8, "right"], [9, 17, "left"], [-9, 17, "right"]];
const APART = [28, 46, 68, 92].flatMap((far) => [[0, 1], [0.7, 0.7], [-0.7, 0.7], [0, -1], [0.7, -0.7], [-0.7, -0.7]].map(
  ([x, y]) => [x * far, y * far + 4, x > 0 ? "left" : x < 0 ? "right" : "center"]));

// `front` has {x, y, text}; gives the labels, and the lines from those that stand apart to their points
export function frontLabels(front, points, {x, y, left, top, width, height}, measured) {
  const sheet = new Sheet([left, top, left + width, top + height], 2, measured), lines = {x0: [], y0: [], x1: [], y1: []};
  for (let i = 0; i < points.x.length; i++) {
    const px = x.compute(points.x[i]), py = y.compute(points.y[i]), r = points.size[i] / 2;
    if (Number.isFinite(px + py)) sheet.taken.add([px - r, py - r, px + r, py + r]);
  }
  const places = front.length <= MOST_LINES ? [...BESIDE, ...APART] : BESIDE;
  for (const {x: at, y: level, text} of front) {
    const mark = {x: at, y: level, px: x.compute(at), py: y.compute(level)};
    const place = places.find(([dx, dy, align]) => sheet.write(mark, text, align, dx, dy));
    if (!place || Math.hypot(place[0], place[1]) <= FAR) continue;
    lines.x0.push(at); lines.y0.push(level);
    lines.x1.push(x.invert(mark.px + place[0])); lines.y1.push(y.invert(mark.py + place[1] + (place[1] > 0 ? -11 : 2)));
  }
  return {labels: sheet.out, lines};
}
