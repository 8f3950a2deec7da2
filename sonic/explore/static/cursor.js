// The cursor: where the sound is, in every picture; it moves with the sound, and the window follows it.

import { clock } from "./common.js";
import { follow } from "./scale.js";

export class Cursor {
  constructor(explorer) {
    this.explorer = explorer;
    this.look = explorer.look;
  }

  // What the sound says of itself: play, pause, seeked, ...
  heard(what) {
    const {explorer, explorer: {sound}} = this;
    Object.assign(this.look, {cursor: sound.time, playing: sound.playing});
    if (what === "play") this.#run();
    if (what === "side") explorer.paint(); else explorer.paintCover();
    explorer.refresh();
  }

  // Once a frame, as long as it plays.
  #run() {
    const {look, explorer: {sound, frame}} = this;
    this.stop();
    if (!sound.playing) return;
    sound.keepLoop();
    look.cursor = sound.time;
    const still = look.follow === "centre" && matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#keepInSight(still ? "page" : look.follow);
    frame.showTime();
    this.request = requestAnimationFrame(() => this.#run());
  }

  stop() { cancelAnimationFrame(this.request); }

  #keepInSight(how) {
    const {look, explorer} = this, window = follow(look.window, look.cursor, explorer.limits, how);
    if (window === look.window) return explorer.paintCover();
    look.window = window;
    explorer.paint();
  }

  seek(time, aloud = false) {
    const {look, explorer} = this;
    explorer.sound.seek(time);
    look.cursor = explorer.sound.time;
    this.#keepInSight(look.follow);
    explorer.refresh();
    if (aloud) explorer.say(clock(look.cursor, .1));
  }

  // Play `span` again and again; null: no loop.
  loop(span) {
    const {look, explorer, explorer: {sound}} = this;
    look.loop = sound.loop = span;
    if (span && sound.playing && (look.cursor < span[0] || look.cursor >= span[1])) this.seek(span[0]);
    explorer.paintCover();
    explorer.refresh();
  }

  // A loop of the chosen region, or of what is seen.
  toggleLoop() {
    const {look} = this, region = look.regions[look.chosen];
    this.loop(look.loop ? null : region?.end > region?.start ? [region.start, region.end] : look.window);
  }
}
