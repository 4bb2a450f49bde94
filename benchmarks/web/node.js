// node node.js FOLDER ROUNDS: measures what lies in the folder; prints JSON.

import fs from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as ort from "onnxruntime-web/wasm";
import { measure } from "./measure.js";

const [folder, rounds] = process.argv.slice(2);
const { Evenbit } = await import(pathToFileURL(join(folder, "site", "evenbit.js")).href);
const read = (name) => new Uint8Array(fs.readFileSync(join(folder, name)));
const files = {
  module: read("site/evenbit.wasm"),
  network: read("model.evb"),
  pixels: read("pixels"),
  float32: read("float32.onnx"),
  int8: read("int8.onnx"),
};
console.log(JSON.stringify(await measure({ Evenbit, ort, files, rounds: Number(rounds) })));
