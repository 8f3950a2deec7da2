import assert from "node:assert/strict";
import test from "node:test";

import { cellText, columnWidth, orderRows, placesBy, searchTexts } from "../../sonic/explore/static/catalogue.js";
import { countText, findRows, foldText } from "../../sonic/explore/static/search.js";

const text = values => ({label: "title", kind: "text", values});
const number = values => ({label: "year", kind: "number", places: 0, values});
const sorted = (column, direction) => [...orderRows(placesBy(column), direction)].map(row => column.values[row]);

test("text is compared without case and accents", () => {
  assert.equal(foldText("Café MÜLLER"), "cafe muller");
  assert.equal(foldText("Björk Guðmundsdóttir"), "bjork gudmundsdottir");
  assert.equal(foldText("STRASSE Straße Łódź Øre Æon"), "strasse strasse lodz ore aeon");
  assert.equal(foldText("ﬁne №1 日本"), "fine no1 日本");
});

test("every word must be in a row, in any column", () => {
  const columns = [text(["Green Rain", "Red Rain", "Ålesund"]), text(["Levi", "Zoë", null]), number([1999, 2001, null])];
  const texts = searchTexts(columns, 3), find = query => findRows(texts, [0, 1, 2], query);
  assert.deepEqual(find("rain"), [0, 1]);
  assert.deepEqual(find("  zoe RAIN "), [1]);
  assert.deepEqual(find("alesund"), [2]);
  assert.deepEqual(find("1999 levi"), [0]);
  assert.deepEqual(find("levi zoe"), []);
  assert.deepEqual(find(""), [0, 1, 2]);
  assert.deepEqual(findRows(texts, [2, 1, 0], "rain"), [1, 0]);
  assert.deepEqual(find("null"), []);
  assert.deepEqual(find(".*"), []);
});

test("numbers are sorted as numbers, and what is missing comes last", () => {
  assert.deepEqual(sorted(number([10, 9, null, -1, 9.5]), 1), [-1, 9, 9.5, 10, null]);
  assert.deepEqual(sorted(number([10, 9, null, -1, 9.5]), -1), [10, 9.5, 9, -1, null]);
  assert.deepEqual(sorted(number([null, null]), -1), [null, null]);
});

test("text is sorted as people do", () => {
  assert.deepEqual(sorted(text(["zebra", "Édith", "eagle", null, "Track 10", "Track 9"]), 1), ["eagle", "Édith", "Track 9", "Track 10", "zebra", null]);
});

test("equal values keep their order both ways", () => {
  const places = placesBy(text(["b", "a", "b", "a"]));
  assert.deepEqual([[...orderRows(places, 1)], [...orderRows(places, -1)]], [[1, 3, 0, 2], [0, 2, 1, 3]]);
});

test("times, numbers and nothing have their words", () => {
  assert.deepEqual([cellText(200.4, {kind: "time"}), cellText(0.5, {kind: "number", places: 2}), cellText(1999, {kind: "number", places: 0})], ["3:20", "0.50", "1999"]);
  assert.equal(cellText(null, {kind: "text"}), "");
  assert.deepEqual([countText(37, 10000), countText(10000, 10000), countText(0, 5)], ["37 of 10\u202f000", "10\u202f000 tracks", "0 of 5"]);
});

test("a column is as wide as most of what it holds, within limits", () => {
  assert.equal(columnWidth(text(["x".repeat(500)])).least, 150);
  assert.ok(columnWidth(number([1, 2, 3])).least < 100);
  assert.ok(Number.isFinite(columnWidth(text([])).least));
});

test("ten thousand rows are found within a frame or two", () => {
  const values = Array.from({length: 10000}, (_, i) => `Track ${i} of Somebody`), texts = searchTexts([text(values)], 10000);
  const order = Uint32Array.from(values.keys()), start = performance.now();
  for (const query of ["t", "tr", "track 12", "somebody 99"]) findRows(texts, order, query);
  assert.ok((performance.now() - start) / 4 < 30);
});
