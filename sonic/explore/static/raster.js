// Points as pixels: put down by hand, ten thousand of them take some milliseconds even where no graphics card helps.

// The pixels of a small picture that are not empty: where they lie from its middle, and their colours.
export function stampOf({width, height, data}) {
  const dots = [];
  for (let k = 0; k < width * height; k++) {
    const alpha = data[4 * k + 3];
    if (alpha) dots.push([k % width - (width >> 1), Math.floor(k / width) - (height >> 1), k, alpha]);
  }
  const pixels = new Uint32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
  return {
    reach: Math.max(width, height) >> 1,
    across: Int16Array.from(dots, dot => dot[0]), down: Int16Array.from(dots, dot => dot[1]),
    colours: Uint32Array.from(dots, dot => pixels[dot[2]] | 0xff000000), alphas: Uint8Array.from(dots, dot => dot[3]),
  };
}

// A sheet of pixels of one colour; `pixels` are those of an ImageData, a number each.
export class Sheet {
  constructor(width, height) {
    Object.assign(this, {width, height, data: new Uint8ClampedArray(4 * width * height)});
    this.pixels = new Uint32Array(this.data.buffer);
  }

  clear(colour) { this.pixels.fill(colour); }

  // A stamp around a pixel; what of it lies outside is not put down.
  put({reach, across, down, colours, alphas}, x, y) {
    const {width, height, pixels} = this;
    if (x + reach < 0 || y + reach < 0 || x - reach >= width || y - reach >= height) return;
    const inside = x >= reach && y >= reach && x + reach < width && y + reach < height;
    for (let k = 0; k < colours.length; k++) {
      const right = x + across[k], under = y + down[k], share = alphas[k];
      if (!inside && (right < 0 || right >= width || under < 0 || under >= height)) continue;
      const at = under * width + right;
      pixels[at] = share > 250 ? colours[k] : mixed(colours[k], pixels[at], share + (share >> 7));
    }
  }
}

// A colour over another, with a share of 256; red and blue at once, then green.
export function mixed(above, below, share) {
  const rest = 256 - share;
  const outer = ((above & 0xff00ff) * share + (below & 0xff00ff) * rest) >>> 8 & 0xff00ff;
  const inner = ((above & 0xff00) * share + (below & 0xff00) * rest) >>> 8 & 0xff00;
  return (outer | inner | 0xff000000) >>> 0;
}

// A colour as CSS gives it back, `rgb(1, 2, 3)`, as such a number.
export function pixelOf(colour) {
  const [red, green, blue] = (colour.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  return (0xff000000 | blue << 16 | green << 8 | red) >>> 0;
}
