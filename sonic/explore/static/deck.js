// The sound of many tracks: one element, fed with what the kernel sends or a page holds, and one that plays.

import { address, alone, bytes, element } from "./common.js";

// Sounds kept; beyond them, those that came first are asked for again.
const KEPT = 100;

export class Deck {
  // `host` says of a track whether it is playable, how many seconds its sound has and, if it knows, which one follows
  // (-1: none), and shows what has changed, how far the sound has moved, and what there is to complain of.
  constructor(model, host) {
    this.model = model;
    this.host = host;
    this.audio = element("audio", {preload: "auto"});
    this.sounds = new Map();  // track to address
    this.places = new Map();  // track to s, where it was left
    this.asked = new Set();
    this.current = -1;
    this.wanted = null;  // the track to play as soon as its sound is there, and from where
    this.silence = alone(this.audio);
    for (const name of ["play", "pause", "ended", "seeked"]) this.audio.addEventListener(name, () => this.draw());
    this.audio.addEventListener("ended", () => this.#follow(this.current));
    this.audio.addEventListener("error", () => this.#complain("this browser cannot play the sound (Ogg Vorbis)"));
  }

  get playing() { return this.current >= 0 && !this.audio.paused && !this.audio.ended; }
  get length() { return this.host.seconds(this.current); }  // s; a decoder may find some hundredths more

  // Standing still, waiting for its sound, or playing it.
  state(index) {
    if (this.wanted?.index === index) return "waiting";
    return this.playing && this.current === index ? "playing" : "still";
  }

  toggle(index) {
    if (this.wanted?.index === index) this.wanted = null;
    else if (this.current === index && !this.audio.paused) this.audio.pause();
    else return this.play(index, null);
    this.draw();
  }

  // Play from a share of the sound, or from where it was left.
  play(index, share) {
    if (!this.host.playable(index)) return;
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
      if (error.name === "NotAllowedError") this.#complain("the browser wants one more press before it plays");
    });
    this.draw();
  }

  // On to the track that follows, if one does.
  #follow(index) {
    const next = this.host.follows?.(index) ?? -1;
    if (next >= 0) this.play(next, 0);
  }

  seek(seconds) {
    const {audio} = this, at = Math.min(Math.max(audio.currentTime + seconds, 0), this.length);
    if (this.current >= 0) audio.currentTime = at;
  }

  #there(index) {
    const kept = this.model.get("sounds")?.[index];
    if (kept && !this.sounds.has(index)) this.#keep(index, bytes(kept));
    return this.sounds.has(index);
  }

  #keep(index, data) {
    this.sounds.set(index, address(data, "audio/ogg"));
    const old = [...this.sounds.keys()].find(key => key !== this.current && key !== index);
    if (this.sounds.size <= KEPT || old === undefined) return;
    URL.revokeObjectURL(this.sounds.get(old));
    this.sounds.delete(old);
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
    if (!Number.isInteger(index) || !this.host.playable(index)) return;
    this.asked.delete(index);
    const wanted = this.wanted?.index === index ? this.wanted : null;
    if (message.said) {
      if (wanted) this.wanted = null;
      this.#complain(message.said, index);
      this.draw();
      if (wanted) this.#follow(index);
      return;
    }
    if (!this.sounds.has(index)) this.#keep(index, bytes(buffers[0]));
    if (wanted) this.play(index, wanted.share);
  }

  #complain(words, index = this.current) { this.host.complain(words, index); }

  draw() {
    cancelAnimationFrame(this.frame);
    this.host.changed();
    if (this.playing) this.#complain("");
    this.#move();
  }

  #move() {
    if (this.current < 0) return;
    this.host.moved(this.current, Math.min(this.audio.currentTime / this.length, 1));
    if (this.playing) this.frame = requestAnimationFrame(() => this.#move());
  }

  end() {
    cancelAnimationFrame(this.frame);
    this.silence();
    this.audio.removeAttribute("src");
    for (const url of this.sounds.values()) URL.revokeObjectURL(url);
  }
}
