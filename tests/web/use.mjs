// Uses the package as its README does, and prints what it says as JSON.
//
//     node use.mjs SITE NETWORK PIXELS [RUNS]

import fs from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [site, path, pixels, runs] = process.argv.slice(2);
const { Evenbit } = await import(pathToFileURL(join(site, "evenbit.js")).href);

const say = async (what) => {
  try {
    return await what();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};

const network = await Evenbit.load(pathToFileURL(path).href);
const image = new Uint8Array(fs.readFileSync(pixels));
const { logits, classes } = network.run(image);
const memory = () => network.module.calls.memory.buffer.byteLength;
const before = memory();
for (let i = 0; i < Number(runs ?? 0); ++i) {
  network.run(image);
  if (i % 100 === 0) (await Evenbit.load(fs.readFileSync(path))).free();
}
console.log(
  JSON.stringify({
    size: network.size,
    classNames: network.classNames,
    logits: Buffer.from(logits.buffer).toString("hex"),
    classes,
    bitMaps: network.bitMaps,
    bits: network.bitMaps.map((_, i) => Buffer.from(network.bits(image, i)).toString("hex")),
    grown: memory() - before,
    errors: [
      await say(() => network.run(image.subarray(1))),
      await say(() => network.run({ data: new Uint8Array(3), width: 1, height: 1 })),
      await say(() => network.bits(image, -1)),
      await say(() => Evenbit.load(new Uint8Array([1, 2, 3]))),
      await say(() => Evenbit.load(pathToFileURL(path), { module: new Uint8Array(8) })),
      await say(() => Evenbit.load("http://127.0.0.1:1/network.evb")),
      await say(() => network.run(Float32Array.from(image, (level) => level / 255))),
      await say(() => network.run({ data: new Float32Array(4), width: 1, height: 1 })),
      await say(() => (network.free(), network.run(image))),
    ],
  }),
);
