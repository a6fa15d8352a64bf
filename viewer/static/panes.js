// The panes of the overview are as large as a person wants them: dragged, or by the keyboard. Kept on this machine.
const {listen, byId} = bouillon;
const KEPT = "bouillon-panes", STEP = 2, LEAP = 10;   // percent
const START = {"split-across": 62, "split-down": 44}, LEAST = {"split-across": 25, "split-down": 20}, MOST = 80;
const sizes = {...START};

function remembered() {
  try { return JSON.parse(localStorage.getItem(KEPT)) ?? {}; } catch { return {}; }
}
function remember() {
  try { localStorage.setItem(KEPT, JSON.stringify(sizes)); } catch { /* private windows keep nothing */ }
}

function put(name, percent) {
  if (!Number.isFinite(percent)) return;
  sizes[name] = Math.min(MOST, Math.max(LEAST[name], Math.round(10 * percent) / 10));
  const bar = byId(name), {style} = byId("overview");
  style.setProperty(`--${name}`, `${sizes[name]}fr`);
  style.setProperty(`--${name}-rest`, `${100 - sizes[name]}fr`);
  bar.setAttribute("aria-valuenow", Math.round(sizes[name]));
  bar.setAttribute("aria-valuetext", `${Math.round(sizes[name])} percent`);
}

function percentAt(name, event) {
  const box = byId("overview").getBoundingClientRect();
  return name === "split-across" ? 100 * (event.clientX - box.left) / box.width : 100 * (event.clientY - box.top) / box.height;
}

function key(event) {
  const name = event.target.id, [less, more] = name === "split-across" ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
  const step = event.shiftKey ? LEAP : STEP;
  const size = {[less]: sizes[name] - step, [more]: sizes[name] + step, Home: LEAST[name], End: MOST, Enter: START[name]}[event.key];
  if (size === undefined) return;
  event.preventDefault();
  put(name, size);
  remember();
}

function begin(event) {
  if (event.button) return;
  event.preventDefault();
  event.target.focus();
  event.target.setPointerCapture(event.pointerId);
}

listen("start", () => {
  const earlier = remembered();
  for (const name of Object.keys(START)) {
    const bar = byId(name);
    put(name, earlier[name] ?? START[name]);
    bar.addEventListener("keydown", key);
    bar.addEventListener("dblclick", () => { put(name, START[name]); remember(); });
    bar.addEventListener("pointerdown", begin);
    bar.addEventListener("pointermove", (event) => { if (bar.hasPointerCapture(event.pointerId)) put(name, percentAt(name, event)); });
    bar.addEventListener("pointerup", remember);
  }
});
