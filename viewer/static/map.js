// The map in the browser: where it is looked at from, its column headers, the labels that fit, and its keyboard.
(() => {
  const {send, listen, model, view, byId} = bouillon;
  const ROW = {least: 16, most: 46, closest: 220}, COLUMN = {least: 44, most: 190, closest: 480};   // pixels
  const HEAD = 8, FOOT = 40, NOTE = 10, EDGE = 24;
  let content = null, cursor = -1, touched = false, under = 0;   // `under`: the height of the headers

  const nodes = () => model("nodes").data;
  const set = (range, start, end) => range.setv({start, end}, {sync: false});

  function frame() {
    const {x_scale: x, y_scale: y, bbox: {left, top, width, height}} = view("map").frame;
    return {x, y, left, top, width, height};
  }

  // Names above narrow columns stand at a slant and need more height.
  const pen = document.createElement("canvas").getContext("2d"), STEEP = {sin: 0.616, cos: 0.788, longest: 132};
  function widest(parts, weight) {
    pen.font = `${weight} ${getComputedStyle(document.body).getPropertyValue("--label-font")}`;
    return Math.max(0, ...parts.map((part) => pen.measureText(part).width));
  }
  const widestWord = (headers) => widest(headers.flatMap(({text}) => text.split(" ")), 600);
  const slanted = (step) => step < Math.min(150, widestWord(content.headers) + 10);
  const longest = () => Math.min(STEEP.longest, widest(content.headers.map(({text}) => text), 500) + 10);
  const headerHeight = (step) => step < 20 ? 92 : slanted(step) ? Math.ceil(longest() * STEEP.sin) + 20 : 46;
  const columnStep = () => { const {x} = frame(); return x.compute(1) - x.compute(0); };

  // Rows are at least ROW.least pixels high; of a map that does not fit then, a part is seen.
  function look(everything) {
    if (!content) return;
    const {x_range, y_range} = model("map"), [across, down] = fitting(everything);
    set(x_range, ...across);
    set(y_range, ...down);
  }

  function fitting(everything) {                // the two ranges: [start, end] of the columns, and of the rows
    const {width, height} = frame(), {columns, rows, left} = content;
    const share = (room) => Math.min(COLUMN.most, Math.max(50, width - left - room) / Math.max(1, columns - 1));
    let right = Math.max(content.right, widestWord(content.headers.slice(-1)) / 2 + 8), column = share(right);
    if (slanted(column)) {
      right = Math.max(right, Math.min(longest() * STEEP.cos, 90));
      column = share(right);
    }
    if (!everything) column = Math.max(COLUMN.least, column);
    const header = headerHeight(column) + HEAD, tall = Math.max(50, height - header - FOOT);
    let row = Math.min(ROW.most, tall / Math.max(1, rows));
    if (!everything) row = Math.max(ROW.least, row);
    const aside = Math.max(0, width - left - right - column * (columns - 1)) / 2;   // few columns stand in the middle
    const across = [-(left + aside) / column, (width - left - aside) / column];
    const top = -0.5 - header / row, spare = Math.max(0, tall - rows * row);
    // of a tall map, the part around its first base model
    const unseen = Math.max(0, rows - tall / row), near = Math.min(unseen, Math.max(0, content.root - tall / row / 2));
    const first = top - Math.min(spare / 2, rows > 3 ? 90 : tall / 3) / row + near;
    return [across, [first + height / row, first]];
  }

  // Each direction stays between the closest look and the one that shows everything
  function zoom(factor, px, py) {
    if (!content) return;
    const {x, y, left, top, width, height} = frame(), {x_range, y_range} = model("map"), [across, down] = fitting(true);
    const scaled = (range, [from, to], closest, center) => {
      const span = Math.abs(range.end - range.start), wanted = Math.max(closest, Math.min(span / factor, Math.abs(to - from)));
      set(range, center + (range.start - center) * wanted / span, center + (range.end - center) * wanted / span);
    };
    const [cx, cy] = [x.invert(px ?? left + width / 2), y.invert(py ?? top + height / 2)];
    scaled(x_range, across, width / COLUMN.closest, cx);
    scaled(y_range, down, height / ROW.closest, cy);
    touched = true;
  }

  // However the map is moved, half of what is seen is map, or all of the map is seen if it is smaller
  function hold() {
    const {x_range, y_range} = model("map"), {width, height} = frame();
    if (!content || width < 1 || height < 1) return;   // another page is open
    const held = (range, count, pixels, covered) => {
      const low = Math.min(range.start, range.end), high = Math.max(range.start, range.end), pixel = (high - low) / pixels;
      const from = low + covered * pixel, first = -EDGE * pixel, last = count - 1 + EDGE * pixel;
      const part = Math.min(last - first, (high - from) / 2);
      const away = Math.max(0, first + part - high) + Math.min(0, last - part - from);
      if (Math.abs(away) > pixel / 100) set(range, range.start + away, range.end + away);
    };
    held(x_range, content.columns, width, 0);
    held(y_range, content.rows, height, under);
  }

  function pan(dx, dy) {
    const {x, y} = frame(), map = model("map");
    const moveX = x.invert(dx) - x.invert(0), moveY = y.invert(dy) - y.invert(0);
    set(map.x_range, map.x_range.start + moveX, map.x_range.end + moveX);
    set(map.y_range, map.y_range.start + moveY, map.y_range.end + moveY);
    touched = true;
  }

  function bring(index) {                       // pan just enough that a node is seen
    const {x, y, left, top, width, height} = frame(), {x: xs, y: ys} = nodes();
    const px = x.compute(xs[index]), py = y.compute(ys[index]), margin = 30;
    const over = (value, low, high) => value < low ? value - low : value > high ? value - high : 0;
    const dx = over(px, left + margin, left + width - margin), dy = over(py, top + under + margin, top + height - margin);
    if (dx || dy) pan(dx, dy);
  }

  // ---- headers: real buttons over the canvas
  function headers() {
    const box = byId("map-headers");
    if (!content?.headers.length) { box.replaceChildren(); box.style.height = "0"; under = 0; return; }
    const {x, left, width} = frame(), step = columnStep();
    const steep = slanted(step), room = longest();
    under = headerHeight(step);
    box.style.height = under + "px";
    box.style.setProperty("--foot", under - 24 + "px");
    box.classList.toggle("steep", steep);
    box.classList.toggle("steepest", step < 20);
    while (box.children.length > content.headers.length) box.lastChild.remove();
    content.headers.forEach((header, at) => {
      const button = box.children[at] ?? box.appendChild(document.createElement("button"));
      const px = x.compute(at);
      Object.assign(button.dataset, {do: "column", column: at});
      button.textContent = header.text;
      button.title = header.title;
      button.setAttribute("aria-label", `Select the models of column ${at + 1}: ${header.title}`);
      button.hidden = px < left - 5 || px > left + width + 5;
      button.style.left = px + "px";
      const inside = steep && step >= 20 ? Math.min(room, (left + width - px) / STEEP.cos - 6) : 0;   // none is cut off at the edge
      if (steep && step >= 20 && inside < 30) button.hidden = true;
      button.style.maxWidth = steep ? (inside ? inside + "px" : "") : Math.max(40, Math.min(step - 4, 2 * (left + width - px) - 6)) + "px";
    });
  }

  // ---- labels: a label is drawn where it meets neither a node nor another label, nor what lies over the map
  const widths = new Map(), CAPITAL = 9;         // pixels: Bokeh centres digits by that height and words by theirs, so that the
                                                 // middle gives both one baseline, where "bottom" would lift words
  function measured(text) {
    let width = widths.get(text);
    if (width === undefined) { width = pen.measureText(text).width; widths.set(text, width); }
    return width;
  }

  class Taken {                                 // rectangles in a coarse grid: each test looks at a few neighbours
    constructor() { this.cells = new Map(); }
    * near(box) {
      for (let cx = box[0] >> 6; cx <= box[2] >> 6; cx++) for (let cy = box[1] >> 5; cy <= box[3] >> 5; cy++) yield cx * 65536 + cy;
    }
    add(box) { for (const cell of this.near(box)) (this.cells.get(cell) ?? this.cells.set(cell, []).get(cell)).push(box); }
    free(box) {
      for (const cell of this.near(box)) for (const other of this.cells.get(cell) ?? [])
        if (box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]) return false;
      return true;
    }
  }

  function shorten(text, room) {
    if (measured(text) <= room) return text;
    for (let length = text.length - 1; length >= 4; length--) {
      const shorter = text.slice(0, length).replace(/[\s,]+$/, "") + "…";
      if (measured(shorter) <= room) return shorter;
    }
    return "";
  }

  function labels() {
    const source = model("labels"), {x, y, left, top, width, height} = frame();
    const {x: xs, y: ys, r, label, brief, name, inside} = nodes(), out = {x: [], y: [], text: [], align: [], shift: []};
    pen.font = getComputedStyle(document.body).getPropertyValue("--label-font");
    const perRow = Math.abs(y.compute(1) - y.compute(0)), perColumn = columnStep();
    const note = byId("map-more"), bottom = top + height;
    const taken = new Taken(), seen = [];
    for (let i = 0; i < xs.length; i++) {
      const px = x.compute(xs[i]), py = y.compute(ys[i]), radius = r[i] * perRow;
      if (px < left - 20 || px > left + width + 200 || py < top - 10 || py > top + height + 10) continue;
      taken.add([px - radius, py - radius, px + radius, py + radius]);
      seen.push([i, px, py, radius]);
    }
    if (note?.textContent) taken.add([left, bottom - note.offsetHeight - NOTE, left + NOTE + note.offsetWidth, bottom]);
    const place = (i, text, px, py, align, shift) => {
      const wide = measured(text), start = align === "left" ? px : align === "right" ? px - wide : px - wide / 2;
      const box = [start - 1, py - 12, start + wide + 1, py + 1];
      if (!text || box[0] < left || box[2] > left + width || box[1] < top + under || box[3] > bottom || !taken.free(box)) return false;
      taken.add(box);
      out.x.push(xs[i]); out.y.push(ys[i]); out.text.push(text); out.align.push(align); out.shift.push(shift);
      return true;
    };
    // `shift` is [dx, dy] in pixels from the node's centre; the column is split below, Bokeh takes two columns
    for (const [i, px, py, radius] of seen)
      if (inside[i]) place(i, inside[i], px + radius + 4, py + 4, "left", [radius + 4, 4]);
    if (perRow >= 15) for (const [i, px, py, radius] of seen) {
      if (name[i]) {
        const text = shorten(name[i], Math.max(130, perColumn * 1.6));
        if (!place(i, text, px, py - radius - 4, "center", [0, -radius - 4])) place(i, text, px - radius, py - radius - 4, "left", [-radius, -radius - 4]);
      }
    }
    const fits = ([i, px, py, radius], text, after = text) => {
      const above = Math.min(radius * 0.55, 6) + 3;
      return place(i, text, px - radius - 3, py - above, "right", [-radius - 3, -above])
        || place(i, text, px, py - radius - 3, "center", [0, -radius - 3])
        || place(i, after, px + radius + 4, py + 4, "left", [radius + 4, 4]);
    };
    // First what a column has room for; what is wider takes what is left free beside it, and only then is it cut
    const wide = [], ends = new Map();           // row -> its last node: after it, there is no ribbon to write on
    for (let i = 0; i < xs.length; i++) ends.set(ys[i], Math.max(xs[i], ends.get(ys[i]) ?? -1));
    if (perRow >= 15) for (const each of seen) {
      const [i, , , radius] = each, room = perColumn - radius - 14;
      if (!label[i]) continue;
      const text = [label[i], brief[i]].find((words) => measured(words) <= room);
      if (text === undefined) wide.push(each);
      else fits(each, text, shorten(brief[i], perColumn - radius - 6));
    }
    for (const each of wide) {
      const [i, , , radius] = each, text = (columns, gap) => shorten(brief[i], columns * perColumn - radius - gap);
      const most = ends.get(ys[i]) === xs[i] ? Infinity : 1;
      [Infinity, 4, 3, 2.5, 2, 1.5, 1].some((columns) => fits(each, text(columns, 14), columns <= most ? text(columns, 6) : ""));
    }
    Object.assign(source.data, {
      x: out.x, y: out.y, text: out.text, align: out.align,
      dx: out.shift.map((s) => s[0]), dy: out.shift.map((s) => s[1] - CAPITAL / 2),
    });
    source.change.emit();
  }

  // ---- names on the Pareto front, where they meet no point and no other name: beside their points, or at the end of a line
  const BESIDE = [[10, 4, "left"], [-10, 4, "right"], [9, -8, "left"], [-9, -8, "right"], [9, 17, "left"], [-9, 17, "right"]];
  const APART = [28, 46, 68, 92].flatMap((far) => [[0, 1], [0.7, 0.7], [-0.7, 0.7], [0, -1], [0.7, -0.7], [-0.7, -0.7]].map(
    ([x, y]) => [x * far, y * far + 4, x > 0 ? "left" : x < 0 ? "right" : "center"]));
  const MOST_LINES = 12;
  let front = [], whole = [];                   // `whole`: the ranges that show all points
  function frontNames() {
    const {x_scale, y_scale, bbox: {left, top, width, height}} = view("scatter").frame, taken = new Taken();
    const out = {x: [], y: [], text: [], align: [], dx: [], dy: []}, lines = {x0: [], y0: [], x1: [], y1: []};
    pen.font = getComputedStyle(document.body).getPropertyValue("--label-font");
    const points = model("models").data;
    for (let i = 0; i < points.key.length; i++) {
      const px = x_scale.compute(points.x[i]), py = y_scale.compute(points.y[i]), r = points.size[i] / 2;
      if (Number.isFinite(px + py)) taken.add([px - r, py - r, px + r, py + r]);
    }
    for (const {x, y, text} of front) {
      const px = x_scale.compute(x), py = y_scale.compute(y), wide = measured(text);
      for (const [dx, dy, align] of front.length <= MOST_LINES ? [...BESIDE, ...APART] : BESIDE) {
        const start = px + dx - wide * {left: 0, center: 0.5, right: 1}[align], box = [start - 2, py + dy - 12, start + wide + 2, py + dy + 2];
        if (box[0] < left || box[2] > left + width || box[1] < top || box[3] > top + height || !taken.free(box)) continue;
        taken.add(box);
        out.x.push(x); out.y.push(y); out.text.push(text); out.align.push(align); out.dx.push(dx); out.dy.push(dy - CAPITAL / 2);
        if (Math.hypot(dx, dy) > 22) {
          lines.x0.push(x); lines.y0.push(y);
          lines.x1.push(x_scale.invert(px + dx)); lines.y1.push(y_scale.invert(py + dy + (dy > 0 ? -11 : 2)));
        }
        break;
      }
    }
    for (const [name, data] of [["front_labels", out], ["front_lines", lines]]) {
      Object.assign(model(name).data, data);
      model(name).change.emit();
    }
  }
  const ranges = () => [model("scatter").x_range, model("scatter").y_range];
  let naming = false, live = false;             // before the start nothing is drawn: it is settled at once then
  function name() {
    if (naming || !live) return;
    naming = true;
    requestAnimationFrame(() => { naming = false; frontNames(); });
  }

  let waiting = false;
  function settle() {                            // once per frame, however many ranges changed
    if (waiting || !live) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; settleNow(); });
  }

  function settleNow() { headers(); shown(); labels(); }

  function shown() {                            // says when part of the map is out of sight
    const note = byId("map-more"); if (!note || !content) return;
    const {x, y, left, top, width, height} = frame();
    const part = (what, from, to, all) => {
      const first = Math.max(0, Math.ceil(from)), last = Math.min(all - 1, Math.floor(to));
      if (!(first <= last) || (first === 0 && last === all - 1)) return [];   // of a close look, none may be in the middle of it
      return [first === last ? `${what} ${first + 1} of ${all}` : `${what}s ${first + 1} to ${last + 1} of ${all}`];
    };
    note.textContent = [
      ...part("Row", y.invert(top + under), y.invert(top + height), content.rows),
      ...part("column", x.invert(left), x.invert(left + width), content.columns),
    ].join(", ").replace(/^c/, "C");
  }

  // ---- colours of text follow the page's theme
  function paint() {
    const style = getComputedStyle(document.documentElement), ink = (name) => style.getPropertyValue(name).trim();
    for (const [name, changes] of Object.entries({
      "map-labels": {text_color: ink("--ink"), background_fill_color: ink("--card")},
      "front-labels": {text_color: ink("--ink"), background_fill_color: ink("--card")},
    })) model(name)?.glyph?.setv(changes, {sync: false});
    for (const name of ["map", "scatter"]) view(name)?.request_paint();
  }

  // ---- wheel pans, with Ctrl it zooms, as people know it from maps of their editor
  function wheel(event) {
    event.preventDefault();
    event.stopPropagation();
    const box = byId("map").getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
    else pan(event.shiftKey ? event.deltaY : event.deltaX, event.shiftKey ? 0 : event.deltaY);
  }

  // ---- keyboard
  function nearest(dx, dy) {
    const {x: xs, y: ys} = nodes();
    if (cursor < 0 || cursor >= xs.length) return xs.length ? 0 : -1;
    let best = -1, least = Infinity;
    for (let i = 0; i < xs.length; i++) {
      const along = (xs[i] - xs[cursor]) * dx + (ys[i] - ys[cursor]) * dy;
      const aside = Math.abs((xs[i] - xs[cursor]) * dy) + Math.abs((ys[i] - ys[cursor]) * dx);
      if (along > 1e-6 && along + 3 * aside < least) { least = along + 3 * aside; best = i; }
    }
    return best < 0 ? cursor : best;
  }

  function key(event) {
    if (event.target !== byId("map")) return;
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    if (moves[event.key]) {
      cursor = nearest(...moves[event.key]);
      if (cursor >= 0) { bring(cursor); point(cursor); send("hover", {key: nodes().key[cursor], aloud: true}); }
    } else if ((event.key === "Enter" || event.key === " ") && cursor >= 0) {
      send("node", {key: nodes().key[cursor], add: event.shiftKey});
    } else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "Escape") send("clear");
    else if (event.key === "0") look(false);
    else return;
    event.preventDefault();
  }

  function point(index) {
    const source = model("pointer"), {x, y, r} = nodes();
    const there = index >= 0 && index < x.length;
    Object.assign(source.data, there ? {x: [x[index]], y: [y[index]], r: [r[index] * 1.35]} : {x: [], y: [], r: []});
    source.change.emit();
  }

  listen("map", (next) => { content = next; widths.clear(); cursor = -1; if (!touched || next.fresh) { look(false); touched = false; } else hold(); settle(); });
  listen("front", (next) => {
    front = next.named;
    whole = next.whole;
    name();
  });
  listen("bring", (key_) => { const at = nodes().key.indexOf(key_); if (at >= 0) { bring(at); cursor = at; point(at); } });
  listen("do fit", ({dataset: {plot}}) => {
    if (plot === "scatter") ranges().forEach((range, at) => set(range, ...whole[at]));
    else { look(true); touched = false; }
  });
  listen("do closer", () => zoom(1.3));
  listen("do farther", () => zoom(1 / 1.3));
  listen("do tool", (button) => {
    const {plot, tool} = button.dataset, toolbar = model(plot).toolbar;
    const wanted = toolbar.tools.find((t) => t.name === tool);
    toolbar.setv({active_drag: wanted}, {sync: false});
    toolbar.tools.forEach((t) => { if (["pan", "box", "lasso"].includes(t.name)) t.active = t === wanted; });
    document.querySelectorAll(`[data-here=tool][data-plot=${plot}]`).forEach((b) => b.setAttribute("aria-pressed", b === button));
  });
  const ground = () => send("ground", {dark: document.documentElement.dataset.theme === "dark"});
  listen("theme", () => { paint(); ground(); });
  listen("start", () => {
    const map = model("map"), box = byId("map");
    for (const range of [map.x_range, map.y_range]) range.change.connect(() => { hold(); settle(); });
    for (const size of [map.properties.inner_width, map.properties.inner_height])
      size.change.connect(() => { if (touched) hold(); else look(false); settle(); });
    // Bokeh takes any two clicks within 300 ms for a double click, wherever they are, and starts no tool for those
    for (const {toolbar} of [model("map"), model("scatter")])
      toolbar.gestures.doubletap.active = toolbar.tools.find((tool) => tool.gesture === "doubletap");
    const scatter = model("scatter");
    for (const each of [...ranges(), scatter.properties.inner_width, scatter.properties.inner_height]) each.change.connect(name);
    box.addEventListener("wheel", wheel, {passive: false, capture: true});
    box.addEventListener("keydown", key);
    box.addEventListener("pointerdown", () => { touched = true; });
    box.addEventListener("dblclick", () => { const at = model("nodes").inspected.indices[0]; if (at !== undefined) send("fold", {key: nodes().key[at]}); });
    box.addEventListener("blur", () => point(-1));
    paint();
    ground();
    live = true;
    settleNow();
    frontNames();
  });
  // Where a plot is looked at from: [start, end] of both ranges; `null` shows it as at the start
  function show(name, ends) {
    const {x_range, y_range} = model(name);
    if (name === "map" && !ends) { touched = false; look(false); return; }
    const [x0, x1, y0, y1] = ends ?? whole.flat();
    if (x0 === undefined) return;
    set(x_range, x0, x1);
    set(y_range, y0, y1);
    if (name === "map") touched = true;
  }
  const wholeOf = (name) => name === "scatter" ? whole.flat() : content && view("map").frame.bbox.width > 1 ? fitting(false).flat() : null;
  Object.assign(bouillon, {look, zoom, pan, frame, show, whole: wholeOf, headersOf: () => content?.headers ?? []});
})();
