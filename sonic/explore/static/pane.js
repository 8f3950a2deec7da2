// One picture on a canvas: colours, axes and bar below, and on a second canvas what moves: cursor, regions, crosshair.

import { element } from "./common.js";
import { colours, hertzTicks, noteTicks, roundTicks, rowMap, rowTicks, scales, timeTicks } from "./scale.js";

const LEFT = 46, TOP = 20, BOTTOM = 20, NOTE = 34, BAR = 64;  // px around a picture
const LINES = 512;  // of a picture that is drawn on another scale than its own
const REGION = "#5ee7f0";

export class Pane {
  constructor(label) {
    this.canvas = element("canvas", {className: "picture", "aria-hidden": "true"});
    this.cover = element("canvas", {className: "cover", tabIndex: 0, role: "application", "aria-label": label});
    this.node = element("div", {className: "pane"}, this.canvas, this.cover);
    this.image = document.createElement("canvas");
    this.picture = null;
    this.heights = null;  // [low, high] in the unit of the axis that rises; none: all of it
    this.size = [0, 0];
  }

  // A picture with its levels as an array.
  show(picture) {
    const same = this.picture && picture && this.picture.view === picture.view && this.picture.axis?.name === picture.axis?.name;
    if (!same) this.heights = null;
    this.picture = picture;
    this.made = null;
  }

  get box() {
    const [width, height] = this.size, curve = this.picture?.kind === "curve";
    const right = curve ? 12 : NOTE + BAR;  // the same for all that unfold in time, so that moments lie above each other
    const top = curve ? TOP + 14 : TOP;
    return {x: LEFT, y: top, width: Math.max(width - LEFT - right, 40), height: Math.max(height - top - BOTTOM, 40)};
  }

  scale(name) {
    const all = scales(this.picture);
    return all[name] ?? Object.values(all)[0];
  }

  window(look) {
    const scale = this.scale(look.scale);
    if (!this.heights) return [scale.low, scale.high];
    return [Math.max(this.heights[0], scale.low), Math.min(this.heights[1], scale.high)];
  }

  range(look) { return look.ranges[this.picture.view] ?? this.picture.shown; }

  resize(width, height, ratio) {
    this.size = [width, height];
    for (const canvas of [this.canvas, this.cover]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      Object.assign(canvas.style, {width: `${width}px`, height: `${height}px`});
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
  }

  // Time and height (in the unit of the axis) at a point of the canvas; of a spectrum the frequency lies across.
  at(x, y, look) {
    const box = this.box, across = (x - box.x) / box.width, up = 1 - (y - box.y) / box.height;
    const inside = across >= 0 && across <= 1 && up >= 0 && up <= 1;
    const scale = this.scale(look.scale), [low, high] = this.window(look);
    const along = share => scale.value(scale.at(low) + share * (scale.at(high) - scale.at(low)));
    if (this.picture.kind === "curve") return {inside, time: null, height: along(across)};
    const [from, to] = look.window;
    return {inside, time: from + across * (to - from), height: along(up)};
  }

  place(height, look) {  // share of the axis
    const scale = this.scale(look.scale), [low, high] = this.window(look);
    return (scale.at(height) - scale.at(low)) / (scale.at(high) - scale.at(low));
  }

  // ---- below: what changes with the picture, the colours and the window

  paint(look) {
    const context = this.canvas.getContext("2d"), [width, height] = this.size, box = this.box;
    context.clearRect(0, 0, width, height);
    if (!this.picture) return;
    const style = getComputedStyle(this.node);
    this.ink = style.getPropertyValue("--ink") || "#222";
    this.soft = style.getPropertyValue("--soft") || "#666";
    this.line = style.getPropertyValue("--line") || "#ddd";
    context.font = `11px ${style.fontFamily}`;
    this.#head(context, box, look);
    if (this.picture.kind === "curve") this.#paintCurve(context, box, look);
    else this.#paintImage(context, box, look);
    if (this.picture.silent) this.#word(context, "silent", box.x + box.width / 2, box.y + box.height / 2);
  }

  #head(context, box, look) {
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    context.fillStyle = this.ink;
    const title = look.names.length > 1 ? `${look.names[this.side]}: ${this.picture.title}` : this.picture.title;
    context.font = context.font.replace(/^/, "600 ");
    context.fillText(title, box.x, 13, box.width);
    const used = context.measureText(title).width + 8;
    context.font = context.font.replace("600 ", "");
    context.fillStyle = this.soft;
    context.fillText(shortened(context, this.picture.facts, box.width - used), box.x + used, 13);
  }

