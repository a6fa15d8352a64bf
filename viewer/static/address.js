// Where plots are looked at from, as it stands behind the # of the address: map=x0,x1,y0,y1&scatter=... Pure.
const DIGITS = 5, ALIKE = 1e-4;

// Two views [x0, x1, y0, y1] that a person would not tell apart
export const alike = (some, others) =>
  some.every((value, at) => Math.abs(value - others[at]) <= ALIKE * Math.abs(others[at ^ 1] - others[at]));

// `views`: name -> [what is shown, what is shown at the start or null where that is not known]
export function hashOf(views) {
  const parts = Object.entries(views).filter(([, [ends, whole]]) => whole && !alike(ends, whole))
    .map(([name, [ends]]) => `${name}=${ends.map((end) => Number(end.toPrecision(DIGITS))).join(",")}`);
  return parts.length ? "#" + parts.join("&") : "";
}

// The view of a plot that an address names; null for none and for nonsense
export function viewIn(hash, name) {
  const ends = (new URLSearchParams(hash.slice(1)).get(name) ?? "").split(",").map(Number);
  return ends.length === 4 && ends.every(Number.isFinite) && ends[0] !== ends[1] && ends[2] !== ends[3] ? ends : null;
}
