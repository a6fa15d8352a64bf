// The first page's scatterplot: of names that would meet, those that matter less are left out; their models keep them under
// the pointer. The server puts the one to ship first, and knows no widths.
(() => {
  const {listen, byId} = bouillon;
  const GAP = 2;   // pixels

  const meet = (a, b) => a.left < b.right + GAP && b.left < a.right + GAP && a.top < b.bottom + GAP && b.top < a.bottom + GAP;

  function place() {
    const plot = byId("decision");
    if (!plot?.checkVisibility()) return;
    const frame = plot.getBoundingClientRect(), kept = [...plot.querySelectorAll(".tick")].map((text) => text.getBoundingClientRect());
    const names = [...plot.querySelectorAll(".name")].sort((a, b) => b.closest(".first") ? 1 : a.closest(".first") ? -1 : 0);
    for (const name of names) {
      name.style.display = "";
      const box = name.getBoundingClientRect();
      const fits = box.left >= frame.left && box.right <= frame.right && !kept.some((other) => meet(box, other));
      if (fits) kept.push(box); else name.style.display = "none";
    }
  }

  listen("panes", (panes) => { if ("page" in panes) place(); });
  listen("start", place);
  addEventListener("resize", place);
})();
