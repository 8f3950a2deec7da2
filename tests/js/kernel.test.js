// What is said between the browser and the kernel: wishes, answers, and several displays of one widget.

import assert from "node:assert/strict";
import test from "node:test";

import { Kernel, lookOf } from "../../sonic/explore/static/kernel.js";

// A model as all displays of a widget share it.
class Model {
  constructor(state) { Object.assign(this, {state, sent: 0, heard: {}}); }
  get(name) { return this.state[name]; }
  on(name, act) { (this.heard[name] ??= []).push(act); }
  off(name, act) { this.heard[name] = this.heard[name].filter(each => each !== act); }
  save_changes() { this.sent += 1; }
  set(name, value) {
    if (JSON.stringify(this.state[name]) === JSON.stringify(value)) return;
    this.state[name] = value;
    for (const act of this.heard[`change:${name}`] ?? []) act();
  }
}

const track = {start: 0, seconds: 5, total: 30};
const model = more => new Model({views: ["mel"], settings: {}, cursor: 0, playing: false, colormap: "magma", _heard: 0,
  _about: {live: true, tracks: [track]}, _request: {}, _message: {seq: 0, text: ""}, ...more});
const passed = () => new Promise(done => setTimeout(done));

test("what one message changes is heard at once", async () => {
  const it = model(), news = [], kernel = new Kernel(it, what => news.push([...what]));
  it.set("views", ["chroma"]);
  it.set("cursor", 3);
  assert.deepEqual(news, []);
  await passed();
  assert.deepEqual(news, [["views", "cursor"]]);
  it.set("cursor", 4);
  kernel.close();
  await passed();
  it.set("cursor", 5);
  await passed();
  assert.equal(news.length, 1);
});

test("a wish builds on those that are on their way", () => {
  const it = model(), kernel = new Kernel(it, () => {});
  kernel.show("chroma", true);
  kernel.show("fft", true);
  assert.deepEqual(it.get("_request"), {views: ["mel", "chroma", "fft"], seq: 2});
  kernel.show("mel", false);  // which is what is still shown
  kernel.set("mel.n_mels", 64);
  kernel.set("stft.n_fft", "512");
  kernel.move(1);
  kernel.move(1);
  const settings = {"mel.n_mels": 64, "stft.n_fft": "512"};
  assert.deepEqual(it.get("_request"), {views: ["mel"], settings, offset: 10, seq: 7});
  it.set("_message", {seq: 6, text: ""});
  assert.ok(kernel.waiting);  // for the last
  it.set("_message", {seq: 7, text: ""});
  assert.ok(!kernel.waiting);
  kernel.move(-1);
  assert.deepEqual(it.get("_request"), {offset: 0, seq: 8});
});

test("what was refused is answered too", () => {
  const it = model({_message: {seq: 3, text: ""}, _request: {seq: 3}}), kernel = new Kernel(it, () => {});
  kernel.set("mel.n_mels", 9999);
  it.set("_message", {seq: 0, text: "no", error: true});
  assert.deepEqual(kernel.open, {});
});

test("two displays never make the same wish under the same number", () => {
  const it = model(), one = new Kernel(it, () => {});
  one.set("mel.n_mels", 64);
  it.set("_message", {seq: 1, text: ""});
  const two = new Kernel(it, () => {});
  two.set("mel.n_mels", 64);
  assert.equal(it.get("_request").seq, 2);
  one.show("chroma", false);  // overtakes the other's, and says it again
  assert.deepEqual(it.get("_request"), {settings: {"mel.n_mels": 64}, views: ["chroma"], seq: 3});
});

test("a display tells what was done there, and another follows but does not play", async () => {
  const it = model(), heard = [[], []], kernels = heard.map(news => new Kernel(it, what => news.push(...what)));
  const look = {...lookOf(name => it.get(name)), _heard: 0};
  kernels[0].tell(look);
  assert.equal(it.sent, 0);
  kernels[0].tell({...look, cursor: 3, playing: true, colormap: "viridis"});
  await passed();
  assert.deepEqual([it.sent, it.get("cursor"), ...heard], [1, 3, [], ["colormap"]]);
  kernels[1].tell({...look, colormap: "viridis"});  // nothing was done there
  assert.deepEqual([it.sent, it.get("cursor"), it.get("playing")], [1, 3, true]);
});
