// Cards of tracks: a picture, a name and two buttons each, and one sound for all of them.

import { address, alone, button, bytes, clock, element } from "./common.js";

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

// What a card is, read out: its name, its length, its score.
export function cardLabel(card) {
  const name = card.artist ? `${card.title} by ${card.artist}` : card.title;
  return [name, ...cardFacts(card), card.said].filter(Boolean).join(", ");
}

export function cardFacts(card) {
  const length = card.seconds === null ? [] : [clock(card.seconds)];
  return card.score === null ? length : [...length, `score ${card.score}`];
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
    const foot = element("div", {className: "foot"}, this.play, this.open);
    const label = {role: "group", tabIndex: -1, "aria-label": cardLabel(told), "data-lm-suppress-shortcuts": "true"};
    const picture = this.#thumbnail(act.seek);
    this.node = element("div", {className: "card", ...label}, picture, title, artist, facts, this.note, foot);
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

// The sound of the cards: one element, fed with what the kernel sends or a page holds.
class Deck {
  constructor(model, cards) {
    this.model = model;
    this.cards = cards;
    this.audio = element("audio", {preload: "auto"});
    this.sounds = new Map();  // card to address
    this.places = new Map();  // card to s, where it was left
    this.asked = new Set();
    this.current = -1;
    this.wanted = null;  // the card to play as soon as its sound is there, and from where
    this.silence = alone(this.audio);
    for (const name of ["play", "pause", "ended", "seeked"]) this.audio.addEventListener(name, () => this.draw());
    this.audio.addEventListener("error", () => this.complain("this browser cannot play the sound (Ogg Vorbis)"));
  }

  toggle(index) {
    if (this.wanted?.index === index) this.wanted = null;
    else if (this.current === index && !this.audio.paused) this.audio.pause();
    else return this.play(index, null);
    this.draw();
  }

  // Play from a share of the sound, or from where it was left.
  play(index, share) {
    if (!this.cards[index].told.picture) return;
    if (!this.#there(index)) {
      this.audio.pause();
      this.wanted = {index, share};
      if (!this.asked.has(index)) this.model.send({want: index});
      this.asked.add(index);
      return this.draw();
    }
    this.wanted = null;
    if (this.current !== index) this.#change(index);
    if (share !== null) this.audio.currentTime = share * this.length;
    this.audio.play().catch(error => {
      if (error.name === "NotAllowedError") this.complain("the browser wants one more press before it plays");
    });
    this.draw();
  }

  seek(seconds) {
    const {audio} = this, at = Math.min(Math.max(audio.currentTime + seconds, 0), this.length);
    if (this.current >= 0) audio.currentTime = at;
  }

  get length() { return this.cards[this.current].told.shown; }  // s; a decoder may find some hundredths more

  #there(index) {
    const kept = this.model.get("sounds")?.[index];
    if (kept && !this.sounds.has(index)) this.sounds.set(index, address(bytes(kept), "audio/ogg"));
    return this.sounds.has(index);
  }

  #change(index) {
    if (this.current >= 0) this.places.set(this.current, this.audio.ended ? 0 : this.audio.currentTime);
    this.audio.pause();
    this.current = index;
    this.audio.src = this.sounds.get(index);
    this.audio.currentTime = this.places.get(index) ?? 0;
  }

  // What the kernel answers: a sound, or why there is none.
  hear(message, buffers) {
    const index = message?.sound;
    if (!Number.isInteger(index) || !this.cards[index]) return;
    this.asked.delete(index);
    const wanted = this.wanted?.index === index ? this.wanted : null;
    if (message.said) {
      if (wanted) this.wanted = null;
      this.complain(message.said, index);
      return this.draw();
    }
    if (!this.sounds.has(index)) this.sounds.set(index, address(bytes(buffers[0]), "audio/ogg"));
    if (wanted) this.play(index, wanted.share);
  }

  complain(words, index = this.current) {
    if (this.cards[index]) this.cards[index].note.textContent = words;
  }

  draw() {
    cancelAnimationFrame(this.frame);
    const playing = this.current >= 0 && !this.audio.paused && !this.audio.ended;
    this.cards.forEach((card, index) => {
      card.show(this.wanted?.index === index ? "waiting" : playing && this.current === index ? "playing" : "still");
    });
    if (playing) this.complain("");
    this.#move(playing);
  }

  #move(on) {
    if (this.current < 0) return;
    this.cards[this.current].done.style.width = `${100 * Math.min(this.audio.currentTime / this.length, 1)}%`;
    if (on) this.frame = requestAnimationFrame(() => this.#move(on));
  }

  end() {
    cancelAnimationFrame(this.frame);
    this.silence();
    this.audio.removeAttribute("src");
    for (const url of this.sounds.values()) URL.revokeObjectURL(url);
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
  const deck = new Deck(model, cards);
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
