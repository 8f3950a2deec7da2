// A strip of the whole stretch, as long as only a part of it is seen; that part can be dragged along it.

import { element } from "./common.js";

const STRIP = 24;  // px high

export class Overview {
  constructor(explorer) {
    this.explorer = explorer;
    this.node = element("canvas", {
      className: "overview", title: "All of it, and the part that is seen; drag it along", hidden: true,
      // the picture keeps the focus
      onmousedown: event => event.preventDefault(),
      onpointerdown: event => {
        if (event.button) return;
        this.node.setPointerCapture(event.pointerId);
        this.#go(event);
      },
      onpointermove: event => { if (this.node.hasPointerCapture(event.pointerId)) this.#go(event); },
    });
  }

  // The part that is seen, around a place in the strip.
  #go(event) {
    const {explorer} = this, [from, to] = explorer.look.window, [low, high] = explorer.limits;
    const time = low + event.offsetX / this.node.clientWidth * (high - low);
    explorer.see(time - (to - from) / 2, to - from);
  }

  // Drawn with the pixels of a picture that is already painted.
  paint(pane) {
    const {explorer: {look, limits: [low, high]}, node} = this, [from, to] = look.window;
    node.hidden = !pane || to - from >= (high - low) * .999;
    if (node.hidden) return;
    const {x, width} = pane.box, {start, step, columns} = pane.picture, ratio = window.devicePixelRatio || 1;
    const at = time => (time - low) / (high - low) * width;
    Object.assign(node, {width: Math.round(width * ratio), height: STRIP * ratio});
    Object.assign(node.style, {width: `${width}px`, height: `${STRIP}px`, marginLeft: `${x}px`});
    const context = node.getContext("2d");
    context.scale(ratio, ratio);
    context.drawImage(pane.image, at(start), 0, at(start + step * columns) - at(start), STRIP);
    context.fillStyle = "#000a";
    context.fillRect(0, 0, at(from), STRIP);
    context.fillRect(at(to), 0, width - at(to), STRIP);
    context.strokeStyle = "#fff";
    context.strokeRect(at(from) + .5, .5, Math.max(at(to) - at(from) - 1, 1), STRIP - 1);
  }
}
