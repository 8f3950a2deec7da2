// The map itself: two canvases, the upper one for what moves, and the hands that move and read them.

import { element } from "./common.js";
import { entryLook, mark, paintLines, paintPoints, paintRing, stamp } from "./marks.js";
import { moveView, nearestPoint, nextPoint, pointRadius, toScreen, viewWith, wholeView, zoomView } from "./plane.js";
import { Sheet } from "./raster.js";

const REACH = 14;  // px, how far from a point it is still meant
const STEP = 60, CLOSER = 1.4;  // px and factor of a key
const LOW = 320, HIGH = 640;  // px, how high the map is

// Where the map goes when the screen goes on that way.
const ARROWS = {ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};

function spot(event) { return [event.offsetX, event.offsetY]; }

export class Stage {
  // `scene` has places, order, shown, group (of the legend), near, at, chosen and theme; `act` is what pointing and
  // pressing do.
  constructor(scene, act) {
    Object.assign(this, {scene, act, size: [0, 0], ratio: 1, view: null, pointers: new Map(), dragged: false});
    this.canvas = element("canvas", {"aria-hidden": "true"});
    this.cover = element("canvas", {className: "cover", tabIndex: 0, role: "application"});
    this.node = element("div", {className: "stage"}, this.canvas, this.cover);
    this.#listen();
  }

  // ---- how it is seen

  resize(width) {
    const size = [width, Math.min(Math.max(Math.round(.56 * width), LOW), HIGH)], ratio = window.devicePixelRatio || 1;
    if (!width || (size[0] === this.size[0] && ratio === this.ratio)) return;
    const whole = !this.view || this.view.scale <= 1.001 * wholeView(this.scene.places, this.size).scale;
    Object.assign(this, {size, ratio, marks: null});
    for (const canvas of [this.canvas, this.cover]) {
      Object.assign(canvas, {width: Math.round(size[0] * ratio), height: Math.round(size[1] * ratio)});
      Object.assign(canvas.style, {width: `${size[0]}px`, height: `${size[1]}px`});
    }
    this.sheet = new Sheet(this.canvas.width, this.canvas.height);
    this.see(whole ? wholeView(this.scene.places, size) : this.view);
  }

  see(view) {
    this.view = view;
    this.paint();
  }

  seeAll() { this.see(wholeView(this.scene.places, this.size)); }
  seeTo(index) { this.see(viewWith(this.view, this.scene.places, this.size, index)); }

  zoom(factor, at = this.size.map(side => side / 2)) {
    this.see(zoomView(this.view, this.scene.places, this.size, factor, at));
  }

  where(index) { return toScreen(this.view, this.size, this.scene.places.x[index], this.scene.places.y[index]); }

  get radius() {
    const {places} = this.scene;
    return pointRadius(places.count, this.size[0], this.view.scale / wholeView(places, this.size).scale);
  }

  // ---- painting, at most once a frame

