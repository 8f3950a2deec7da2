import assert from "node:assert/strict";
import test from "node:test";

import { shownTracks } from "../../sonic/explore/static/legend.js";
import { mixedOrder, nearOf } from "../../sonic/explore/static/map.js";
import {
  fromScreen, moveView, nearestPoint, nextPoint, placesOf, pointRadius, toScreen, viewWith, wholeView, zoomView,
} from "../../sonic/explore/static/plane.js";
import { mixed, pixelOf, Sheet, stampOf } from "../../sonic/explore/static/raster.js";
import { besidePoint } from "../../sonic/explore/static/tip.js";

const numbers = (...values) => new Uint8Array(Uint16Array.from(values).buffer);
// 4 above 0, 1 right of it, 2 and 3 in one place
const places = placesOf(numbers(0, 0, 65535, 0, 32768, 16384, 32768, 16384, 0, 32768));
const size = [800, 500], all = new Uint8Array(5).fill(1);
const near = (a, b) => a.every((value, k) => Math.abs(value - b[k]) < 1e-3);

test("places are pairs of 16-bit numbers, also where they begin at an odd byte", () => {
  assert.equal(places.count, 5);
  assert.ok(near([places.width, places.height, places.x[2], places.y[2]], [1, 0.5, 0.5, 0.25]));
  const odd = new Uint8Array([7, ...numbers(65535, 0)]).subarray(1);
  assert.deepEqual([...placesOf(odd).x, ...placesOf(odd).y], [1, 0]);
});

test("the whole map is inside, and y rises", () => {
  const view = wholeView(places, size), corners = [[0, 0], [1, 0.5]].map(([x, y]) => toScreen(view, size, x, y));
  assert.ok(corners.flat().every((at, k) => at > 0 && at < size[k % 2]));
  assert.ok(corners[1][1] < corners[0][1]);
  assert.ok(near(fromScreen(view, size, ...toScreen(view, size, 0.3, 0.1)), [0.3, 0.1]));
  assert.ok(Number.isFinite(wholeView(placesOf(numbers(0, 0)), size).scale));
});

test("what is under the pointer stays there when it is zoomed, and not beyond its limits", () => {
  const whole = wholeView(places, size), at = [500, 200], closer = zoomView(whole, places, size, 2, at);
  assert.ok(near(fromScreen(closer, size, ...at), fromScreen(whole, size, ...at)));
  assert.deepEqual(zoomView(closer, places, size, 0.01, at), whole);
  assert.equal(zoomView(whole, places, size, 1e9, at).scale, 80 * whole.scale);
});

test("the map follows the hand, and never leaves the screen", () => {
  const view = zoomView(wholeView(places, size), places, size, 4, [400, 250]);
  const before = toScreen(view, size, 0.5, 0.25), after = toScreen(moveView(view, places, 30, -20), size, 0.5, 0.25);
  assert.ok(near(after, [before[0] + 30, before[1] - 20]));
  const gone = moveView(view, places, 1e6, 1e6);
  assert.ok(near([gone.x, gone.y], [0, 0.5]));
});

test("a track is brought into sight, and what is in sight does not move", () => {
  const whole = wholeView(places, size), view = zoomView(whole, places, size, 10, toScreen(whole, size, 0.5, 0.25));
  const [x, y] = toScreen(viewWith(view, places, size, 1), size, 1, 0);
  assert.ok(x > 0 && x < 800 && y > 0 && y < 500);
  assert.deepEqual(viewWith(view, places, size, 2), view);
});

test("the nearest point is meant, within reach, if it is shown", () => {
  const view = wholeView(places, size), [x, y] = toScreen(view, size, 1, 0);
  assert.equal(nearestPoint(places, view, size, [x + 5, y - 5], 14, all), 1);
  assert.equal(nearestPoint(places, view, size, [x + 15, y], 14, all), -1);
  assert.equal(nearestPoint(places, view, size, [x, y], 14, Uint8Array.of(1, 0, 1, 1, 1)), -1);
});

