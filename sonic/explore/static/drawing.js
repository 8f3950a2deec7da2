// Strokes and words on a canvas, and what stands around every picture: its title, its edge, its ticks.

export function stroke(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

// Light lines with a dark rim, which makes them visible on any colour.
export function rimmed(context, draw, colour, width = 1, rim = "#000a", wide = 3) {
  Object.assign(context, {strokeStyle: rim, lineWidth: wide});
  draw();
  Object.assign(context, {strokeStyle: colour, lineWidth: width});
  draw();
  context.lineWidth = 1;
}

export function outline(context, {x, y, width, height}, colour) {
  context.strokeStyle = colour;
  context.strokeRect(x - .5, y - .5, width + 1, height + 1);
}

// Nothing outside a box is painted until `context.restore()`.
export function clip(context, {x, y, width, height}) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
}

export function write(context, text, x, y, colour, align = "left", baseline = "alphabetic", room) {
  Object.assign(context, {fillStyle: colour, textAlign: align, textBaseline: baseline});
  context.fillText(text, x, y, room);
}

// Light letters with such a rim.
export function writeRimmed(context, text, x, y, colour, align, baseline, room) {
  Object.assign(context, {strokeStyle: "#000c", lineWidth: 3, textAlign: align, textBaseline: baseline});
  context.strokeText(text, x, y, room);
  context.lineWidth = 1;
  write(context, text, x, y, colour, align, baseline, room);
}

// As much of a text as there is room for.
function shortened(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  const letters = [...text];
  while (letters.length && context.measureText(letters.join("") + "…").width > room) letters.pop();
  return letters.length > 3 ? letters.join("").trimEnd() + "…" : "";
}

// The title in bold, and beside it the settings behind the picture.
export function heading(context, pane) {
  const {box, theme, picture, look} = pane, {font} = context;
  const title = look.names.length > 1 ? `${look.names[pane.side]}: ${picture.title}` : picture.title;
  context.font = `600 ${font}`;
  write(context, title, box.x, 13, theme.ink, "left", "alphabetic", box.width);
  const used = context.measureText(title).width + 8;
  context.font = font;
  write(context, shortened(context, picture.facts, box.width - used), box.x + used, 13, theme.soft);
}

// Ticks to the left (-1) or right (1) of an edge; `place` is the share of the height at which one stands.
export function sideTicks(context, pane, ticks, x, side, place) {
  const {box, theme} = pane;
  context.strokeStyle = theme.soft;
  for (const tick of ticks) {
    const y = box.y + (1 - place(tick)) * box.height;
    stroke(context, x, y, x + 4 * side, y);
    write(context, tick.text, x + 6 * side, y + .5, theme.ink, side < 0 ? "right" : "left", "middle");
  }
}

// The colour of a share of a colour table, as CSS has it.
export function tint(table, share) {
  const k = 3 * Math.round(255 * share);
  return `rgb(${table[k]},${table[k + 1]},${table[k + 2]})`;
}
