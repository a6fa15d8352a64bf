// Which mark the arrow keys go to: the nearest in that direction, where what lies aside counts three times. Pure.
const ASIDE = 3;

export const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

// Positions in pixels, or in anything that grows to the right and down; marks at NaN are not there.
// -1 where there are none; the one itself where none lies that way
export function neighbour(xs, ys, from, [dx, dy]) {
  const there = (i) => Number.isFinite(xs[i] + ys[i]);
  if (!(from >= 0 && from < xs.length && there(from))) return xs.findIndex((_, i) => there(i));
  let best = from, least = Infinity;
  for (let i = 0; i < xs.length; i++) {
    const right = xs[i] - xs[from], down = ys[i] - ys[from];
    const along = right * dx + down * dy, aside = Math.abs(right * dy) + Math.abs(down * dx);
    if (along > 1e-6 && along + ASIDE * aside < least) { least = along + ASIDE * aside; best = i; }
  }
  return best;
}
