// Where a value lies in a picture, what stands along its edges, and what a reader is told about a point. No element of a
// page is touched here, so all of it runs in Node too.

import { clock } from "./common.js";

export const NOTES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];

// The nearest note of equal temperament, A4 = 440 Hz, and how many cents above it the frequency is.
export function note(hertz) {
  const exact = 69 + 12 * Math.log2(hertz / 440), number = Math.round(exact);
  return {name: NOTES[((number % 12) + 12) % 12] + (Math.floor(number / 12) - 1), cents: Math.round(100 * (exact - number))};
}

export function noteText(hertz) {
  const {name, cents} = note(hertz);
  return cents ? `${name} ${cents > 0 ? "+" : "−"}${Math.abs(cents)} ¢` : name;
}

export function hertzText(hertz) {
  return hertz >= 1000 ? `${Number((hertz / 1000).toFixed(3))}k` : String(Number(hertz.toFixed(2)));
}

// ---- axes: every scale has `at`, from a value to a share of the axis (0: its lower end), and `value`, the way back

export function linear(low, high) {
  return {low, high, at: value => (value - low) / (high - low), value: share => low + share * (high - low)};
}

export function logarithmic(low, high) {
  const ratio = Math.log(high / low);
  return {low, high, at: value => Math.log(value / low) / ratio, value: share => low * Math.exp(share * ratio)};
}

// Rows of equal height whose middles are `values`, straight lines between them, half a row more at either end.
export function byRows(values) {
  const n = values.length;
  if (n === 1) return {...linear(values[0] - 0.5, values[0] + 0.5)};
  const ends = [values[0] - (values[1] - values[0]) / 2, ...values, values[n - 1] + (values[n - 1] - values[n - 2]) / 2];
  const place = [-0.5, ...values.keys(), n - 0.5];
  const between = (x, from, to) => {
    let a = 0, b = from.length - 1;
    while (b - a > 1) { const middle = (a + b) >> 1; if (from[middle] <= x) a = middle; else b = middle; }
    return to[a] + (x - from[a]) * (to[b] - to[a]) / (from[b] - from[a]);
  };
  return {low: ends[0], high: ends[n + 1], at: value => (between(value, ends, place) + 0.5) / n,
    value: share => between(share * n - 0.5, place, ends)};
}

// The scales that a picture can be drawn on; the first is that of its rows.
export function scales(picture) {
  if (picture.kind === "curve") {
    const [low, high] = picture.edges;
    return {[picture.scale]: (picture.scale === "log" ? logarithmic : linear)(low, high)};
  }
  const {name, values} = picture.axis, rows = byRows(values);
  if (name !== "frequency") return {rows};
  const low = Math.max(rows.low, values[0] / 2, 1);
  return {mel: rows, log: logarithmic(low, rows.high), linear: linear(Math.max(0, rows.low), rows.high)};
}

// For each of `height` lines from the bottom up, the row of the picture that it shows; nearest middle, as `byRows` has them.
export function rowMap(picture, scale, height) {
  const rows = byRows(picture.axis.values), map = new Int32Array(height);
  for (let line = 0; line < height; line++) {
    const row = Math.floor(rows.at(scale.value((line + 0.5) / height)) * picture.rows);
    map[line] = Math.min(Math.max(row, 0), picture.rows - 1);
  }
  return map;
}

// ---- windows: [from, to], the part of an axis that is seen

// A window of another width around the place `at` (a share of the window), never beyond the limits.
export function zoom([from, to], factor, at, [low, high], least) {
  const width = Math.min(Math.max((to - from) * factor, least), high - low);
  return within([from + (to - from) * at - width * at, width], [low, high]);
}

export function within([from, width], [low, high]) {
  const start = Math.min(Math.max(from, low), Math.max(low, high - width));
  return [start, Math.min(start + width, high)];
}

// The window that follows a cursor: a page further when it leaves, or always around it.
export function follow(window, cursor, limits, how) {
  const [from, to] = window, width = to - from;
  if (how === "off" || width >= limits[1] - limits[0]) return window;
  if (how === "centre") return within([cursor - width / 2, width], limits);
  return cursor < from || cursor > to ? within([cursor - width / 20, width], limits) : window;
}

// ---- colours

// For each level its colour (as a little-endian pixel), when `low` is the darkest and `high` the brightest value shown.
export function colours(table, picture, [low, high]) {
  const pixels = new Uint32Array(256), step = (picture.high - picture.low) / 255;
  for (let level = 0; level < 256; level++) {
    const share = (picture.low + level * step - low) / Math.max(high - low, 1e-9);
    const k = 3 * Math.min(255, Math.max(0, Math.round(255 * share)));
    pixels[level] = 0xff000000 | (table[k + 2] << 16) | (table[k + 1] << 8) | table[k];
  }
  return pixels;
}

// ---- ticks: {at: value, text}

