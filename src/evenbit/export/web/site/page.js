// The page: a photo in, the likeliest classes out, and what the binary layers see of it.
import { Evenbit, prepare } from "./evenbit.js";
const NETWORK = "model.evb";
const SHOWN_CLASSES = 5;
const SHOWN_MAPS = 64;
const TIMED_RUNS = 9;
const MOST_PIXELS = 64e6; // of a photo, beyond which a page may run out of memory
const MOST_SIDE = 32_767; // of a photo, beyond which browsers leave a canvas blank without an error
const MOST_FILE = 1e9; // bytes of a network
const find = (id) => document.getElementById(id);
const drop = find("drop");
const message = find("message");
const layer = find("layer");
const video = find("video");
let network;
let image; // that is shown
let seen; // of it, in the network's size
let work = Promise.resolve(); // what was asked for, one thing after the other
let cameras = 0; // how often the camera was asked for, or no longer wanted
/** Does something that may fail, after what was asked for before; the message says why it failed. */
function attempt(what) {
    work = work.then(async () => {
        message.textContent = "";
        try {
            await what();
        }
        catch (error) {
            message.textContent = error instanceof Error ? error.message : String(error);
        }
    });
    return work;
}
async function useNetwork(source, name) {
    const loaded = await Evenbit.load(source).catch((error) => {
        throw new Error(`${name}: ${error.message}`);
    });
    if (loaded.size.channels !== 1 && loaded.size.channels !== 3) {
        loaded.free();
        throw new Error(`${name}: the network takes images of ${loaded.size.channels} channels, which photos do not have`);
    }
    network?.free();
    network = loaded;
    const names = loaded.classNames.slice(0, 20).join(", ") + (loaded.classNames.length > 20 ? ", …" : "");
    find("about").textContent = `${name} tells ${loaded.classNames.length} classes apart: ${names}.`;
    layer.max = String(loaded.bitMaps.length - 1);
    layer.value = "0";
    if (image)
        show(image);
}
async function useFile(file) {
    stopCamera(); // whose next picture would take the file's place
    if (/\.evb$/i.test(file.name)) {
        if (file.size > MOST_FILE)
            throw new Error(`${file.name}: is too large for this page`);
        await useNetwork(new Uint8Array(await file.arrayBuffer()), file.name);
        return;
    }
    show(await decode(file, file.name));
}
/** Pixels of a photo, turned as its EXIF data say, in the numbers of the file. */
async function decode(photo, name) {
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    const bitmap = await createImageBitmap(photo, options).catch(() => {
        throw new Error(`${name}: cannot be read as a photo by this browser`);
    });
    try {
        if (bitmap.width * bitmap.height > MOST_PIXELS || Math.max(bitmap.width, bitmap.height) > MOST_SIDE) {
            throw new Error(`${name}: has ${bitmap.width}x${bitmap.height} pixels, which is too large for this page`);
        }
        return pixels(bitmap, bitmap.width, bitmap.height);
    }
    finally {
        bitmap.close();
    }
}
function pixels(source, width, height) {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(source, 0, 0);
    return context.getImageData(0, 0, width, height);
}
function show(photo) {
    if (!network)
        throw new Error("there is no network yet");
    image = photo;
    const prepared = prepare(photo, network.size.channels, network.size.height, network.size.width);
    seen = prepared;
    const { classes } = network.run(prepared);
    find("answer").hidden = false;
    drawSeen(prepared, network.size);
    find("classes").replaceChildren(...classes.slice(0, SHOWN_CLASSES).map(({ name, probability }) => {
        const percent = `${(100 * probability).toFixed(1)} %`;
        const item = document.createElement("li");
        const line = document.createElement("span");
        line.append(element("b", name), element("span", percent));
        const bar = document.createElement("meter");
        bar.value = probability;
        bar.setAttribute("aria-label", `${name}: ${percent}`);
        item.append(line, bar);
        return item;
    }));
    find("time").textContent = `${time(network, prepared).toFixed(2)} ms for one image on one thread`;
    drawLayer();
}
/** Milliseconds of a run, the median of a few. */
function time(timed, prepared) {
    const times = Array.from({ length: TIMED_RUNS }, () => {
        // Browsers round their clock, so enough runs for it are timed together.
        const start = performance.now();
        let runs = 0;
        do {
            timed.run(prepared);
            ++runs;
        } while (performance.now() - start < 5);
        return (performance.now() - start) / runs;
    });
    return times.sort((a, b) => a - b)[TIMED_RUNS >> 1];
}
function drawSeen(prepared, { channels, height, width }) {
    const plane = height * width;
    const canvas = find("seen");
    draw(canvas, height, width, (i) => [0, 1, 2].map((c) => prepared[(channels === 3 ? c * plane : 0) + i]));
    canvas.setAttribute("aria-label", `The middle of the photo in ${width}x${height} pixels`);
    find("seen-size").textContent = `What it sees: the middle, ${width}×${height}`;
}
function drawLayer() {
    const map = network?.bitMaps[layer.valueAsNumber];
    find("inside").hidden = !map;
    if (!network || !seen || !map)
        return;
    const { channels, height, width } = map;
    const name = `${layer.valueAsNumber + 1} of ${network.bitMaps.length}: ${channels} maps of ${width}×${height}`;
    find("layer-name").textContent = name;
    layer.setAttribute("aria-valuetext", name);
    const bits = network.bits(seen, layer.valueAsNumber);
    const plane = height * width;
    const shown = Math.min(channels, SHOWN_MAPS);
    const maps = Array.from({ length: shown }, (_, channel) => {
        const of = bits.subarray(channel * plane, (channel + 1) * plane);
        const share = of.reduce((sum, bit) => sum + bit, 0) / plane;
        const canvas = document.createElement("canvas");
        draw(canvas, height, width, (i) => (of[i] ? [240, 236, 220] : [38, 44, 60]));
        const text = `Map ${channel + 1}: ${(100 * share).toFixed(0)} % +1`;
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", text);
        const bar = document.createElement("progress");
        bar.value = share;
        bar.setAttribute("aria-hidden", "true");
        const cell = document.createElement("div");
        cell.title = text;
        cell.append(canvas, bar);
        return cell;
    });
    const rest = channels > shown ? [element("p", `The first ${shown} of ${channels} maps are shown.`)] : [];
    find("maps").replaceChildren(...maps, ...rest);
}
/** Draws pixels of red, green and blue. */
function draw(canvas, height, width, colour) {
    canvas.width = width;
    canvas.height = height;
    const data = new ImageData(width, height);
    for (let i = 0; i < height * width; ++i)
        data.data.set([...colour(i), 255], 4 * i);
    canvas.getContext("2d").putImageData(data, 0, 0);
}
function element(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
}
/** Waits for the user's permission, which may never come; meanwhile, everything else goes on. */
async function askForCamera() {
    const asked = ++cameras;
    const stream = await navigator.mediaDevices
        .getUserMedia({ video: { facingMode: "environment" } })
        .catch(() => undefined);
    if (asked !== cameras)
        stopTracks(stream);
    else
        await attempt(() => startCamera(stream));
}
async function startCamera(stream) {
    if (!stream)
        throw new Error("the camera cannot be used: this browser or its user has not allowed it");
    stopCamera(); // the stream before, if the button was pressed twice
    video.srcObject = stream;
    await video.play();
    find("camera-view").hidden = false;
    const look = () => {
        if (video.srcObject !== stream)
            return;
        if (video.videoWidth)
            void attempt(() => show(pixels(video, video.videoWidth, video.videoHeight)));
        setTimeout(look, 500);
    };
    look();
}
function stopTracks(stream) {
    for (const track of stream?.getTracks() ?? [])
        track.stop();
}
function stopCamera() {
    ++cameras;
    stopTracks(video.srcObject);
    video.srcObject = null;
    find("camera-view").hidden = true;
}
function takeFiles(files) {
    const file = files?.[0];
    if (file)
        void attempt(() => useFile(file));
}
find("file").addEventListener("change", (event) => {
    const input = event.target;
    takeFiles(input.files);
    input.value = ""; // so that the same file can be chosen again
});
document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
});
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    takeFiles(event.dataTransfer?.files);
});
layer.addEventListener("input", () => void attempt(drawLayer));
find("camera").hidden = !("mediaDevices" in navigator);
find("camera").addEventListener("click", () => void askForCamera());
find("stop").addEventListener("click", stopCamera);
void attempt(() => useNetwork(NETWORK, NETWORK));
if ("serviceWorker" in navigator)
    void navigator.serviceWorker.register("offline.js").catch(() => { });
