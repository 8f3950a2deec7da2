// What each gesture of the pointer, each turn of the wheel and each key does.

import { VIEWS } from "./kernel.js";

export const MOUSE = "Click to go there, drag to zoom, shift-drag for a region, double-click to see all. "
  + "The wheel zooms in time once the picture has the focus, or with Ctrl.";
export const HELP = [
  ["space", "play, pause"], ["← →", "half a second; with shift, five"], ["home, end", "to the start, to the end"],
  ["↑ ↓", "read a semitone or a row higher, lower"], ["+ −", "zoom in time"], ["0", "show all"],
  ["[ ]", "the loop starts, ends here"], ["L", "loop on or off"], ["R", "a region starts here; again: ends here"],
  ["M", "mark this moment"], ["delete", "remove the chosen region"],
  ["1 2 3 4", "mel, chroma, spectrum, tempogram; with shift, beside the others"],
  ["C", "next colour map"], ["A B", "hear the one or the other"], ["esc", "end the loop, close this"],
];
// A key that zooms in leaves this share of what was seen.
const CLOSER = .7;
const LEAST = .05;  // s, of a loop

// What a key does to the explorer; `pane` has the focus, `step` are the seconds of an arrow.
const ACTS = {
  " ": ({sound}) => sound.toggle(),
  "ArrowLeft": ({cursor, look}, {step}) => cursor.seek(look.cursor - step, true),
  "ArrowRight": ({cursor, look}, {step}) => cursor.seek(look.cursor + step, true),
  "ArrowUp": (explorer, {pane}) => readBeside(explorer, pane, 1),
  "ArrowDown": (explorer, {pane}) => readBeside(explorer, pane, -1),
  "Home": ({cursor, sound}) => cursor.seek(sound.start, true),
  "End": ({cursor, sound}) => cursor.seek(sound.end, true),
  "+": explorer => zoomAtCursor(explorer, CLOSER),
  "=": explorer => zoomAtCursor(explorer, CLOSER),  // the same key without shift
  "-": explorer => zoomAtCursor(explorer, 1 / CLOSER),
  "0": explorer => explorer.seeAll(),
  "[": loopFromHere,
  "]": loopToHere,
  "l": ({cursor}) => cursor.toggleLoop(),
  "r": ({regions}) => regions.beginOrEnd(),
  "m": ({regions}) => regions.mark(),
  "c": explorer => explorer.nextColours(),
  "a": ({sound}) => sound.change(0),
  "b": ({sound}) => sound.change(1),
  "?": ({frame}) => frame.toggleHelp(),
  "Delete": ({regions, look}) => regions.remove(look.chosen),
  "Backspace": ({regions, look}) => regions.remove(look.chosen),
  "Escape": ({regions, frame, cursor}) => {
    regions.begun = null;
    frame.toggleHelp(false);
    cursor.loop(null);
  },
};

function zoomAtCursor(explorer, factor) {
  const {cursor, window: [from, to]} = explorer.look;
  explorer.zoom(factor, (cursor - from) / (to - from));
}

function loopFromHere({sound, look, cursor}) {
  const from = Math.min(look.cursor, sound.end - LEAST);
  cursor.loop([from, Math.max(look.loop?.[1] ?? sound.end, from + LEAST)]);
}

function loopToHere({sound, look, cursor}) {
  const to = Math.max(look.cursor, sound.start + LEAST);
  cursor.loop([Math.min(look.loop?.[0] ?? sound.start, to - LEAST), to]);
}

// Read a step higher (1) or lower (-1) at the cursor: a semitone of a frequency, else a row.
function readBeside(explorer, pane, way) {
  const {look} = explorer, {picture} = pane, scale = pane.scale(), [low, high] = pane.window;
  const frequency = picture.kind === "curve" || picture.axis.name === "frequency";
  const known = look.point?.view === pane.view ? look.point.height : frequency ? 440 : NaN;
  const now = known >= scale.low && known <= scale.high ? known : scale.value((scale.at(low) + scale.at(high)) / 2);
  const row = 1 / picture.rows, beside = Math.min(Math.max(scale.at(now) + way * row, row / 2), 1 - row / 2);
  const next = frequency ? now * 2 ** (way / 12) : scale.value(beside);
  explorer.read(pane, look.cursor, Math.min(Math.max(next, scale.low), scale.high), true);
}

