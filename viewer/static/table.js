// The table: ranges dragged along upright axes, and the columns that this browser shows of a study.
const {send, listen, state} = bouillon;
const LEAST = 0.015, ROOM = 0.9;           // of an axis; the part of its height that values take
const KEY = "bouillon columns ";
let drag = null, asked = false;

function place(span, event) {
  const box = span.getBoundingClientRect();
  return Math.min(1, Math.max(0, 1 - (event.clientY - box.top) / (box.height * ROOM)));
}

function begin(event) {
  const span = event.target.closest?.(".span[data-axis]");
  if (!span || event.button) return;
  event.preventDefault();
  drag = {span, brush: span.querySelector(".brush"), first: place(span, event), moved: false};
  span.setPointerCapture(event.pointerId);
}

function move(event) {
  if (!drag) return;
  const now = place(drag.span, event), {brush, first} = drag;
  drag.low = Math.min(first, now);
  drag.high = Math.max(first, now);
  drag.moved ||= drag.high - drag.low > LEAST;
  brush.hidden = false;
  brush.style.top = (1 - drag.high) * ROOM * 100 + "%";
  brush.style.height = (drag.high - drag.low) * ROOM * 100 + "%";
}

function end(event) {
  if (!drag) return;
  move(event);
  const {span, brush, low, high, moved} = drag;
  drag = null;
  brush.hidden = true;
  send("axis", moved ? {column: span.dataset.axis, low, high} : {column: span.dataset.axis});
}

function keep({study, names}) {
  try {
    if (names.length) localStorage.setItem(KEY + study, JSON.stringify(names));
    else localStorage.removeItem(KEY + study);
  } catch { /* no storage: not remembered */ }
}

// Once, when the table is first seen, unless the address says which
function remember() {
  if (asked || state().page !== "table" || !bouillon.live()) return;
  asked = true;
  if (new URLSearchParams(location.search).has("columns")) return;
  const {study} = document.querySelector("[data-study]")?.dataset ?? {};
  try {
    const names = JSON.parse(localStorage.getItem(KEY + study) ?? "null");
    if (Array.isArray(names)) send("columns_remembered", {study, names});
  } catch { /* no storage, or another program's */ }
}

document.addEventListener("pointerdown", begin);
document.addEventListener("pointermove", move);
document.addEventListener("pointerup", end);
listen("columns", keep);
listen("state", remember);
listen("start", remember);
