import assert from "node:assert/strict";
import {test} from "node:test";
import {FAINT, LINEAGE, dimming} from "../../../viewer/static/dimming.js";

// 0 base -> 1 -> 2 (a model, and a failed step 3 below it); 0 -> 4 a bundle of two, 0 -> 5 with a model folded below
const nodes = {model: [0, 1, 2, -1, -1, 5], members: [[], [], [], [], [3, 4], []], below: [[], [], [], [], [3, 4], [6]]};
const ribbons = {parent: [0, 1, 2, 0, 0], child: [1, 2, 3, 4, 5]};
const dimmed = (mask) => {
  const {alpha, full} = dimming(nodes, ribbons, mask);
  return [[...alpha].map((each) => Math.round(100 * each) / 100), full];
};

test("where all pass, all is drawn in full", () => assert.deepEqual(dimmed([1, 1, 1, 1, 1, 1, 1]), [[1, 1, 1, 1, 1, 1], null]));

test("what led to a model that passes stays in sight, with its ribbons", () => {
  assert.deepEqual(dimmed([0, 0, 1, 0, 0, 0, 0]), [[LINEAGE, LINEAGE, 1, 1, FAINT, FAINT], [0, 1, 2]]);
});

test("a bundle passes with one of its models, and a folded model leads to what it hides", () => {
  assert.deepEqual(dimmed([0, 0, 0, 0, 1, 0, 0]), [[LINEAGE, FAINT, FAINT, FAINT, 1, FAINT], [3]]);
  assert.deepEqual(dimmed([0, 0, 0, 0, 0, 0, 1]), [[LINEAGE, FAINT, FAINT, FAINT, FAINT, LINEAGE], [4]]);
});

test("where none passes, nothing is in full", () => assert.deepEqual(dimmed([0, 0, 0, 0, 0, 0, 0]), [[FAINT, FAINT, FAINT, FAINT, FAINT, FAINT], []]));
