// Where the map is looked at from. Pure: ranges are [start, end] of the columns or of the rows, lengths are pixels.
export const ROW = {least: 16, most: 46, closest: 220};
export const COLUMN = {least: 44, most: 190, closest: 480};
export const STEEP = {sin: 0.616, cos: 0.788, longest: 132};   // names above narrow columns stand at a slant and need more height
const HEAD = 8, FOOT = 40, EDGE = 24;

// `names`: widths of the longest word of all headers, of the longest of the last one, and of the longest header at a slant
export const slanted = (step, names) => step < Math.min(150, names.word + 10);
export const headerHeight = (step, names) => step < 20 ? 92 : slanted(step, names) ? Math.ceil(names.longest * STEEP.sin) + 20 : 46;

// Rows are at least ROW.least pixels high; of a map that does not fit then, a part is seen. Gives both ranges
export function fitting({columns, rows, left, right: least, focus, names}, {width, height}, everything) {
  const share = (room) => Math.min(COLUMN.most, Math.max(50, width - left - room) / Math.max(1, columns - 1));
  let right = Math.max(least, names.last / 2 + 8), column = share(right);
  if (slanted(column, names)) {
    right = Math.max(right, Math.min(names.longest * STEEP.cos, 90));
    column = share(right);
  }
  if (!everything) column = Math.max(COLUMN.least, column);
  const header = headerHeight(column, names) + HEAD, tall = Math.max(50, height - header - FOOT);
  let row = Math.min(ROW.most, tall / Math.max(1, rows));
  if (!everything) row = Math.max(ROW.least, row);
  const aside = Math.max(0, width - left - right - column * (columns - 1)) / 2;   // few columns stand in the middle
  const across = [-(left + aside) / column, (width - left - aside) / column];
  // what has room stands at the top; of a map that has none, the part around what is in focus: the best models
  const seen = tall / row, first = -0.5 - header / row + Math.min(Math.max(0, rows - seen), Math.max(0, focus.row - seen / 2));
  const over = everything ? 0 : Math.max(0, Math.ceil(focus.column - (width - left - right) / column - 1e-6));
  return [across.map((end) => end + over), [first + height / row, first]];
}

// Each direction stays between the closest look and the one that shows everything
export function zoomed([start, end], factor, [from, to], closest, center) {
  const span = Math.abs(end - start), length = Math.max(closest, Math.min(span / factor, Math.abs(to - from)));
  return [center + (start - center) * length / span, center + (end - center) * length / span];
}

// However the map is moved, half of what is seen is map, or all of the map is seen if it is smaller.
// `covered`: pixels at the beginning that something lies over. The range itself where it is well
export function held([start, end], count, pixels, covered) {
  const low = Math.min(start, end), high = Math.max(start, end), pixel = (high - low) / pixels;
  const from = low + covered * pixel, first = -EDGE * pixel, last = count - 1 + EDGE * pixel;
  const part = Math.min(last - first, (high - from) / 2);
  const away = Math.max(0, first + part - high) + Math.min(0, last - part - from);
  return Math.abs(away) > pixel / 100 ? [start + away, end + away] : [start, end];
}

// By how much a value is out of what is seen, less a margin
export const beyond = (value, low, high) => value < low ? value - low : value > high ? value - high : 0;

// What is said of a map that is partly out of sight: "Rows 3 to 9 of 40"; nothing where all is seen
export function partInSight(what, from, to, all) {
  const first = Math.max(0, Math.ceil(from)), last = Math.min(all - 1, Math.floor(to));
  if (!(first <= last) || (first === 0 && last === all - 1)) return [];   // of a close look, none may be in the middle of it
  return [first === last ? `${what} ${first + 1} of ${all}` : `${what}s ${first + 1} to ${last + 1} of ${all}`];
}
