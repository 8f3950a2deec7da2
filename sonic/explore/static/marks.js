// What a map is drawn with: a shape and a colour for each group of tracks, lines and rings for the track that is meant.

import { element } from "./common.js";
import { stroke } from "./drawing.js";
import { pixelOf, stampOf } from "./raster.js";

const SHAPES = ["circle", "square", "up", "diamond", "down", "cross"];
const ROUND = 2 * Math.PI, A = .42, B = 1.12;
const CROSS = [
  [-A, -B], [A, -B], [A, -A], [B, -A], [B, A], [A, A], [A, B], [-A, B], [-A, A], [-B, A], [-B, -A], [-A, -A],
];

// The outline of a shape about as big as a circle of that radius.
function trace(context, shape, x, y, radius) {
  const corners = (...points) => {
    points.forEach(([right, down], k) => context[k ? "lineTo" : "moveTo"](x + right * radius, y + down * radius));
    context.closePath();
  };
  context.beginPath();
  if (shape === "circle") context.arc(x, y, radius, 0, ROUND);
  else if (shape === "square") corners([-.88, -.88], [.88, -.88], [.88, .88], [-.88, .88]);
  else if (shape === "up") corners([0, -1.25], [1.15, .8], [-1.15, .8]);
  else if (shape === "down") corners([0, 1.25], [1.15, -.8], [-1.15, -.8]);
  else if (shape === "diamond") corners([0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]);
  else corners(...CROSS);
}

// A point as a small picture; a rim of the paper's colour sets it off from those below it.
export function mark(shape, colour, radius, ratio, rim) {
  const side = 2 * Math.ceil((1.4 * radius + 1) * ratio) + 1, node = element("canvas", {width: side, height: side});
  const context = node.getContext("2d", {willReadFrequently: true}), middle = side / 2;
  trace(context, shape, middle, middle, radius * ratio);
  Object.assign(context, {fillStyle: colour, strokeStyle: rim, lineWidth: 1.2 * ratio, lineJoin: "round"});
  if (rim) context.stroke();
  context.fill();
  return node;
}

// Colours of the page, and which of the palettes goes with them.
export function themeOf(root, palette) {
  const style = getComputedStyle(root);
  const [red, green, blue] = (style.backgroundColor.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  const dark = .3 * red + .59 * green + .11 * blue < 128, of = name => style.getPropertyValue(name).trim();
  return {
    colours: palette[dark ? "dark" : "light"], ramp: palette[dark ? "dark_ramp" : "light_ramp"],
    rest: dark ? "#7d7584" : "#8d8892", faint: dark ? "#4a4352" : "#d3ced6",
    paper: style.backgroundColor, ink: of("--ink"), accent: of("--accent"), font: style.fontFamily,
  };
}

// The shape and the colour of an entry of a legend; what is left over, or has no value, is a small grey circle.
export function entryLook(theme, {ordered, entries}, index) {
  const {rest} = entries[index];
  if (rest) return {shape: "circle", colour: theme.rest, small: true};
  if (ordered) return {shape: "circle", colour: theme.ramp[index % theme.ramp.length], small: false};
  return {shape: SHAPES[index % SHAPES.length], colour: theme.colours[index % theme.colours.length], small: false};
}

// All points, in an order that favours no group; those that are filtered out are faint dots below the others.
export function paintPoints(sheet, {places, view, size, ratio, order, shown, codes, stamps, faint, theme}) {
  const {x, y} = places, scale = view.scale * ratio;
  const left = size[0] * ratio / 2 - view.x * scale, top = size[1] * ratio / 2 + view.y * scale;
  sheet.clear(pixelOf(theme.paper));
  for (const wanted of [0, 1]) {
    for (const k of order) {
      if (shown[k] !== wanted) continue;
      sheet.put(wanted ? stamps[codes[k]] : faint, Math.round(left + x[k] * scale), Math.round(top - y[k] * scale));
    }
  }
}

// A mark as it is put down on a sheet.
export function stamp(node) { return stampOf(node.getContext("2d").getImageData(0, 0, node.width, node.height)); }

// Lines from a point to others.
export function paintLines(context, from, ends, {ink, paper}) {
  for (const [colour, width] of [[paper, 3.5], [ink, 1.2]]) {
    Object.assign(context, {strokeStyle: colour, lineWidth: width});
    for (const to of ends) stroke(context, ...from, ...to);
  }
}

export function paintRing(context, [x, y], radius, colour, paper, width = 2) {
  for (const [tint, wide] of [[paper, width + 2], [colour, width]]) {
    Object.assign(context, {strokeStyle: tint, lineWidth: wide});
    context.beginPath();
    context.arc(x, y, radius, 0, ROUND);
    context.stroke();
  }
}
