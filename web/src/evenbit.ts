// Runs .evb files, the 1-bit networks of `evenbit pack`, in a browser, a Web Worker or Node.js.
//
//     import { Evenbit } from "evenbit";
//     const network = await Evenbit.load("model.evb");
//     const { logits, classes } = network.run(context.getImageData(0, 0, canvas.width, canvas.height));
//     console.log(classes[0].name, classes[0].probability);

import { ofBytes, prepare, type RgbaImage } from "./image.js";
import { fetchBytes, Module, type ModuleSource } from "./module.js";

export { prepare, type RgbaImage } from "./image.js";
export type { ModuleSource } from "./module.js";

/** A class, with what the network says of it. */
export interface ClassScore {
  readonly name: string;
  readonly index: number;
  readonly probability: number;
}

/** What the network says of an image. */
export interface Result {
  /** One number a class, in the order of the network: the same bits as everywhere else. */
  readonly logits: Float32Array;
  /** The classes, likeliest first. Probabilities are the softmax of the logits. */
  readonly classes: readonly ClassScore[];
}

/** Size of a map, or of the images. */
export interface Size {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** What can be chosen when a network is loaded. */
export interface LoadOptions {
  /** Where evenbit.wasm is, if it does not lie beside this file. One that is compiled already is not compiled again. */
  readonly module?: ModuleSource;
}

const OUT_OF_MEMORY = 2;
const instances = new Map<string, Promise<Module>>();
const instancesOfBytes = new WeakMap<object, Promise<Module>>(); // which do not live longer than the bytes

/** A network that is ready to run. */
export class Evenbit {
  /** Size of the images. */
  readonly size: Size;
  /** Names of the classes, in the order of the logits. */
  readonly classNames: readonly string[];
  /** Sizes of the maps of bits that the network computes, in order; see `bits`. */
  readonly bitMaps: readonly Size[];

  private constructor(
    private readonly module: Module,
    private network: number,
  ) {
    const { calls } = module;
    this.size = {
      channels: calls.evenbit_channels(network),
      height: calls.evenbit_height(network),
      width: calls.evenbit_width(network),
    };
    const classes = calls.evenbit_classes(network);
    this.classNames = Array.from({ length: classes }, (_, i) => module.text(calls.evenbit_class_name(network, i)));
    this.bitMaps = Array.from({ length: calls.evenbit_bit_maps(network) }, (_, i) => this.bitMapSize(i));
  }

  /**
   * Loads a network.
   *
   * @param source Address of an .evb file, or its bytes.
   * @param options See `LoadOptions`.
   * @throws Error The reason, in one line, if the file cannot be fetched or is no .evb file that can be run. Files are
   *   checked whole before they are used, so that strangers' files can be loaded.
   */
  static async load(source: string | URL | BufferSource, options: LoadOptions = {}): Promise<Evenbit> {
    const [module, file] = await Promise.all([instance(options.module ?? besideThis()), toBytes(source)]);
    const { calls } = module;
    const reason = module.allocate(256);
    try {
      const network = module.with(file, (data) => calls.evenbit_load(data, file.length, 1, 0, reason, 256));
      if (!network) throw new Error(`the network cannot be loaded: ${module.text(reason)}`);
      if (calls.evenbit_output_height(network) > 1 || calls.evenbit_output_width(network) > 1) {
        calls.evenbit_free(network);
        throw new Error("the network cannot be loaded: it classifies each pixel of a map, not the image");
      }
      return new Evenbit(module, network);
    } finally {
      calls.free(reason);
    }
  }

  /**
   * Runs the network on one image.
   *
   * @param image Pixels of a canvas, of any size, which `prepare` brings to the network's; or `[channels][height][width]`
   *   from 0 to 255 in the network's size.
   * @throws RangeError If the image does not have the size that it should have.
   */
  run(image: RgbaImage | Uint8Array): Result {
    const { calls } = this.module;
    const classes = this.classNames.length;
    const bytes = this.onImage(image, 4 * classes, (pixels, to) =>
      calls.evenbit_run_uint8(this.network, pixels, 1, to),
    );
    const logits = new Float32Array(bytes.buffer);
    return { logits, classes: this.score(logits) };
  }

  /**
   * What a binary layer sees of an image: a map of +1 and -1.
   *
   * @param image As for `run`.
   * @param index Which of `bitMaps`.
   * @returns `[channels][height][width]`: 1 for +1, 0 for -1.
   */
  bits(image: RgbaImage | Uint8Array, index: number): Uint8Array {
    const map = this.bitMaps[index];
    if (!map) throw new RangeError(`there is no map of bits ${index}; there are ${this.bitMaps.length}`);
    return this.onImage(image, map.channels * map.height * map.width, (pixels, to) =>
      this.module.calls.evenbit_read_bits(this.network, pixels, index, to),
    );
  }

  /** Gives the network's memory back. It cannot be used afterwards. */
  free(): void {
    this.module.calls.evenbit_free(this.network);
    this.network = 0;
  }

  /** So many bytes that `run` writes at `to`, of the image in the network's size, which it finds at `pixels`. */
  private onImage(
    image: RgbaImage | Uint8Array,
    bytes: number,
    run: (pixels: number, to: number) => number,
  ): Uint8Array<ArrayBuffer> {
    if (!this.network) throw new Error("the network has been freed");
    const { channels, height, width } = this.size;
    const pixels = ArrayBuffer.isView(image) ? ofBytes(image) : prepare(image, channels, height, width);
    if (pixels.length !== channels * height * width) {
      throw new RangeError(
        `an image should have ${channels}x${height}x${width} bytes, which are ${channels * height * width}, ` +
          `but has ${pixels.length}`,
      );
    }
    return this.module.with(pixels, (from) => this.module.read(bytes, (to) => this.check(run(from, to))));
  }

  private check(status: number): void {
    if (status === OUT_OF_MEMORY) throw new RangeError("there is not enough memory for the network's maps");
    if (status !== 0) throw new Error(`the network cannot be run: status ${status}`);
  }

  private bitMapSize(index: number): Size {
    const sizes = this.module.read(12, (to) =>
      this.module.calls.evenbit_bit_map_size(this.network, index, to, to + 4, to + 8),
    );
    const [channels, height, width] = new Int32Array(sizes.buffer);
    return { channels, height, width };
  }

  private score(logits: Float32Array): ClassScore[] {
    const largest = Math.max(...logits);
    const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
    const total = powers.reduce((sum, power) => sum + power, 0);
    const classes = powers.map((power, index) => ({ name: this.classNames[index], index, probability: power / total }));
    return classes.sort((a, b) => b.probability - a.probability || a.index - b.index);
  }
}

/** Networks of one page share an instance of the module, which is compiled once. */
function instance(source: ModuleSource): Promise<Module> {
  const key = source instanceof URL ? source.href : source;
  const known = (typeof key === "string" ? instances : instancesOfBytes) as Map<typeof key, Promise<Module>>;
  let module = known.get(key);
  if (!module) {
    module = Module.instantiate(source);
    known.set(key, module);
    module.catch(() => known.delete(key)); // so that it can be tried again
  }
  return module;
}

function besideThis(): URL {
  return new URL("evenbit.wasm", import.meta.url);
}

async function toBytes(source: string | URL | BufferSource): Promise<Uint8Array> {
  if (typeof source === "string" || source instanceof URL) return fetchBytes(source);
  return ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);
}