  #image(look) {
    const picture = this.picture, scale = this.scale(look.scale), native = scale === Object.values(scales(picture))[0];
    const name = native || look.scale === "mel" ? "rows" : look.scale, range = this.range(look);
    const key = [name, look.colormap, ...range].join();
    if (this.made === key) return this.image;
    const {rows, columns, levels} = picture, own = name === "rows";
    const height = own ? rows : LINES, map = own ? null : rowMap(picture, scale, height);
    this.image.width = columns;
    this.image.height = height;
    const context = this.image.getContext("2d"), data = context.createImageData(columns, height);
    const pixels = new Uint32Array(data.data.buffer), palette = colours(look.tables[look.colormap], picture, range);
    for (let line = 0; line < height; line++) {
      const from = (own ? line : map[line]) * columns, to = (height - 1 - line) * columns;
      for (let column = 0; column < columns; column++) pixels[to + column] = palette[levels[from + column]];
    }
    context.putImageData(data, 0, 0);
    this.made = key;
    return this.image;
  }

  #paintImage(context, box, look) {
    const picture = this.picture, scale = this.scale(look.scale), [low, high] = this.window(look), [from, to] = look.window;
    const image = this.#image(look);
    const left = (from - picture.start) / picture.step, right = (to - picture.start) / picture.step;
    const top = (1 - scale.at(high)) * image.height, bottom = (1 - scale.at(low)) * image.height;
    context.fillStyle = `rgb(${look.tables[look.colormap].slice(0, 3).join()})`;
    context.fillRect(box.x, box.y, box.width, box.height);
    // smooth only where several columns share a pixel: a pixel is never blurred into its neighbours
    context.imageSmoothingEnabled = right - left > box.width;
    context.imageSmoothingQuality = "high";
    const a = Math.max(left, 0), b = Math.min(right, picture.columns), share = box.width / (right - left);
    if (b > a) context.drawImage(image, a, top, b - a, bottom - top, box.x + (a - left) * share, box.y, (b - a) * share, box.height);
    context.strokeStyle = this.line;
    context.strokeRect(box.x - .5, box.y - .5, box.width + 1, box.height + 1);
    this.#times(context, box, look.window);
    const gap = 15 / box.height;
    this.#ticks(context, rowTicks(picture, scale, [low, high], gap), box.x, -1, tick => this.place(tick.at, look), box);
    if (picture.axis.name === "frequency") {
      const notes = noteTicks(scale, [Math.max(low, 16), high], gap);
      this.#ticks(context, notes, box.x + box.width, 1, tick => this.place(tick.at, look), box);
    }
    const unit = {"frequency": "Hz", "tempo": "BPM", "lag": "lag, s", "pitch class": ""}[picture.axis.name];
    context.fillStyle = this.soft;
    context.textAlign = "right";
    context.textBaseline = "alphabetic";
    context.fillText(unit, box.x - 6, box.y - 7);
    this.#bar(context, box, look);
  }

  #times(context, box, window) {
    const [from, to] = window;
    context.fillStyle = this.ink;
    context.strokeStyle = this.soft;
    context.textBaseline = "top";
    context.textAlign = "center";
    for (const {at, text} of timeTicks(window, box.width / 75)) {
      const x = box.x + (at - from) / (to - from) * box.width;
      stroke(context, x, box.y + box.height, x, box.y + box.height + 4);
      context.fillText(text, x, box.y + box.height + 6);
    }
  }

  // Ticks to the left (-1) or right (1) of an edge.
  #ticks(context, ticks, x, side, place, box) {
    context.fillStyle = this.ink;
    context.strokeStyle = this.soft;
    context.textBaseline = "middle";
    context.textAlign = side < 0 ? "right" : "left";
    for (const tick of ticks) {
      const y = box.y + (1 - place(tick)) * box.height;
      stroke(context, x, y, x + 4 * side, y);
      context.fillText(tick.text, x + 6 * side, y + .5);
    }
  }

  #bar(context, box, look) {
    const [low, high] = this.range(look), x = this.size[0] - BAR + 4, width = 10;
    const table = look.tables[look.colormap];
    for (let y = 0; y < box.height; y++) {
      const k = 3 * Math.round(255 * (1 - y / (box.height - 1)));
      context.fillStyle = `rgb(${table[k]},${table[k + 1]},${table[k + 2]})`;
      context.fillRect(x, box.y + y, width, 1.5);
    }
    context.strokeStyle = this.line;
    context.strokeRect(x - .5, box.y - .5, width + 1, box.height + 1);
    const ticks = roundTicks([low, high], Math.max(2, box.height / 36), value => String(value).replace("-", "−"));
    this.#ticks(context, ticks, x + width, 1, tick => (tick.at - low) / (high - low), box);
    context.save();
    context.translate(this.size[0] - 5, box.y + box.height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    context.fillStyle = this.soft;
    context.fillText(this.picture.unit, 0, 0, box.height);
    context.restore();
  }

  #paintCurve(context, box, look) {
    const picture = this.picture, [low, high] = this.window(look), range = this.range(look);
    const span = range[1] - range[0], top = range[1] + .08 * span;
    const x = hertz => box.x + this.place(hertz, look) * box.width;
    const y = value => box.y + (top - Math.min(Math.max(value, range[0]), top)) / (top - range[0]) * box.height;
    const scale = this.scale(picture.scale), gap = 34 / box.width;
    context.strokeStyle = this.line;
    const grid = hertzTicks(scale, [low, high], gap), levels = roundTicks([range[0], top], Math.max(3, box.height / 26));
    for (const tick of grid) stroke(context, x(tick.at), box.y, x(tick.at), box.y + box.height);
    for (const tick of levels) stroke(context, box.x, y(tick.at), box.x + box.width, y(tick.at));
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.width, box.height);
    context.clip();
    const tables = look.tables[look.colormap], tint = share => { const k = 3 * Math.round(255 * share); return `rgb(${tables[k]},${tables[k + 1]},${tables[k + 2]})`; };
    for (const [series, colour, width] of [[picture.levels, tint(.62), 1], [picture.smooth, tint(.4), 2]]) {
      context.beginPath();
      let pen = false;
      for (let point = 0; point < picture.points; point++) {
        const value = series[point];
        if (!Number.isFinite(value)) { pen = false; continue; }
        context[pen ? "lineTo" : "moveTo"](x(scale.value((point + .5) / picture.points)), y(value));
        pen = true;
      }
      Object.assign(context, {strokeStyle: colour, lineWidth: width, lineJoin: "round"});
      context.stroke();
    }
    context.restore();
    context.lineWidth = 1;
    context.strokeStyle = this.soft;
    context.strokeRect(box.x - .5, box.y - .5, box.width + 1, box.height + 1);
    this.#ticks(context, levels.map(tick => ({...tick, text: tick.text.replace("-", "−")})), box.x, -1, tick => (tick.at - range[0]) / (top - range[0]), box);
    context.fillStyle = this.ink;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of grid) context.fillText(tick.text, x(tick.at), box.y + box.height + 6);
    context.fillStyle = this.soft;
    context.textBaseline = "alphabetic";
    for (const tick of noteTicks(scale, [Math.max(low, 16), high], gap)) context.fillText(tick.text, x(tick.at), box.y - 4);
    context.textAlign = "right";
    context.fillText(picture.decibel ? "dB" : "", box.x - 6, box.y - 4);
    context.textAlign = "left";
    context.fillText("Hz", box.x + box.width - 14, box.y + box.height - 5);
  }

  #word(context, text, x, y) {
    context.textAlign = "center";
    context.textBaseline = "middle";
    halo(context, () => context.strokeText(text, x, y));
    context.fillStyle = "#fff";
    context.fillText(text, x, y);
  }

  // ---- above: what moves

  paintCover(look) {
    const context = this.cover.getContext("2d"), box = this.box, [width, height] = this.size;
    context.clearRect(0, 0, width, height);
    if (!this.picture) return;
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.width, box.height);
    context.clip();
    context.font = `11px ${getComputedStyle(this.node).fontFamily}`;
    const curve = this.picture.kind === "curve", [from, to] = look.window;
    const x = time => box.x + (time - from) / (to - from) * box.width;
    const y = value => box.y + (1 - this.place(value, look)) * box.height;
    if (!curve) {
      if (look.loop) this.#loop(context, box, x(look.loop[0]), x(look.loop[1]));
      look.regions.forEach((region, k) => this.#region(context, box, region, x, y, k === look.chosen));
      const at = x(look.cursor);
      halo(context, () => stroke(context, at, box.y, at, box.y + box.height), "#000a", 4);
      Object.assign(context, {strokeStyle: "#fff", lineWidth: 1.5});
      stroke(context, at, box.y, at, box.y + box.height);
    }
    const point = look.point;
    if (point && point.view === this.picture.view) {
      context.setLineDash([4, 3]);
      const draw = curve
        ? () => stroke(context, box.x + this.place(point.height, look) * box.width, box.y, box.x + this.place(point.height, look) * box.width, box.y + box.height)
        : () => { stroke(context, x(point.time), box.y, x(point.time), box.y + box.height); stroke(context, box.x, y(point.height), box.x + box.width, y(point.height)); };
      halo(context, draw, curve ? "#0000" : "#0008", 2.5);
      Object.assign(context, {strokeStyle: curve ? this.soft : "#fffc", lineWidth: 1});
      draw();
      context.setLineDash([]);
    }
    if (look.drag && look.drag.pane === this) this.#drag(context, look.drag);
    context.restore();
  }

  #loop(context, box, a, b) {
    context.fillStyle = "#0007";
    context.fillRect(box.x, box.y, a - box.x, box.height);
    context.fillRect(b, box.y, box.x + box.width - b, box.height);
    context.fillStyle = "#ffd54a";
    for (const edge of [a - 1, b - 1]) context.fillRect(edge, box.y, 2, box.height);
  }

  #region(context, box, region, x, y, chosen) {
    const sameAxis = region.low !== null && region.axis === this.picture.axis.name;
    const a = x(region.start), b = x(region.end), top = sameAxis ? y(region.high) : box.y, bottom = sameAxis ? y(region.low) : box.y + box.height;
    if (b < box.x || a > box.x + box.width) return;
    context.fillStyle = chosen ? "#5ee7f040" : "#5ee7f022";
    context.fillRect(a, top, Math.max(b - a, 1), bottom - top);
    halo(context, () => context.strokeRect(a, top, b - a, bottom - top), "#000a", 3);
    Object.assign(context, {strokeStyle: REGION, lineWidth: chosen ? 2 : 1});
    context.strokeRect(a, top, b - a, bottom - top);
    context.textAlign = "left";
    context.textBaseline = "top";
    const left = Math.max(a + 4, box.x + 3);
    halo(context, () => context.strokeText(region.label, left, top + 3, 160), "#000c", 3);
    context.fillStyle = REGION;
    context.fillText(region.label, left, top + 3, 160);
  }

  #drag(context, {from, to, region}) {
    const [x, y, w, h] = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    context.fillStyle = region ? "#5ee7f030" : "#ffffff22";
    context.fillRect(x, y, w, h);
    halo(context, () => context.strokeRect(x, y, w, h), "#000a", 3);
    Object.assign(context, {strokeStyle: region ? REGION : "#fff", lineWidth: 1});
    context.strokeRect(x, y, w, h);
  }
}

// As much of a text as there is room for.
function shortened(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  const letters = [...text];
  while (letters.length && context.measureText(letters.join("") + "…").width > room) letters.pop();
  return letters.length > 3 ? letters.join("").trimEnd() + "…" : "";
}

function stroke(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

// A dark rim, which makes light lines and letters visible on any colour.
function halo(context, draw, colour = "#000a", width = 3) {
  Object.assign(context, {strokeStyle: colour, lineWidth: width});
  draw();
  context.lineWidth = 1;
}
