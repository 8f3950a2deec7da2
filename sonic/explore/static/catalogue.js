// A table of any number of tracks: found and sorted here, drawn only where it is looked at.

import { button, clock, element } from "./common.js";
import { countText, findRows, foldText } from "./search.js";

const HEIGHT = 28, SHOWN = 12, SPARE = 6;  // px of a row; rows to see at once; rows kept ready above and below

// A value as it is read.
export function cellText(value, {kind, places}) {
  if (value === null) return "";
  if (kind === "time") return clock(value);
  return kind === "number" && places ? value.toFixed(places) : String(value);
}

// What is searched: of each row all its cells in one text.
export function searchTexts(columns, count) {
  const texts = new Array(count).fill("");
  for (const column of columns) {
    const known = new Map(), {values} = column;
    for (let row = 0; row < count; row++) {
      let text = known.get(values[row]);
      if (text === undefined) known.set(values[row], (text = foldText(cellText(values[row], column))));
      texts[row] += `${text}\n`;
    }
  }
  return texts;
}

// The place of each row among the others by one column: equal values share one, and -1 is for none.
export function placesBy({values, kind}) {
  const compare = kind === "text" ? new Intl.Collator(undefined, {numeric: true}).compare : (a, b) => a - b;
  const distinct = [...new Set(values)].filter(value => value !== null).sort(compare);
  const places = new Map(distinct.map((value, place) => [value, place]));
  return Int32Array.from(values, value => places.get(value) ?? -1);
}

// All rows by their places, up (1) or down (-1); those without a value are last either way, equal ones stay as they
// were.
export function orderRows(places, direction) {
  const rank = row => (places[row] < 0 ? places.length : direction * places[row]);
  return Uint32Array.from(places.keys()).sort((a, b) => rank(a) - rank(b) || a - b);
}

// How wide a column is: at least so many px, and its share of what is left.
export function columnWidth(column) {
  const {values, kind, label} = column, lengths = [];
  const step = Math.ceil(values.length / 500);
  for (let row = 0; row < values.length; row += step) lengths.push(cellText(values[row], column).length);
  lengths.sort((a, b) => a - b);
  const most = Math.floor((kind === "text" ? 0.9 : 1) * (lengths.length - 1));
  const usual = Math.max(lengths[most] ?? 0, label.length + 3);
  if (kind !== "text") return {least: Math.min(8 * usual + 24, 160), share: 0};
  return {least: Math.min(7 * usual + 24, 150), share: Math.min(usual, 40)};
}

// The rows in the page: as many as can be seen, moved to where they belong.
class Rows {
  constructor(columns, act) {
    this.columns = columns;
    this.act = act;
    this.found = [];
    this.at = -1;  // the row that is chosen, by its place among those found
    this.pool = [];
    this.head = element("div", {className: "row head", role: "row"});
    this.body = element("div", {className: "body", role: "rowgroup"});
    const looks = {role: "grid", tabIndex: 0, "aria-label": "Tracks", "data-lm-suppress-shortcuts": "true"};
    this.node = element("div", {className: "rows", ...looks}, this.head, this.body);
    this.node.addEventListener("scroll", () => this.draw());
    this.node.addEventListener("keydown", event => this.#key(event));
    this.body.addEventListener("click", event => {
      const row = event.target.closest(".row");
      if (row) this.choose(Number(row.dataset.place), true);
    });
    const widths = columns.map(columnWidth), least = widths.reduce((sum, {least}) => sum + Math.ceil(least), 0);
    const px = width => `${Math.ceil(width)}px`;
    const template = widths.map(({least, share}) => `minmax(${px(least)}, ${share ? `${share}fr` : px(least)})`);
    this.node.style.setProperty("--columns", template.join(" "));
    this.node.style.setProperty("--least", `${least}px`);
  }

  show(found, chosen) {
    this.found = found;
    this.at = found.indexOf(chosen);
    this.body.style.height = `${Math.max(found.length, 1) * HEIGHT}px`;
    this.node.setAttribute("aria-rowcount", String(found.length + 1));
    this.body.classList.toggle("empty", !found.length);
    this.node.scrollTop = Math.max(0, this.at - SHOWN / 2) * HEIGHT;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / HEIGHT) - SPARE);
    const last = Math.min(this.found.length, first + SHOWN + 2 * SPARE + 2);
    while (this.pool.length < last - first) this.pool.push(this.#row());
    this.pool.forEach((node, index) => this.#fill(node, first + index < last ? first + index : -1));
    const chosen = this.pool.find(node => !node.hidden && Number(node.dataset.place) === this.at);
    this.node.setAttribute("aria-activedescendant", chosen?.id ?? "");
  }

  #row() {
    const name = crypto.getRandomValues(new Uint32Array(2)).join("-");
    const node = element("div", {className: "row", role: "row", id: `sonic-row-${name}`});
    for (const {kind} of this.columns) node.append(element("div", {className: `cell ${kind}`, role: "gridcell"}));
    this.body.append(node);
    return node;
  }

