// What of the map stays in sight under a budget: the models within, faintly what led to them, and hardly anything else.
// Pure; the server does the same where it draws a map anew (`viewer/map/drawing.py`).
export const FAINT = 0.12, LINEAGE = 0.45;

// `nodes` has the columns of the map's marks, `ribbons` the marks that each piece runs from and to, `mask` whether each
// model passes. Gives the opacity of each mark, and which ribbons are drawn in full: null for all
export function dimming({model: index, members, below}, {parent, child}, mask) {
  const above = new Map();
  child.forEach((node, i) => above.set(node, parent[i]));
  const passes = [], leads = [];
  for (let i = 0; i < index.length; i++) {       // parents come before their children
    // a step without a model is as faint as what it starts from
    passes.push(Boolean(index[i] >= 0 ? mask[index[i]] : members[i].length ? members[i].some((m) => mask[m]) : passes[above.get(i)] ?? true));
    leads.push(below[i].some((m) => mask[m]));
  }
  const isModel = (i) => index[i] >= 0 || members[i].length > 0;
  for (let i = index.length - 1; i >= 0; i--)
    if (above.has(i) && (leads[i] || (passes[i] && isModel(i)))) leads[above.get(i)] = true;
  const full = [];
  for (let i = 0; i < child.length; i++) {
    const from = parent[i], to = child[i];
    if (leads[to] || (passes[to] && (leads[from] || passes[from]))) full.push(i);
  }
  return {alpha: Float32Array.from(passes, (pass, i) => pass ? 1 : leads[i] ? LINEAGE : FAINT), full: full.length === child.length ? null : full};
}
