// A Web Worker that classifies: the page stays free while a network loads and runs.
//
//     const worker = new Worker("worker.js", { type: "module" });
//     worker.onmessage = ({ data }) => console.log(data.error ?? data.classes);
//     worker.postMessage({ network: "model.evb", image: context.getImageData(0, 0, width, height) });

import { Evenbit } from "../dist/evenbit.js";

const networks = new Map();

self.onmessage = async ({ data: { network, image } }) => {
  try {
    if (!networks.has(network)) networks.set(network, Evenbit.load(new URL(network, self.location.href)));
    const { logits, classes } = (await networks.get(network)).run(image);
    self.postMessage({ logits, classes });
  } catch (error) {
    networks.delete(network);
    self.postMessage({ error: error.message });
  }
};
