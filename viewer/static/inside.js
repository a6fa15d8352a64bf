// The pages that look inside models: ranges dragged on histograms, pictures that enlarge, the strip of layers.
import {RangeControl} from "./range_control.js";

const {send, listen, byId} = bouillon;
const spanOf = (svg) => JSON.parse(svg.dataset.span), TINY = 1e-9;

new RangeControl("svg[data-span]", {
  binsOf: (svg) => spanOf(svg).length - 1,
  begin() {},
  change() {},
  done(svg, parts) {                            // whole bins: what is counted is what is drawn; of all values there is no range
    const span = spanOf(svg), first = span[0], width = span.at(-1) - first, bins = span.length - 1, {model} = svg.dataset;
    const [low, high] = [Math.floor((parts?.[0] ?? 0) * bins + TINY) / bins, Math.ceil((parts?.[1] ?? 1) * bins - TINY) / bins];
    send("b_brush", low > 0 || high < 1 ? {model, low: first + low * width, high: first + high * width} : {model});
  },
}).listen();
listen("do enlarge", (picture) => picture.setAttribute("aria-expanded", picture.classList.toggle("large")));
listen("do tall", (part) => {
  const row = part.closest("tr"), open = row.classList.toggle("open");
  row.querySelector("button[data-here=tall]")?.setAttribute("aria-pressed", open);
});
// Of a strip's cells one is reached by Tab, the others by the arrows
const STEPS = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]};
document.addEventListener("keydown", (event) => {
  const [, row, column] = event.target.id?.match?.(/^l-cell-(\d+)-(\d+)$/) ?? [], step = STEPS[event.key];
  if (!row || !step) return;
  event.preventDefault();
  const next = byId(`l-cell-${+row + step[0]}-${+column + step[1]}`);
  if (!next) return;
  event.target.setAttribute("tabindex", -1);
  next.setAttribute("tabindex", 0);
  next.focus();
});
// What was asked for may be drawn out of sight
listen("reveal", (id) => requestAnimationFrame(() => {
  const part = byId(id);
  part?.scrollIntoView({block: "nearest"});
  part?.focus({preventScroll: true});
}));
