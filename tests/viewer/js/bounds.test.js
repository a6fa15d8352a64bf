import assert from "node:assert/strict";
import {test} from "node:test";
import {dragged, grip, stepped, valueAt, valuesOf, within, written} from "../../../viewer/static/bounds.js";

const BYTES = [[" B", 1], [" kB", 1e3], [" MB", 1e6], [" GB", 1e9]];
const near = (some, others) => some.forEach((value, at) => assert.ok(Math.abs(value - others[at]) < 1e-9, `${some} is not ${others}`));

test("NaN is within no bound, a missing bound holds nothing back", () => {
  assert.equal(within(NaN, null, null), false);
  assert.equal(within(3, null, null), true);
  assert.equal(within(3, 3, 3), true);
  assert.equal(within(3, 3.1, null), false);
  assert.equal(within(3, null, 2.9), false);
  assert.equal(within(-5, 0, null), false);
});

test("a bound is written in the unit that fits, with four digits", () => {
  for (const [value, text] of [
    [999, "999 B"], [999.6, "0.9996 kB"], [1000, "1 kB"], [123456, "123.5 kB"], [-2_500_000, "-2.5 MB"], [0, "0 B"],
    [999_600, "0.9996 MB"], [12_345_678_901_234, "12,350 GB"], [null, ""],
  ]) assert.equal(written(value, BYTES), text);
  assert.equal(written(0.0000123, [["", 1]]), "0.0000123");
  assert.equal(written(1.2347e-9, [["", 1]]), "1.235e-9");
});

test("the value at a part lies in its bin, however wide the bins are", () => {
  const edges = [0, 1, 100];
  assert.deepEqual([0, 0.25, 0.5, 0.75, 1].map((part) => valueAt(edges, part)), [0, 0.5, 1, 50.5, 100]);
  assert.deepEqual(valuesOf(edges, [0, 0.5]), [null, 1]);
  assert.deepEqual(valuesOf(edges, [0.25, 1]), [0.5, null]);
});

test("a drag takes an end, the whole range, or begins a new one", () => {
  near(dragged(grip(0.21, [0.2, 0.6]), 0.4), [0.4, 0.6]);             // the lower end
  near(dragged(grip(0.59, [0.2, 0.6]), 0.1), [0.1, 0.2]);             // the upper end, beyond the lower one
  near(dragged(grip(0.4, [0.2, 0.6]), 0.5), [0.3, 0.7]);              // the whole range
  near(dragged(grip(0.4, [0.2, 0.6]), 1), [0.8, 1]);                  // it ends at the edge
  near(dragged(grip(0.9, [0.2, 0.6]), 0.7), [0.7, 0.9]);              // a new one, backwards
  near(dragged(grip(0.5, [0, 1]), 0.7), [0.5, 0.7]);                  // of a range that holds all
});

test("keys move an end by a bin, by a tenth, or to the edge, and never past the other end", () => {
  near(stepped([0, 1], "low", "ArrowRight", 20), [0.05, 1]);
  near(stepped([0, 1], "low", "ArrowLeft", 20), [0, 1]);
  near(stepped([0.5, 0.5], "low", "PageUp", 20), [0.5, 0.5]);
  near(stepped([0.2, 0.8], "high", "PageDown", 20), [0.2, 0.7]);
  near(stepped([0.2, 0.8], "high", "Home", 20), [0.2, 0.2]);
  near(stepped([0.2, 0.8], "low", "End", 20), [0.8, 0.8]);
  near(stepped([0.2, 0.8], "high", "End", 20), [0.2, 1]);
  assert.equal(stepped([0, 1], "low", "Tab", 20), null);
  let parts = [0, 1];
  for (let i = 0; i < 20; i++) parts = stepped(parts, "low", "ArrowRight", 20);
  assert.equal(parts[0], 1, "twenty bins end exactly at the edge");
});
