// What plays, below a map: its words, a button, and where in its sound it is.

import { button, clock, element } from "./common.js";

const STATES = {still: "Play", waiting: "Stop waiting for", playing: "Pause"};

export class Player {
  constructor(act) {
    this.play = button("", "Play", act.toggle);
    this.play.className = "play";
    this.play.append(element("span", {className: "icon", "aria-hidden": "true"}));
    this.words = element("div", {className: "words"});
    this.slide = element("input", {type: "range", min: 0, max: 1000, value: 0, "aria-label": "Place in the sound"});
    this.slide.addEventListener("input", () => act.seek(this.slide.value / 1000));
    this.time = element("span", {className: "soft time"});
    this.note = element("div", {className: "said", role: "status"});
    this.sound = element("div", {className: "sound"}, this.slide, this.time);
    this.node = element("div", {className: "player"}, this.play, this.words, this.sound, this.note);
  }

  // `lines` are none where no track is chosen.
  show(lines, state, playable) {
    const [title, ...rest] = lines;
    this.node.classList.toggle("playing", state === "playing");
    this.node.classList.toggle("waiting", state === "waiting");
    this.play.disabled = this.slide.disabled = !playable;
    this.play.hidden = !title;
    this.sound.hidden = !playable;
    this.play.title = `${STATES[state]} ${title ?? ""}`;
    this.play.setAttribute("aria-label", this.play.title);
    const called = title ?? "Press a point to hear it.";
    const name = element("span", {className: title ? "name" : "soft", textContent: called});
    const more = element("span", {className: "soft", textContent: rest.filter(Boolean).join(" · ")});
    this.words.replaceChildren(name, ...(title ? [more] : []));
  }

  showTime(share, seconds) {
    this.slide.value = 1000 * share;
    this.time.textContent = `${clock(share * seconds)} / ${clock(seconds)}`;
  }
}
