import assert from "node:assert/strict";
import test from "node:test";

import { cardAfter, cardLabel, cardsAcross, nextCard, shareAt } from "../../sonic/explore/static/cards.js";

test("arrows go to the card that lies there", () => {
  // 0 1 2
  // 3 4
  const to = (key, at) => nextCard(key, at, 5, 3);
  assert.deepEqual(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].map(key => to(key, 1)), [0, 2, 1, 4]);
  assert.deepEqual([to("ArrowLeft", 0), to("ArrowRight", 4), to("ArrowUp", 3), to("ArrowDown", 2)], [0, 4, 0, 2]);
  assert.deepEqual([to("Home", 3), to("End", 0), to("x", 2)], [0, 4, 2]);
});

test("cards in a row have one top", () => {
  assert.equal(cardsAcross([0, 0, 0, 90, 90]), 3);
  assert.equal(cardsAcross([5, 5]), 2);
  assert.equal(cardsAcross([0, 50, 100]), 1);
  assert.equal(cardsAcross([]), 1);
});

test("a card says its name, its length and its score, or what is wrong", () => {
  const card = {title: "Rain", artist: "The Foxes", seconds: 200.4, score: "0.913", said: ""};
  assert.equal(cardLabel(card), "Rain by The Foxes, 3:20, score 0.913");
  assert.equal(cardLabel({...card, artist: "", score: null}), "Rain, 3:20");
  assert.equal(cardLabel({...card, seconds: null, score: null, said: "no such file"}), "Rain by The Foxes, no such file");
});

test("after a card comes the next one that can be heard", () => {
  const cards = [1, null, 1, 1, null].map(picture => ({picture}));
  assert.deepEqual([-1, 0, 1, 2, 3, 4].map(at => cardAfter(cards, at)), [0, 2, 2, 3, -1, -1]);
});

test("a click is a share of the picture", () => {
  assert.deepEqual([shareAt(150, 100, 200), shareAt(0, 100, 200), shareAt(999, 100, 200), shareAt(1, 0, 0)], [0.25, 0, 1, 0]);
});
