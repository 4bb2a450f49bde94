// Brings an image to a size: bytes in and out are those of image.ts.
//
//     node prepare.mjs SITE IN OUT, where IN holds lines "WIDTH HEIGHT CHANNELS TO_HEIGHT TO_WIDTH RGBA-IN-HEX"

import fs from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [site, from, to] = process.argv.slice(2);
const { prepare } = await import(pathToFileURL(join(site, "image.js")).href);

const results = fs.readFileSync(from, "utf8").trim().split("\n").map((line) => {
  const [width, height, channels, toHeight, toWidth, hex] = line.split(" ");
  const image = { data: new Uint8Array(Buffer.from(hex, "hex")), width: Number(width), height: Number(height) };
  return Buffer.from(prepare(image, Number(channels), Number(toHeight), Number(toWidth))).toString("hex");
});
fs.writeFileSync(to, results.join("\n"));
