// The WebAssembly module: the functions of csrc/capi/evenbit.h, and what is needed to call them.
/** An instance of the module, whose memory networks share. */
export class Module {
    calls;
    constructor(calls) {
        this.calls = calls;
    }
    static async instantiate(source) {
        const module = source instanceof WebAssembly.Module ? source : await compile(source);
        let exports;
        // What a C library asks of a system. There are no environment variables, and memory that has grown needs no notice.
        const noEnvironment = (count, bytes) => {
            const view = new DataView(exports.memory.buffer);
            view.setUint32(count, 0, true);
            view.setUint32(bytes, 0, true);
            return 0;
        };
        const instance = await WebAssembly.instantiate(module, {
            env: { emscripten_notify_memory_growth: () => { } },
            wasi_snapshot_preview1: {
                environ_sizes_get: noEnvironment,
                environ_get: () => 0,
                proc_exit: (code) => {
                    throw new Error(`evenbit's module has ended with code ${code}`);
                },
            },
        });
        exports = instance.exports;
        exports._initialize();
        return new Module(exports);
    }
    /** Memory of so many bytes. Throws a RangeError if there is not enough. */
    allocate(bytes) {
        const address = this.calls.malloc(Math.max(1, bytes));
        if (!address)
            throw new RangeError(`there is not enough memory for ${bytes} bytes`);
        return address;
    }
    /** A view of memory, which is valid until the module next runs. */
    bytes(address, length) {
        return new Uint8Array(this.calls.memory.buffer, address, length);
    }
    /** Calls `use` with memory for a result of so many bytes, and returns what it has written there. */
    read(bytes, use) {
        const address = this.allocate(bytes);
        try {
            use(address);
            return this.bytes(address, bytes).slice();
        }
        finally {
            this.calls.free(address);
        }
    }
    /** Calls `use` with memory that holds `data`, and frees it afterwards. */
    with(data, use) {
        const address = this.allocate(data.length);
        try {
            this.bytes(address, data.length).set(data);
            return use(address);
        }
        finally {
            this.calls.free(address);
        }
    }
    /** The text of UTF-8 that ends with a zero. */
    text(address) {
        const memory = new Uint8Array(this.calls.memory.buffer);
        return new TextDecoder().decode(memory.slice(address, memory.indexOf(0, address)));
    }
}
async function compile(source) {
    if (typeof source !== "string" && !(source instanceof URL))
        return WebAssembly.compile(source);
    // The content type that compileStreaming insists on is not set by every static host.
    return WebAssembly.compile(await fetchBytes(source));
}
/** The bytes at an address; in Node.js, also of a file: address. */
export async function fetchBytes(address) {
    if (`${address}`.startsWith("file:")) {
        const files = await import(/* @vite-ignore */ "node:fs/promises");
        return new Uint8Array(await files.readFile(new URL(address)));
    }
    const response = await fetch(address).catch((error) => {
        throw new Error(`${address} cannot be fetched: ${error instanceof Error ? error.message : error}`);
    });
    if (!response.ok)
        throw new Error(`${address} cannot be fetched: ${response.status} ${response.statusText}`.trim());
    return new Uint8Array(await response.arrayBuffer());
}
