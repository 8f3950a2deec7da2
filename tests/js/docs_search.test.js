import assert from "node:assert/strict";
import test from "node:test";

import Search from "../../tools/docs/search.js";

const data = {
  kinds: ["page", "command", "setting", "class", "function", "method", "heading"],
  pages: [
    ["index.html", "SONIC", "Music becomes pictures.", ""],
    ["tutorials/first.html", "Your first track", "Look at `one` piece of music.", "Tutorials"],
    ["cream/mel.html", "Mel", "Power over time and frequency.", "CREAM"],
    ["config.html", "Configuration", "Every setting.", "Ground"],
    ["cream/render.html", "Rendering", "A folder becomes pictures.", "CREAM"],
  ],
  names: [
    ["hz_to_mel", 4, "Frequencies on the mel scale.", 2, "", 0],
    ["mel", 4, "The mel spectrogram of a clip.", 2, "", 1],
    ["mel.n_mels", 2, "rows, from low to high", 3, "", 0],
    ["ImageDataset", 3, "Pictures for a network, each with Ångström's label.", 4, "", 1],
    ["ImageDataset.classes", 5, "The labels.", 4, "", 0],
    ["render", 4, "Draw `every` track.", 4, "", 0],
    ["sonic render", 1, "Draw every track of a collection.", 4, "render_command", 0],
  ],
  headings: [["The scale", 2, "the-scale"], ["Mel bands", 2, "mel-bands"]],
};
const all = Search.entries(data);
const urls = query => Search.find(all, query).map(hit => hit.url);

test("a page of that name comes first, then what is offered at the top, then what only holds the word", () => {
  assert.deepEqual(urls("mel").slice(0, 2), ["cream/mel.html", "cream/mel.html#mel"]);
  assert.ok(urls("mel").includes("cream/mel.html#hz_to_mel"));
  assert.equal(urls("mel").at(-1).startsWith("cream/mel.html#"), true);
});

test("names are found by their parts, dotted and as they are typed in a shell or in Python", () => {
  assert.equal(urls("dataset")[0], "cream/render.html#ImageDataset");
  assert.equal(urls("n_mels")[0], "config.html#mel.n_mels");
  assert.equal(urls("MEL.N_MELS")[0], "config.html#mel.n_mels");
  assert.equal(urls("imagedataset.cl")[0], "cream/render.html#ImageDataset.classes");
  assert.equal(urls("sonic render")[0], "cream/render.html#render_command");
  assert.ok(urls("sonic.render(").includes("cream/render.html#render"));
});

test("every word must be found, in the name or in the line about it", () => {
  assert.deepEqual(urls("render collection"), ["cream/render.html#render_command"]);
  assert.deepEqual(urls("render nothing"), []);
  assert.deepEqual(urls("scale frequencies"), ["cream/mel.html#hz_to_mel"]);
  assert.deepEqual(urls("  "), []);
  assert.deepEqual(urls(".*"), []);
  assert.deepEqual(urls("["), []);
});

test("accents and case do not matter, and marks of code are not shown", () => {
  assert.deepEqual(urls("angstrom"), ["cream/render.html#ImageDataset"]);
  assert.equal(Search.find(all, "first track")[0].line, "Look at one piece of music.");
});

test("headings lead to their place", () => {
  assert.equal(urls("the scale")[0], "cream/mel.html#the-scale");
  assert.equal(Search.find(all, "mel bands")[0].place, "Mel");
});

test("thousands of names are looked through between two keys", () => {
  const names = Array.from({length: 5000}, (_, i) => [`name_${i}_of`, 4, `What number ${i} does.`, 0, "", 0]);
  const ready = Search.entries({...data, names}), start = performance.now();
  for (const query of ["n", "na", "name 12", "what does"]) Search.find(ready, query);
  assert.ok((performance.now() - start) / 4 < 50);
});
