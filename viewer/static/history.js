// The browser's history: every change is an entry, so that Back undoes it. Where the plots are looked at from is known to
// the page alone; it stands behind the # of the address.
(() => {
  const {listen, model, byId, send} = bouillon;
  const PAUSE = 400, TYPING = 1500, DIGITS = 5;   // milliseconds, milliseconds, of numbers
  let byHand = 0, timer = null, typed = {field: null, at: 0};

  const ends = (name) => [model(name).x_range, model(name).y_range].flatMap(({start, end}) => [start, end]);
  const same = (some, others) => some.every((value, at) => Math.abs(value - others[at]) <= 1e-4 * Math.abs(others[at ^ 1] - others[at]));

  function written() {
    const parts = ["map", "scatter"].flatMap((name) => {
      const shown = ends(name), whole = bouillon.whole(name);
      return !whole || same(shown, whole) ? [] : [`${name}=${shown.map((end) => Number(end.toPrecision(DIGITS))).join(",")}`];
    });
    return parts.length ? "#" + parts.join("&") : "";
  }
  const here = () => location.pathname + location.search;

  function note() {
    const hash = written();
    if (hash !== location.hash) history.pushState(null, "", here() + hash);
  }
  function moved() {                             // ranges move with the results and the window too: that is no step of a person's
    if (performance.now() - byHand > 2 * PAUSE) return;
    byHand = performance.now();
    clearTimeout(timer);
    timer = setTimeout(note, PAUSE);
  }

  function look() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const name of ["map", "scatter"]) {
      const seen = (wanted.get(name) ?? "").split(",").map(Number);
      bouillon.show(name, seen.length === 4 && seen.every(Number.isFinite) && seen[0] !== seen[1] && seen[2] !== seen[3] ? seen : null);
    }
  }

  listen("link", ({query, push}) => {
    const search = query ? "?" + query : "", url = location.pathname + search + location.hash;
    if (location.search === search) return;
    const field = document.activeElement?.matches("input:not([type=checkbox])") ? document.activeElement.id : null;
    const goesOn = field && field === typed.field && performance.now() - typed.at < TYPING;   // of a word that is typed, one step
    typed = {field, at: performance.now()};
    history[push && !goesOn ? "pushState" : "replaceState"](null, "", url);
  });
  addEventListener("popstate", () => { look(); send("link", {query: location.search.slice(1)}); });
  listen("start", () => {
    for (const name of ["map", "scatter"]) {
      for (const range of [model(name).x_range, model(name).y_range]) range.change.connect(moved);
      for (const kind of ["pointerdown", "pointermove", "wheel", "keydown"])
        byId(name).closest(".card").addEventListener(kind, (event) => { if (kind !== "pointermove" || event.buttons) byHand = performance.now(); }, {passive: true, capture: true});
    }
    if (location.hash) look();
  });
})();
