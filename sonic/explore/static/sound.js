// One or two sounds under one clock: play, seek, loop, and change over at the same place.

import { address, alone, bytes } from "./common.js";

export class Sound {
  constructor(host, changed) {
    this.players = [];
    this.side = 0;
    this.loop = null;  // [from, to] in seconds of the recording
    this.wish = null;  // where to go as soon as the sound is ready
    this.settings = {volume: 1, playbackRate: 1};
    this.host = host;
    this.changed = changed;
  }

  // Put a sound in, or another in its place; the cursor stays where it was.
  load(side, data, start, seconds) {
    const old = this.players[side], was = old ? this.time : start, playing = this.playing && side === this.side;
    if (old) this.#drop(old);
    const audio = document.createElement("audio");
    const player = {audio, start, seconds, url: address(bytes(data), "audio/ogg"), quiet: alone(audio)};
    this.players[side] = player;
    Object.assign(audio, {preload: "auto", hidden: true, src: player.url});
    // a new source has set the speed to 1
    Object.assign(audio, this.settings);
    this.#listen(player);
    this.host.append(audio);
    if (side === this.side) this.seek(was >= start && was <= start + seconds ? was : start);
    if (playing) audio.play().catch(() => {});
  }

  #listen(player) {
    const {audio} = player;
    const on = (name, act) => audio.addEventListener(name, () => { if (this.players.includes(player)) act(); });
    // also where no frames are painted
    on("timeupdate", () => this.keepLoop());
    on("loadedmetadata", () => { if (this.wish !== null && audio === this.audio) this.seek(this.wish); });
    // a loop that ends with the sound: the browser stops there, often before its clock has reached the end of the loop
    on("pause", () => { if (audio.ended && audio === this.audio && this.#looped) this.play(); });
    for (const name of ["play", "pause", "seeked", "ended", "loadedmetadata"]) on(name, () => this.changed(name));
  }

  get audio() { return this.players[this.side]?.audio; }
  get playing() { return Boolean(this.audio && !this.audio.paused); }
  get time() { return this.wish ?? this.start + (this.audio?.currentTime ?? 0); }
  get start() { return this.players[this.side]?.start ?? 0; }
  get end() { return this.start + (this.players[this.side]?.seconds ?? 0); }

  // The part of the loop that this sound has; the other one may be longer, or begin elsewhere.
  get #looped() {
    if (!this.loop) return null;
    const [from, to] = [Math.max(this.loop[0], this.start), Math.min(this.loop[1], this.end)];
    return from < to ? [from, to] : null;
  }

  seek(time) {
    const at = Math.min(Math.max(time, this.start), this.end);
    if (!this.audio || !Number.isFinite(at)) return;
    const ready = this.audio.readyState >= 1;
    this.wish = ready ? null : at;
    if (ready) this.audio.currentTime = at - this.start;
  }

  play() {
    const [from, to] = this.#looped ?? [this.start, this.end];
    if (this.audio?.ended || this.time >= to - 0.01 || this.time < from) this.seek(from);
    // a browser may want a click first
    return this.audio?.play().catch(() => this.changed("pause"));
  }

  pause() { this.audio?.pause(); }
  toggle() { return this.playing ? this.pause() : this.play(); }

  // Hear the other sound from the same distance to its start, without a gap.
  change(side) {
    if (side === this.side || !this.players[side]) return;
    const playing = this.playing, along = this.time - this.start;
    this.pause();
    this.side = side;
    this.seek(this.start + along);
    if (playing) this.play();
    this.changed("side");
  }

  set(name, value) {
    this.settings[name] = value;
    for (const {audio} of this.players) audio[name] = value;
  }

  // Back to the beginning of the loop when its end is passed.
  keepLoop() {
    const part = this.#looped;
    if (part && this.playing && this.time >= part[1]) this.seek(part[0]);
  }

  #drop(player) {
    player.quiet();
    player.audio.removeAttribute("src");
    player.audio.load();
    player.audio.remove();
    URL.revokeObjectURL(player.url);
  }

  close() {
    this.players.forEach(player => this.#drop(player));
    this.players = [];
  }
}
