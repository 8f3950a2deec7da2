// What a reader is told: notes, frequencies and levels in words, a point of a picture, and regions as text and as CSV.

import { clock } from "./common.js";
import { lookUp } from "./scale.js";

export const NOTES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];

// The nearest note of equal temperament, A4 = 440 Hz, and how many cents above it the frequency is.
export function note(hertz) {
  const exact = 69 + 12 * Math.log2(hertz / 440), number = Math.round(exact);
  const name = NOTES[((number % 12) + 12) % 12] + (Math.floor(number / 12) - 1);
  return {name, cents: Math.round(100 * (exact - number))};
}

export function noteText(hertz) {
  const {name, cents} = note(hertz);
  return cents ? `${name} ${cents > 0 ? "+" : "−"}${Math.abs(cents)} ¢` : name;
}

// The pitch class of a row of a chromagram.
function pitchText(row) { return NOTES[Math.min(11, Math.max(0, Math.round(row)))]; }

export function hertzText(hertz) {
  return hertz >= 1000 ? `${Number((hertz / 1000).toFixed(3))}k` : String(Number(hertz.toFixed(2)));
}

export function levelText(picture, value) {
  return picture.decibel ? `${value.toFixed(1).replace("-", "−")} dB` : value.toFixed(2);
}

export function pointText(picture, time, height) {
  const found = lookUp(picture, time, height), value = found ? levelText(picture, found.value) : "";
  if (picture.kind === "curve") {
    return found ? [`${height.toFixed(1)} Hz`, noteText(height), value].join(" · ") : "";
  }
  const what = {
    "frequency": hertz => [`${hertz.toFixed(1)} Hz`, noteText(Math.max(hertz, 1))],
    "pitch class": row => [pitchText(row)],
    "tempo": bpm => [`${bpm.toFixed(1)} BPM`, `${(60 / bpm).toFixed(3)} s a beat`],
    "lag": lag => [`lag ${lag.toFixed(3)} s`, lag > 0 ? `${(60 / lag).toFixed(1)} BPM` : ""],
  }[picture.axis.name](height);
  const bin = found ? `frame ${found.column}, row ${found.row}` : "";
  return [clock(time, 0.001), ...what, value, bin].filter(Boolean).join(" · ");
}

// ---- regions: {label, start, end, low, high, axis}, in seconds of the recording and the unit of the axis; the last
// three are null where a region spans all of a picture's height

export function regionText(region) {
  const {start, end, low, high, axis} = region;
  const span = end > start ? `${clock(start, .01)} – ${clock(end, .01)}` : clock(start, .01);
  if (low === null) return span;
  if (axis === "frequency") return `${span}, ${hertzText(Math.round(low))} – ${hertzText(Math.round(high))} Hz`;
  if (axis === "pitch class") return `${span}, ${pitchText(low)} – ${pitchText(high)}`;
  const unit = {"tempo": " BPM", "lag": " s"}[axis] ?? "", text = number => String(Number(number.toFixed(2)));
  return `${span}, ${text(low)} – ${text(high)}${unit}`;
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
