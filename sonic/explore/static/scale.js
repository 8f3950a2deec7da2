// Where a value lies: on an axis, in the part of it that is seen, in the colours, and in the rows and columns of a
// picture. No element of a page is touched here, so all of it runs in Node too.

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
  if (n === 1) return linear(values[0] - 0.5, values[0] + 0.5);
  const half = (a, b) => (values[b] - values[a]) / 2;
  const ends = [values[0] - half(0, 1), ...values, values[n - 1] + half(n - 2, n - 1)];
  const place = [-0.5, ...values.keys(), n - 0.5];
  const between = (x, from, to) => {
    let a = 0, b = from.length - 1;
    while (b - a > 1) {
      const middle = (a + b) >> 1;
      if (from[middle] <= x) a = middle; else b = middle;
    }
    return to[a] + (x - from[a]) * (to[b] - to[a]) / (from[b] - from[a]);
  };
  return {
    low: ends[0], high: ends[n + 1],
    at: value => (between(value, ends, place) + 0.5) / n,
    value: share => between(share * n - 0.5, place, ends),
  };
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

// For each of `height` lines from the bottom up, the row of the picture in which it lies, see `byRows`.
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

// ---- rows and columns

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
