import assert from "node:assert/strict";
import {test} from "node:test";
import {alike, hashOf, viewIn} from "../../../viewer/static/address.js";

test("a view is written when it is not the one of the start, and read as it was written", () => {
  const shown = [0.123456789, 4.5, 10, -0.25], whole = [0, 5, 12, -1];
  const hash = hashOf({map: [shown, whole], scatter: [whole, whole]});
  assert.equal(hash, "#map=0.12346,4.5,10,-0.25");
  assert.ok(alike(viewIn(hash, "map"), shown));
  assert.equal(viewIn(hash, "scatter"), null);
  assert.equal(hashOf({map: [whole, whole], scatter: [whole, whole]}), "");
});

test("views are alike within what rounding in the address loses, in each direction by its own length", () => {
  const view = [0, 1, 0, 1e6];
  assert.equal(alike([0.00005, 1, 0, 1e6], view), true);
  assert.equal(alike([0.001, 1, 0, 1e6], view), false);
  assert.equal(alike([0, 1, 50, 1e6], view), true);
  assert.equal(alike([0, 1, 500, 1e6], view), false);
});

test("a view that is not known yet is not written", () => {
  assert.equal(hashOf({map: [[0, 1, 0, 1], null]}), "");
});

test("nonsense in an address is no view", () => {
  for (const hash of ["", "#", "#map=", "#map=1,2,3", "#map=1,2,3,x", "#map=1,1,0,2", "#map=0,1,2,2", "#map=0,Infinity,1,2", "#other=1,2,3,4"])
    assert.equal(viewIn(hash, "map"), null, hash);
});