function spot(event) { return [event.offsetX, event.offsetY]; }

export class Hands {
  constructor(explorer) {
    this.explorer = explorer;
    this.look = explorer.look;
    // {pane, from, region}: where the button was pressed
    this.down = null;
  }

  listen(pane) {
    const on = (...what) => pane.cover.addEventListener(...what);
    on("pointerdown", event => this.#press(pane, event));
    on("pointermove", event => this.#move(pane, event));
    on("pointerup", event => this.#release(pane, event));
    on("pointercancel", () => this.forget());
    on("pointerleave", () => { if (!this.look.drag) this.explorer.unread(); });
    on("dblclick", () => this.explorer.seeAll());
    on("wheel", event => this.#turn(pane, event), {passive: false});
    on("keydown", event => this.#key(pane, event));
  }

  // ---- the pointer

  #press(pane, event) {
    if (event.button) return;
    pane.cover.focus({preventScroll: true});
    pane.cover.setPointerCapture(event.pointerId);
    this.down = {pane, from: spot(event), region: event.shiftKey && pane.picture.kind === "image"};
  }

  #move(pane, event) {
    const to = spot(event), {from} = this.down ?? {};
    const dragged = this.down?.pane === pane && Math.hypot(to[0] - from[0], to[1] - from[1]) > 4;
    if (dragged) this.look.drag = {...this.down, to};
    this.#read(pane, event);
  }

  #read(pane, event) {
    const {inside, time, height} = pane.at(...spot(event));
    if (inside) this.explorer.read(pane, time, height);
    else this.explorer.unread();
  }

  #release(pane, event) {
    if (this.down?.pane !== pane) return;
    const {drag} = this.look, {inside, time} = pane.at(...spot(event));
    this.forget();
    if (drag) this.#dragged(pane, drag);
    else if (inside && time !== null) this.explorer.cursor.seek(time);
  }

  // Also when the picture that is dragged upon goes.
  forget() {
    this.down = this.look.drag = null;
    this.explorer.paintCover();
  }

  // A box: seen closer, or a region; where it is flat, only its times count, where it is narrow, only its heights.
  #dragged(pane, {from, to, region}) {
    const {explorer, look} = this, {box, picture} = pane, curve = picture.kind === "curve";
    const xs = [from[0], to[0]].map(x => Math.min(Math.max(x, box.x), box.x + box.width));
    const ys = [from[1], to[1]].map(y => Math.min(Math.max(y, box.y), box.y + box.height));
    const wide = Math.abs(xs[1] - xs[0]) > 8, tall = Math.abs(ys[1] - ys[0]) > 24;
    const ends = [0, 1].map(k => pane.at(xs[k], ys[k]));
    const [times, heights] = ["time", "height"].map(name => ends.map(end => end[name]).sort((a, b) => a - b));
    if (region) return explorer.regions.add(...times, ...(tall ? [...heights, picture.axis.name] : []));
    if (curve ? wide : tall) look.heights = {...look.heights, [pane.view]: heights};
    if (wide && !curve) explorer.see(times[0], times[1] - times[0]);
    else explorer.paint();
  }

  // ---- the wheel

  #turn(pane, event) {
    // else the page scrolls
    if (!event.ctrlKey && !pane.cover.matches(":focus")) return;
    event.preventDefault();
    const {deltaX, deltaY, shiftKey} = event, {explorer, look: {window: [from, to]}} = this, {box} = pane;
    if (shiftKey || Math.abs(deltaX) > Math.abs(deltaY)) {
      // with shift, some browsers turn the wheel sideways themselves
      const sideways = deltaX || deltaY;
      explorer.see(from + (to - from) * sideways / 800, to - from);
    } else {
      const factor = Math.exp(Math.sign(deltaY) * Math.min(Math.abs(deltaY), 100) / 400);
      explorer.zoom(factor, (event.offsetX - box.x) / box.width);
    }
    this.#read(pane, event);
  }

  // ---- the keys

  #key(pane, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // by the place of the key, since with shift it writes something else
    const view = Object.keys(VIEWS)[/^Digit([1-4])$/.exec(event.code)?.[1] - 1];
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act = view ? () => this.explorer.kernel.show(view, event.shiftKey) : ACTS[key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(this.explorer, {pane, step: event.shiftKey ? 5 : .5});
  }
}
