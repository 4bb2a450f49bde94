"""Times networks in Node.js and in Chromium beside ONNX Runtime Web, on one thread.

    (cd benchmarks/web && npm ci)
    python benchmarks/web.py resnet18 resnet20 > results/web.json

Each network runs in evenbit's WebAssembly module, and its float twin, in float32 and quantized to int8, in ONNX Runtime
Web with its WebAssembly SIMD backend: one image, in turns. Chromium gets the headers of a page that is isolated from
others, which makes its clock fine.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import subprocess
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from evenbit import plan_file
from evenbit.bench.peers import float_twin, int8_twin
from evenbit.export.web import SITE
from origin import origin

HERE = Path(__file__).parent / "web"


class Isolated(SimpleHTTPRequestHandler):
    """Serves a folder as pages that may use a fine clock."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def prepare(model: str, folder: Path) -> None:
    """What is measured: the network with int8 where layers stay real, its twins, an image, and the programs."""
    network = folder / "model.evb"
    pack = ["evenbit", "pack", "--untrained", model, "--float-layers", "int8", "-o", str(network)]
    subprocess.run(pack, check=True, capture_output=True)
    plan = plan_file.load(network)
    pixels = np.random.default_rng(0).integers(0, 256, (1, plan.channels, plan.height, plan.width), dtype=np.uint8)
    images = pixels.astype(np.float32) / 255
    (folder / "pixels").write_bytes(pixels.tobytes())
    (folder / "float32.onnx").write_bytes(float_twin(plan, images))
    (folder / "int8.onnx").write_bytes(int8_twin(plan, images))
    shutil.copytree(SITE, folder / "site")
    (folder / "ort").symlink_to((HERE / "node_modules" / "onnxruntime-web" / "dist").resolve())
    for name in ("index.html", "measure.js"):
        shutil.copy(HERE / name, folder / name)


def in_node(folder: Path, rounds: int) -> list[dict[str, Any]]:
    command = ["node", str(HERE / "node.js"), str(folder), str(rounds)]
    rows: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return rows


def in_chromium(folder: Path, rounds: int) -> list[dict[str, Any]]:
    from selenium import webdriver

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Isolated, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_script_timeout(600)
        driver.get(f"http://127.0.0.1:{server.server_port}/")
        rows: list[dict[str, Any]] = driver.execute_async_script(
            """
            const [rounds, done] = arguments;
            const start = () => (window.measured ? window.measured(rounds).then(done) : setTimeout(start, 20));
            start();
            """,
            rounds,
        )
        return rows
    finally:
        driver.quit()
        server.shutdown()
        server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    networks = []
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(model, folder)
            places = {"node": in_node(folder, arguments.rounds), "chromium": in_chromium(folder, arguments.rounds)}
            sizes = {kind: (folder / kind).stat().st_size for kind in ("model.evb", "float32.onnx", "int8.onnx")}
            networks.append({"model": model, "bytes": sizes, **places})
    print(json.dumps({**origin(), **versions(), "web": networks}, indent=1))


def versions() -> dict[str, str]:
    """Of what runs the networks."""

    def said(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    runtime = json.loads((HERE / "node_modules" / "onnxruntime-web" / "package.json").read_text())
    return {
        "node": said("node", "--version"),
        "chromium": said("chromium", "--version").split(" built")[0].removeprefix("Chromium "),
        "onnxruntime_web": runtime["version"],
    }


if __name__ == "__main__":
    main()
