// Where the points of a map lie on the screen, and which of them is meant. Units of the map: its wider side is 1, and y
// rises; a view is the place in the middle of the screen, and how many px a unit is.

const MARGIN = 26, CLOSEST = 80;  // px around the map; how much closer than the whole it can be seen
const SIDEWAYS = 1.2;  // a point counts as lying that way up to this slope

// Places as the kernel sends them, pairs of 16-bit numbers, as two lists; and how wide and high the map is.
export function placesOf(data) {
  const pairs = new Uint16Array(data.slice().buffer), count = pairs.length / 2;
  const x = Float32Array.from({length: count}, (_, k) => pairs[2 * k] / 65535);
  const y = Float32Array.from({length: count}, (_, k) => pairs[2 * k + 1] / 65535);
  const most = values => values.reduce((high, value) => Math.max(high, value), 0);
  return {x, y, count, width: most(x), height: most(y)};
}

// All of the map.
export function wholeView({width, height}, size) {
  const scale = Math.min(...[[size[0], width], [size[1], height]].map(([room, side]) => (
    Math.max(room - 2 * MARGIN, 40) / Math.max(side, 1e-6))));
  return {x: width / 2, y: height / 2, scale: Math.min(scale, Math.max(...size))};
}

export function toScreen(view, size, x, y) {
  return [size[0] / 2 + (x - view.x) * view.scale, size[1] / 2 - (y - view.y) * view.scale];
}

export function fromScreen(view, size, x, y) {
  return [view.x + (x - size[0] / 2) / view.scale, view.y - (y - size[1] / 2) / view.scale];
}

// The middle of the screen stays on the map.
function kept(view, {width, height}) {
  return {...view, x: Math.min(Math.max(view.x, 0), width), y: Math.min(Math.max(view.y, 0), height)};
}

export function moveView(view, places, right, down) {
  return kept({...view, x: view.x - right / view.scale, y: view.y + down / view.scale}, places);
}

// Closer by a factor; what is at a place of the screen stays there.
export function zoomView(view, places, size, factor, at) {
  const least = wholeView(places, size).scale;
  const scale = Math.min(Math.max(view.scale * factor, least), least * CLOSEST);
  if (scale === least) return wholeView(places, size);
  const [x, y] = fromScreen(view, size, ...at);
  return kept({x: x - (at[0] - size[0] / 2) / scale, y: y + (at[1] - size[1] / 2) / scale, scale}, places);
}

// Moved no further than a place needs to be well inside.
export function viewWith(view, places, size, index) {
  const [x, y] = toScreen(view, size, places.x[index], places.y[index]), room = Math.min(60, size[0] / 4, size[1] / 4);
  const over = (at, side) => Math.min(at - room, 0) + Math.max(at - side + room, 0);
  return moveView(view, places, -over(x, size[0]), -over(y, size[1]));
}

// How big a point is: bigger where they are few, on a wide screen, and from close by.
export function pointRadius(count, width, closer) {
  const room = Math.min(Math.max(width / 800, .65), 1);
  return Math.min(Math.max(Math.min(56 / Math.sqrt(count), 6) * room, 2) * closer ** .4, 8);
}

// The point nearest to a place of the screen, within a reach in px; -1 for none.
export function nearestPoint(places, view, size, [x, y], reach, shown) {
  const [px, py] = fromScreen(view, size, x, y);
  let best = (reach / view.scale) ** 2, found = -1;
  for (let k = 0; k < places.count; k++) {
    if (!shown[k]) continue;
    const away = (places.x[k] - px) ** 2 + (places.y[k] - py) ** 2;
    if (away <= best) [best, found] = [away, k];
  }
  return found;
}

// The point that an arrow leads to: the nearest that lies that way; the same one where there is none.
export function nextPoint(places, at, key, shown) {
  const [right, up] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[key];
  let best = Infinity, found = at;
  for (let k = 0; k < places.count; k++) {
    if (!shown[k] || k === at) continue;
    const x = places.x[k] - places.x[at], y = places.y[k] - places.y[at];
    const along = x * right + y * up, across = Math.abs(x * up) + Math.abs(y * right);
    // of those that lie on top of each other, the later ones come after the earlier
    const ahead = along > 0 || (along === 0 && across === 0 && (k > at) === (right + up > 0));
    if (!ahead || across > SIDEWAYS * along + 1e-9) continue;
    const cost = along + 1.5 * across + Math.abs(k - at) * 1e-9;
    if (cost < best) [best, found] = [cost, k];
  }
  return found;
}
