// The explorer: pictures and sound of one or two tracks under one cursor. Looking and listening happen here; the kernel is
// asked only for other settings, another view or another stretch, and is told what was looked at when the user turns away.

import { button, bytes, choice, clock, download, element } from "./common.js";
import { follow, levelText, noteText, pointText, regionsCsv, scales, within, zoom } from "./scale.js";
import { Sound } from "./sound.js";
import { Pane } from "./pane.js";
import { Regions, Settings } from "./controls.js";

const VIEWS = {mel: "Mel", chroma: "Chroma", fft: "Spectrum", tempogram: "Tempogram"};
const LOOK = ["cursor", "regions", "loop", "playing", "colormap", "ranges", "follow", "scale", "window", "heights"];
const HELP = [
  ["space", "play, pause"], ["← →", "half a second; with shift, five"], ["home, end", "to the start, to the end"],
  ["↑ ↓", "read a semitone or a row higher, lower"], ["+ −", "zoom in time"], ["0", "show all"],
  ["[ ]", "the loop starts, ends here"], ["L", "loop on or off"], ["R", "a region starts here; again: ends here"],
  ["M", "mark this moment"], ["delete", "remove the chosen region"], ["1 2 3 4", "mel, chroma, spectrum, tempogram; with shift, beside the others"],
  ["C", "next colour map"], ["A B", "hear the one or the other"], ["esc", "end the loop, close this"],
];
const MOUSE = "Click to go there, drag to zoom, shift-drag for a region, double-click to see all. The wheel zooms in time once the picture has the focus, or with Ctrl.";

