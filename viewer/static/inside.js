// The pages that look inside models: ranges dragged on histograms, pictures that enlarge.
import {RangeControl} from "./range_control.js";

const {send, listen} = bouillon;
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
