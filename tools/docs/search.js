// What the search box finds, best first. No page is needed here, so that tests run it in Node; see page.js for the box.
"use strict";

const Search = (() => {
  // what a reader of a name more often means: a page before its parts, what people type before what it is made of
  const WEIGHT = {page: 30, command: 20, setting: 8, class: 12, function: 10, method: 4, heading: 0};

  const fold = text => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  // parts of a name: image and dataset of ImageDataset, n and mels of n_mels
  const parts = text => fold(text.replace(/([a-z0-9])([A-Z])/g, "$1 $2")).split(/[^\p{L}\p{N}]+/u).filter(Boolean);

  // everything is of SONIC: `sonic.render` and `sonic render` are looked up as render
  const bare = text => fold(text).trim().replace(/^sonic[. ]+/, "").replace(/\(\)?$/, "");

  // data as tools/docs.py writes it -> everything that can be found, ready to be compared
  const entries = data => {
    const ready = (text, kind, line, page, anchor, first) => ({
      text, kind, line,
      url: data.pages[page][0] + (anchor ? `#${anchor}` : ""),
      place: kind === "page" ? data.pages[page][3] : data.pages[page][1],
      name: bare(text), parts: parts(text), words: parts(line), weight: WEIGHT[kind] + (first ? 15 : 0),
    });
    return [
      ...data.pages.map(([, title, lead, section], page) =>
        ready(title, "page", lead.replaceAll("`", ""), page, "", section === "Tutorials")),
      ...data.names.map(([name, kind, line, page, anchor, first]) =>
        ready(name, data.kinds[kind], line.replaceAll("`", ""), page, anchor || name, first)),
      ...data.headings.map(([text, page, anchor]) => ready(text, "heading", "", page, anchor, false)),
    ];
  };

  // how well one word fits; 0: not at all
  const fit = (entry, word) => {
    if (entry.name === word) return 200;
    if (entry.name.startsWith(word)) return 100 + 40 * word.length / entry.name.length;
    if (entry.parts.includes(word)) return 80;
    if (entry.parts.some(part => part.startsWith(word))) return 60;
    if (entry.name.includes(word)) return 30;
    if (entry.words.includes(word)) return 14;
    return entry.words.some(part => part.startsWith(word)) ? 8 : 0;
  };

  // every word must be found: in the name, or in the line that says what it is
  const score = (entry, query) => {
    const words = query.split(/\s+/);
    let sum = entry.name === query ? 300 : 0;
    for (const word of words) {
      const points = fit(entry, word);
      if (!points) return 0;
      sum += points / words.length;
    }
    return sum * (entry.kind === "heading" ? 0.4 : 1) + entry.weight;
  };

  const find = (all, typed) => {
    const query = bare(typed);
    if (!query) return [];
    const hits = all.map((entry, at) => ({entry, at, score: score(entry, query)})).filter(hit => hit.score > 0);
    return hits.sort((a, b) => b.score - a.score || a.at - b.at).map(hit => hit.entry);
  };

  return {entries, find, fold, parts};
})();

if (typeof module !== "undefined") module.exports = Search;