  paint(all = true) {
    this.stale = this.stale || all;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (!this.size[0]) return;
      if (this.stale) this.#paintPoints();
      this.stale = false;
      this.#paintCover();
    });
  }

  #paintPoints() {
    const {scene, ratio, radius, size, view} = this, {theme, group} = scene, context = this.canvas.getContext("2d");
    const key = [radius.toFixed(1), theme.paper, group.label].join();
    if (!this.marks || this.marks.key !== key) {
      const stamps = group.entries.map((_, index) => {
        const {shape, colour, small} = entryLook(theme, group, index);
        return stamp(mark(shape, colour, small ? .8 * radius : radius, ratio, radius > 2.5 ? theme.paper : null));
      });
      this.marks = {key, stamps, faint: stamp(mark("circle", theme.faint, Math.min(.6 * radius, 3), ratio, null))};
    }
    paintPoints(this.sheet, {...scene, ...this.marks, codes: group.codes, view, size, ratio});
    context.putImageData(new ImageData(this.sheet.data, this.sheet.width, this.sheet.height), 0, 0);
    this.canvas.dataset.painted = Number(this.canvas.dataset.painted ?? 0) + 1;
  }

  #paintCover() {
    const {scene, ratio, radius, size} = this, {at, chosen, theme, heard} = scene;
    const context = this.cover.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, ...size);
    for (const index of heard ?? []) paintRing(context, this.where(index), radius + 2.5, theme.ink, theme.paper, 1);
    const meant = at >= 0 ? at : chosen;
    if (meant >= 0) paintLines(context, this.where(meant), scene.near(meant).map(index => this.where(index)), theme);
    for (const index of new Set([chosen, at].filter(index => index >= 0))) {
      const {shape, colour} = entryLook(theme, scene.group, scene.group.codes[index]), [x, y] = this.where(index);
      const point = mark(shape, colour, radius + 2, ratio, theme.paper), side = point.width / ratio;
      context.drawImage(point, x - side / 2, y - side / 2, side, side);
      paintRing(context, [x, y], radius + 6, index === chosen ? theme.accent : theme.ink, theme.paper);
    }
    this.act.moved();
  }

  // ---- the pointer

  #listen() {
    const on = (...what) => this.cover.addEventListener(...what);
    on("pointerdown", event => this.#press(event));
    on("pointermove", event => this.#move(event));
    on("pointerup", event => this.#release(event));
    on("pointercancel", event => this.pointers.delete(event.pointerId));
    on("pointerleave", event => { if (event.pointerType === "mouse" && !this.pointers.size) this.act.look(-1); });
    on("dblclick", event => { if (this.#under(event) < 0) this.seeAll(); });
    on("wheel", event => this.#turn(event), {passive: false});
    on("keydown", event => this.#key(event));
  }

  #under(event) {
    const {places, shown} = this.scene, reach = event.pointerType === "touch" ? 2 * REACH : REACH;
    return nearestPoint(places, this.view, this.size, spot(event), Math.max(reach, this.radius), shown);
  }

  #press(event) {
    if (event.button) return;
    this.cover.focus({preventScroll: true});
    this.cover.setPointerCapture(event.pointerId);
    if (!this.pointers.size) this.dragged = false;
    this.pointers.set(event.pointerId, {from: spot(event), now: spot(event)});
  }

  #move(event) {
    const mine = this.pointers.get(event.pointerId), now = spot(event);
    if (!mine) return this.act.look(this.#under(event));
    if (!this.dragged && Math.hypot(now[0] - mine.from[0], now[1] - mine.from[1]) < 5) return;
    const {places} = this.scene, other = [...this.pointers.values()].find(it => it !== mine), before = mine.now;
    if (!this.dragged) this.act.look(-1);
    this.dragged = true;
    mine.now = now;
    const share = other ? .5 : 1;
    let view = moveView(this.view, places, share * (now[0] - before[0]), share * (now[1] - before[1]));
    if (other) {
      const apart = ([x, y]) => Math.max(Math.hypot(x - other.now[0], y - other.now[1]), 10);
      const middle = [0, 1].map(k => (now[k] + other.now[k]) / 2);
      view = zoomView(view, places, this.size, apart(now) / apart(before), middle);
    }
    this.cover.classList.add("moving");
    this.see(view);
  }

  #release(event) {
    const mine = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (this.pointers.size) return;
    this.cover.classList.remove("moving");
    if (mine && !this.dragged) this.act.choose(this.#under(event));
  }

  #turn(event) {
    // else the page scrolls
    if (!event.ctrlKey && !this.cover.matches(":focus")) return;
    event.preventDefault();
    const delta = Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100);
    this.zoom(Math.exp(-delta / 300), spot(event));
  }

  // ---- the keys

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {key, shiftKey} = event, arrow = ARROWS[key];
    if (arrow && shiftKey) this.see(moveView(this.view, this.scene.places, STEP * arrow[0], STEP * arrow[1]));
    else if (arrow) this.#walk(key);
    else if (key === "+" || key === "=") this.zoom(CLOSER);
    else if (key === "-") this.zoom(1 / CLOSER);
    else if (key === "0") this.seeAll();
    else if (key === " " || key === "Enter") this.act.choose(this.scene.at >= 0 ? this.scene.at : this.scene.chosen);
    else if (key.toLowerCase() === "n") this.act.nearer();
    else if (key === "Escape") this.act.leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // From point to point; at first to the one in the middle.
  #walk(key) {
    const {places, shown, at, chosen} = this.scene, from = at >= 0 ? at : chosen;
    const middle = this.size.map(side => side / 2);
    this.act.reach(from >= 0 ? nextPoint(places, from, key, shown)
      : nearestPoint(places, this.view, this.size, middle, Infinity, shown));
  }

  end() { cancelAnimationFrame(this.frame); }
}
