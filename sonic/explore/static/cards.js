// Cards of tracks: a picture, a name and two buttons each, and one sound for all of them.

import { address, button, bytes, clock, element } from "./common.js";
import { Deck } from "./deck.js";

// The card that a key leads to, in rows of `across` cards; the same one where there is none that way.
export function nextCard(key, at, count, across) {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  const to = at + ({ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across}[key] ?? 0);
  return to >= 0 && to < count ? to : at;
}

// How many cards stand beside each other, by where their tops are.
export function cardsAcross(tops) {
  const count = tops.findIndex(top => top > tops[0]);
  return count < 0 ? Math.max(tops.length, 1) : count;
}

// What a card is, read out: its name, its length, its score, and why it is here.
export function cardLabel(card) {
  const name = card.artist ? `${card.title} by ${card.artist}` : card.title;
  return [name, ...cardFacts(card), card.why, card.said].filter(Boolean).join(", ");
}

function cardFacts(card) {
  const length = card.seconds === null ? [] : [clock(card.seconds)];
  return card.score === null ? length : [...length, `score ${card.score}`];
}

// The card to play after another: the next one that has a sound; -1 if there is none.
export function cardAfter(cards, at) {
  return cards.findIndex((card, index) => index > at && card.picture);
}

// Which share of a picture lies before a point of it.
export function shareAt(x, left, width) {
  return width > 0 ? Math.min(Math.max((x - left) / width, 0), 1) : 0;
}

// One card in the page; `act` is what its buttons and its picture do.
class Card {
  constructor(told, openable, act) {
    this.told = told;
    this.note = element("div", {className: "said", role: "status", textContent: told.said});
    this.done = element("div", {className: "done"});
    this.play = button("", `Play ${told.title}`, act.toggle);
    this.play.className = "play";
    this.play.append(element("span", {className: "icon", "aria-hidden": "true"}));
    this.open = button("open", `Open ${told.title}`, act.open);
    this.open.hidden = !openable;
    this.play.disabled = this.open.disabled = !told.picture;
    const title = element("div", {className: "name", textContent: told.title, title: told.title});
    const artist = element("div", {className: "soft artist", textContent: told.artist, title: told.artist});
    const facts = element("div", {className: "soft facts", textContent: cardFacts(told).join(" · ")});
    const why = element("div", {className: "soft why", textContent: told.why ?? ""});
    const foot = element("div", {className: "foot"}, this.play, this.open);
    const label = {role: "group", tabIndex: -1, "aria-label": cardLabel(told), "data-lm-suppress-shortcuts": "true"};
    const picture = this.#thumbnail(act.seek);
    this.node = element("div", {className: "card", ...label}, picture, title, artist, facts, why,
      this.note, foot);
  }

  #thumbnail(seek) {
    const frame = element("div", {className: this.told.timed ? "thumb timed" : "thumb"});
    if (!this.told.picture) return frame;
    this.image = address(bytes(this.told.picture), "image/png");
    frame.append(element("img", {src: this.image, alt: this.told.alt, draggable: false}), this.done);
    frame.addEventListener("click", event => {
      const box = frame.getBoundingClientRect();
      seek(this.told.timed ? shareAt(event.clientX, box.left, box.width) : null);
    });
    return frame;
  }

  // Standing still, waiting for its sound, or playing it.
  show(state) {
    this.node.classList.toggle("playing", state === "playing");
    this.node.classList.toggle("waiting", state === "waiting");
    this.node.setAttribute("aria-busy", String(state === "waiting"));
    const verb = {"still": "Play", "waiting": "Stop waiting for"}[state] ?? "Pause";
    const word = `${verb} ${this.told.title}`;
    this.play.title = word;
    this.play.setAttribute("aria-label", word);
  }

  // Tab comes to one card, and from there to its buttons.
  reach(here) {
    this.node.tabIndex = here ? 0 : -1;
    this.play.tabIndex = this.open.tabIndex = here ? 0 : -1;
  }
}

export function render({model, el}) {
  const open = index => {
    if (!model.get("openable") || !cards[index].told.picture) return;
    model.set("opened", index);
    model.save_changes();
  };
  const cards = model.get("cards").map((told, index) => new Card(told, model.get("openable"), {
    toggle: () => deck.toggle(index),
    open: () => open(index),
    seek: share => (share === null ? deck.toggle(index) : deck.play(index, share)),
  }));
  const deck = new Deck(model, {
    playable: index => Boolean(cards[index]?.told.picture),
    seconds: index => cards[index].told.shown,
    follows: index => (model.get("sequence") ? cardAfter(model.get("cards"), index) : -1),
    changed: () => cards.forEach((card, index) => card.show(deck.state(index))),
    moved: (index, share) => { cards[index].done.style.width = `${100 * share}%`; },
    complain: (words, index) => { if (cards[index]) cards[index].note.textContent = words; },
  });
  const label = `Cards of ${cards.length} tracks`;
  const root = element("div", {className: "sonic cards", role: "group", "aria-label": label});
  root.append(...cards.map(card => card.node));
  const here = event => cards.findIndex(card => card.node.contains(event.target));
  const reach = index => cards.forEach((card, other) => card.reach(other === index));
  reach(0);

  root.addEventListener("focusin", event => reach(here(event)));
  root.addEventListener("keydown", event => {
    const at = here(event), pressed = event.target.tagName === "BUTTON";
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !pressed) deck.toggle(at);
    else if (event.key === "Enter" && !pressed) open(at);
    else if (event.shiftKey && /^Arrow(Left|Right)$/.test(event.key)) deck.seek(event.key === "ArrowLeft" ? -1 : 1);
    else if (/^Arrow|^Home$|^End$/.test(event.key)) {
      cards[nextCard(event.key, at, cards.length, cardsAcross(cards.map(card => card.node.offsetTop)))].node.focus();
    } else return;
    event.preventDefault();
  });

  const mark = () => cards.forEach((card, index) => {
    const opened = index === model.get("opened");
    card.node.classList.toggle("opened", opened);
    card.open.setAttribute("aria-pressed", String(opened));
  });
  const heard = (message, buffers) => deck.hear(message, buffers);
  mark();
  model.on("change:opened", mark);
  model.on("msg:custom", heard);
  el.append(root);
  return () => {
    model.off("change:opened", mark);
    model.off("msg:custom", heard);
    deck.end();
    for (const card of cards) if (card.image) URL.revokeObjectURL(card.image);
    root.remove();
  };
}
export default { render };
