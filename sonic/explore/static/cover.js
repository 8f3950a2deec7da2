// What moves above a picture: loop, regions, cursor, crosshair, and the box that is being dragged.

import { clip, rimmed, stroke, writeRimmed } from "./drawing.js";

const REGION = "#5ee7f0";

export function paintCover(context, pane) {
  const {box, look, picture} = pane, [from, to] = look.window;
  const x = time => box.x + (time - from) / (to - from) * box.width;
  const y = height => box.y + (1 - pane.place(height)) * box.height;
  clip(context, box);
  if (picture.kind === "image") {
    if (look.loop) paintLoop(context, box, ...look.loop.map(x));
    look.regions.forEach((region, k) => paintRegion(context, pane, region, x, y, k === look.chosen));
    paintCursor(context, box, x(look.cursor));
  }
  if (look.point?.view === picture.view) paintCrosshair(context, pane, x, y);
  if (look.drag?.pane === pane) paintDrag(context, look.drag);
  context.restore();
}

// What lies outside the loop is darkened.
function paintLoop(context, {x, y, width, height}, a, b) {
  context.fillStyle = "#0007";
  context.fillRect(x, y, a - x, height);
  context.fillRect(b, y, x + width - b, height);
  context.fillStyle = "#ffd54a";
  for (const edge of [a - 1, b - 1]) context.fillRect(edge, y, 2, height);
}

// A region has its heights only in a picture with the axis on which it was marked.
function paintRegion(context, {box, picture}, region, x, y, chosen) {
  const a = x(region.start), b = x(region.end), high = region.low !== null && region.axis === picture.axis.name;
  if (b < box.x || a > box.x + box.width) return;
  const top = high ? y(region.high) : box.y, bottom = high ? y(region.low) : box.y + box.height;
  context.fillStyle = chosen ? "#5ee7f040" : "#5ee7f022";
  context.fillRect(a, top, Math.max(b - a, 1), bottom - top);
  rimmed(context, () => context.strokeRect(a, top, b - a, bottom - top), REGION, chosen ? 2 : 1);
  writeRimmed(context, region.label, Math.max(a + 4, box.x + 3), top + 3, REGION, "left", "top", 160);
}

function paintCursor(context, {y, height}, x) {
  rimmed(context, () => stroke(context, x, y, x, y + height), "#fff", 1.5, "#000a", 4);
}

// Lines through the point that is read, in every picture of its view; of a spectrum the frequency lies across.
function paintCrosshair(context, pane, x, y) {
  const {box, look, picture, theme} = pane, {time, height} = look.point, curve = picture.kind === "curve";
  const across = curve ? box.x + pane.place(height) * box.width : x(time);
  const draw = () => {
    stroke(context, across, box.y, across, box.y + box.height);
    if (!curve) stroke(context, box.x, y(height), box.x + box.width, y(height));
  };
  context.setLineDash([4, 3]);
  rimmed(context, draw, curve ? theme.soft : "#fffc", 1, curve ? "#0000" : "#0008", 2.5);
  context.setLineDash([]);
}

function paintDrag(context, {from, to, region}) {
  const [x, y] = [0, 1].map(k => Math.min(from[k], to[k]));
  const [width, height] = [0, 1].map(k => Math.abs(to[k] - from[k]));
  context.fillStyle = region ? "#5ee7f030" : "#ffffff22";
  context.fillRect(x, y, width, height);
  rimmed(context, () => context.strokeRect(x, y, width, height), region ? REGION : "#fff");
}
