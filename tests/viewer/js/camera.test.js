import assert from "node:assert/strict";
import {test} from "node:test";
import {COLUMN, ROW, beyond, fitting, headerHeight, held, partInSight, slanted, zoomed} from "../../../viewer/static/camera.js";

const NAMES = {word: 60, last: 60, longest: 110}, FRAME = {width: 900, height: 600};
const content = (columns, rows, row = 0, column = 0) => ({columns, rows, left: 84, right: 34, focus: {row, column}, names: NAMES});
const span = ([start, end]) => Math.abs(end - start);

test("everything is in sight when all is shown, whatever the number of columns and rows", () => {
  for (const columns of [1, 2, 7, 40]) for (const rows of [1, 3, 30, 3000]) {
    const [[x0, x1], [y0, y1]] = fitting(content(columns, rows, rows - 1, columns - 1), FRAME, true);
    assert.ok(x0 < 0 && x1 > columns - 1 - 1e-9, `${columns} columns: ${x0} to ${x1}`);
    assert.ok(y1 < -0.5 && y0 > rows - 1, `${rows} rows: ${y1} to ${y0}`);
  }
});

test("at the start rows and columns are wide enough to be told apart, and the best model is in sight", () => {
  for (const [row, column] of [[0, 0], [500, 30], [2999, 59]]) {
    const [[x0, x1], [y0, y1]] = fitting(content(60, 3000, row, column), FRAME, false);
    assert.ok(FRAME.width / span([x0, x1]) >= COLUMN.least - 1e-9);
    assert.ok(FRAME.height / span([y0, y1]) >= ROW.least - 1e-9);
    assert.ok(y1 < row && row < y0, `row ${row} in ${y1} to ${y0}`);
    assert.ok(x0 < column && column < x1, `column ${column} in ${x0} to ${x1}`);
  }
});

test("what has room stands at the top, right below the headers", () => {
  for (const rows of [1, 3, 6, 12]) {
    const [[x0, x1], [y0, y1]] = fitting(content(6, rows, rows - 1, 5), FRAME, false), row = FRAME.height / span([y0, y1]);
    const above = (0 - y1) * row - headerHeight(FRAME.width / span([x0, x1]), NAMES);
    assert.ok(above > 0 && above < 40, `${above} pixels above the first of ${rows} rows`);
    assert.ok(x0 < 0, "the first column is in sight where all have room");
  }
});

test("zooming keeps its centre and stays between the closest look and the one that shows everything", () => {
  assert.deepEqual(zoomed([0, 10], 2, [0, 10], 1, 5), [2.5, 7.5]);
  assert.deepEqual(zoomed([0, 10], 2, [0, 10], 1, 0), [0, 5]);
  assert.deepEqual(zoomed([2, 4], 1e9, [0, 10], 1, 3), [2.5, 3.5]);
  assert.equal(span(zoomed([2, 4], 1e-9, [0, 10], 1, 3)), 10);
  assert.deepEqual(zoomed([10, 0], 2, [10, 0], 1, 5), [7.5, 2.5]);     // rows grow downwards
});

test("a map is not moved out of sight", () => {
  assert.deepEqual(held([0, 9], 10, 900, 0), [0, 9]);                  // as it is
  const [start, end] = held([1000, 1009], 10, 900, 0);
  assert.ok(start < 9 && end - start === 9, `${start} to ${end}`);
  const [above, below] = held([-991, -1000], 10, 900, 0);
  assert.ok(Math.max(above, below) > 0 && above - below === 9, "the same with rows, which grow downwards");
});

test("what is out of sight is said, and nothing where all is seen", () => {
  assert.deepEqual(partInSight("Row", -0.5, 9.5, 10), []);
  assert.deepEqual(partInSight("Row", 1.2, 4.7, 10), ["Rows 3 to 5 of 10"]);
  assert.deepEqual(partInSight("Row", 3.6, 4.4, 10), ["Row 5 of 10"]);
  assert.deepEqual(partInSight("Row", 3.2, 3.8, 10), []);              // between two rows
  assert.deepEqual([beyond(3, 5, 9), beyond(7, 5, 9), beyond(12, 5, 9)], [-2, 0, 3]);
});

test("names stand at a slant where columns are narrower than their longest word, and need more height then", () => {
  assert.equal(slanted(69, NAMES), true);
  assert.equal(slanted(71, NAMES), false);
  assert.equal(slanted(151, {...NAMES, word: 400}), false);
  assert.ok(headerHeight(40, NAMES) > headerHeight(100, NAMES));
});
