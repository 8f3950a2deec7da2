// The pictures that are shown: one below the other, those of two tracks side by side where there is room.

import { bytes, clock, download, element } from "./common.js";
import { Pane } from "./pane.js";

const GAP = 12, WIDE = 860, NARROWEST = 280;  // px
// How high a picture is, in px, among so many; and one of pitch classes among others.
const HEIGHTS = [320, 320, 240, 200, 190], FLAT = 200;

// A picture as it came, its numbers as arrays and its times as those of the recording.
function received(told, start) {
  const floats = data => {
    const {buffer, byteOffset, byteLength} = bytes(data);
    return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
  };
  if (told.kind === "curve") return {...told, levels: floats(told.levels), smooth: floats(told.smooth)};
  const axis = {...told.axis, values: [...floats(told.axis.values)]};
  return {...told, levels: bytes(told.levels), start: told.start + start, axis};
}

function without(table, name) {
  const {[name]: _, ...rest} = table;
  return rest;
}

export class Grid {
  constructor(explorer) {
    this.explorer = explorer;
    this.look = explorer.look;
    // by side and view, in the order in which they stand on the page
    this.panes = new Map();
    // of each view the axis that its heights were meant for, and the unit that its range was meant for
    this.meant = {};
    this.node = element("div", {className: "grid"});
  }

  // The first picture, whose range the sliders change.
  get first() { return this.panes.values().next().value; }

  // A pane for every view of every side; those that are there already stay.
  arrange() {
    const {explorer: {kernel, sides}, panes: old} = this, each = [...Array(sides).keys()];
    const all = kernel.views.flatMap(view => each.map(side => ({side, view, told: kernel.picture(side, view)})));
    const wanted = all.filter(({told}) => told);
    // the kernel is still at it
    if (!wanted.length) return;
    this.panes = new Map(wanted.map(({side, view}) => {
      const key = `${side}-${view}`;
      return [key, old.get(key) ?? this.#pane(side, view)];
    }));
    for (const [key, pane] of old) if (!this.panes.has(key)) pane.node.remove();
    [...this.panes.values()].forEach((pane, k) => {
      const {told} = wanted[k], there = this.node.children[k];
      if (there !== pane.node) this.node.insertBefore(pane.node, there ?? null);
      if (pane.told !== told) this.#show(pane, told);
    });
    this.#under();
  }

  #pane(side, view) {
    const pane = new Pane(side, view, this.look);
    this.explorer.hands.listen(pane);
    return pane;
  }

  #show(pane, told) {
    const {look} = this, {view} = pane, track = this.explorer.about.tracks[pane.side];
    const axis = told.axis?.name, [ofHeights, ofRange] = this.meant[view] ?? [axis, told.unit];
    if (axis !== ofHeights) look.heights = without(look.heights, view);
    if (axis !== ofHeights && look.point?.view === view) this.explorer.unread();
    if (told.unit !== ofRange) look.ranges = without(look.ranges, view);
    this.meant[view] = [axis, told.unit];
    pane.told = told;
    pane.show(received(told, track.start));
    const span = `${clock(track.start)} to ${clock(track.start + track.seconds)}`;
    pane.cover.setAttribute("aria-label", `${told.title} of ${track.title}, ${span}, ${told.facts}. `
      + "Space plays, arrows move, question mark lists the keys.");
  }

  // What is under the pointer may have another value now, or be gone.
  #under() {
    const {explorer, look: {point, drag}} = this, shown = [...this.panes.values()];
    if (drag && !shown.includes(drag.pane)) explorer.hands.forget();
    if (!point) return;
    if (shown.includes(point.pane)) explorer.read(point.pane, point.time, point.height);
    else explorer.unread();
  }

  layout() {
    const {sides, kernel} = this.explorer, width = this.node.clientWidth, count = kernel.views.length;
    // nothing is laid out that cannot be seen
    if (!width) return;
    const columns = sides > 1 && width >= WIDE ? 2 : 1;
    const each = Math.max(Math.floor((width - GAP * (columns - 1)) / columns), NARROWEST);
    this.node.style.gridTemplateColumns = `repeat(${columns}, ${each}px)`;
    for (const pane of this.panes.values()) {
      const flat = count > 1 && pane.picture.axis?.name === "pitch class";
      pane.resize(each, flat ? FLAT : HEIGHTS[count], window.devicePixelRatio || 1);
    }
    this.explorer.paint();
  }

  paint() {
    const {sides, sound} = this.explorer;
    for (const pane of this.panes.values()) {
      pane.paint();
      pane.node.classList.toggle("heard", sides > 1 && pane.side === sound.side);
    }
  }

  paintCover() { for (const pane of this.panes.values()) pane.paintCover(); }

  // The pictures below each other on one sheet.
  save(name) {
    const canvases = [...this.panes.values()].map(pane => pane.canvas), sheet = document.createElement("canvas");
    sheet.width = Math.max(...canvases.map(canvas => canvas.width));
    sheet.height = canvases.reduce((sum, canvas) => sum + canvas.height, 0);
    const context = sheet.getContext("2d");
    context.fillStyle = getComputedStyle(this.explorer.root).backgroundColor;
    context.fillRect(0, 0, sheet.width, sheet.height);
    let y = 0;
    for (const canvas of canvases) {
      context.drawImage(canvas, 0, y);
      y += canvas.height;
    }
    sheet.toBlob(blob => download(blob, name));
  }
}