// A pane as it came, its numbers as arrays and its times as those of the recording.
function received(told, start) {
  const floats = data => { const {buffer, byteOffset, byteLength} = bytes(data); return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)); };
  if (told.kind === "curve") return {...told, levels: floats(told.levels), smooth: floats(told.smooth)};
  return {...told, levels: bytes(told.levels), start: told.start + start, axis: {...told.axis, values: [...floats(told.axis.values)]}};
}

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.about = model.get("_about");
    this.sides = this.about.tracks.length;
    this.panes = new Map();
    this.seq = 0;
    this.pending = null;  // where a region was begun by key
    const heard = Math.min(model.get("_heard") ?? 0, this.sides - 1);
    this.look = {names: this.sides > 1 ? ["A", "B"] : [""], tables: {}, chosen: -1, point: null, drag: null, ...this.#said()};
    for (const [name, table] of Object.entries(model.get("_tables"))) this.look.tables[name] = bytes(table);
    this.#build(el);
    this.sound = new Sound(this.root, what => this.#heard(what));
    this.#loadSounds();
    if (heard) this.sound.change(heard);
    if (this.look.cursor > this.limits[0]) this.sound.seek(this.look.cursor);
    this.sound.loop = this.look.loop;
    this.#wire();
    this.#arrange();
    this.refresh();
  }

  // What the model says of how it is looked at.
  #said() {
    const said = Object.fromEntries(LOOK.map(name => [name, this.model.get(name)]));
    const [from, to] = this.limits;
    return {...said, window: said.window ?? [from, to], ranges: {...said.ranges}, regions: [...said.regions]};
  }

  get limits() {
    const {tracks} = this.about;
    return [Math.min(...tracks.map(track => track.start)), Math.max(...tracks.map(track => track.start + track.seconds))];
  }

  get views() { return this.model.get("views"); }
  picture(side, view) { const told = this.model.get(`_${"ab"[side]}_${view}`); return told?.view ? told : null; }

  // ---- the page

  #build(el) {
    const press = (label, title, action) => button(label, title, action);
    this.title = element("div", {className: "heads"});
    this.play = press("▶", "Play", () => this.sound.toggle());
    this.play.classList.add("play");
    this.time = element("output", {className: "time", "aria-label": "Time"});
    this.volume = element("input", {type: "range", min: 0, max: 1, step: .01, value: 1, title: "Volume", "aria-label": "Volume"});
    this.speed = choice("Speed", [[.5, "½ ×"], [.75, "¾ ×"], [1, "1 ×"], [1.5, "1½ ×"], [2, "2 ×"]], 1, value => this.sound.set("playbackRate", Number(value)));
    this.looping = press("Loop", "Loop the part between [ and ], or what is seen", () => this.#toggleLoop());
    this.following = choice("Follow the cursor", [["page", "follow: page"], ["centre", "follow: centre"], ["off", "follow: off"]], this.look.follow, value => this.#change("follow", value));
    this.change = this.sides > 1 ? ["A", "B"].map((name, side) => press(name, `Hear ${name}`, () => this.sound.change(side))) : [];
    this.earlier = press("◂", "Earlier in the track", () => this.#move(-1));
    this.later = press("▸", "Later in the track", () => this.#move(1));
    this.stretch = element("span", {className: "stretch"}, this.earlier, this.later);
    this.helping = press("?", "Keys and mouse", () => { this.help.hidden = !this.help.hidden; });
    this.transport = element("div", {className: "row", role: "group", "aria-label": "Sound"}, this.play, this.time, ...this.change,
      this.looping, this.speed, this.volume, this.following, this.stretch, this.helping);
    this.help = element("div", {className: "help", hidden: true}, element("p", {textContent: MOUSE}),
      element("dl", {}, ...HELP.map(([key, what]) => element("div", {}, element("dt", {textContent: key}), element("dd", {textContent: what})))));
    this.grid = element("div", {className: "grid"});
    this.overview = element("canvas", {className: "overview", title: "All of it, and the part that is seen; drag it along", hidden: true});
    this.readout = element("output", {className: "readout", "aria-label": "Under the pointer"});
    this.live = element("div", {className: "unseen", "aria-live": "polite"});
    this.buttons = Object.entries(VIEWS).map(([view, label], k) => {
      const node = press(label, `${label} (key ${k + 1}; shift: beside the others)`, event => this.#ask(view, event.shiftKey));
      node.dataset.view = view;
      return node;
    });
    const map = Object.keys(this.look.tables).map(name => [name, name.replace("gray_r", "grey")]);
    this.colormap = choice("Colour map", map, this.look.colormap, value => this.#change("colormap", value));
    this.scaling = choice("Frequency scale", [], "", value => { for (const pane of this.panes.values()) pane.made = null; this.#change("scale", value); });
    this.range = ["Darkest", "Brightest"].map((name, end) => {
      const input = element("input", {type: "range", step: "any", title: name, "aria-label": `${name} level`});
      input.addEventListener("input", () => this.#changeRange(end, Number(input.value)));
      return input;
    });
    this.ranged = element("output", {className: "value"});
    this.painting = element("div", {className: "row", role: "group", "aria-label": "Picture"}, element("span", {className: "views"}, ...this.buttons), this.colormap, this.scaling,
      element("span", {className: "setting"}, element("span", {className: "name", textContent: "range"}), ...this.range, this.ranged),
      press("All", "Show all of it again (key 0)", () => this.#reset()), press("PNG", "Save the pictures as PNG", () => this.#save()));
    this.settings = new Settings((name, value) => this.#set(name, value));
    this.message = element("div", {className: "said", role: "alert"});
    this.regions = new Regions((what, k, text) => this.#regionAct(what, k, text));
    this.root = element("div", {className: "sonic sonic-explorer"}, this.title, this.transport, this.help, this.grid, this.overview, this.readout, this.live,
      this.painting, this.settings.node, this.message, this.regions.node);
    this.root.explorer = this;
    el.append(this.root);
  }

  // Panes for the views that are shown, and what is said above them.
  #arrange() {
    const wanted = [];
    for (const view of this.views) for (let side = 0; side < this.sides; side++) if (this.picture(side, view)) wanted.push([side, view]);
    if (!wanted.length) return;  // the kernel is still at it
    const keys = wanted.map(pair => pair.join("-")), focused = this.grid.contains(document.activeElement);
    this.arranging = true;  // a picture that goes takes the focus along, which is no turning away
    for (const key of [...this.panes.keys()]) if (!keys.includes(key)) { this.panes.get(key).node.remove(); this.panes.delete(key); }
    wanted.forEach(([side, view], k) => {
      let pane = this.panes.get(keys[k]);
      if (!pane) {
        pane = new Pane("");
        Object.assign(pane, {side, view});
        this.#listen(pane);
        this.panes.set(keys[k], pane);
      }
      const told = this.picture(side, view);
      if (pane.told !== told) {
        pane.told = told;
        pane.show(received(told, this.about.tracks[side].start));
        pane.heights = this.look.heights?.[view] ?? pane.heights;
      }
      pane.cover.setAttribute("aria-label", this.#label(pane));
      if (this.grid.children[k] !== pane.node) this.grid.insertBefore(pane.node, this.grid.children[k] ?? null);
    });
    if (focused && !this.grid.contains(document.activeElement)) this.grid.querySelector(".cover").focus({preventScroll: true});
    this.arranging = false;
    this.#head();
    this.#layout();
  }

  #label({side, picture}) {
    const track = this.about.tracks[side], [from, to] = [track.start, track.start + track.seconds];
    return `${picture.title} of ${track.title}, ${clock(from)} to ${clock(to)}, ${picture.facts}. Space plays, arrows move, question mark lists the keys.`;
  }

  #head() {
    this.title.replaceChildren(...this.about.tracks.map((track, side) => {
      const span = `${clock(track.start)} – ${clock(track.start + track.seconds)}${track.total ? ` of ${clock(track.total)}` : ""}`;
      const name = this.sides > 1 ? `${"AB"[side]}: ${track.title}` : track.title;
      return element("div", {className: "head"}, element("span", {className: "title", textContent: name}),
        element("span", {className: "soft", textContent: [track.artist, span, track.facts, ...track.notes].filter(Boolean).join(" · ")}));
    }));
    const [first] = this.about.tracks, total = first.total ?? 0;
    this.stretch.hidden = !this.about.live || this.sides > 1 || total <= first.seconds + 0.5;
    this.earlier.disabled = first.start <= 0;
    this.later.disabled = first.start + first.seconds >= total - 0.5;
    for (const node of this.buttons) {
      node.setAttribute("aria-pressed", String(this.views.includes(node.dataset.view)));
      node.hidden = !this.about.live && !this.picture(0, node.dataset.view);
    }
    this.settings.node.hidden = !this.about.live;
    const shown = [...this.panes.values()], frequency = shown.find(pane => pane.picture.axis?.name === "frequency");
    const names = frequency ? Object.keys(scales(frequency.picture)) : [];
    this.scaling.replaceChildren(...names.map(name => element("option", {value: name, textContent: `${name} scale`})));
    this.scaling.value = names.includes(this.look.scale) ? this.look.scale : names[0] ?? "";
    this.scaling.hidden = names.length < 2;
    this.#showRange();
  }

  // The view whose range the sliders change: the first that is shown.
  get ranging() { return this.panes.values().next().value; }

  #showRange() {
    const pane = this.ranging;
    if (!pane) return;
    const {picture} = pane, [low, high] = pane.range(this.look);
    this.range.forEach((input, end) => { Object.assign(input, {min: picture.low, max: picture.high, value: [low, high][end]}); });
    this.ranged.textContent = `${levelText(picture, low)} to ${levelText(picture, high)}`;
  }

  #layout() {
    const width = this.grid.clientWidth;
    if (!width) return;
    const columns = this.sides > 1 && width >= 860 ? 2 : 1, count = this.views.length, each = Math.max(Math.floor((width - 12 * (columns - 1)) / columns), 280);
    this.grid.style.gridTemplateColumns = `repeat(${columns}, ${each}px)`;
    for (const pane of this.panes.values()) {
      const height = pane.picture.axis?.name === "pitch class" && count > 1 ? 200 : [320, 320, 240, 200, 190][count];
      pane.resize(each, height, window.devicePixelRatio || 1);
    }
    this.paint();
  }

  // ---- painting

  paint() {
    for (const pane of this.panes.values()) {
      pane.paint(this.look);
      pane.node.classList.toggle("heard", this.sides > 1 && pane.side === this.sound.side);
    }
    this.paintCover();
    this.#paintOverview();
    this.root.dataset.painted = String(Number(this.root.dataset.painted ?? 0) + 1);
  }

  paintCover() { for (const pane of this.panes.values()) pane.paintCover(this.look); }

  // A strip of the whole stretch, as long as only a part of it is seen.
  #paintOverview() {
    const [from, to] = this.look.window, [low, high] = this.limits, pane = [...this.panes.values()].find(each => each.picture.kind === "image");
    this.overview.hidden = !pane || to - from >= (high - low) * .999;
    if (this.overview.hidden) return;
    const {x, width} = pane.box, ratio = window.devicePixelRatio || 1, context = this.overview.getContext("2d"), at = time => (time - low) / (high - low) * width;
    Object.assign(this.overview, {width: Math.round(width * ratio), height: 24 * ratio});
    Object.assign(this.overview.style, {width: `${width}px`, height: "24px", marginLeft: `${x}px`});
    context.scale(ratio, ratio);
    const {start, step, columns} = pane.picture;
    context.drawImage(pane.image, at(start), 0, at(start + step * columns) - at(start), 24);
    context.fillStyle = "#000a";
    context.fillRect(0, 0, at(from), 24);
    context.fillRect(at(to), 0, width - at(to), 24);
    context.strokeStyle = "#fff";
    context.strokeRect(at(from) + .5, .5, Math.max(at(to) - at(from) - 1, 1), 23);
  }

  // Everything around the pictures that may have changed.
  refresh() {
    const {sound} = this;
    this.play.textContent = sound.playing ? "❚❚" : "▶";
    this.play.title = sound.playing ? "Pause" : "Play";
    this.play.setAttribute("aria-label", this.play.title);
    this.looping.setAttribute("aria-pressed", String(Boolean(this.look.loop)));
    this.change.forEach((node, side) => node.setAttribute("aria-pressed", String(side === sound.side)));
    this.time.textContent = `${clock(this.look.cursor, .1)} / ${clock(this.limits[1])}`;
    this.regions.show(this.look.regions, this.look.chosen);
    this.message.textContent = this.model.get("_message")?.text ?? "";
  }

  // ---- sound

  #loadSounds() {
    for (let side = 0; side < this.sides; side++) {
      const {start, seconds} = this.about.tracks[side];
      this.sound.load(side, this.model.get(`_sound_${"ab"[side]}`), start, seconds);
    }
    this.sound.set("volume", Number(this.volume.value));
  }

  #heard(what) {
    this.look.cursor = this.sound.time;
    this.look.playing = this.sound.playing;
    if (what === "play") this.#run();
    if (what === "side") this.paint(); else this.paintCover();
    this.refresh();
  }

  #run() {
    cancelAnimationFrame(this.frame);
    if (!this.sound.playing) return;
    this.sound.keepLoop();
    this.look.cursor = this.sound.time;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const window_ = follow(this.look.window, this.look.cursor, this.limits, still && this.look.follow === "centre" ? "page" : this.look.follow);
    if (window_ !== this.look.window) { this.look.window = window_; this.paint(); } else this.paintCover();
    const text = `${clock(this.look.cursor, .1)} / ${clock(this.limits[1])}`;
    if (this.time.textContent !== text) this.time.textContent = text;
    this.frame = requestAnimationFrame(() => this.#run());
  }

  seek(time, aloud = false) {
    this.sound.seek(time);
    this.look.cursor = this.sound.time;
    const next = follow(this.look.window, this.look.cursor, this.limits, this.look.follow);
    if (next !== this.look.window) { this.look.window = next; this.paint(); } else this.paintCover();
    this.refresh();
    if (aloud) this.live.textContent = clock(this.look.cursor, .1);
  }

  #toggleLoop() {
    const [from, to] = this.look.window;
    const region = this.look.regions[this.look.chosen];
    this.#loop(this.look.loop ? null : region?.end > region?.start ? [region.start, region.end] : [from, to]);
  }

  #loop(span) {
    this.look.loop = this.sound.loop = span;
    if (span && this.sound.playing && (this.look.cursor < span[0] || this.look.cursor >= span[1])) this.seek(span[0]);
    this.paintCover();
    this.refresh();
  }

  // ---- looking

  #change(name, value) { this.look[name] = value; if (name === "scale") this.#heights(null); this.paint(); this.#showRange(); }

  #changeRange(end, value) {
    const pane = this.ranging, range = [...pane.range(this.look)], {low, high} = pane.picture, least = (high - low) / 50;
    range[end] = end ? Math.max(value, range[0] + least) : Math.min(value, range[1] - least);
    this.look.ranges = {...this.look.ranges, [pane.picture.view]: range};
    this.paint();
    this.#showRange();
  }

  #reset() { this.look.window = this.limits; this.#heights(null); this.paint(); }

  #heights(pair, view = null) {
    for (const pane of this.panes.values()) if (!view || pane.picture.view === view) pane.heights = pair;
    this.look.heights = Object.fromEntries([...this.panes.values()].filter(pane => pane.heights).map(pane => [pane.picture.view, pane.heights]));
  }

  #zoom(factor, share) { this.look.window = zoom(this.look.window, factor, share, this.limits, .02); this.paint(); }

  #read(pane, time, height, aloud = false) {
    this.look.point = {view: pane.picture.view, time, height};
    const text = pointText(pane.picture, time, height);
    this.readout.textContent = text;
    if (aloud) this.live.textContent = text;
    this.paintCover();
  }

  // ---- regions

  #region(start, end, low = null, high = null, axis = null) {
    const region = {label: `${start === end ? "mark" : "region"} ${this.look.regions.length + 1}`, start, end, low, high, axis};
    this.look.regions = [...this.look.regions, region];
    this.look.chosen = this.look.regions.length - 1;
    this.paintCover();
    this.refresh();
    this.live.textContent = `${region.label}, ${clock(start, .1)} to ${clock(end, .1)}`;
  }

  #regionAct(what, k, text) {
    const {regions} = this.look;
    if (what === "save") return download(new Blob([regionsCsv(regions)], {type: "text/csv"}), `${this.about.tracks[0].title} regions.csv`);
    if (what === "label") this.look.regions = regions.map((region, n) => n === k ? {...region, label: text} : region);
    if (what === "remove") { this.look.regions = regions.filter((_, n) => n !== k); this.look.chosen = -1; }
    if (what === "play") {
      this.look.chosen = k;
      this.#loop(regions[k].end > regions[k].start ? [regions[k].start, regions[k].end] : null);
      this.seek(regions[k].start);
      this.sound.play();
    }
    this.paintCover();
    this.refresh();
  }

  // ---- asking the kernel

  #set(name, value) { this.wanted = {...(this.wanted ?? this.model.get("settings")), [name]: value}; this.#request({settings: this.wanted}); }

  #ask(view, beside) {
    const views = this.views, has = views.includes(view);
    const next = !beside ? [view] : has ? views.filter(other => other !== view) : Object.keys(VIEWS).filter(name => name === view || views.includes(name));
    if (!next.length || next.join() === views.join()) return;
    if (!this.about.live) {
      if (!this.picture(0, view)) return;
      this.model.set("views", next);
      this.#arrange();
    } else this.#request({views: next});
  }

  #move(direction) { const [{start, seconds, total}] = this.about.tracks; this.#request({offset: within([start + direction * seconds, seconds], [0, total])[0]}); }

  #request(what) {
    if (!this.about.live) return;
    this.seq += 1;
    this.asked = {...(this.asked ?? {}), ...what, seq: this.seq};  // until it is answered, a later wish holds the earlier ones too
    this.model.set("_request", this.asked);
    this.model.save_changes();
  }

  #answered() {
    const {seq, error} = this.model.get("_message");
    if (seq !== this.seq && seq !== 0) return;  // a later wish is on its way
    this.asked = this.wanted = null;
    this.settings.show(this.model.get("_controls"), this.model.get("_values"), Boolean(error));
    this.refresh();
  }

  // What was done here, for the kernel to know: once, when the user turns to something else.
  tell() {
    let changed = false;
    const {look} = this, [from, to] = this.limits, all = look.window[0] === from && look.window[1] === to;
    const now = {...Object.fromEntries(LOOK.map(name => [name, look[name]])), window: all ? null : look.window};
    for (const [name, value] of Object.entries({...now, _heard: this.sound.side})) {
      if (JSON.stringify(this.model.get(name)) === JSON.stringify(value)) continue;
      this.model.set(name, value);
      changed = true;
    }
    if (changed) this.model.save_changes();
  }

  // ---- hands

  #listen(pane) {
    const {cover} = pane, place = event => [event.offsetX, event.offsetY];
    cover.addEventListener("pointerdown", event => {
      if (event.button) return;
      cover.focus({preventScroll: true});
      cover.setPointerCapture(event.pointerId);
      this.down = {pane, from: place(event), region: event.shiftKey && pane.picture.kind === "image"};
    });
    cover.addEventListener("pointermove", event => {
      const at = place(event), {inside, time, height} = pane.at(...at, this.look);
      if (this.down?.pane === pane && Math.hypot(at[0] - this.down.from[0], at[1] - this.down.from[1]) > 4) this.look.drag = {...this.down, to: at};
      if (inside) this.#read(pane, time, height);
      else { this.look.point = null; this.readout.textContent = ""; this.paintCover(); }
    });
    cover.addEventListener("pointerup", event => {
      if (this.down?.pane !== pane) return;
      const {drag} = this.look;
      this.down = this.look.drag = null;
      if (drag) this.#dragged(pane, drag);
      else {
        const {inside, time} = pane.at(...place(event), this.look);
        if (inside && time !== null) this.seek(time);
      }
    });
    cover.addEventListener("pointercancel", () => { this.down = this.look.drag = null; this.paintCover(); });
    cover.addEventListener("pointerleave", () => { if (!this.look.drag) { this.look.point = null; this.readout.textContent = ""; this.paintCover(); } });
    cover.addEventListener("dblclick", () => this.#reset());
    cover.addEventListener("wheel", event => this.#wheel(pane, event), {passive: false});
    cover.addEventListener("keydown", event => this.#key(pane, event));
  }

  // The part that is seen, around a place in the strip.
  #drag(event) {
    if (!event.buttons) return;
    const [from, to] = this.look.window, [low, high] = this.limits, share = event.offsetX / this.overview.clientWidth;
    this.look.window = within([low + share * (high - low) - (to - from) / 2, to - from], this.limits);
    this.paint();
  }

  #dragged(pane, {from, to, region}) {
    const a = pane.at(...from, this.look), b = pane.at(...to, this.look);
    const tall = Math.abs(to[1] - from[1]) > 24, heights = [a.height, b.height].sort((x, y) => x - y);
    if (pane.picture.kind === "curve") { this.#heights(heights, "fft"); return this.paint(); }
    const times = [a.time, b.time].map(time => Math.min(Math.max(time, this.limits[0]), this.limits[1])).sort((x, y) => x - y);
    if (region) return this.#region(...times, ...(tall ? [...heights, pane.picture.axis.name] : []));
    if (times[1] - times[0] > .02 && Math.abs(to[0] - from[0]) > 8) this.look.window = times;
    if (tall) this.#heights(heights, pane.picture.view);
    this.paint();
  }

  #wheel(pane, event) {
    if (!event.ctrlKey && !pane.cover.matches(":focus")) return;  // the page scrolls
    event.preventDefault();
    const [from, to] = this.look.window, box = pane.box, share = Math.min(Math.max((event.offsetX - box.x) / box.width, 0), 1);
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      this.look.window = within([from + (to - from) * sideways / 800, to - from], this.limits);
      return this.paint();
    }
    this.#zoom(Math.exp(Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) / 400), share);
  }

  #key(pane, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {look, sound} = this, [from, to] = look.window, step = event.shiftKey ? 5 : .5;
    const near = Math.min(Math.max((look.cursor - from) / (to - from), 0), 1), digit = /^Digit([1-4])$/.exec(event.code)?.[1];
    const actions = {
      " ": () => sound.toggle(), "ArrowLeft": () => this.seek(look.cursor - step, true), "ArrowRight": () => this.seek(look.cursor + step, true),
      "Home": () => this.seek(sound.start, true), "End": () => this.seek(sound.end, true),
      "ArrowUp": () => this.#step(pane, 1), "ArrowDown": () => this.#step(pane, -1),
      "+": () => this.#zoom(.7, near), "=": () => this.#zoom(.7, near), "-": () => this.#zoom(1 / .7, near), "0": () => this.#reset(),
      "[": () => this.#loop([look.cursor, Math.max(look.loop?.[1] ?? sound.end, look.cursor + .05)]),
      "]": () => this.#loop([Math.min(look.loop?.[0] ?? sound.start, look.cursor - .05), look.cursor]),
      "l": () => this.#toggleLoop(), "r": () => this.#beginRegion(), "m": () => this.#region(look.cursor, look.cursor),
      "c": () => this.#nextMap(), "a": () => sound.change(0), "b": () => sound.change(1), "?": () => this.helping.click(),
      "Delete": () => this.#regionAct("remove", look.chosen), "Backspace": () => this.#regionAct("remove", look.chosen),
      "Escape": () => { this.pending = null; this.help.hidden = true; this.#loop(null); },
    };
    const action = digit ? () => this.#ask(Object.keys(VIEWS)[digit - 1], event.shiftKey) : actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  // Read a step higher or lower at the cursor: a semitone of a frequency, else a row.
  #step(pane, way) {
    const {picture} = pane, curve = picture.kind === "curve", frequency = curve || picture.axis.name === "frequency";
    const scale = pane.scale(this.look.scale), known = this.look.point?.view === picture.view ? this.look.point.height : frequency ? 440 : null;
    const middle = scale.value(scale.at(pane.window(this.look)[0]) / 2 + scale.at(pane.window(this.look)[1]) / 2);
    const now = known === null || known < scale.low || known > scale.high ? middle : known;
    const row = curve ? 0 : 1 / picture.rows;
    const next = frequency ? now * 2 ** (way / 12) : scale.value(Math.min(Math.max(scale.at(now) + way * row, row / 2), 1 - row / 2));
    this.#read(pane, this.look.cursor, Math.min(Math.max(next, scale.low), scale.high), true);
  }

  #beginRegion() {
    const {cursor} = this.look;
    if (this.pending === null) { this.pending = cursor; this.live.textContent = this.readout.textContent = `a region starts at ${clock(cursor, .1)}; R again ends it`; return; }
    const [a, b] = [this.pending, cursor].sort((x, y) => x - y);
    this.pending = null;
    this.readout.textContent = "";
    this.#region(a, b);
  }

  #nextMap() {
    const names = Object.keys(this.look.tables);
    this.#change("colormap", names[(names.indexOf(this.look.colormap) + 1) % names.length]);
    this.colormap.value = this.look.colormap;
    this.live.textContent = this.look.colormap;
  }

  #save() {
    const canvases = [...this.panes.values()].map(pane => pane.canvas), sheet = document.createElement("canvas");
    sheet.width = Math.max(...canvases.map(canvas => canvas.width));
    sheet.height = canvases.reduce((sum, canvas) => sum + canvas.height, 0);
    const context = sheet.getContext("2d");
    context.fillStyle = getComputedStyle(this.root).backgroundColor;
    context.fillRect(0, 0, sheet.width, sheet.height);
    let y = 0;
    for (const canvas of canvases) { context.drawImage(canvas, 0, y); y += canvas.height; }
    sheet.toBlob(blob => download(blob, `${this.about.tracks[0].title} ${this.views.join(" ")}.png`));
  }

  // ---- wires

  #wire() {
    this.stops = [];
    const on = (names, act) => { this.model.on(names, act); this.stops.push(() => this.model.off(names, act)); };
    const shown = Object.keys(VIEWS).flatMap(view => [`change:_a_${view}`, `change:_b_${view}`]);
    on([...shown, "change:views"].join(" "), () => this.#soon());
    on("change:_about", () => {
      const whole = this.look.window[0] === this.limits[0] && this.look.window[1] === this.limits[1];
      const [from] = this.limits;
      this.about = this.model.get("_about");
      if (whole || from !== this.limits[0]) this.look.window = this.limits;
      this.#soon();
    });
    for (const side of ["a", "b"]) on(`change:_sound_${side}`, () => { this.sound.loop = this.look.loop = null; this.#loadSounds(); this.look.cursor = this.sound.time; });
    on("change:_controls change:_values", () => this.settings.show(this.model.get("_controls"), this.model.get("_values")));
    on("change:_message", () => this.#answered());
    for (const name of LOOK) on(`change:${name}`, () => this.#told(name));
    this.volume.addEventListener("input", () => this.sound.set("volume", Number(this.volume.value)));
    this.overview.addEventListener("mousedown", event => event.preventDefault());  // the picture keeps the focus
    for (const name of ["pointerdown", "pointermove"]) this.overview.addEventListener(name, event => this.#drag(event));
    this.root.addEventListener("pointerleave", () => this.tell());
    this.root.addEventListener("focusout", event => { if (!this.arranging && !this.root.contains(event.relatedTarget)) this.tell(); });
    const observer = new ResizeObserver(() => this.#layout());
    observer.observe(this.root);
    this.stops.push(() => observer.disconnect());
    const theme = new MutationObserver(() => this.paint());  // JupyterLab's light and dark
    theme.observe(document.body, {attributes: true, attributeFilter: ["data-jp-theme-light", "class"]});
    this.stops.push(() => theme.disconnect());
    this.settings.show(this.model.get("_controls"), this.model.get("_values"));
  }

  // Several parts of one message change one after the other; they are drawn together.
  #soon() { this.waiting ??= Promise.resolve().then(() => { this.waiting = null; this.#arrange(); this.refresh(); }); }

  // The kernel sets how a track is looked at.
  #told(name) {
    const value = this.model.get(name), {look} = this;
    if (JSON.stringify(value) === JSON.stringify(look[name])) return;
    if (name === "playing") return value ? this.sound.play() : this.sound.pause();
    if (name === "cursor") return this.seek(value);
    if (name === "loop") return this.#loop(value);
    look[name] = name === "window" ? value ?? this.limits : value;
    if (name === "heights") for (const pane of this.panes.values()) pane.heights = value?.[pane.picture.view] ?? null;
    for (const [list, key] of [[this.colormap, "colormap"], [this.following, "follow"], [this.scaling, "scale"]]) if (name === key) list.value = value;
    this.paint();
    this.#showRange();
    this.refresh();
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.tell();
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