test("arrows lead to what lies that way, also among those in one place", () => {
  const to = (at, key, shown = all) => nextPoint(places, at, key, shown);
  assert.deepEqual([to(0, "ArrowUp"), to(4, "ArrowDown"), to(1, "ArrowRight"), to(4, "ArrowUp")], [4, 0, 1, 4]);
  assert.equal(to(0, "ArrowRight"), 2);
  assert.deepEqual([to(2, "ArrowRight"), to(3, "ArrowRight"), to(3, "ArrowLeft")], [3, 1, 2]);
  assert.ok([0, 4].includes(to(2, "ArrowLeft")));
  assert.equal(to(0, "ArrowRight", Uint8Array.of(1, 1, 0, 0, 1)), 1);
});

test("points are bigger where they are few, from close by, and where there is room", () => {
  const radius = (count, closer, width = 900) => pointRadius(count, width, closer);
  assert.ok(radius(40, 1) > radius(200, 1) && radius(200, 1) > radius(10000, 1));
  assert.ok(radius(10000, 1) >= 2 && radius(10000, 8) > 4 && radius(40, 80) <= 8);
  assert.ok(radius(40, 1, 360) < radius(40, 1) && radius(10000, 1, 360) >= 2);
});

test("a stamp covers what lies below as far as it is opaque, and nothing outside the sheet", () => {
  const data = new Uint8ClampedArray(36);
  data.set([255, 0, 0, 255], 16);  // the middle
  data.set([0, 0, 255, 128], 20);  // right of it
  const stamp = stampOf({width: 3, height: 3, data}), sheet = new Sheet(4, 2), white = pixelOf("rgb(255, 255, 255)");
  sheet.clear(white);
  sheet.put(stamp, 1, 1);
  assert.deepEqual([...sheet.data.slice(20, 24)], [255, 0, 0, 255]);
  assert.ok([...sheet.data.slice(24, 28)].every((value, k) => Math.abs(value - [127, 127, 255, 255][k]) <= 2));
  sheet.clear(white);
  sheet.put(stamp, 3, 0);
  assert.deepEqual([...sheet.pixels].filter(pixel => pixel !== white).length, 1);  // its right pixel is not on the next row
  for (const [x, y] of [[-1, 0], [9, 9], [-5, 1]]) sheet.put(stamp, x, y);
  assert.equal(mixed(0xff112233, 0xffaabbcc, 256), 0xff112233);
  assert.equal(mixed(0xff112233, 0xffaabbcc, 0), 0xffaabbcc);
});

test("the legend shows what is chosen among what was found", () => {
  const codes = Uint8Array.of(0, 1, 1, 2);
  assert.deepEqual([...shownTracks(codes, new Set(), [0, 1, 2, 3])], [1, 1, 1, 1]);
  assert.deepEqual([...shownTracks(codes, new Set([1, 2]), [0, 1, 3])], [0, 1, 0, 1]);
});

test("the order of painting holds every track once, and does not follow the table", () => {
  const order = [...mixedOrder(1000)];
  assert.deepEqual([...order].sort((a, b) => a - b), [...Array(1000).keys()]);
  assert.ok(order.filter((row, k) => Math.abs(row - k) < 10).length < 60);
  assert.deepEqual(order, [...mixedOrder(1000)]);
  assert.deepEqual([...mixedOrder(1)], [0]);
});

test("the nearest are those of the track", () => {
  const rows = nearOf(numbers(1, 2, 2, 0, 0, 1), 2);
  assert.deepEqual([rows(0), rows(2)], [[1, 2], [0, 1]]);
  assert.deepEqual(nearOf(numbers(), 0)(3), []);
});

test("a tip hides neither its point nor, if it can, the others, and stays inside", () => {
  const room = [800, 500], box = [200, 120];
  assert.deepEqual(besidePoint([100, 250], box, room), [114, 190]);
  assert.deepEqual(besidePoint([780, 10], box, room), [566, 4]);
  assert.deepEqual(besidePoint([400, 250], box, room, [[450, 250]]), [186, 190]);
  assert.deepEqual(besidePoint([400, 250], box, room, [[350, 250], [340, 240], [450, 250]]), [414, 190]);
});
