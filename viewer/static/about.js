// What a term means: shown while the pointer or the keyboard is on it.
const {byId} = bouillon;
const GAP = 6;   // pixels
let term = null;

function hide() {
  if (term) term.removeAttribute("aria-describedby");
  term = null;
  byId("about").hidden = true;
}

function show(next) {
  if (next === term) return;
  hide();
  const note = byId("about"), box = next.getBoundingClientRect();
  term = next;
  note.textContent = next.dataset.about;
  note.hidden = false;
  const {width, height} = note.getBoundingClientRect();
  note.style.left = Math.max(4, Math.min(box.left, innerWidth - width - 4)) + "px";
  note.style.top = (box.bottom + GAP + height < innerHeight ? box.bottom + GAP : Math.max(4, box.top - GAP - height)) + "px";
  next.setAttribute("aria-describedby", "about");
}

for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  document.addEventListener(on, (event) => { const next = event.target.closest?.("[data-about]"); if (next) show(next); });
  document.addEventListener(off, (event) => { if (event.target.closest?.("[data-about]") === term) hide(); });
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
document.addEventListener("scroll", hide, {capture: true, passive: true});
