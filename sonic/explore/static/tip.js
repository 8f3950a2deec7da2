// What is shown of the track that is pointed at: its picture, made when it is asked for, and its words.

import { address, bytes, element } from "./common.js";

const DWELL = 120, PICTURES = 200;  // ms until a picture is asked for; pictures kept
const AWAY = 14;  // px from the point

// Where a box stands beside a point: never outside, and right or left of it, whichever hides fewer of the others.
export function besidePoint([x, y], [width, height], [wide, high], others = []) {
  const within = (at, most) => Math.min(Math.max(at, 4), Math.max(most, 4));
  const top = within(y - height / 2, high - height - 4);
  const hidden = left => others.filter(([a, b]) => a > left && a < left + width && b > top && b < top + height).length;
  const sides = [x + AWAY, x - AWAY - width].map(left => within(left, wide - width - 4));
  const cost = sides.map(left => hidden(left) + (left < x && left + width > x ? 100 : 0));
  return [sides[cost[1] < cost[0] ? 1 : 0], top];
}

export class Tip {
  // `pictured` says whether a track has a picture.
  constructor(model, pictured) {
    Object.assign(this, {model, pictured, index: -1, pictures: new Map(), asked: -1});
    this.image = element("img", {alt: "", draggable: false});
    this.frame = element("div", {className: "thumb"}, this.image);
    this.words = element("div", {});
    this.node = element("div", {className: "tip", hidden: true, "aria-hidden": "true"}, this.frame, this.words);
  }

  show(index, lines) {
    clearTimeout(this.timer);
    this.index = index;
    this.node.hidden = index < 0;
    if (index < 0) return;
    this.words.replaceChildren(...lines.filter(Boolean).map((text, k) => (
      element("div", {className: k ? "soft" : "name", textContent: text}))));
    this.#draw();
    if (this.pictured(index) && !this.pictures.has(index)) this.timer = setTimeout(() => this.#ask(), DWELL);
  }

  place(point, room, others) {
    if (this.node.hidden) return;
    const [left, top] = besidePoint(point, [this.node.offsetWidth, this.node.offsetHeight], room, others);
    this.node.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  #draw() {
    const known = this.pictures.get(this.index);
    this.frame.hidden = !this.pictured(this.index) || known === "";
    this.image.hidden = !known;
    if (known) this.image.src = known;
  }

  // One at a time: the kernel would draw all those that were passed over first.
  #ask() {
    const {index} = this, kept = this.model.get("pictures")?.[index];
    if (kept) return this.#keep(index, bytes(kept));
    if (this.asked >= 0 || index < 0 || this.pictures.has(index)) return;
    this.asked = index;
    this.model.send({see: index});
  }

  // What the kernel answers: a picture, or none.
  hear(message, buffers) {
    const index = message?.seen;
    if (!Number.isInteger(index) || index !== this.asked) return;
    this.asked = -1;
    this.#keep(index, message.said ? null : bytes(buffers[0]));
    if (this.index !== index && this.index >= 0 && this.pictured(this.index)) this.#ask();
  }

  #keep(index, data) {
    this.pictures.set(index, data ? address(data, "image/png") : "");
    const [old] = this.pictures.keys();
    if (this.pictures.size > PICTURES && old !== this.index) this.#drop(old);
    this.#draw();
  }

  #drop(index) {
    if (this.pictures.get(index)) URL.revokeObjectURL(this.pictures.get(index));
    this.pictures.delete(index);
  }

  end() {
    clearTimeout(this.timer);
    for (const index of [...this.pictures.keys()]) this.#drop(index);
  }
}
