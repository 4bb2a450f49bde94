// Runs the cases of tests/capi/cases.py through the module; prints their number and that of the failures.
//
//     node check_cases.mjs SITE CASES

import fs from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [site, path] = process.argv.slice(2);
const { Module } = await import(pathToFileURL(join(site, "module.js")).href);
const module = await Module.instantiate(pathToFileURL(join(site, "evenbit.wasm")));
const { calls } = module;
const [REFUSED, LOADED, FLOATS] = [0, 1, 2];

const data = fs.readFileSync(path);
let at = 0;
const number = () => Number(data.readBigUInt64LE((at += 8) - 8));
const block = () => {
  const size = number();
  return data.subarray(at, (at += size));
};

function check(file, expected, images, logits) {
  const reason = module.allocate(256);
  const network = module.with(file, (address) => calls.evenbit_load(address, file.length, 1, 0, reason, 256));
  const text = module.text(reason);
  calls.free(reason);
  if (!network) return expected === REFUSED && text ? null : `is refused: ${text}`;
  try {
    if (expected === REFUSED) return "is taken";
    if (expected === LOADED) return null;
    const values = module.allocate(logits.length);
    const classes = calls.evenbit_classes(network);
    const run = expected === FLOATS ? calls.evenbit_run_float : calls.evenbit_run_uint8;
    const status = module.with(images, (address) => run(network, address, logits.length / 4 / classes, values));
    const same = Buffer.compare(module.bytes(values, logits.length), logits) === 0;
    calls.free(values);
    return status === 0 && same ? null : `status ${status}, ${same ? "the same" : "other"} logits`;
  } finally {
    calls.evenbit_free(network);
  }
}

const count = number();
let failures = 0;
for (let i = 0; i < count; ++i) {
  const name = block().subarray(0, -1).toString();
  const file = block();
  const problem = check(file, number(), block(), block());
  if (problem) console.error(`${name}: ${problem}`);
  if (problem) ++failures;
}
console.log(`${count} cases ${failures} failures`);
process.exitCode = failures ? 1 : 0;
