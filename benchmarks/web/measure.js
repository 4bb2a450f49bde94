// Times one image in evenbit and in ONNX Runtime Web, both on one thread, in turns; runs in Node.js and in browsers.

/** Medians and least of the milliseconds of a run of each contender, of so many rounds of at least 2 ms. */
export async function measure({ Evenbit, ort, files, rounds }) {
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const { module, network, pixels, float32, int8 } = files;
  const net = await Evenbit.load(network, { module });
  const { channels, height, width } = net.size;
  const input = new ort.Tensor("float32", Float32Array.from(pixels, (v) => v / 255), [1, channels, height, width]);
  const session = async (model) => {
    const made = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    const feeds = { [made.inputNames[0]]: input };
    return () => made.run(feeds);
  };
  const contenders = {
    evenbit: () => net.run(pixels),
    "onnxruntime-web float32": await session(float32),
    "onnxruntime-web int8": await session(int8),
  };
  const times = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = -2; round < rounds; ++round) {
    for (const [name, run] of Object.entries(contenders)) {
      const start = performance.now();
      let runs = 0;
      do {
        await run();
        ++runs;
      } while (performance.now() - start < 2);
      const each = (performance.now() - start) / runs;
      if (round >= 0) times[name].push(each); // the first rounds compile
    }
  }
  const sorted = (values) => [...values].sort((a, b) => a - b);
  return Object.entries(times).map(([name, values]) => ({
    name,
    median_ms: sorted(values)[values.length >> 1],
    least_ms: Math.min(...values),
  }));
}
