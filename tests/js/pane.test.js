// Where the points of a picture lie, whatever part of it is wanted.

import assert from "node:assert/strict";
import test from "node:test";

const context = new Proxy({}, {get: (known, name) => known[name] ?? (() => {})});
globalThis.document = {
  createElement: () => ({style: {}, setAttribute() {}, append() {}, getContext: () => context}),
};
const { Pane } = await import("../../sonic/explore/static/pane.js");

const axis = {name: "frequency", values: Array.from({length: 64}, (_, k) => 50 * (k + 1))};
const mel = {kind: "image", view: "mel", rows: 64, columns: 10, start: 0, step: 1, low: -60, high: 40, shown: [-60, 20], axis};

function pane(more = {}) {
  const look = {window: [2, 6], heights: {}, ranges: {}, scale: "mel", colormap: "magma", tables: {}, ...more};
  const it = new Pane(0, "mel", look);
  it.show(mel);
  it.resize(600, 300, 1);
  return it;
}

test("a point is found where it was placed", () => {
  for (const scale of ["mel", "log", "linear"]) {
    const it = pane({scale, heights: {mel: [200, 2000]}}), {x, y, width, height} = it.box;
    const up = it.place(440), point = it.at(x + width / 4, y + (1 - up) * height);
    assert.ok(Math.abs(point.height - 440) < 1e-6 && Math.abs(point.time - 3) < 1e-9 && point.inside, scale);
    assert.ok(Math.abs(it.place(200)) < 1e-9 && Math.abs(it.place(2000) - 1) < 1e-9);
  }
});

test("all is seen where there is nothing of the part that is wanted", () => {
  for (const heights of [[9000, 9500], [-5, 0], [300, 300]]) {
    const it = pane({heights: {mel: heights}}), scale = it.scale();
    assert.deepEqual(it.window, [scale.low, scale.high]);
    assert.ok(Number.isFinite(it.place(440)));
  }
  assert.deepEqual(pane({heights: {mel: [300, 9999]}}).window, [300, pane().scale().high]);
});
