// The page's service worker: keeps its files, so that the page works without a network once it has been loaded.

const KEPT = "evenbit";
const FILES = ["./", "index.html", "page.css", "page.js", "evenbit.js", "image.js", "module.js", "evenbit.wasm", "model.evb"];

interface Lasting extends Event {
  waitUntil(done: Promise<unknown>): void;
}

interface Fetching extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

self.addEventListener("install", (event) => {
  (event as Lasting).waitUntil(caches.open(KEPT).then((cache) => cache.addAll(FILES)));
});

// What the host has now comes first, so that a new network is seen at once.
self.addEventListener("fetch", (event) => {
  const { request } = event as Fetching;
  if (request.method !== "GET" || new URL(request.url).origin !== self.location.origin) return;
  (event as Fetching).respondWith(fetchOrKept(request));
});

async function fetchOrKept(request: Request): Promise<Response> {
  const cache = await caches.open(KEPT);
  try {
    const response = await fetch(request);
    // A cache that is full keeps nothing new, but what was fetched is there.
    if (response.ok) await cache.put(request, response.clone()).catch(() => {});
    return response;
  } catch (error) {
    const kept = await cache.match(request);
    if (!kept) throw error;
    return kept;
  }
}
