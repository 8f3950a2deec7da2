// What all of SONIC's widgets share: elements whose text is only text, keys that reach them, and one sound at a time.

// JupyterLab takes the keys of whatever has the focus, unless that very element says otherwise.
const KEYS = "data-lm-suppress-shortcuts";
const FOCUSABLE = new Set(["button", "input", "select", "canvas", "audio", "a", "summary", "textarea"]);

// An element: properties by name, `aria-…`, `data-…` and `role` as attributes, children as elements or as text.
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  if (FOCUSABLE.has(tag)) node.setAttribute(KEYS, "true");
  for (const [name, value] of Object.entries(properties)) {
    if (/^(aria|data)-|^role$|^list$/.test(name)) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children);
  return node;
}

export function button(label, title, action) {
  const node = element("button", {type: "button", textContent: label, title, "aria-label": title});
  node.addEventListener("click", action);
  return node;
}

// A list to choose from; `options` are values, or pairs of value and text.
export function choice(label, options, value, action) {
  const list = element("select", {"aria-label": label});
  offer(list, options, value);
  list.addEventListener("change", () => action(list.value));
  return list;
}

// Other options for a list.
export function offer(list, options, value) {
  list.replaceChildren(...options.map(option => {
    const [name, text] = Array.isArray(option) ? option : [option, String(option)];
    return element("option", {value: String(name), textContent: text});
  }));
  list.value = String(value);
}

// Seconds as m:ss or h:mm:ss, with as many decimals as `step`, the distance to the next label, asks for.
export function clock(seconds, step = 1) {
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const whole = Number(Math.max(seconds, 0).toFixed(places));
  const minutes = Math.floor(whole / 60 + 1e-9), hours = Math.floor(minutes / 60);
  const rest = Math.max(0, whole - 60 * minutes).toFixed(places).padStart(places ? places + 3 : 2, "0");
  return (hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}` : String(minutes)) + `:${rest}`;
}

// One sound at a time on the whole page: whoever starts says so, and the others stop. Returns what ends the listening.
export function alone(audio) {
  const said = () => document.dispatchEvent(new CustomEvent("sonic-play", {detail: audio}));
  const heard = event => { if (event.detail !== audio) audio.pause(); };
  audio.addEventListener("play", said);
  document.addEventListener("sonic-play", heard);
  return () => {
    audio.removeEventListener("play", said);
    document.removeEventListener("sonic-play", heard);
    audio.pause();
  };
}

// Bytes from the kernel (a DataView), or from a page (base64), as an array.
export function bytes(value) {
  if (!value) return new Uint8Array(0);
  if (typeof value === "string") return Uint8Array.from(atob(value), letter => letter.charCodeAt(0));
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

// An address for bytes; `URL.revokeObjectURL` gives the memory back.
export function address(data, type) {
  return URL.createObjectURL(new Blob([data], {type}));
}

// Offer a file to the user, under a name that any system takes.
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", {href: url, download: name.replace(/[^\p{L}\p{N}._ -]+/gu, "-")}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
