// A spectrum as a line: frequency across, level up.

import { clip, outline, sideTicks, stroke, tint, write } from "./drawing.js";
import { hertzTicks, noteTicks, roundTicks } from "./ticks.js";

export function paintCurve(context, pane) {
  const {box, picture, theme} = pane, [low, high] = pane.window, scale = pane.scale();
  // some air above the loudest point
  const [least, most] = pane.range, top = most + .08 * (most - least);
  const right = box.x + box.width, bottom = box.y + box.height, gap = 34 / box.width;
  const x = hertz => box.x + pane.place(hertz) * box.width;
  const y = value => box.y + (top - Math.min(Math.max(value, least), top)) / (top - least) * box.height;
  const grid = hertzTicks(scale, [low, high], gap), notes = noteTicks(scale, [Math.max(low, 16), high], gap);
  const levels = roundTicks([least, top], Math.max(3, box.height / 26), value => String(value).replace("-", "−"));

  context.strokeStyle = theme.line;
  for (const {at} of grid) stroke(context, x(at), box.y, x(at), bottom);
  for (const {at} of levels) stroke(context, box.x, y(at), right, y(at));

  clip(context, box);
  const points = Array.from({length: picture.points}, (_, k) => x(scale.value((k + .5) / picture.points)));
  for (const [series, share, width] of [[picture.levels, .62, 1], [picture.smooth, .4, 2]]) {
    Object.assign(context, {strokeStyle: tint(pane.table, share), lineWidth: width, lineJoin: "round"});
    paintLine(context, points, series, y);
  }
  context.restore();

  outline(context, box, theme.soft);
  sideTicks(context, pane, levels, box.x, -1, tick => (tick.at - least) / (top - least));
  for (const {at, text} of grid) write(context, text, x(at), bottom + 6, theme.ink, "center", "top");
  for (const {at, text} of notes) write(context, text, x(at), box.y - 4, theme.soft, "center");
  write(context, picture.decibel ? "dB" : "", box.x - 6, box.y - 4, theme.soft, "right");
  write(context, "Hz", right - 14, bottom - 5, theme.soft);
}

// A line through the points that have a level; where one has none, the pen is lifted.
function paintLine(context, points, series, y) {
  context.beginPath();
  let pen = false;
  points.forEach((x, k) => {
    const drawn = Number.isFinite(series[k]);
    if (drawn) context[pen ? "lineTo" : "moveTo"](x, y(series[k]));
    pen = drawn;
  });
  context.stroke();
}
