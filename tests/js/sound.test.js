// The clock of one or two sounds: loops, speeds and changing over, with a player that plays nothing.

import assert from "node:assert/strict";
import test from "node:test";

import { Sound } from "../../sonic/explore/static/sound.js";

class Player extends EventTarget {
  constructor() {
    super();
    Object.assign(this, {now: 0, paused: true, ended: false, readyState: 1, volume: 1, rate: 1});
  }

  get currentTime() { return this.now; }
  set currentTime(now) { Object.assign(this, {now, ended: false}); }

  set src(url) { this.rate = 1; }  // as a browser does it
  get playbackRate() { return this.rate; }
  set playbackRate(rate) { this.rate = rate; }
  async play() {
    if (this.ended) this.currentTime = 0;
    this.paused = false;
    this.say("play");
  }

  pause() {
    if (this.paused) return;
    this.paused = true;
    this.say("pause");
  }

  say(name) { this.dispatchEvent(new Event(name)); }

  // The sound is over; its clock stands where its last sample was.
  end(at) {
    Object.assign(this, {now: at, ended: true});
    this.pause();
    this.say("ended");
  }

  removeAttribute() {}
  load() {}
  remove() {}
}

globalThis.document = Object.assign(new EventTarget(), {createElement: () => new Player()});
globalThis.CustomEvent ??= class extends Event {
  constructor(name, {detail}) { super(name); this.detail = detail; }
};

function sound(...spans) {
  const said = [], it = new Sound({append() {}}, what => said.push(what));
  spans.forEach(([start, seconds], side) => it.load(side, null, start, seconds));
  return Object.assign(it, {said});
}

test("a loop that ends with the sound goes on, though the clock never reaches its end", () => {
  const it = sound([0, 12]);
  it.loop = [9, 12];
  it.seek(10);
  it.play();
  it.audio.end(11.98);
  assert.ok(it.playing);
  assert.equal(it.time, 9);
  it.loop = null;
  it.audio.end(11.98);
  assert.ok(!it.playing);
});

test("the end is no reason to play", () => {
  const it = sound([0, 12]);
  it.loop = [9, 12];
  it.seek(12);
  it.audio.end(12);  // as browsers say it, also of a sound that does not play
  assert.ok(!it.playing);
});

test("a loop of one sound that the other does not have leaves it alone", () => {
  const it = sound([0, 12], [30, 12]);
  it.loop = [2, 4];
  it.seek(3);
  it.play();
  it.change(1);
  assert.equal(it.time, 33);
  it.keepLoop();
  assert.equal(it.time, 33);
  assert.ok(it.playing);
});

test("another stretch has the same speed and volume, and says nothing of the old one", () => {
  const it = sound([0, 5]), old = it.audio;
  it.set("playbackRate", .5);
  it.set("volume", .2);
  it.play();
  it.load(0, null, 5, 5);
  assert.deepEqual([it.audio.playbackRate, it.audio.volume, it.time, it.playing], [.5, .2, 5, true]);
  it.said.length = 0;
  old.say("pause");
  assert.deepEqual(it.said, []);
});

test("a wish is kept until a sound is ready", () => {
  const it = sound([0, 12]);
  it.audio.readyState = 0;
  it.seek(7);
  assert.deepEqual([it.time, it.audio.currentTime], [7, 0]);
  it.audio.readyState = 1;
  it.audio.say("loadedmetadata");
  assert.deepEqual([it.time, it.audio.currentTime, it.wish], [7, 7, null]);
});
