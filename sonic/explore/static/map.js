// A map of tracks: a point each, its picture and its words where it is pointed at, its sound where it is pressed.

import { button, bytes, choice, element } from "./common.js";
import { Deck } from "./deck.js";
import { Legend, shownTracks } from "./legend.js";
import { themeOf } from "./marks.js";
import { placesOf } from "./plane.js";
import { Player } from "./player.js";
import { countText, findRows, foldText } from "./search.js";
import { Stage } from "./stage.js";
import { Tip } from "./tip.js";

const PRESS = 1.6;  // closer
const HINT = "Arrows go from track to track, space plays, N goes on to the nearest, plus and minus zoom, 0 shows all.";
const SILENT = "this page does not hold the sound of this track";

// An order in which those that stand together in the table are not painted together; the same every time.
export function mixedOrder(count) {
  const order = Uint32Array.from({length: count}, (_, k) => k);
  let state = 1;
  for (let k = count - 1; k > 0; k--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = Math.floor(state / 2 ** 32 * (k + 1));
    [order[k], order[other]] = [order[other], order[k]];
  }
  return order;
}

// Of each track those nearest to it, from a list with so many of each.
export function nearOf(data, lines) {
  const rows = new Uint16Array(data.slice().buffer);
  return index => [...rows.subarray(index * lines, (index + 1) * lines)].filter(row => row !== index);
}

class Chart {
  constructor(model) {
    this.model = model;
    this.titles = model.get("titles");
    this.artists = model.get("artists");
    this.groups = model.get("groups").map(group => ({...group, codes: bytes(group.codes)}));
    this.heard = model.get("heard") && new Set(model.get("heard"));
    this.texts = this.titles.map((title, k) => foldText(`${title}\n${this.artists[k]}`));
    this.all = Uint32Array.from(this.titles.keys());
    this.scene = {
      places: placesOf(bytes(model.get("places"))), near: nearOf(bytes(model.get("near")), model.get("lines")),
      order: mixedOrder(this.titles.length), shown: new Uint8Array(this.titles.length).fill(1),
      group: this.groups[0], at: -1, chosen: model.get("chosen"), heard: this.heard,
    };
    this.#parts();
    const label = `Map of ${this.titles.length} tracks`, facts = model.get("facts");
    this.root = element("div", {className: "sonic map", role: "group", "aria-label": label}, this.#bar(), this.body,
      this.player.node, element("div", {className: "soft", textContent: facts}));
    this.root.chart = this;
  }