  #fill(node, place) {
    node.hidden = place < 0;
    if (node.hidden) return;
    const row = this.found[place];
    node.dataset.place = place;
    node.style.transform = `translateY(${place * HEIGHT}px)`;
    node.setAttribute("aria-rowindex", String(place + 2));
    node.setAttribute("aria-selected", String(place === this.at));
    node.classList.toggle("opened", row === this.act.opened());
    this.columns.forEach((column, index) => {
      const text = cellText(column.values[row], column), cell = node.children[index];
      if (cell.textContent !== text) cell.textContent = cell.title = text;
    });
  }

  choose(place, open) {
    if (!this.found.length) return;
    this.at = Math.min(Math.max(place, 0), this.found.length - 1);
    const top = this.at * HEIGHT, room = this.node.clientHeight - this.head.offsetHeight - HEIGHT;
    if (this.node.scrollTop > top) this.node.scrollTop = top;
    if (this.node.scrollTop < top - room) this.node.scrollTop = top - room;
    this.draw();
    this.act.chosen(this.found[this.at], open);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.node) return;
    const steps = {ArrowUp: -1, ArrowDown: 1, PageUp: -SHOWN, PageDown: SHOWN, Home: -Infinity, End: Infinity};
    const step = steps[event.key];
    if (step) this.choose(this.at < 0 && Math.abs(step) < Infinity ? 0 : this.at + step, false);
    else if (event.key === "Enter" || event.key === " ") this.choose(this.at, true);
    else return;
    event.preventDefault();
  }
}

export function render({model, el}) {
  const columns = model.get("columns"), count = columns[0].values.length;
  const natural = Uint32Array.from(Array(count).keys());
  const texts = searchTexts(columns, count), places = new Map();
  let order = natural, sorted = -1, direction = 1, chosen = -1;

  const rows = new Rows(columns, {
    opened: () => model.get("opened"),
    chosen: (row, open) => {
      chosen = row;
      if (!open) return;
      model.set("opened", row);
      model.save_changes();
    },
  });
  const asked = {type: "search", placeholder: "Search", "aria-label": "Search the tracks", spellcheck: false};
  const query = element("input", asked);
  const found = element("span", {className: "soft found", role: "status"});
  const note = element("div", {className: "note", role: "status"});
  const bar = element("div", {className: "bar"}, query, found);
  const root = element("div", {className: "sonic catalogue"}, bar, rows.node, note);

  const look = () => {
    const hits = findRows(texts, order, query.value);
    found.textContent = countText(hits.length, count);
    rows.show(hits, chosen);
  };

  // Up, down, and as it was.
  const sort = index => {
    if (sorted !== index) [sorted, direction] = [index, 1];
    else if (direction === 1) direction = -1;
    else sorted = -1;
    if (sorted >= 0 && !places.has(index)) places.set(index, placesBy(columns[index]));
    order = sorted < 0 ? natural : orderRows(places.get(index), direction);
    heads.forEach((head, other) => {
      const how = other !== sorted ? "none" : direction === 1 ? "ascending" : "descending";
      head.setAttribute("aria-sort", how);
    });
    look();
  };
  const heads = columns.map(({label, kind}, index) => {
    const name = button(label, `Sort by ${label}`, () => sort(index));
    return element("div", {className: `cell ${kind}`, role: "columnheader", "aria-sort": "none"}, name);
  });
  rows.head.append(...heads);

  query.addEventListener("input", look);
  query.addEventListener("keydown", event => {
    if (event.key === "Escape" && query.value) query.value = "", look();
    else if (event.key === "ArrowDown") rows.node.focus(), rows.choose(Math.max(rows.at, 0), false);
    else if (event.key === "Enter") rows.choose(Math.max(rows.at, 0), true);
    else return;
    event.preventDefault();
  });

  const tell = () => {
    const said = model.get("said"), title = columns[0].values[model.get("opened")];
    note.textContent = said || (model.get("busy") && title !== undefined ? `opening ${title} …` : "");
    note.classList.toggle("said", Boolean(said));
    rows.draw();
  };
  rows.node.style.height = `${(Math.min(count, SHOWN) + 1) * HEIGHT + 4}px`;
  const changes = ["opened", "busy", "said"].map(name => `change:${name}`);
  for (const change of changes) model.on(change, tell);
  el.append(root);
  look();
  tell();
  return () => {
    for (const change of changes) model.off(change, tell);
    root.remove();
  };
}
export default { render };
