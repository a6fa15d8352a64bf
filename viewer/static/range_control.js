// A range on a histogram: its ends, the whole range or a new one dragged by the pointer, or an end moved by keys.
import {dragged, grip, stepped} from "./bounds.js";

const PAUSE = 400, CLICK = 0.01;                // milliseconds, part of the width

const handleOf = (svg, end) => svg.querySelector(`[data-handle=${end}]`);
const partsOf = (svg) => ["low", "high"].map((end) => parseFloat(handleOf(svg, end).getAttribute("x")) / 100);

export class RangeControl {
  // `selector`: of the histograms. Of each, `binsOf(svg)` says how many bins it has, `begin(svg)` is told that a range
  // changes, `change(svg, parts)` of every step, and `done(svg, parts)` when it rests, with null for a click
  constructor(selector, {binsOf, begin, change, done}) {
    Object.assign(this, {selector, binsOf, begin, change, done, held: null, resting: null});
  }
  listen() {
    for (const [kind, take] of Object.entries({pointerdown: this.press, pointermove: this.move, pointerup: this.release, keydown: this.key, focusout: this.leave}))
      document.addEventListener(kind, take.bind(this));
    return this;
  }
  svgOf(event) { return event.target.closest?.(this.selector); }

  take(svg, more) {
    if (this.held?.svg !== svg) this.settle();
    if (!this.held) this.begin(svg);
    this.held = {svg, parts: partsOf(svg), ...more};
  }
  show(parts) {
    const {svg} = this.held, rect = svg.querySelector(".brush");
    this.held.parts = parts;
    rect.setAttribute("x", parts[0] * 100 + "%");
    rect.setAttribute("width", (parts[1] - parts[0]) * 100 + "%");
    ["low", "high"].forEach((end, at) => {
      handleOf(svg, end).setAttribute("x", parts[at] * 100 + "%");
      handleOf(svg, end).setAttribute("aria-valuenow", Math.round(parts[at] * 100));
    });
    this.change(svg, parts);
  }
  finish() {
    const {svg, parts, isClick} = this.held;
    this.held = null;
    this.done(svg, isClick ? null : parts);
  }

  partAt({clientX}) {
    const {left, width} = this.held.svg.getBoundingClientRect();
    return Math.min(1, Math.max(0, (clientX - left) / width));
  }
  press(event) {
    const svg = this.svgOf(event);
    if (!svg || event.button) return;
    event.preventDefault();
    this.settle();
    this.take(svg, {isClick: true});
    const first = this.partAt(event);
    Object.assign(this.held, {first, hold: grip(first, this.held.parts)});
    svg.setPointerCapture(event.pointerId);
  }
  move(event) {
    if (!this.held?.hold) return;
    const part = this.partAt(event);
    if (Math.abs(part - this.held.first) > CLICK) this.held.isClick = false;
    this.show(dragged(this.held.hold, part));
  }
  release(event) {
    if (!this.held?.hold) return;
    this.move(event);
    this.finish();
  }

  // What keys change is told when it rests, so that no answer overtakes the hand
  key(event) {
    const svg = this.svgOf(event), {handle} = event.target.dataset ?? {};
    if (!svg || !handle || this.held?.hold) return;
    const parts = stepped(partsOf(svg), handle, event.key, this.binsOf(svg));
    if (!parts) return;
    event.preventDefault();
    this.take(svg);
    this.show(parts);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.settle(), PAUSE);
  }
  leave(event) { if (this.svgOf(event)) this.settle(); }
  settle() {
    clearTimeout(this.resting);
    if (this.held && !this.held.hold) this.finish();
  }
}
