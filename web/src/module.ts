// The WebAssembly module: the functions of csrc/capi/evenbit.h, and what is needed to call them.

/** The functions of the C API. Addresses are numbers, and size_t, int and enum are numbers too. */
interface Exports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  malloc(bytes: number): number;
  free(address: number): void;
  evenbit_load(data: number, size: number, threads: number, isa: number, error: number, errorSize: number): number;
  evenbit_free(network: number): void;
  evenbit_channels(network: number): number;
  evenbit_height(network: number): number;
  evenbit_width(network: number): number;
  evenbit_classes(network: number): number;
  evenbit_output_height(network: number): number;
  evenbit_output_width(network: number): number;
  evenbit_class_name(network: number, index: number): number;
  evenbit_run_uint8(network: number, images: number, count: number, logits: number): number;
  evenbit_run_float(network: number, images: number, count: number, logits: number): number;
  evenbit_bit_maps(network: number): number;
  evenbit_bit_map_size(network: number, index: number, channels: number, height: number, width: number): void;
  evenbit_read_bits(network: number, image: number, index: number, bits: number): number;
}

/** Where the module comes from: its address, its bytes, or itself compiled. */
export type ModuleSource = string | URL | BufferSource | WebAssembly.Module;

/** An instance of the module, whose memory networks share. */
export class Module {
  private constructor(readonly calls: Exports) {}

  static async instantiate(source: ModuleSource): Promise<Module> {
    const module = source instanceof WebAssembly.Module ? source : await compile(source);
    let exports: Exports | undefined;
    // What a C library asks of a system. There are no environment variables, and memory that has grown needs no notice.
    const noEnvironment = (count: number, bytes: number): number => {
      const view = new DataView(exports!.memory.buffer);
      view.setUint32(count, 0, true);
      view.setUint32(bytes, 0, true);
      return 0;
    };
    const instance = await WebAssembly.instantiate(module, {
      env: { emscripten_notify_memory_growth: () => {} },
      wasi_snapshot_preview1: {
        environ_sizes_get: noEnvironment,
        environ_get: () => 0,
        proc_exit: (code: number) => {
          throw new Error(`evenbit's module has ended with code ${code}`);
        },
      },
    });
    exports = instance.exports as unknown as Exports;
    exports._initialize();
    return new Module(exports);
  }

  /** Memory of so many bytes. Throws a RangeError if there is not enough. */
  allocate(bytes: number): number {
    const address = this.calls.malloc(Math.max(1, bytes));
    if (!address) throw new RangeError(`there is not enough memory for ${bytes} bytes`);
    return address;
  }

  /** A view of memory, which is valid until the module next runs. */
  bytes(address: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.calls.memory.buffer as ArrayBuffer, address, length);
  }

  /** Calls `use` with memory for a result of so many bytes, and returns what it has written there. */
  read(bytes: number, use: (address: number) => void): Uint8Array<ArrayBuffer> {
    const address = this.allocate(bytes);
    try {
      use(address);
      return this.bytes(address, bytes).slice();
    } finally {
      this.calls.free(address);
    }
  }

  /** Calls `use` with memory that holds `data`, and frees it afterwards. */
  with<T>(data: Uint8Array, use: (address: number) => T): T {
    const address = this.allocate(data.length);
    try {
      this.bytes(address, data.length).set(data);
      return use(address);
    } finally {
      this.calls.free(address);
    }
  }

  /** The text of UTF-8 that ends with a zero. */
  text(address: number): string {
    const memory = new Uint8Array(this.calls.memory.buffer);
    return new TextDecoder().decode(memory.slice(address, memory.indexOf(0, address)));
  }
}

async function compile(source: string | URL | BufferSource): Promise<WebAssembly.Module> {
  if (typeof source !== "string" && !(source instanceof URL)) return WebAssembly.compile(source);
  // The content type that compileStreaming insists on is not set by every static host.
  return WebAssembly.compile(await fetchBytes(source));
}

/** The bytes at an address; in Node.js, also of a file: address. */
export async function fetchBytes(address: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  if (`${address}`.startsWith("file:")) {
    const files = await import(/* @vite-ignore */ "node:fs/promises" as string);
    return new Uint8Array(await files.readFile(new URL(address)));
  }
  const response = await fetch(address).catch((error: unknown) => {
    throw new Error(`${address} cannot be fetched: ${error instanceof Error ? error.message : error}`);
  });
  if (!response.ok) throw new Error(`${address} cannot be fetched: ${response.status} ${response.statusText}`.trim());
  return new Uint8Array(await response.arrayBuffer());
}
