// The kernel as the browser sees it: what it says, what it is asked for, and what it is told of what was done here.

import { within } from "./scale.js";

export const VIEWS = {mel: "Mel", chroma: "Chroma", fft: "Spectrum", tempogram: "Tempogram"};
// How a track is looked at: known to both sides, and to every display of the same widget.
export const LOOK = ["cursor", "regions", "loop", "playing", "colormap", "ranges", "follow", "scale", "window",
  "heights"];
// What every display has for itself: two would play at once.
const OWN = ["cursor", "playing"];
const SENT = ["views", "_about", "_tables", "_controls", "_values", "_message", "_sound_a", "_sound_b",
  ...Object.keys(VIEWS).flatMap(view => [`_a_${view}`, `_b_${view}`])];

// Who of the displays speaks; the others hear it as if the kernel had spoken.
let telling = null;

export function lookOf(value) { return Object.fromEntries(LOOK.map(name => [name, value(name)])); }

export class Kernel {
  // `heard` is called with the names of all that one message has changed: its parts arrive one by one, in any order.
  constructor(model, heard) {
    this.model = model;
    this.heard = heard;
    this.news = new Set();
    const text = name => JSON.stringify(model.get(name));
    this.known = {...lookOf(text), _heard: text("_heard")};
    this.answered = this.asked.seq;
    this.stops = [...LOOK, ...SENT].map(name => {
      const act = () => this.#changed(name);
      model.on(`change:${name}`, act);
      return () => model.off(`change:${name}`, act);
    });
  }

  #changed(name) {
    if (telling === this || (telling && OWN.includes(name))) return;
    if (name in this.known) this.known[name] = JSON.stringify(this.model.get(name));
    // 0: something was refused
    if (name === "_message") this.answered = this.model.get(name).seq || this.asked.seq;
    if (!this.news.size) Promise.resolve().then(() => this.#pass());
    this.news.add(name);
  }

  #pass() {
    const {news} = this;
    this.news = new Set();
    this.heard?.(news);
  }

  get views() { return this.model.get("views"); }

  // A view of a side, as it was sent.
  picture(side, view) {
    const told = this.model.get(`_${"ab"[side]}_${view}`);
    return told?.view ? told : null;
  }

  // ---- wishes, which build on those that are still on their way

  // The last one, of whichever display, so that no two have the same number.
  get asked() { return {seq: 0, ...this.model.get("_request")}; }
  get waiting() { return this.asked.seq > this.answered; }
  get open() { return this.waiting ? this.asked : {}; }

  // A wish can be overtaken before it is sent; so the next one says it again.
  #wish(what) {
    this.model.set("_request", {...this.open, ...what, seq: this.asked.seq + 1});
    this.model.save_changes();
  }

  // A setting.
  set(name, value) {
    const settings = this.open.settings ?? this.model.get("settings");
    this.#wish({settings: {...settings, [name]: value}});
  }

  // A view alone, or beside the others, or no longer beside them.
  show(view, beside) {
    const {live} = this.model.get("_about"), shown = this.open.views ?? this.views;
    const more = Object.keys(VIEWS).filter(name => name === view || shown.includes(name));
    const next = !beside ? [view] : shown.includes(view) ? shown.filter(name => name !== view) : more;
    if (!next.length || next.join() === shown.join()) return;
    if (live) return this.#wish({views: next});
    if (!this.picture(0, view)) return;
    this.model.set("views", next);
    this.heard(new Set(["views"]));
  }

  // A stretch earlier (-1) or later (1).
  move(direction) {
    const [{start, seconds, total}] = this.model.get("_about").tracks, from = this.open.offset ?? start;
    this.#wish({offset: within([from + direction * seconds, seconds], [0, total])[0]});
  }

  // ---- what was done here

  // Tell what has changed since it was last told or heard.
  tell(look) {
    const news = Object.entries(look).filter(([name, value]) => this.known[name] !== JSON.stringify(value));
    if (!news.length) return;
    telling = this;
    for (const [name, value] of news) {
      this.known[name] = JSON.stringify(value);
      this.model.set(name, value);
    }
    telling = null;
    this.model.save_changes();
  }

  close() {
    this.stops.forEach(stop => stop());
    this.heard = null;
  }
}
