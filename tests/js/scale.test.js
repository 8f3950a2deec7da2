// The explorer's arithmetic: where a value lies, what stands along an axis, what a reader is told.

import assert from "node:assert/strict";
import test from "node:test";

import { clock } from "../../sonic/explore/static/common.js";
import * as scale from "../../sonic/explore/static/scale.js";
import * as ticks from "../../sonic/explore/static/ticks.js";
import * as words from "../../sonic/explore/static/words.js";

const close = (a, b, eps = 1e-6) => assert.ok(Math.abs(a - b) <= eps, `${a} is not ${b}`);
const MEL = Array.from({length: 128}, (_, k) => k < 40 ? 25 * (k + 1) : 1000 * 1.028 ** (k - 39));
const mel = {kind: "image", view: "mel", rows: 128, columns: 4, start: -.01, step: .02, low: -60, high: 40, decibel: true,
  axis: {name: "frequency", values: MEL}, levels: Uint8Array.from({length: 512}, (_, k) => k % 256)};

test("notes", () => {
  assert.deepEqual(words.note(440), {name: "A4", cents: 0});
  assert.deepEqual(words.note(261.6256), {name: "C4", cents: 0});
  assert.equal(words.noteText(1738), "A6 −22 ¢");
  for (let tone = 0; tone < 128; tone++) {
    const {name, cents} = words.note(440 * 2 ** ((tone - 69) / 12));
    assert.equal(name, words.NOTES[tone % 12] + (Math.floor(tone / 12) - 1));
    assert.equal(cents, 0);
  }
});

test("times", () => {
  assert.equal(clock(65), "1:05");
  assert.equal(clock(59.96, .1), "1:00.0");
  assert.equal(clock(3725.25, .01), "1:02:05.25");
  assert.equal(clock(-1), "0:00");
});

test("every scale goes there and back", () => {
  const some = {rows: scale.byRows(MEL), one: scale.byRows([7]), log: scale.logarithmic(20, 11025), linear: scale.linear(0, 11025), ...scale.scales(mel)};
  for (const it of Object.values(some)) {
    close(it.at(it.low), 0);
    close(it.at(it.high), 1);
    for (let share = 0; share <= 1; share += .05) close(it.at(it.value(share)), share);
  }
});

test("the middle of a row lies in the middle of the row", () => {
  const rows = scale.byRows(MEL);
  MEL.forEach((hertz, k) => close(rows.at(hertz) * 128, k + .5, 1e-9));
});

test("another scale shows each frequency from the row that holds it", () => {
  for (const name of ["log", "linear"]) {
    const it = scale.scales(mel)[name], map = scale.rowMap(mel, it, 512);
    const line = Math.floor(it.at(440) * 512), nearest = MEL.reduce((best, hertz, k) => Math.abs(hertz - 440) < Math.abs(MEL[best] - 440) ? k : best, 0);
    assert.ok(Math.abs(map[line] - nearest) <= 1);
    assert.ok(map.every((row, k) => k === 0 || row >= map[k - 1]));  // low stays low
    assert.ok(map[0] <= 1 && map[511] === 127);
  }
});

test("zoom keeps what is under the pointer, and stays within the track", () => {
  const [from, to] = scale.zoom([0, 30], .5, .25, [0, 30], .02);
  close(from + .25 * (to - from), 7.5);
  close(to - from, 15);
  assert.deepEqual(scale.zoom([10, 20], 100, .5, [0, 30], .02), [0, 30]);
  const [a, b] = scale.zoom([10, 10.03], .1, .5, [0, 30], .02);
  close(b - a, .02);
  assert.deepEqual(scale.within([28, 10], [0, 30]), [20, 30]);
  assert.deepEqual(scale.within([-5, 10], [0, 30]), [0, 10]);
});

test("the view follows the cursor", () => {
  assert.deepEqual(scale.follow([0, 10], 5, [0, 30], "page"), [0, 10]);
  const [from, to] = scale.follow([0, 10], 10.1, [0, 30], "page");
  assert.ok(from < 10.1 && to > 19);
  assert.deepEqual(scale.follow([0, 10], 12, [0, 30], "centre"), [7, 17]);
  assert.deepEqual(scale.follow([0, 10], 25, [0, 30], "off"), [0, 10]);
  assert.deepEqual(scale.follow([0, 30], 31, [0, 30], "page"), [0, 30]);
});

