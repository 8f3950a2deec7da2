// What stands around the pictures: the track, the sound, the colours, and the help; and what all that says.

import { button, choice, clock, element, offer } from "./common.js";
import { HELP, MOUSE } from "./hands.js";
import { VIEWS } from "./kernel.js";
import { levelText } from "./words.js";

const SPEEDS = [[.5, "½ ×"], [.75, "¾ ×"], [1, "1 ×"], [1.5, "1½ ×"], [2, "2 ×"]];
const FOLLOW = [["page", "follow: page"], ["centre", "follow: centre"], ["off", "follow: off"]];

function row(label, ...children) {
  return element("div", {className: "row", role: "group", "aria-label": label}, ...children);
}

function slider(name, moved) {
  const oninput = ({target}) => moved(Number(target.value));
  return element("input", {type: "range", step: "any", title: name, "aria-label": name, oninput});
}

function press(node, pressed) { node.setAttribute("aria-pressed", String(pressed)); }

export class Frame {
  constructor(explorer) {
    const {grid, overview, settings, regions} = explorer;
    this.explorer = explorer;
    this.heads = element("div", {className: "heads"});
    this.readout = element("output", {className: "readout", "aria-label": "Under the pointer"});
    this.live = element("div", {className: "unseen", "aria-live": "polite"});
    this.message = element("div", {className: "said", role: "alert"});
    this.help = this.#help();
    this.scales = [];
    this.root = element("div", {className: "sonic sonic-explorer"}, this.heads, this.#transport(), this.help, grid.node,
      overview.node, this.readout, this.live, this.#painting(), settings.node, this.message, regions.node);
  }

  #help() {
    const lines = HELP.map(([key, what]) =>
      element("div", {}, element("dt", {textContent: key}), element("dd", {textContent: what})));
    const mouse = element("p", {textContent: MOUSE});
    return element("div", {className: "help", hidden: true}, mouse, element("dl", {}, ...lines));
  }

  toggleHelp(shown = this.help.hidden) { this.help.hidden = !shown; }

  // ---- the sound

  #transport() {
    const {explorer} = this, {look, sides} = explorer;
    this.play = button("▶", "Play", () => explorer.sound.toggle());
    this.play.classList.add("play");
    this.time = element("output", {className: "time", "aria-label": "Time"});
    this.heard = (sides > 1 ? look.names : [])
      .map((name, side) => button(name, `Hear ${name}`, () => explorer.sound.change(side)));
    this.looping = button("Loop", "Loop the part between [ and ], or what is seen", () => explorer.cursor.toggleLoop());
    const speed = choice("Speed", SPEEDS, 1, value => explorer.sound.set("playbackRate", Number(value)));
    const volume = slider("Volume", value => explorer.sound.set("volume", value));
    Object.assign(volume, {max: 1, step: .01, value: 1});
    this.following = choice("Follow the cursor", FOLLOW, look.follow, value => explorer.change("follow", value));
    this.earlier = button("◂", "Earlier in the track", () => explorer.kernel.move(-1));
    this.later = button("▸", "Later in the track", () => explorer.kernel.move(1));
    this.stretch = element("span", {className: "stretch"}, this.earlier, this.later);
    return row("Sound", this.play, this.time, ...this.heard, this.looping, speed, volume, this.following, this.stretch,
      button("?", "Keys and mouse", () => this.toggleHelp()));
  }

  // What changes with every frame while a sound is played.
  showTime() {
    const {look, limits} = this.explorer, text = `${clock(look.cursor, .1)} / ${clock(limits[1])}`;
    if (this.time.textContent !== text) this.time.textContent = text;
  }

  showSound() {
    const {look, sound} = this.explorer;
    this.play.textContent = sound.playing ? "❚❚" : "▶";
    this.play.title = sound.playing ? "Pause" : "Play";
    this.play.setAttribute("aria-label", this.play.title);
    press(this.looping, Boolean(look.loop));
    this.heard.forEach((node, side) => press(node, side === sound.side));
    this.showTime();
  }

  // ---- the pictures

  #painting() {
    const {explorer} = this;
    this.views = Object.entries(VIEWS).map(([view, label], k) => {
      const title = `${label} (key ${k + 1}; shift: beside the others)`;
      const node = button(label, title, event => explorer.kernel.show(view, event.shiftKey));
      node.dataset.view = view;
      return node;
    });
    this.colormap = choice("Colour map", [], "", value => explorer.change("colormap", value));
    this.scaling = choice("Frequency scale", [], "", value => explorer.change("scale", value));
    this.range = ["Darkest level", "Brightest level"]
      .map((name, end) => slider(name, value => explorer.changeRange(end, value)));
    this.ranged = element("output", {className: "value"});
    const range = element("span", {className: "name", textContent: "range"});
    return row("Picture", element("span", {className: "views"}, ...this.views), this.colormap, this.scaling,
      element("span", {className: "setting"}, range, ...this.range, this.ranged),
      button("All", "Show all of it again (key 0)", () => explorer.seeAll()),
      button("PNG", "Save the pictures as PNG", () => explorer.savePictures()));
  }

  // The tracks, and what there is to choose for the pictures that are shown.
  showHeads() {
    const {about: {live, tracks}, grid, kernel, look} = this.explorer, [{start, seconds, total}] = tracks;
    this.heads.replaceChildren(...tracks.map((track, side) => this.#head(track, look.names[side])));
    this.stretch.hidden = !live || tracks.length > 1 || !(total > seconds + .5);
    this.earlier.disabled = start <= 0;
    this.later.disabled = start + seconds >= total - .5;
    for (const node of this.views) {
      press(node, kernel.views.includes(node.dataset.view));
      node.hidden = !live && !kernel.picture(0, node.dataset.view);
    }
    offer(this.colormap, Object.keys(look.tables).map(name => [name, name.replace("gray_r", "grey")]), look.colormap);
    const frequency = [...grid.panes.values()].find(pane => pane.picture.axis?.name === "frequency");
    this.scales = Object.keys(frequency?.scales ?? {});
    offer(this.scaling, this.scales.map(name => [name, `${name} scale`]), "");
    this.scaling.hidden = this.scales.length < 2;
    this.showLook();
  }

  #head({title, artist, start, seconds, total, facts, notes}, name) {
    const span = `${clock(start)} – ${clock(start + seconds)}${total ? ` of ${clock(total)}` : ""}`;
    return element("div", {className: "head"},
      element("span", {className: "title", textContent: name ? `${name}: ${title}` : title}),
      element("span", {className: "soft", textContent: [artist, span, facts, ...notes].filter(Boolean).join(" · ")}));
  }

  // How the pictures are looked at.
  showLook() {
    const {grid: {first}, look} = this.explorer;
    this.colormap.value = look.colormap;
    this.following.value = look.follow;
    this.scaling.value = this.scales.includes(look.scale) ? look.scale : this.scales[0] ?? "";
    if (!first) return;
    const {picture, range} = first;
    this.range.forEach((input, end) => Object.assign(input, {min: picture.low, max: picture.high, value: range[end]}));
    this.ranged.textContent = range.map(level => levelText(picture, level)).join(" to ");
  }
}
