// The first page's scatterplot: names stand where they meet neither each other nor a model; where there is no room they are
// left out, and their models keep them under the pointer. The server knows no widths.
const {listen, byId} = bouillon;
const GAP = 2, BESIDE = 14, ABOVE = 15, BELOW = 24;   // pixels
const PLACES = [[BESIDE, 4, "start"], [-BESIDE, 4, "end"], [0, -ABOVE, "middle"], [0, BELOW, "middle"]];

const box = (element) => element.getBoundingClientRect();
const meet = (a, b) => a.left < b.right + GAP && b.left < a.right + GAP && a.top < b.bottom + GAP && b.top < a.bottom + GAP;
const inside = (a, b) => a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom;
const isFirst = (name) => name.closest(".first") !== null;

function put(name, frame, obstacles, models) {
  const own = box(name.closest(".decision-mark").querySelector(".dot"));
  // the one to ship is named even among many
  const others = isFirst(name) ? [] : models.filter((each) => each.left !== own.left || each.top !== own.top);
  for (const [x, y, anchor] of PLACES) {
    name.setAttribute("x", x);
    name.setAttribute("y", y);
    name.setAttribute("text-anchor", anchor);
    const here = box(name);
    if (inside(here, frame) && ![...obstacles, ...others].some((other) => meet(here, other))) { obstacles.push(here); return; }
  }
  name.style.display = "none";
}

function place() {
  const plot = byId("decision");
  if (!plot?.checkVisibility()) return;
  const frame = box(plot), obstacles = [...plot.querySelectorAll(".tick")].map(box), models = [...plot.querySelectorAll(".dot")].map(box);
  const names = [...plot.querySelectorAll(".name")];
  for (const name of names) name.style.display = "";
  for (const name of names.toSorted((a, b) => Number(isFirst(b)) - Number(isFirst(a)))) put(name, frame, obstacles, models);
}

listen("panes", (panes) => { if ("page" in panes) place(); });
listen("start", place);
addEventListener("resize", place);
