// The legend of a map, which filters it: what each shape and colour stands for, and which of them are shown.

import { element } from "./common.js";
import { entryLook, mark } from "./marks.js";

// Which tracks are shown: those that were found, if their entry is chosen; `codes` has the entry of each, a byte.
export function shownTracks(codes, chosen, found) {
  const shown = new Uint8Array(codes.length);
  for (const k of found) shown[k] = !chosen.size || chosen.has(codes[k]) ? 1 : 0;
  return shown;
}

export class Legend {
  constructor(changed) {
    this.changed = changed;
    this.chosen = new Set();  // entries; none: all are shown
    this.node = element("div", {className: "legend", role: "group"});
  }

  draw(group, theme) {
    const ratio = window.devicePixelRatio || 1;
    this.node.setAttribute("aria-label", `Show only some, by ${group.label}`);
    this.node.hidden = group.entries.length < 2;
    this.buttons = group.entries.map(({label, count}, index) => {
      const {shape, colour, small} = entryLook(theme, group, index);
      const sign = mark(shape, colour, small ? 4 : 5, ratio, null);
      sign.style.width = `${sign.width / ratio}px`;
      const title = `Show only ${label}: ${count} ${count === 1 ? "track" : "tracks"}`;
      const node = element("button", {type: "button", title, "aria-label": title},
        element("span", {className: "sign"}, sign), element("span", {className: "label", textContent: label}),
        element("span", {className: "soft", textContent: String(count)}));
      node.addEventListener("click", () => this.#toggle(index));
      return node;
    });
    this.node.replaceChildren(...this.buttons);
    this.#show();
  }

  clear() { this.chosen.clear(); }

  #toggle(index) {
    if (!this.chosen.delete(index)) this.chosen.add(index);
    if (this.chosen.size === this.buttons.length) this.chosen.clear();
    this.#show();
    this.changed();
  }

  #show() {
    this.node.classList.toggle("filters", this.chosen.size > 0);
    this.buttons.forEach((node, index) => node.setAttribute("aria-pressed", String(this.chosen.has(index))));
  }
}
