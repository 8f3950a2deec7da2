// The explorer: pictures and sound of one or two tracks under one cursor. Looking and listening happen in the browser;
// the kernel is asked for other settings, views and stretches, and is told what was looked at when the user turns
// away.

import { bytes } from "./common.js";
import { Cursor } from "./cursor.js";
import { Frame } from "./frame.js";
import { Grid } from "./grid.js";
import { Hands } from "./hands.js";
import { Kernel, LOOK, lookOf } from "./kernel.js";
import { Overview } from "./overview.js";
import { Regions } from "./regions.js";
import { within, zoom } from "./scale.js";
import { Settings } from "./settings.js";
import { Sound } from "./sound.js";
import { pointText } from "./words.js";

// So many seconds are seen at least.
const CLOSEST = .02;

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.about = model.get("_about");
    this.sides = this.about.tracks.length;
    // how it is looked at: what the kernel knows too, and what concerns only the page
    this.look = {...lookOf(name => model.get(name)), playing: false, tables: {}, chosen: -1, point: null, drag: null};
    this.look.names = this.sides > 1 ? ["A", "B"] : [""];
    this.look.window = this.#part(this.look.window);
    this.kernel = new Kernel(model, news => this.#hear(news));
    this.hands = new Hands(this);
    this.grid = new Grid(this);
    this.overview = new Overview(this);
    this.settings = new Settings((name, value) => this.kernel.set(name, value));
    this.regions = new Regions(this);
    this.frame = new Frame(this);
    this.root = this.frame.root;
    this.root.explorer = this;
    el.append(this.root);
    this.cursor = new Cursor(this);
    this.sound = new Sound(this.root, what => this.cursor.heard(what));
    this.#start();
    this.stops = this.#watch();
  }

  get panes() { return this.grid.panes; }

  // From where to where there is sound, in seconds of the recording.
  get limits() {
    const {tracks} = this.about, ends = tracks.map(({start, seconds}) => start + seconds);
    return [Math.min(...tracks.map(track => track.start)), Math.max(...ends)];
  }

  // The part of a window in which there is sound; all, where there is none.
  #part(window) {
    const [low, high] = this.limits, [from, to] = window ?? [low, high];
    return from < high && to > low ? [Math.max(from, low), Math.min(to, high)] : [low, high];
  }

  // ---- the kernel

  #start() {
    const {look, sound} = this, {cursor} = look;
    for (let side = 0; side < this.sides; side++) this.#load(side);
    sound.change(Math.min(this.model.get("_heard") ?? 0, this.sides - 1));
    sound.seek(cursor);
    look.cursor = sound.time;
    sound.loop = look.loop;
    this.#hear(new Set(["_tables", "_values", "_message"]));
  }

  #load(side) {
    const {start, seconds} = this.about.tracks[side];
    this.sound.load(side, this.model.get(`_sound_${"ab"[side]}`), start, seconds);
  }

  // What one message has changed, in the order in which one thing builds on another.
  #hear(news) {
    this.keepFocus(() => {
      const any = names => [...news].some(name => names.test(name));
      if (news.has("_tables")) this.#readTables();
      if (news.has("_about")) this.#readAbout();
      if (any(/^_sound/)) this.#readSounds(news);
      if (any(/^(_[ab]_.*|views|_about|_tables)$/)) {
        this.grid.arrange();
        this.frame.showHeads();
        this.grid.layout();
      }
      if (any(/^_(controls|values|message)$/) && !this.kernel.waiting) this.#readAnswer();
      for (const name of LOOK) if (news.has(name)) this.#follow(name);
      this.refresh();
    });
  }

  #readTables() {
    for (const [name, table] of Object.entries(this.model.get("_tables"))) this.look.tables[name] = bytes(table);
  }

  // Another stretch is seen whole; of the same one, what was seen.
  #readAbout() {
    const {look, limits: [low, high]} = this, whole = look.window[0] === low && look.window[1] === high;
    this.about = this.model.get("_about");
    look.window = this.#part(whole || this.limits[0] !== low ? null : look.window);
  }

  #readSounds(news) {
    const {look, sound} = this;
    look.loop = sound.loop = null;
    for (let side = 0; side < this.sides; side++) if (news.has(`_sound_${"ab"[side]}`)) this.#load(side);
    look.cursor = sound.time;
  }

  #readAnswer() {
    this.settings.show(this.model.get("_controls"), this.model.get("_values"));
    this.frame.message.textContent = this.model.get("_message")?.text ?? "";
  }

  // Someone else has set how it is looked at.
  #follow(name) {
    const value = this.model.get(name), {look} = this, old = look.regions[look.chosen];
    if (JSON.stringify(value) === JSON.stringify(look[name])) return;
    if (name === "playing") return value ? this.sound.play() : this.sound.pause();
    if (name === "cursor") return this.cursor.seek(value);
    if (name === "loop") return this.cursor.loop(value);
    look[name] = name === "window" ? this.#part(value) : value;
    const chosen = look.regions[look.chosen];
    if (chosen?.start !== old?.start || chosen?.end !== old?.end) look.chosen = -1;
    this.paint();
    this.frame.showLook();
  }

  // What was done here, for the kernel to know: once, when the user turns to something else.
  tell() {
    const {look, limits: [low, high]} = this, [from, to] = look.window;
    const window = from <= low && to >= high ? null : look.window;
    this.kernel.tell({...lookOf(name => look[name]), window, _heard: this.sound.side});
  }

  // ---- the page

  // What has the focus may be replaced; that is no turning away, and the first picture takes its place.
  keepFocus(change) {
    const focused = this.root.contains(document.activeElement);
    this.arranging = true;
    try {
      change();
      const lost = focused && !this.root.contains(document.activeElement);
      if (lost) this.grid.first?.cover.focus({preventScroll: true});
    } finally {
      this.arranging = false;
    }
  }

  paint() {
    this.grid.paint();
    this.paintCover();
    this.overview.paint([...this.panes.values()].find(pane => pane.picture.kind === "image"));
    this.root.dataset.painted = Number(this.root.dataset.painted ?? 0) + 1;
  }

  paintCover() { this.grid.paintCover(); }

  // Everything around the pictures that may have changed.
  refresh() {
    this.frame.showSound();
    this.regions.show();
  }

  // To someone who does not see the page, or to everyone.
  say(text, shown = false) {
    this.frame.live.textContent = text;
    if (shown) this.frame.readout.textContent = text;
  }

  // ---- looking

  // `name` is one of LOOK.
  change(name, value) {
    this.look[name] = value;
    if (name === "scale") this.look.heights = {};
    this.paint();
    this.frame.showLook();
  }

  nextColours() {
    const names = Object.keys(this.look.tables), next = (names.indexOf(this.look.colormap) + 1) % names.length;
    this.change("colormap", names[next]);
    this.say(names[next]);
  }

  // The darkest (0) or the brightest level (1), never beyond the other.
  changeRange(end, value) {
    const {view, range: [low, high], picture} = this.grid.first, least = (picture.high - picture.low) / 50;
    const range = end ? [low, Math.max(value, low + least)] : [Math.min(value, high - least), high];
    this.change("ranges", {...this.look.ranges, [view]: range});
  }

  see(from, width) {
    this.look.window = within([from, Math.max(width, CLOSEST)], this.limits);
    this.paint();
  }

  zoom(factor, share) {
    const at = Math.min(Math.max(share, 0), 1);
    this.look.window = zoom(this.look.window, factor, at, this.limits, CLOSEST);
    this.paint();
  }

  seeAll() {
    Object.assign(this.look, {window: this.limits, heights: {}});
    this.paint();
  }

  // What there is at a point of a picture; aloud, for those who do not see it.
  read(pane, time, height, aloud = false) {
    this.look.point = {pane, view: pane.view, time, height};
    const text = this.frame.readout.textContent = pointText(pane.picture, time, height);
    if (aloud) this.say(text);
    this.paintCover();
  }

  unread() {
    this.look.point = null;
    this.frame.readout.textContent = "";
    this.paintCover();
  }

  savePictures() { this.grid.save(`${this.about.tracks[0].title} ${this.kernel.views.join(" ")}.png`); }

  // ---- from beginning to end

  #watch() {
    const paint = () => this.paint();
    this.root.addEventListener("pointerleave", () => this.tell());
    this.root.addEventListener("focusout", event => {
      if (!this.arranging && !this.root.contains(event.relatedTarget)) this.tell();
    });
    const size = new ResizeObserver(() => this.grid.layout());
    size.observe(this.root);
    // light and dark, of JupyterLab and of a page
    const theme = new MutationObserver(paint);
    theme.observe(document.body, {attributes: true, attributeFilter: ["data-jp-theme-light", "class"]});
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", paint);
    return [() => size.disconnect(), () => theme.disconnect(), () => dark.removeEventListener("change", paint)];
  }

  close() {
    this.cursor.stop();
    this.tell();
    this.kernel.close();
    this.stops.forEach(stop => stop());
    this.sound.close();
    this.root.remove();
  }
}

export function render({model, el}) {
  const explorer = new Explorer(model, el);
  return () => explorer.close();
}

export default { render };
