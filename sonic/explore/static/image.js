// A picture whose levels are colours: its pixels, its axes and the bar of its colours.

import { outline, sideTicks, stroke, tint, write } from "./drawing.js";
import { colours, rowMap } from "./scale.js";
import { noteTicks, roundTicks, rowTicks, timeTicks } from "./ticks.js";

// The room to the right of a picture for the bar, in px.
export const BAR = 64;
// So many lines of pixels on another scale than that of the rows.
const LINES = 512;
const UNITS = {"frequency": "Hz", "tempo": "BPM", "lag": "lag, s", "pitch class": ""};

// The levels of a pane as a canvas, a pixel a level; made anew only for another picture, other colours, another scale.
function levelImage(pane) {
  const {picture, look, image} = pane, own = pane.scale() === Object.values(pane.scales)[0];
  const key = [own || look.scale, look.colormap, ...pane.range].join();
  if (pane.made === key) return image;
  const {rows, columns, levels} = picture, height = own ? rows : LINES;
  const map = own ? null : rowMap(picture, pane.scale(), height);
  Object.assign(image, {width: columns, height});
  const context = image.getContext("2d"), data = context.createImageData(columns, height);
  const pixels = new Uint32Array(data.data.buffer), palette = colours(pane.table, picture, pane.range);
  for (let line = 0; line < height; line++) {
    const from = (map ? map[line] : line) * columns, to = (height - 1 - line) * columns;
    for (let column = 0; column < columns; column++) pixels[to + column] = palette[levels[from + column]];
  }
  context.putImageData(data, 0, 0);
  pane.made = key;
  return image;
}

export function paintImage(context, pane) {
  const {box, theme} = pane;
  paintPixels(context, pane);
  outline(context, box, theme.line);
  paintTimes(context, pane);
  paintHeights(context, pane);
  paintBar(context, pane);
}

// The part of the pixels that is seen; beyond the track there is the darkest colour.
function paintPixels(context, pane) {
  const {box, picture} = pane, [from, to] = pane.look.window, [low, high] = pane.window, scale = pane.scale();
  const image = levelImage(pane);
  const left = (from - picture.start) / picture.step, right = (to - picture.start) / picture.step;
  const top = (1 - scale.at(high)) * image.height, bottom = (1 - scale.at(low)) * image.height;
  context.fillStyle = tint(pane.table, 0);
  context.fillRect(box.x, box.y, box.width, box.height);
  const a = Math.max(left, 0), b = Math.min(right, picture.columns), share = box.width / (right - left);
  const x = box.x + (a - left) * share, width = (b - a) * share;
  if (b <= a) return;
  const narrow = narrowed(pane, image, a, b, Math.max(1, Math.round(width * devicePixelRatio)));
  context.imageSmoothingEnabled = false;  // a row or a column is never blurred into its neighbours
  const [first, count] = narrow === image ? [a, b - a] : [0, narrow.width];
  context.drawImage(narrow, first, top, count, bottom - top, x, box.y, width, box.height);
}

// Where several columns share a pixel they are averaged first, and only along time; then the rows can stay as they are.
function narrowed(pane, image, a, b, pixels) {
  if (b - a <= pixels) return image;
  pane.narrow ??= document.createElement("canvas");
  Object.assign(pane.narrow, {width: pixels, height: image.height});
  const context = pane.narrow.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, a, 0, b - a, image.height, 0, 0, pixels, image.height);
  return pane.narrow;
}

function paintTimes(context, {box, theme, look}) {
  const [from, to] = look.window, bottom = box.y + box.height;
  context.strokeStyle = theme.soft;
  for (const {at, text} of timeTicks(look.window, box.width / 75)) {
    const x = box.x + (at - from) / (to - from) * box.width;
    stroke(context, x, bottom, x, bottom + 4);
    write(context, text, x, bottom + 6, theme.ink, "center", "top");
  }
}

function paintHeights(context, pane) {
  const {box, picture, theme} = pane, {name} = picture.axis, [low, high] = pane.window;
  const scale = pane.scale(), gap = 15 / box.height, place = tick => pane.place(tick.at);
  sideTicks(context, pane, rowTicks(picture, scale, [low, high], gap), box.x, -1, place);
  if (name === "frequency") {
    sideTicks(context, pane, noteTicks(scale, [Math.max(low, 16), high], gap), box.x + box.width, 1, place);
  }
  write(context, UNITS[name], box.x - 6, box.y - 7, theme.soft, "right");
}

// Which level has which colour.
function paintBar(context, pane) {
  const {box, theme} = pane, [low, high] = pane.range, bar = {...box, x: pane.size[0] - BAR + 4, width: 10};
  for (let y = 0; y < bar.height; y++) {
    context.fillStyle = tint(pane.table, 1 - y / (bar.height - 1));
    context.fillRect(bar.x, bar.y + y, bar.width, 1.5);
  }
  outline(context, bar, theme.line);
  const ticks = roundTicks([low, high], Math.max(2, bar.height / 36), value => String(value).replace("-", "−"));
  sideTicks(context, pane, ticks, bar.x + bar.width, 1, tick => (tick.at - low) / (high - low));
  context.save();
  context.translate(pane.size[0] - 5, bar.y + bar.height / 2);
  context.rotate(-Math.PI / 2);
  write(context, pane.picture.unit, 0, 0, theme.soft, "center", "alphabetic", bar.height);
  context.restore();
}
