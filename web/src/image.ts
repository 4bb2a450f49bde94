// Brings an image to a network's size, with the arithmetic of Pillow, and so with the pixels of `evenbit predict`.
//
// Pillow's ImageOps.fit(image, size, BILINEAR) cuts the largest middle part that has the shape of the result, and
// scales it in two passes, along rows and along columns. A result pixel is the weighted sum of the pixels below a
// triangle around its centre, which is as wide as it must be to be antialiased. Weights are integers of 22 fractional
// bits, and after each pass levels are rounded to 8 bits, so the order of the passes matters: rows come first, but, as
// Pillow has it since version 13, where the height loses more than twice as many pixels as the width, columns do.

/** Pixels as a canvas gives them: red, green, blue and opacity, row by row. */
export interface RgbaImage {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** The levels, if they are bytes; other numbers, such as floats in [0, 1], are refused, since they would be cut off. */
export function ofBytes<T extends ArrayBufferView>(levels: T): T {
  if (levels instanceof Uint8Array || levels instanceof Uint8ClampedArray) return levels;
  throw new TypeError("an image should have levels from 0 to 255, in a Uint8Array or Uint8ClampedArray");
}

const FRACTION = 22;

/** For each pixel of a result along one side: its first source pixel, and the weights from there on. */
interface Weights {
  readonly first: Int32Array;
  readonly of: readonly Float64Array[];
}

/**
 * An image as a network takes it.
 *
 * Transparent pixels are laid over white; grey is (19595 R + 38470 G + 7471 B) / 65536, rounded.
 *
 * @param image The image, of any size.
 * @param channels 1 for grey, 3 for RGB.
 * @param height Rows of the result.
 * @param width Columns of the result.
 * @returns `[channels][height][width]`, from 0 to 255.
 */
export function prepare(image: RgbaImage, channels: number, height: number, width: number): Uint8Array<ArrayBuffer> {
  if (channels !== 1 && channels !== 3) {
    throw new RangeError(`images have 1 or 3 channels, but the network takes ${channels}`);
  }
  ofBytes(image.data);
  if (image.data.length !== 4 * image.width * image.height || image.data.length === 0) {
    throw new RangeError(`an image of ${image.width}x${image.height} does not have ${image.data.length} bytes`);
  }
  const [left, right, top, bottom] = middle(image.width, image.height, width, height);
  const result = new Uint8Array(channels * height * width);
  const rows = along(image.width, left, right, width);
  const columns = along(image.height, top, bottom, height);
  const lost = image.height - height;
  const columnsFirst = lost > 0 && lost > 2 * (image.width - width);
  planes(image, channels).forEach((plane, channel) => {
    const scaled = columnsFirst
      ? scaleRows(scaleColumns(plane, image.width, columns), height, image.width, rows)
      : scaleColumns(scaleRows(plane, image.height, image.width, rows), width, columns);
    result.set(scaled, channel * height * width);
  });
  return result;
}

/** The box that ImageOps.fit cuts, as the single-precision numbers that Pillow keeps it in. */
function middle(width: number, height: number, toWidth: number, toHeight: number): number[] {
  const wanted = toWidth / toHeight;
  let [cutWidth, cutHeight] = [width, height];
  if (width / height > wanted) cutWidth = wanted * height;
  else if (width / height < wanted) cutHeight = width / wanted;
  const left = (width - cutWidth) * 0.5;
  const top = (height - cutHeight) * 0.5;
  return [left, left + cutWidth, top, top + cutHeight].map(Math.fround);
}

/** The image's channels, each [height][width]. */
function planes(image: RgbaImage, channels: number): Uint8Array[] {
  const pixels = image.width * image.height;
  const rgb = [0, 1, 2].map(() => new Uint8Array(pixels));
  for (let i = 0; i < pixels; ++i) {
    const opacity = image.data[4 * i + 3];
    for (let c = 0; c < 3; ++c) rgb[c][i] = overWhite(image.data[4 * i + c], opacity);
  }
  if (channels === 3) return rgb;
  const grey = new Uint8Array(pixels);
  for (let i = 0; i < pixels; ++i) {
    grey[i] = (rgb[0][i] * 19595 + rgb[1][i] * 38470 + rgb[2][i] * 7471 + 0x8000) >> 16;
  }
  return [grey];
}

/** A level laid over white, as Image.alpha_composite does it. */
function overWhite(level: number, opacity: number): number {
  const sum = level * opacity * 128 + 255 * (255 * 128 - opacity * 128) + (0x80 << 7);
  return (sum + (sum >> 8)) >> 8 >> 7;
}

/** Weights along one side, of which the part from `start` to `end` is brought to `size` pixels. */
function along(source: number, start: number, end: number, size: number): Weights | null {
  if (size === source && start === 0 && end === size) return null;
  const step = Math.fround(end - start) / size;
  const support = Math.max(1, step); // half the triangle's width
  const first = new Int32Array(size);
  const of = Array.from({ length: size }, (_, i) => {
    const centre = start + (i + 0.5) * step;
    first[i] = Math.max(0, Math.trunc(centre - support + 0.5));
    const weights = new Float64Array(Math.min(source, Math.trunc(centre + support + 0.5)) - first[i]);
    let total = 0;
    weights.forEach((_, j) => {
      weights[j] = Math.max(0, 1 - Math.abs((j + first[i] - centre + 0.5) * (1 / support)));
      total += weights[j];
    });
    return weights.map((weight) => Math.trunc(0.5 + (total === 0 ? weight : weight / total) * 2 ** FRACTION));
  });
  return { first, of };
}

/** Scales the rows of [height][width] pixels. */
function scaleRows(pixels: Uint8Array, height: number, width: number, weights: Weights | null): Uint8Array {
  if (!weights) return pixels;
  const size = weights.of.length;
  const result = new Uint8Array(height * size);
  for (let y = 0; y < height; ++y) {
    for (let x = 0; x < size; ++x) {
      result[y * size + x] = weighted(pixels, y * width + weights.first[x], 1, weights.of[x]);
    }
  }
  return result;
}

/** Scales the columns of [...][width] pixels. */
function scaleColumns(pixels: Uint8Array, width: number, weights: Weights | null): Uint8Array {
  if (!weights) return pixels;
  const size = weights.of.length;
  const result = new Uint8Array(size * width);
  for (let y = 0; y < size; ++y) {
    for (let x = 0; x < width; ++x) {
      result[y * width + x] = weighted(pixels, weights.first[y] * width + x, width, weights.of[y]);
    }
  }
  return result;
}

function weighted(pixels: Uint8Array, first: number, step: number, weights: Float64Array): number {
  let sum = 2 ** (FRACTION - 1);
  for (let j = 0; j < weights.length; ++j) sum += pixels[first + j * step] * weights[j];
  return Math.min(255, sum >>> FRACTION);
}
