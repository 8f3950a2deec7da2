// One picture of one track on two canvases, the upper one for what moves; and where a point of it lies.

import { paintCover } from "./cover.js";
import { paintCurve } from "./curve.js";
import { heading, writeRimmed } from "./drawing.js";
import { BAR, paintImage } from "./image.js";
import { element } from "./common.js";
import { scales } from "./scale.js";

// The room around a picture, in px.
const LEFT = 46, TOP = 20, BOTTOM = 20, NOTES_RIGHT = 34;

export class Pane {
  constructor(side, view, look) {
    Object.assign(this, {side, view, look, picture: null, size: [0, 0]});
    this.canvas = element("canvas", {className: "picture", "aria-hidden": "true"});
    this.cover = element("canvas", {className: "cover", tabIndex: 0, role: "application"});
    this.node = element("div", {className: "pane"}, this.canvas, this.cover);
    // the levels, a pixel each
    this.image = document.createElement("canvas");
  }

  show(picture) {
    this.picture = picture;
    this.scales = scales(picture);
    this.made = null;
  }

  resize(width, height, ratio) {
    this.size = [width, height];
    for (const canvas of [this.canvas, this.cover]) {
      Object.assign(canvas, {width: Math.round(width * ratio), height: Math.round(height * ratio)});
      Object.assign(canvas.style, {width: `${width}px`, height: `${height}px`});
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
  }

  // ---- geometry

  // Where the picture lies on the canvas; the same for all that unfold in time, so that moments lie above each other.
  get box() {
    const [width, height] = this.size, curve = this.picture.kind === "curve";
    const right = curve ? 12 : NOTES_RIGHT + BAR, y = curve ? TOP + 14 : TOP;
    return {x: LEFT, y, width: Math.max(width - LEFT - right, 40), height: Math.max(height - y - BOTTOM, 40)};
  }

  // The scale it is drawn on: the one that is wanted if it has that, else that of its rows.
  scale() { return this.scales[this.look.scale] ?? Object.values(this.scales)[0]; }

  // [low, high] in the unit of the axis that rises (of a spectrum: of frequency); none: all of it.
  get heights() { return this.look.heights[this.view] ?? null; }

  // The heights that are seen; all where there are none of those that are wanted.
  get window() {
    const scale = this.scale(), [low, high] = this.heights ?? [scale.low, scale.high];
    const seen = [Math.max(low, scale.low), Math.min(high, scale.high)];
    return seen[0] < seen[1] ? seen : [scale.low, scale.high];
  }

  // The darkest and the brightest level that are told apart.
  get range() { return this.look.ranges[this.view] ?? this.picture.shown; }

  get table() { return this.look.tables[this.look.colormap]; }

  // The share of the axis at which a height lies.
  place(height) {
    const scale = this.scale(), [low, high] = this.window.map(scale.at);
    return (scale.at(height) - low) / (high - low);
  }

  // Time and height at a point of the canvas; of a spectrum the frequency lies across.
  at(x, y) {
    const {box, look} = this, across = (x - box.x) / box.width, up = 1 - (y - box.y) / box.height;
    const inside = across >= 0 && across <= 1 && up >= 0 && up <= 1;
    const scale = this.scale(), [low, high] = this.window.map(scale.at);
    const along = share => scale.value(low + share * (high - low));
    if (this.picture.kind === "curve") return {inside, time: null, height: along(across)};
    const [from, to] = look.window;
    return {inside, time: from + across * (to - from), height: along(up)};
  }

  // ---- painting

  // What changes with the picture, the colours and the window.
  paint() {
    const context = this.#clear(this.canvas), {box, picture} = this, style = getComputedStyle(this.node);
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map(name => style.getPropertyValue(name));
    this.theme = {ink, soft, line, font: `11px ${style.fontFamily}`};
    context.font = this.theme.font;
    heading(context, this);
    (picture.kind === "curve" ? paintCurve : paintImage)(context, this);
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    if (picture.silent) writeRimmed(context, "silent", x, y, "#fff", "center", "middle");
  }

  paintCover() {
    // not laid out yet
    if (!this.theme) return;
    const context = this.#clear(this.cover);
    context.font = this.theme.font;
    paintCover(context, this);
  }

  #clear(canvas) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, ...this.size);
    return context;
  }
}
