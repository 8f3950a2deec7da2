// Regions: the stretches and moments that a listener marks, drawn by the pictures and listed under them.

import { button, clock, download, element } from "./common.js";
import { regionText, regionsCsv } from "./words.js";

export class Regions {
  constructor(explorer) {
    this.explorer = explorer;
    this.look = explorer.look;
    // where a region was begun by key
    this.begun = null;
    this.list = element("ol", {});
    this.node = element("section", {className: "regions", hidden: true, "aria-label": "Regions"},
      element("div", {className: "row"}, element("span", {className: "name", textContent: "Regions"}),
        button("CSV", "Save the regions as a CSV file", () => this.#save())),
      this.list);
  }

  // ---- what is done with them

  // One more; with a low and a high end on an axis, or over all of the height.
  add(start, end, low = null, high = null, axis = null) {
    const label = `${start === end ? "mark" : "region"} ${this.look.regions.length + 1}`;
    this.#now([...this.look.regions, {label, start, end, low, high, axis}], this.look.regions.length);
    this.explorer.say(`${label}, ${clock(start, .1)} to ${clock(end, .1)}`);
  }

  mark() { this.add(this.look.cursor, this.look.cursor); }

  // A region from where this was called first to where it is called again.
  beginOrEnd() {
    const {cursor} = this.look, begun = this.begun;
    this.begun = begun === null ? cursor : null;
    if (begun === null) return this.explorer.say(`a region starts at ${clock(cursor, .1)}; R again ends it`, true);
    this.explorer.say("", true);
    this.add(Math.min(begun, cursor), Math.max(begun, cursor));
  }

  remove(k) {
    const {regions} = this.look, focused = this.list.contains(document.activeElement);
    if (!regions[k]) return;
    this.explorer.keepFocus(() => {
      this.#now(regions.filter((_, n) => n !== k), -1);
      if (focused) this.list.children[Math.min(k, regions.length - 2)]?.lastElementChild.focus();
    });
  }

  #play(k) {
    const {start, end} = this.look.regions[k], {explorer} = this;
    this.look.chosen = k;
    explorer.cursor.loop(end > start ? [start, end] : null);
    explorer.cursor.seek(start);
    explorer.sound.play();
  }

  // As the kernel will have it, so that it need not send it back.
  #label(k, text) {
    const label = text.trim().replace(/\s+/g, " ");
    this.#now(this.look.regions.map((region, n) => n === k ? {...region, label} : region), this.look.chosen);
  }

  #now(regions, chosen) {
    Object.assign(this.look, {regions, chosen});
    this.explorer.paintCover();
    this.show();
  }

  #save() {
    const {title} = this.explorer.about.tracks[0];
    download(new Blob([regionsCsv(this.look.regions)], {type: "text/csv"}), `${title} regions.csv`);
  }

  // ---- the list

  // Built anew only for other regions, since a list that changes between press and release swallows the click; and not
  // while someone writes in it.
  show() {
    const {regions, chosen} = this.look, items = this.list.children;
    const written = this.list.contains(document.activeElement) && items.length === regions.length;
    if (regions !== this.shown && !written) {
      this.list.replaceChildren(...regions.map((region, k) => this.#item(region, k)));
      this.shown = regions;
    }
    this.node.hidden = !regions.length;
    [...items].forEach((item, k) => item.classList.toggle("chosen", k === chosen));
  }

  #item(region, k) {
    const n = k + 1, oninput = ({target}) => this.#label(k, target.value);
    const label = {value: region.label, maxLength: 80, oninput, "aria-label": `Label of region ${n}`};
    return element("li", {},
      button("▶", `Play region ${n} in a loop`, () => this.#play(k)), element("input", {type: "text", ...label}),
      element("span", {className: "soft times", textContent: regionText(region)}),
      button("✕", `Remove region ${n}`, () => this.remove(k)));
  }
}
