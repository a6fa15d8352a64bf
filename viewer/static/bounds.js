// Bounds of budgets and how they are written, as the server writes them. Pure.
const digits = new Intl.NumberFormat("en", {maximumSignificantDigits: 4}), TINY = 1e-4, GRIP = 0.025;

export const within = (value, low, high) => value >= (low ?? -Infinity) && value <= (high ?? Infinity);   // NaN never is

// In the same units, with fewer digits. `units`: [name, divisor], the smallest first
export function written(value, units) {
  if (value === null) return "";
  const fitting = units.filter(([, divisor]) => value === 0 ? divisor === 1 : Math.abs(value) >= divisor * 0.9995);
  const [unit, divisor] = fitting.at(-1) ?? units[0], number = value / divisor;
  return (number === 0 || Math.abs(number) >= TINY ? digits.format(number) : String(Number(number.toPrecision(4)))) + unit;
}

// The value at a part (0 to 1) of a histogram: bins are equally wide on screen, whatever their values
export function valueAt(edges, part) {
  const at = part * (edges.length - 1), bin = Math.min(edges.length - 2, Math.floor(at));
  return edges[bin] + (edges[bin + 1] - edges[bin]) * (at - bin);
}

// Both values of a range of parts; an end at the edge of the histogram bounds nothing
export const valuesOf = (edges, [from, to]) => [from <= 0 ? null : valueAt(edges, from), to >= 1 ? null : valueAt(edges, to)];

const clamped = (part) => Math.min(1, Math.max(0, part));

// What a drag that begins at a part takes hold of: an end of the range, the whole range, or a new one
export function grip(part, [from, to]) {
  if (Math.abs(part - from) < GRIP) return {anchor: to};
  if (Math.abs(part - to) < GRIP) return {anchor: from};
  return part > from && part < to && to - from < 0.999 ? {shift: part, start: [from, to]} : {anchor: part};
}

export function dragged({anchor, shift, start}, part) {
  if (shift !== undefined) return start.map((end) => clamped(end + part - shift));
  return [Math.min(anchor, part), Math.max(anchor, part)];
}

// An end of a range, moved by a key: the arrows by a bin, Page by a tenth, Home and End to the edge or the other end.
// null for every other key
export function stepped([from, to], end, key, bins) {
  const low = end === "low", bin = 1 / bins;
  const step = {ArrowLeft: -bin, ArrowDown: -bin, ArrowRight: bin, ArrowUp: bin, PageDown: -0.1, PageUp: 0.1}[key];
  const edge = {Home: low ? 0 : from, End: low ? to : 1}[key];
  if (step === undefined && edge === undefined) return null;
  const moved = edge ?? clamped(Math.round(((low ? from : to) + step) * 1e9) / 1e9);
  return low ? [Math.min(moved, to), to] : [from, Math.max(moved, from)];
}
