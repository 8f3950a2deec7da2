// The panels under the pictures: settings that the kernel knows, and the list of regions.

import { button, choice, element } from "./common.js";
import { regionText } from "./scale.js";

// One setting: a list or a slider, its value, and a box for "auto" where it may be none.
class Setting {
  constructor(told, change) {
    this.name = told.name;
    this.change = change;
    const label = element("span", {className: "name", textContent: told.label});
    const help = `${told.help}${told.unit ? ` (${told.unit})` : ""}`;
    this.node = element("label", {className: "setting", title: help}, label);
    if (told.choices) {
      this.input = choice(told.label, told.choices, told.value, value => change(told.name, value));
      this.node.append(this.input, element("span", {className: "soft", textContent: told.unit}));
    } else {
      this.input = element("input", {type: "range", min: told.low, max: told.high, step: told.step, "aria-label": `${told.label}, ${help}`});
      this.output = element("output", {className: "value"});
      this.unit = told.unit;
      this.input.addEventListener("input", () => { this.write(Number(this.input.value)); change(told.name, Number(this.input.value)); });
      this.node.append(this.input, this.output);
      if (told.none) {
        this.auto = element("input", {type: "checkbox", "aria-label": `${told.label} automatic`});
        this.auto.addEventListener("change", () => { this.write(this.value); change(told.name, this.value); });
        this.node.append(element("span", {className: "auto"}, this.auto, "auto"));
      }
    }
    this.update(told, true);
  }

  get value() { return this.auto?.checked ? null : Number(this.input.value); }

  write(value) {
    this.output.textContent = value === null ? "" : `${Number(value.toFixed(2))} ${this.unit}`.trim();
    this.input.disabled = value === null;
  }

  // What the kernel says; a slider that is being moved stays where the hand is, unless it went wrong.
  update(told, sure) {
    if (!sure && this.input.matches(":active, :focus")) return;
    if (told.choices) { this.input.value = String(told.value); return; }
    Object.assign(this.input, {min: told.low, max: told.high});
    this.input.value = String(told.value ?? told.high);
    if (this.auto) this.auto.checked = told.value === null;
    this.write(told.value);
  }
}

export class Settings {
  constructor(change) {
    this.node = element("div", {className: "row settings", role: "group", "aria-label": "Settings"});
    this.change = change;
    this.parts = [];
  }

  // All controls that the kernel offers for the views shown; built anew only if they are others than before.
  show(controls, values, sure = false) {
    const told = controls.map(each => ({...each, value: values[each.name]}));
    const known = this.parts.map(part => part.name).join() === told.map(each => each.name).join();
    if (known) this.parts.forEach((part, k) => part.update(told[k], sure));
    else {
      this.parts = told.map(each => new Setting(each, this.change));
      this.node.replaceChildren(...this.parts.map(part => part.node));
    }
    this.node.hidden = !told.length;
  }
}

export class Regions {
  constructor(act) {
    this.list = element("ol", {});
    this.save = button("CSV", "Save the regions as a CSV file", () => act("save"));
    this.node = element("section", {className: "regions", hidden: true, "aria-label": "Regions"},
      element("div", {className: "row"}, element("span", {className: "name", textContent: "Regions"}), this.save), this.list);
    this.act = act;
  }

  show(regions, chosen) {
    this.node.hidden = !regions.length;
    if (this.list.contains(document.activeElement) && this.list.children.length === regions.length) return this.mark(chosen);
    this.list.replaceChildren(...regions.map((region, k) => {
      const label = element("input", {type: "text", value: region.label, maxLength: 80, "aria-label": `Label of region ${k + 1}`});
      label.addEventListener("input", () => this.act("label", k, label.value));
      return element("li", {},
        button("▶", `Play region ${k + 1} in a loop`, () => this.act("play", k)), label,
        element("span", {className: "soft times", textContent: regionText(region)}),
        button("✕", `Remove region ${k + 1}`, () => this.act("remove", k)));
    }));
    this.mark(chosen);
  }

  mark(chosen) { [...this.list.children].forEach((item, k) => item.classList.toggle("chosen", k === chosen)); }
}
