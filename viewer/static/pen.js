// How wide texts are in the plots' type, without laying the page out.
const pen = document.createElement("canvas").getContext("2d"), widths = new Map();
const font = () => getComputedStyle(document.body).getPropertyValue("--label-font");

export function measured(text) {                // in the labels' type
  let width = widths.get(text);
  if (width === undefined) {
    if (!widths.size) pen.font = font();
    width = pen.measureText(text).width;
    widths.set(text, width);
  }
  return width;
}

export function widest(texts, weight) {         // in the labels' type at another weight
  pen.font = `${weight} ${font()}`;
  const width = Math.max(0, ...texts.map((text) => pen.measureText(text).width));
  pen.font = font();
  return width;
}

export const forget = () => widths.clear();