  #parts() {
    const {model} = this;
    this.stage = new Stage(this.scene, {
      look: index => this.look(index), reach: index => this.reach(index), choose: index => this.choose(index),
      nearer: () => this.nearer(), leave: () => this.leave(), moved: () => this.#placeTip(),
    });
    this.stage.cover.setAttribute("aria-label", `Map of ${this.titles.length} tracks. ${HINT}`);
    this.tip = new Tip(model, index => this.playable(index));
    this.stage.node.append(this.tip.node);
    this.legend = new Legend(() => this.filter());
    this.live = element("div", {className: "unseen", role: "status"});
    this.body = element("div", {className: "body"}, this.stage.node, this.legend.node, this.live);
    this.player = new Player({
      toggle: () => this.deck.toggle(this.scene.chosen), seek: share => this.deck.play(this.scene.chosen, share),
    });
    this.deck = new Deck(model, {
      playable: index => this.playable(index), seconds: () => this.seconds,
      changed: () => this.showPlayer(),
      moved: (index, share) => { if (index === this.scene.chosen) this.player.showTime(share, this.seconds); },
      complain: (words, index) => { if (index === this.scene.chosen) this.player.note.textContent = words; },
    });
  }

  #bar() {
    const {stage} = this;
    const asked = {type: "search", placeholder: "Search", "aria-label": "Search the tracks", spellcheck: false};
    this.query = element("input", asked);
    this.query.addEventListener("input", () => this.filter());
    this.query.addEventListener("keydown", event => this.#asked(event));
    this.found = element("span", {className: "soft found", role: "status"});
    const options = this.groups.map(({label}, index) => [index, label]);
    const by = element("label", {className: "soft by", hidden: options.length < 2}, "colour by ",
      choice("Colour by", options, 0, index => this.colourBy(Number(index))));
    const zoom = element("span", {className: "zoom"}, button("+", "Closer", () => stage.zoom(PRESS)),
      button("−", "Further away", () => stage.zoom(1 / PRESS)), button("All", "Show all", () => stage.seeAll()));
    return element("div", {className: "bar"}, this.query, this.found, by, zoom);
  }

  #asked(event) {
    if (event.key === "Escape" && this.query.value) this.query.value = "", this.filter();
    else if (event.key === "Enter") this.nextHit();
    else if (event.key === "ArrowDown") this.stage.cover.focus(), this.scene.at < 0 && this.nextHit();
    else return;
    event.preventDefault();
  }

  // s, of the sound that is chosen.
  get seconds() {
    const {duration} = this.deck.audio, most = this.model.get("seconds");
    return Number.isFinite(duration) ? Math.min(duration, most) : most;
  }

  playable(index) {
    if (!(index >= 0 && index < this.titles.length)) return false;
    return this.model.get("playable") && (this.heard?.has(index) ?? true);
  }

  linesOf(index) {
    const {group} = this.scene, {label} = group.entries[group.codes[index]];
    return [this.titles[index], this.artists[index], group.entries.length > 1 ? `${group.label}: ${label}` : ""];
  }

  // ---- which tracks are shown, and in which colours

  filter() {
    const {scene} = this, found = findRows(this.texts, this.all, this.query.value);
    scene.shown = shownTracks(scene.group.codes, this.legend.chosen, found);
    const count = scene.shown.reduce((sum, one) => sum + one, 0);
    this.found.textContent = count ? countText(count, this.titles.length) : "no track is both chosen and found";
    if (scene.at >= 0 && !scene.shown[scene.at]) this.look(-1);
    this.stage.paint();
  }

  nextHit() {
    const {scene} = this, hits = findRows(this.texts, this.all, this.query.value).filter(index => scene.shown[index]);
    if (hits.length) this.reach(hits[(hits.indexOf(scene.at) + 1) % hits.length]);
  }

  colourBy(index) {
    this.scene.group = this.groups[index];
    this.legend.clear();
    this.drawTheme();
    this.filter();
    this.showPlayer();
  }

  drawTheme() {
    this.scene.theme = themeOf(this.root, this.model.get("palette"));
    this.legend.draw(this.scene.group, this.scene.theme);
    this.stage.paint();
  }

  // ---- which track is meant

  look(index) {
    if (index === this.scene.at) return;
    this.scene.at = index;
    this.stage.cover.classList.toggle("over", index >= 0);
    this.tip.show(index, index < 0 ? [] : this.linesOf(index));
    this.stage.paint(false);
  }

  #placeTip() {
    const {at, chosen} = this.scene;
    if (at < 0) return;
    const {stage} = this, others = [...this.scene.near(at), ...(chosen >= 0 && chosen !== at ? [chosen] : [])];
    this.tip.place(stage.where(at), stage.size, others.map(index => stage.where(index)));
  }

  // By the keyboard: brought into sight, and said.
  reach(index) {
    if (index < 0) return;
    this.look(index);
    this.stage.seeTo(index);
    this.live.textContent = this.linesOf(index).filter(Boolean).join(", ");
  }

  // From neighbour to neighbour, the nearest first, round the track that is chosen or looked at.
  nearer() {
    const {scene} = this, from = scene.chosen >= 0 ? scene.chosen : scene.at;
    const near = from < 0 ? [] : scene.near(from).filter(index => scene.shown[index]);
    if (near.length) this.reach(near[(near.indexOf(scene.at) + 1) % near.length]);
  }

  leave() {
    this.look(-1);
    if (this.scene.chosen >= 0 && this.deck.state(this.scene.chosen) !== "still") this.deck.toggle(this.scene.chosen);
    this.select(-1);
    this.tell();
  }

  choose(index) {
    if (index < 0) return;
    this.select(index);
    this.look(index);
    if (this.playable(index)) this.deck.toggle(index);
    else this.deck.audio.pause();
    this.tell();
  }

  select(index) {
    if (index !== this.scene.chosen) this.player.note.textContent = "";
    this.scene.chosen = index;
    this.showPlayer();
    this.stage.paint(false);
  }

  tell() {
    this.model.set("chosen", this.scene.chosen);
    this.model.save_changes();
  }

  showPlayer() {
    const {chosen} = this.scene, can = this.playable(chosen);
    const lines = chosen < 0 ? [] : [...this.linesOf(chosen), can || !this.heard ? "" : SILENT];
    this.player.show(lines, this.deck.state(chosen), can);
    if (this.deck.current !== chosen) this.player.showTime(0, this.model.get("seconds"));
  }

  // ---- from beginning to end

  begin(el) {
    const {model} = this, heard = (message, buffers) => {
      this.deck.hear(message, buffers);
      this.tip.hear(message, buffers);
    };
    const follow = () => {
      const chosen = model.get("chosen");
      if (chosen === this.scene.chosen) return;
      this.select(chosen);
      if (chosen >= 0) this.stage.seeTo(chosen);
    };
    el.append(this.root);
    this.drawTheme();
    this.filter();
    this.showPlayer();
    model.on("msg:custom", heard);
    model.on("change:chosen", follow);
    const size = new ResizeObserver(() => {
      // an element has no colours until it is in the page
      if (!this.scene.theme.paper) this.drawTheme();
      this.stage.resize(this.stage.node.clientWidth);
    });
    size.observe(this.stage.node);
    const painted = () => this.drawTheme(), dark = matchMedia("(prefers-color-scheme: dark)");
    const theme = new MutationObserver(painted);
    theme.observe(document.body, {attributes: true, attributeFilter: ["data-jp-theme-light", "class"]});
    dark.addEventListener("change", painted);
    this.stops = [() => model.off("msg:custom", heard), () => model.off("change:chosen", follow),
      () => size.disconnect(), () => theme.disconnect(), () => dark.removeEventListener("change", painted)];
  }

  end() {
    this.stops.forEach(stop => stop());
    this.stage.end();
    this.deck.end();
    this.tip.end();
    this.root.remove();
  }
}

export function render({model, el}) {
  const chart = new Chart(model);
  chart.begin(el);
  return () => chart.end();
}
export default { render };
