// The pages that look inside models: ranges dragged on histograms, pictures that enlarge.
(() => {
  const {send, listen} = bouillon;
  let drag = null;
  const part = (svg, event) => {
    const box = svg.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  function move(event) {
    if (!drag) return;
    const now = part(drag.svg, event);
    drag.moved ||= Math.abs(now - drag.first) > 0.01;
    drag.from = Math.min(drag.first, now);
    drag.to = Math.max(drag.first, now);
    drag.rect.setAttribute("x", drag.from * 100);
    drag.rect.setAttribute("width", (drag.to - drag.from) * 100);
  }
  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.("svg[data-span]");
    if (!svg || event.button) return;
    event.preventDefault();
    drag = {svg, rect: svg.querySelector(".brush"), span: JSON.parse(svg.dataset.span), first: part(svg, event), moved: false};
    svg.setPointerCapture(event.pointerId);
  });
  document.addEventListener("pointermove", move);
  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    move(event);
    const {svg, span, from, to, moved} = drag, first = span[0], width = span[span.length - 1] - first;
    drag = null;
    // whole bins: what is counted is what is drawn
    const bins = span.length - 1, low = Math.floor(from * bins) / bins, high = Math.ceil(to * bins) / bins;
    send("b_brush", moved ? {model: svg.dataset.model, low: first + low * width, high: first + high * width} : {model: svg.dataset.model});
  });
  // Of a strip's cells one is reached by Tab, the others by the arrows
  const STEPS = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]};
  document.addEventListener("keydown", (event) => {
    const [, row, column] = event.target.id?.match?.(/^l-cell-(\d+)-(\d+)$/) ?? [], step = STEPS[event.key];
    if (!row || !step) return;
    event.preventDefault();
    const next = bouillon.byId(`l-cell-${+row + step[0]}-${+column + step[1]}`);
    if (!next) return;
    event.target.setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  });
  // What was asked for may be drawn out of sight
  listen("reveal", (id) => requestAnimationFrame(() => { const part = bouillon.byId(id); part?.scrollIntoView({block: "nearest"}); part?.focus({preventScroll: true}); }));
  listen("do enlarge", (picture) => picture.classList.toggle("large"));
  listen("do tall", (svg) => svg.closest("tr").classList.toggle("open"));
})();
