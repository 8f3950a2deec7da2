// The settings that the kernel knows: what makes the pictures, each a list or a slider.

import { choice, element, offer } from "./common.js";

// One setting: a list or a slider, its value, and a box for "auto" where it may be none.
class Setting {
  constructor(told, change) {
    this.name = told.name;
    this.unit = told.unit;
    this.change = change;
    const help = `${told.help}${told.unit ? ` (${told.unit})` : ""}`;
    const name = element("span", {className: "name", textContent: told.label});
    this.node = element("label", {className: "setting", title: help}, name);
    if (told.choices) this.#list(told);
    else this.#slider(told, help);
    this.update(told);
  }

  #list({label, choices, value, unit}) {
    this.input = choice(label, choices, value, chosen => this.change(this.name, chosen));
    this.node.append(this.input, element("span", {className: "soft", textContent: unit}));
  }

  #slider({label, low, high, step, none}, help) {
    const oninput = () => this.#moved(), name = `${label}, ${help}`;
    this.input = element("input", {type: "range", min: low, max: high, step, oninput, "aria-label": name});
    this.output = element("output", {className: "value"});
    this.node.append(this.input, this.output);
    if (!none) return;
    this.auto = element("input", {type: "checkbox", oninput, "aria-label": `${label} automatic`});
    this.node.append(element("span", {className: "auto"}, this.auto, "auto"));
  }

  #moved() {
    const value = this.auto?.checked ? null : Number(this.input.value);
    this.#write(value);
    this.change(this.name, value);
  }

  #write(value) {
    this.output.textContent = value === null ? "" : `${Number(value.toFixed(2))} ${this.unit}`.trim();
    this.input.disabled = value === null;
  }

  // What the kernel says: its value, and what else could be chosen.
  update({choices, low, high, value}) {
    if (choices) return offer(this.input, choices, value);
    Object.assign(this.input, {min: low, max: high, value: value ?? high});
    if (this.auto) this.auto.checked = value === null;
    this.#write(value);
  }
}

export class Settings {
  constructor(change) {
    this.node = element("div", {className: "row settings", role: "group", "aria-label": "Settings"});
    this.change = change;
    this.parts = [];
  }

  // All settings that the kernel offers for the views shown; built anew only if they are others than before.
  show(controls, values) {
    const told = controls.map(each => ({...each, value: values[each.name]}));
    const known = this.parts.map(part => part.name).join() === told.map(each => each.name).join();
    if (known) this.parts.forEach((part, k) => part.update(told[k]));
    else {
      this.parts = told.map(each => new Setting(each, this.change));
      this.node.replaceChildren(...this.parts.map(part => part.node));
    }
    this.node.hidden = !told.length;
  }
}