test("colours", () => {
  const table = new Uint8Array(768).map((_, k) => Math.floor(k / 3));  // grey
  const all = scale.colours(table, mel, [-60, 40]), some = scale.colours(table, mel, [-10, 15]);
  assert.equal(all[0] >>> 0, 0xff000000);
  assert.equal(all[255] >>> 0, 0xffffffff);
  assert.equal(all[100] >>> 0, (0xff000000 | 100 << 16 | 100 << 8 | 100) >>> 0);
  const at = db => some[Math.round((db + 60) * 2.55)] & 255;
  assert.equal(at(-10.4), 0);
  assert.equal(at(15.4), 255);
  assert.ok(Math.abs(at(2.5) - 127.5) <= 3);
});

test("ticks are round, and never touch", () => {
  assert.deepEqual(ticks.timeTicks([0, 30], 7).map(tick => tick.text), ["0:00", "0:05", "0:10", "0:15", "0:20", "0:25", "0:30"]);
  assert.deepEqual(ticks.timeTicks([61.02, 61.05], 3).map(tick => tick.text), ["1:01.02", "1:01.03", "1:01.04", "1:01.05"]);
  assert.deepEqual(ticks.roundTicks([-46.8, 33.2], 5).map(tick => tick.text), ["-40", "-20", "0", "20"]);
  for (const [name, it] of Object.entries(scale.scales(mel))) {
    for (const window of [[it.low, it.high], [300, 800], [900, 1000], [5000, 11000]]) {
      for (const some of [ticks.hertzTicks(it, window, .06), ticks.noteTicks(it, window, .06)]) {
        const places = some.map(tick => (it.at(tick.at) - it.at(window[0])) / (it.at(window[1]) - it.at(window[0])));
        assert.ok(some.length >= 1, `${name} ${window}`);
        places.forEach((place, k) => assert.ok(place >= 0 && place <= 1 && (!k || place - places[k - 1] >= .06 - 1e-9)));
      }
    }
  }
  const octaves = ticks.noteTicks(scale.scales(mel).log, [30, 11000], .06);
  assert.ok(octaves.every(tick => /^C\d$/.test(tick.text)));
  octaves.forEach(tick => assert.equal(words.noteText(tick.at), tick.text));
});

test("what is read under the pointer", () => {
  assert.equal(scale.lookUp(mel, 0, MEL[1]).value, -60 + 4 * 100 / 255);  // row 1, column 0: level 4
  assert.equal(scale.lookUp(mel, .02, MEL[0]).column, 1);
  assert.equal(scale.lookUp(mel, 5, 440), null);
  assert.equal(scale.lookUp(mel, 0, 99999), null);
  assert.match(words.pointText(mel, 0, 440), /^0:00\.000 · 440\.0 Hz · A4 · −?\d+\.\d dB · frame 0, row \d+$/);
  const chroma = {...mel, decibel: false, low: 0, high: 1, rows: 12, axis: {name: "pitch class", values: [...Array(12).keys()]}};
  assert.match(words.pointText(chroma, .01, 9), /A · 0\.\d\d · frame/);
  const tempo = {...chroma, rows: 3, axis: {name: "tempo", values: [60, 120, 240]}};
  assert.match(words.pointText(tempo, 0, 120), /120\.0 BPM · 0\.500 s a beat/);
  const curve = {kind: "curve", scale: "log", edges: [20, 20480], points: 10, decibel: true, levels: Float32Array.from({length: 10}, (_, k) => -k)};
  assert.equal(words.pointText(curve, null, 30), "30.0 Hz · B0 −49 ¢ · 0.0 dB");
  assert.equal(scale.lookUp(curve, null, 20000).value, -9);
});

test("regions as CSV, with labels that run nothing", () => {
  const region = {label: "a, \"b\"", start: 1, end: 2.5, low: null, high: null, axis: null};
  const lines = words.regionsCsv([region, {...region, label: "=HYPERLINK(1)", low: 0, high: 9}]).split("\n");
  assert.deepEqual(lines, ["label,start,end,low,high", '"a, ""b""",1,2.5,,', "'=HYPERLINK(1),1,2.5,0,9", ""]);
  assert.equal(words.regionText({...region, end: 1}), "0:01.00");
  assert.equal(words.regionText({...region, low: 500, high: 4000, axis: "frequency"}), "0:01.00 – 0:02.50, 500 – 4k Hz");
});