const STEPS = [.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

export function timeTicks([from, to], room) {
  const step = STEPS.find(step => (to - from) / step <= Math.max(room, 1)) ?? 3600;
  const ticks = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to + 1e-9; k++) ticks.push({at: k * step, text: clock(k * step, step)});
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
const TEMPI = [20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 140, 160, 180, 200, 240, 300, 400, 500, 600];

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
  const even = Math.abs(scale.at((low + high) / 2) - (scale.at(low) + scale.at(high)) / 2) < 1e-6;  // a linear scale
  const fine = roundTicks(window, 8).map(tick => name(tick.at));
  const wide = !even && high / Math.max(low, 1) > 4;
  const main = HERTZ.filter(hertz => MAIN.has(hertz)).sort((a, b) => b - a).map(name);
  return spread(wide ? [...main, ...HERTZ.map(name)] : fine, scale, window, gap);
}

export function noteTicks(scale, window, gap) {
  const order = [0, 9, 4, 7, 2, 5, 11, 1, 3, 6, 8, 10];  // C of every octave before A, E, G and the rest
  const all = order.flatMap(pitch => Array.from({length: 11}, (_, octave) => pitch + 12 * (octave + 1)))
    .map(number => ({at: 440 * 2 ** ((number - 69) / 12), text: NOTES[number % 12] + (Math.floor(number / 12) - 1)}));
  const octaves = Math.log2(window[1] / Math.max(window[0], 1));
  const kept = octaves > 2.5 ? all.filter(tick => tick.text.startsWith("C") && !tick.text.startsWith("C♯")) : all;
  return spread(kept.reverse().sort((a, b) => rank(a) - rank(b)), scale, window, gap);
}

function rank({text}) {
  const letter = text.replace(/\d+$/, "");
  return letter === "C" ? 0 : letter.length === 1 ? 1 : 2;
}

export function tempoTicks(scale, window, gap) {
  const first = [60, 120, 240, 30, 90, 180];
  return spread([...first, ...TEMPI].map(bpm => ({at: bpm, text: String(bpm)})), scale, window, gap);
}

export function pitchTicks(scale, window, gap) {
  return spread(NOTES.map((text, at) => ({at, text})), scale, window, gap);
}

// What stands along the rising axis of a picture.
export function rowTicks(picture, scale, window, gap) {
  const {name} = picture.axis;
  if (name === "frequency") return hertzTicks(scale, window, gap);
  if (name === "pitch class") return pitchTicks(scale, window, Math.min(gap, 0.06));
  if (name === "tempo") return tempoTicks(scale, window, gap);
  return spread(roundTicks(window, 6, value => String(Number(value.toFixed(3)))), scale, window, gap);
}

// ---- what a reader is told about a point

export function levelText(picture, value) {
  return picture.decibel ? `${value.toFixed(1).replace("-", "−")} dB` : value.toFixed(2);
}

// The value, time, frame and row of a picture at a time and a height; none where the picture has nothing.
export function lookUp(picture, time, height) {
  if (picture.kind === "curve") {
    const scale = scales(picture)[picture.scale], point = Math.floor(scale.at(height) * picture.points);
    if (!(point >= 0 && point < picture.points)) return null;
    return {value: picture.levels[point], point};
  }
  const column = Math.floor((time - picture.start) / picture.step);
  const row = Math.floor(byRows(picture.axis.values).at(height) * picture.rows);
  if (!(column >= 0 && column < picture.columns && row >= 0 && row < picture.rows)) return null;
  const level = picture.levels[row * picture.columns + column];
  return {value: picture.low + level * (picture.high - picture.low) / 255, column, row};
}

export function pointText(picture, time, height) {
  const found = lookUp(picture, time, height), value = found ? levelText(picture, found.value) : "";
  if (picture.kind === "curve") {
    return found ? [`${height.toFixed(1)} Hz`, noteText(height), value].join(" · ") : "";
  }
  const what = {
    "frequency": hertz => [`${hertz.toFixed(1)} Hz`, noteText(Math.max(hertz, 1))],
    "pitch class": row => [NOTES[Math.min(11, Math.max(0, Math.round(row)))]],
    "tempo": bpm => [`${bpm.toFixed(1)} BPM`, `${(60 / bpm).toFixed(3)} s a beat`],
    "lag": lag => [`lag ${lag.toFixed(3)} s`, lag > 0 ? `${(60 / lag).toFixed(1)} BPM` : ""],
  }[picture.axis.name](height);
  const bin = found ? `frame ${found.column}, row ${found.row}` : "";
  return [clock(time, 0.001), ...what, value, bin].filter(Boolean).join(" · ");
}

// ---- regions: {start, end, low, high, label}, seconds of the recording and the unit of the axis; low and high may be null

export function regionText(region) {
  const span = region.end > region.start ? `${clock(region.start, .01)} – ${clock(region.end, .01)}` : clock(region.start, .01);
  if (region.low === null) return span;
  const unit = {"frequency": " Hz", "tempo": " BPM", "lag": " s"}[region.axis], text = unit === " Hz" ? hertz => hertzText(Math.round(hertz)) : number => String(Number(number.toFixed(2)));
  if (!unit) return `${span}, ${NOTES[Math.max(0, Math.round(region.low))]} – ${NOTES[Math.min(11, Math.round(region.high))]}`;
  return `${span}, ${text(region.low)} – ${text(region.high)}${unit}`;
}

export function regionsCsv(regions) {
  // a spreadsheet would run a label that begins like a formula
  const cell = value => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = regions.map(({label, start, end, low, high}) => [label, start, end, low, high].map(cell).join(","));
  return ["label,start,end,low,high", ...rows].join("\n") + "\n";
}
