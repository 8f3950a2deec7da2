// What stands along the edges of a picture: ticks, each {at: value, text}.

import { clock } from "./common.js";
import { NOTES, hertzText } from "./words.js";

const STEPS = [.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

export function timeTicks([from, to], room) {
  const step = STEPS.find(step => (to - from) / step <= Math.max(room, 1)) ?? 3600;
  const ticks = [];
  const first = Math.ceil(from / step - 1e-9);
  for (let k = first; k * step <= to + 1e-9; k++) ticks.push({at: k * step, text: clock(k * step, step)});
  return ticks;
}

// Round numbers along a linear axis.
export function roundTicks([low, high], room, text = String) {
  const rough = (high - low) / Math.max(room, 1), power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(m => m * power >= rough * (1 - 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    ticks.push({at: k * step, text: text(Number((k * step).toPrecision(10)))});
  }
  return ticks;
}

const HERTZ = [10, 100, 1000, 10000].flatMap(ten => [1, 1.5, 2, 3, 4, 5, 7].map(m => m * ten));
const MAIN = new Set([10, 100, 1000, 10000].flatMap(ten => [ten, 2 * ten, 5 * ten]));
// The more important first.
const TEMPI = [60, 120, 240, 30, 90, 180, 20, 40, 50, 70, 80, 100, 110, 140, 160, 200, 300, 400, 500, 600];

// Candidates, the more important first, of which those are kept that stand `gap` (a share of the axis) apart.
function spread(candidates, scale, [low, high], gap) {
  const kept = [];
  const from = scale.at(low), span = scale.at(high) - from;
  for (const tick of candidates) {
    const place = (scale.at(tick.at) - from) / span;
    if (place < 0 || place > 1 || kept.some(other => Math.abs(other.place - place) < gap)) continue;
    kept.push({...tick, place});
  }
  return kept.sort((a, b) => a.place - b.place);
}

export function hertzTicks(scale, window, gap) {
  const [low, high] = window, name = hertz => ({at: hertz, text: hertzText(hertz)});
  // a linear scale
  const even = Math.abs(scale.at((low + high) / 2) - (scale.at(low) + scale.at(high)) / 2) < 1e-6;
  const fine = roundTicks(window, 8).map(tick => name(tick.at));
  const wide = !even && high / Math.max(low, 1) > 4;
  const main = HERTZ.filter(hertz => MAIN.has(hertz)).sort((a, b) => b - a).map(name);
  return spread(wide ? [...main, ...HERTZ.map(name)] : fine, scale, window, gap);
}

export function noteTicks(scale, window, gap) {
  // of equal rank, the last come first
  const order = [0, 9, 4, 7, 2, 5, 11, 1, 3, 6, 8, 10];
  const all = order.flatMap(pitch => Array.from({length: 11}, (_, octave) => pitch + 12 * (octave + 1)))
    .map(number => ({at: 440 * 2 ** ((number - 69) / 12), text: NOTES[number % 12] + (Math.floor(number / 12) - 1)}));
  const octaves = Math.log2(window[1] / Math.max(window[0], 1));
  const kept = octaves > 2.5 ? all.filter(tick => tick.text.startsWith("C") && !tick.text.startsWith("C♯")) : all;
  return spread(kept.reverse().sort((a, b) => rank(a) - rank(b)), scale, window, gap);
}

// C of every octave before the other white keys, these before the black ones.
function rank({text}) {
  const letter = text.replace(/\d+$/, "");
  return letter === "C" ? 0 : letter.length === 1 ? 1 : 2;
}

// What stands along the rising axis of a picture.
export function rowTicks(picture, scale, window, gap) {
  const {name} = picture.axis;
  if (name === "frequency") return hertzTicks(scale, window, gap);
  if (name === "pitch class") return spread(NOTES.map((text, at) => ({at, text})), scale, window, Math.min(gap, .06));
  if (name === "tempo") return spread(TEMPI.map(at => ({at, text: String(at)})), scale, window, gap);
  return spread(roundTicks(window, 6, value => String(Number(value.toFixed(3)))), scale, window, gap);
}
