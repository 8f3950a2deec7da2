// One or two sounds under one clock: play, seek, loop, and change over at the same place.

import { address, alone, bytes } from "./common.js";

export class Sound {
  constructor(host, changed) {
    this.players = [];
    this.side = 0;
    this.starts = [];  // seconds of the recording at which each sound begins
    this.loop = null;  // [from, to] in seconds of the recording
    this.wish = null;  // where to go as soon as a sound is ready
    this.host = host;
    this.changed = changed;
  }

  // Put a sound in, or another in its place; the cursor stays where it was.
  load(side, data, start, seconds) {
    const old = this.players[side], was = old ? this.time : start, playing = old && !old.audio.paused && side === this.side;
    if (old) this.#drop(old);
    const audio = document.createElement("audio");
    audio.preload = "auto";
    audio.hidden = true;
    const player = this.players[side] = {audio, seconds, url: address(bytes(data), "audio/ogg"), quiet: alone(audio)};
    this.starts[side] = start;
    for (const name of ["play", "pause", "seeked", "ended", "loadedmetadata"]) audio.addEventListener(name, () => this.changed(name));
    audio.addEventListener("timeupdate", () => this.keepLoop());  // also where no frames are painted
    audio.src = player.url;
    this.host.append(audio);
    if (side === this.side) this.seek(was >= start && was <= start + seconds ? was : start);
    if (playing) audio.play().catch(() => {});
  }

  get audio() { return this.players[this.side]?.audio; }
  get playing() { return Boolean(this.audio && !this.audio.paused); }
  get time() { return this.wish ?? (this.starts[this.side] ?? 0) + (this.audio?.currentTime ?? 0); }
  get start() { return this.starts[this.side] ?? 0; }
  get end() { return this.start + (this.players[this.side]?.seconds ?? 0); }

  seek(time) {
    const at = Math.min(Math.max(time, this.start), this.end);
    const audio = this.audio;
    if (!audio || !Number.isFinite(at)) return;
    if (audio.readyState >= 1) {
      this.wish = null;
      audio.currentTime = at - this.start;
    } else {
      this.wish = at;
      audio.addEventListener("loadedmetadata", () => { if (this.wish !== null && audio === this.audio) this.seek(this.wish); }, {once: true});
    }
  }

  play() {
    const [from, to] = this.loop ?? [this.start, this.end];
    if (this.time >= to - 0.01 || (this.loop && this.time < from)) this.seek(from);
    return this.audio?.play().catch(() => this.changed("pause"));  // a browser may want a click first
  }

  pause() { this.audio?.pause(); }
  toggle() { return this.playing ? this.pause() : this.play(); }

  // Hear the other sound from the same distance to its start, without a gap.
  change(side) {
    if (side === this.side || !this.players[side]) return;
    const playing = this.playing, along = this.time - this.start, {volume, playbackRate} = this.audio;
    this.pause();
    this.side = side;
    Object.assign(this.audio, {volume, playbackRate});
    this.wish = null;
    this.seek(this.start + along);
    if (playing) this.play();
    this.changed("side");
  }

  set(name, value) { for (const {audio} of this.players) audio[name] = value; }

  // Back to the beginning of the loop when its end is passed.
  keepLoop() {
    if (this.loop && this.playing && this.time >= this.loop[1]) this.seek(this.loop[0]);
  }

  #drop(player) {
    player.quiet();
    player.audio.removeAttribute("src");
    player.audio.load();
    player.audio.remove();
    URL.revokeObjectURL(player.url);
  }

  close() { this.players.forEach(player => this.#drop(player)); this.players = []; }
}
