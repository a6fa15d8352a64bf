import assert from "node:assert/strict";
import {test} from "node:test";
import {Taken, cut, frontLabels, nodeLabels, shorten} from "../../../viewer/static/placement.js";

const measured = (text) => 6 * text.length;     // pixels
const scale = (factor) => ({compute: (value) => value * factor, invert: (pixels) => pixels / factor});
const frame = (across, down, width = 1000, height = 600) => ({x: scale(across), y: scale(down), left: 0, top: 0, width, height});
const START = {left: 0, center: 0.5, right: 1};

// Boxes of what is written: from the column of labels, as a person sees them
function boxes({x, y, text, align, dx, dy}, {x: xs, y: ys}) {
  return text.map((words, i) => {
    const wide = measured(words), start = xs.compute(x[i]) + dx[i] - wide * START[align[i]], middle = ys.compute(y[i]) + dy[i];
    return [start, middle - 4, start + wide, middle + 4];
  });
}
function collisions(some) {
  const meet = ([a, b, c, d], [e, f, g, h]) => a < g && c > e && b < h && d > f;
  return some.flatMap((box, i) => some.slice(0, i).filter((other) => meet(box, other)));
}
function grid(columns, rows, label) {
  const nodes = {x: [], y: [], r: [], label: [], brief: [], name: [], inside: []};
  for (let x = 0; x < columns; x++) for (let y = 0; y < rows; y++) {
    nodes.x.push(x); nodes.y.push(y); nodes.r.push(0.2); nodes.inside.push(""); nodes.name.push("");
    nodes.label.push(label(x, y)); nodes.brief.push(label(x, y).slice(0, 8));
  }
  return nodes;
}

test("rectangles that meet are not free, those that touch are", () => {
  const taken = new Taken();
  taken.add([0, 0, 100, 20]);
  assert.equal(taken.free([99, 19, 300, 40]), false);
  assert.equal(taken.free([100, 0, 200, 20]), true);
  assert.equal(taken.free([-500, -500, 500, 500]), false);
});

test("a text is cut where it has no room, and left out where four letters have none", () => {
  assert.equal(shorten("sparsity", 48, measured), "sparsity");
  assert.equal(shorten("sparsity, of all", 72, measured), "sparsity, o…");
  assert.equal(shorten("sparsity, of all", 60, measured), "sparsity…");
  assert.equal(shorten("sparsity", 20, measured), "");
});

test("of a parameter with its value the name is cut, and no value stands alone", () => {
  const text = "sparsity\u00a00.8";
  assert.equal(cut(text, 72, measured), text);
  assert.equal(cut(text, 54, measured), "spar…\u00a00.8");
  assert.equal(cut(text, 30, measured), "", "less than two letters tell nothing");
  assert.equal(cut("conv, linear and norm", 60, measured), shorten("conv, linear and norm", 60, measured));
});

test("labels of the map meet neither each other nor the headers nor the window's edge", () => {
  for (const [across, down] of [[180, 40], [60, 20], [44, 16]]) {
    const view = frame(across, down), nodes = grid(12, 20, (x, y) => `amount ${x}.${y} of everything`);
    const out = nodeLabels(nodes, view, {under: 60, over: [0, 580, 120, 600], measured});
    assert.ok(out.text.length > 5, "some are written");
    const all = boxes(out, view);
    assert.deepEqual(collisions(all), []);
    for (const [left, top, right, bottom] of all) assert.ok(left >= 0 && right <= 1000 && top >= 60 && bottom <= 600);
    assert.deepEqual(all.filter(([left, , , bottom]) => left < 120 && bottom > 580), [], "nothing lies below the note");
  }
});

test("rows that are too low to be read have no labels, but bundles keep their counts", () => {
  const nodes = grid(3, 40, () => "amount");
  nodes.inside[50] = "×12";
  assert.deepEqual(nodeLabels(nodes, frame(200, 12), {under: 0, over: null, measured}).text, ["×12"]);
});

test("names on the front meet no point and no other name; those that stand apart have a line to their point", () => {
  const points = {x: [], y: [], size: []};
  for (let i = 0; i < 10; i++) { points.x.push(100 + 8 * i); points.y.push(100 + 8 * i); points.size.push(9); }
  const front = points.x.map((x, i) => ({x, y: points.y[i], text: `magnitude 0.${i}`})), view = frame(1, 1, 600, 400);
  const {labels, lines} = frontLabels(front, points, view, measured);
  assert.ok(labels.text.length >= 6);
  assert.deepEqual(collisions(boxes(labels, view)), []);
  const marks = points.x.map((x, i) => [x - 4, points.y[i] - 4, x + 4, points.y[i] + 4]);
  for (const box of boxes(labels, view)) assert.deepEqual(collisions([box, ...marks]).filter((met) => met === box), []);
  const far = labels.dx.filter((dx, i) => Math.hypot(dx, labels.dy[i] + 4.5) > 22).length;
  assert.equal(lines.x0.length, far);
});

test("points that an axis cannot show take no room", () => {
  const {labels} = frontLabels([{x: 50, y: 50, text: "a"}], {x: [NaN, 50], y: [50, 50], size: [9, 9]}, frame(1, 1, 300, 300), measured);
  assert.deepEqual([labels.text, labels.align], [["a"], ["left"]]);
});
