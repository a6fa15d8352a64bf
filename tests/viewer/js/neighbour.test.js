import assert from "node:assert/strict";
import {test} from "node:test";
import {ARROWS, neighbour} from "../../../viewer/static/neighbour.js";

const XS = [0, 10, 20, 10, 10], YS = [0, 0, 0, 10, -10];

test("an arrow goes to the nearest mark that way, and stays where there is none", () => {
  assert.equal(neighbour(XS, YS, 0, ARROWS.ArrowRight), 1);
  assert.equal(neighbour(XS, YS, 1, ARROWS.ArrowDown), 3);
  assert.equal(neighbour(XS, YS, 1, ARROWS.ArrowUp), 4);
  assert.equal(neighbour(XS, YS, 0, ARROWS.ArrowLeft), 0);
});

test("without a place it begins at the first mark that is there", () => {
  assert.equal(neighbour(XS, YS, -1, ARROWS.ArrowDown), 0);
  assert.equal(neighbour([NaN, 5], [0, 5], -1, ARROWS.ArrowDown), 1);
  assert.equal(neighbour([NaN, 5], [0, 5], 0, ARROWS.ArrowDown), 1);
  assert.equal(neighbour([], [], -1, ARROWS.ArrowDown), -1);
  assert.equal(neighbour([NaN], [0], 0, ARROWS.ArrowLeft), -1);
});

test("marks that are not there are passed over", () => {
  assert.equal(neighbour([0, NaN, 20], [0, 0, 0], 0, ARROWS.ArrowRight), 2);
});

test("every mark of a crowd can be reached", () => {
  const xs = [], ys = [];
  for (let i = 0; i < 60; i++) { xs.push((i * 37) % 101); ys.push((i * 53) % 97); }
  const reached = new Set([0]), pending = [0];
  while (pending.length) for (const arrow of Object.values(ARROWS)) {
    const next = neighbour(xs, ys, pending[0], arrow);
    if (!reached.has(next)) { reached.add(next); pending.push(next); }
    if (arrow === ARROWS.ArrowDown) pending.shift();
  }
  assert.equal(reached.size, 60);
});
