// Pictures of the plots. CSV and the report come from the server.
const {listen, view, save, frame, headersOf} = bouillon;
const HEAD = 36;                               // the names of columns stand in two lines, by turns
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function headerTexts() {
  const {x} = frame();
  return headersOf().map((header, at) => ({text: header.text, x: x.compute(at), y: 14 + 14 * (at % 2)}));
}

function png(name) {
  const layer = view(name).export("png", true), {canvas, ctx, pixel_ratio: ratio} = layer;
  ctx.save();
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.fillStyle = style("--card");
  if (name === "map") ctx.fillRect(0, 0, canvas.width, HEAD);
  ctx.fillStyle = style("--ink");
  ctx.font = style("--label-font");
  ctx.textAlign = "center";
  if (name === "map") for (const {text, x, y} of headerTexts()) ctx.fillText(text, x, y);
  ctx.restore();
  const sheet = document.createElement("canvas");
  Object.assign(sheet, {width: canvas.width, height: canvas.height});
  const paper = sheet.getContext("2d");
  paper.fillStyle = style("--card");
  paper.fillRect(0, 0, sheet.width, sheet.height);
  paper.drawImage(canvas, 0, 0);
  sheet.toBlob((blob) => save(`${name}.png`, blob), "image/png");
}

function svg(name) {
  const layer = view(name).export("svg", false), root = layer.ctx.get_svg();
  const add = (tag, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text) element.textContent = text;
    return element;
  };
  root.insertBefore(add("rect", {width: "100%", height: "100%", fill: style("--card")}), root.firstChild);
  if (name === "map") root.appendChild(add("rect", {width: "100%", height: HEAD, fill: style("--card")}));
  if (name === "map") for (const {text, x, y} of headerTexts())
    root.appendChild(add("text", {x, y, fill: style("--ink"), "text-anchor": "middle", style: `font: ${style("--label-font")}`}, text));
  save(`${name}.svg`, new Blob([new XMLSerializer().serializeToString(root)], {type: "image/svg+xml"}));
}

listen("do png", (button) => png(button.dataset.plot));
listen("do svg", (button) => svg(button.dataset.plot));

