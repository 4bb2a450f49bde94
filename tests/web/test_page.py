"""The page of `evenbit export --to web` in headless Chromium: a photo in, the reference's answer out."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from plans import everything
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from evenbit import plan_file, pretrained
from evenbit.cli import app
from evenbit.images import load_image
from evenbit.predict import softmax
from evenbit.runtime import reference

pytestmark = pytest.mark.web
WEB = Path(__file__).parents[2] / "web"
WINDOWS = [(390, 844), (1280, 900)]
SCHEMES = ["light", "dark"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    app(["export", str(pretrained.NETWORK), "--to", "web", "-o", str(folder)], result_action="return_value")
    return folder


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[ThreadingHTTPServer]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield running
    finally:
        running.shutdown()
        running.server_close()


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[ThreadingHTTPServer]:
    with serving(site) as running:
        yield running


@pytest.fixture
def show(browser: Any, open_page: Callable[..., None], server: ThreadingHTTPServer) -> Callable[..., Any]:
    """Opens the page in a window of some width and colour scheme, and waits for the network."""

    def opened(width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        open_page(f"http://127.0.0.1:{server.server_port}/", width, height, scheme)
        wait(browser, lambda: "tells" in text(browser, "about"))
        return browser

    return opened


def wait(browser: Any, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, 20).until(lambda _: condition())


def text(browser: Any, name: str) -> str:
    content: str = browser.find_element(By.ID, name).text
    return content


def give(browser: Any, path: Path) -> None:
    browser.find_element(By.ID, "file").send_keys(str(path))


def classes(browser: Any) -> dict[str, str]:
    lines = text(browser, "classes").split("\n")
    return dict(zip(lines[::2], lines[1::2], strict=True))


def expected_classes(image: np.ndarray[Any, Any]) -> dict[str, str]:
    plan = plan_file.load(pretrained.NETWORK)
    shares = softmax(reference.run(plan, image[None]))[0]
    best = np.argsort(-shares)[:5]
    return {plan.classes[i]: f"{100 * shares[i]:.1f} %" for i in best}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Colours that change slowly, and edges."""
    y, x = np.mgrid[:240, :320]
    levels = np.stack([x * 255 // 319, y * 255 // 239, (x // 40 + y // 40) % 2 * 200], -1).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_a_photo_gives_the_answer_of_the_reference(
    show: Callable[..., Any], photo: Path, width: int, height: int, scheme: str
) -> None:
    browser = show(width, height, scheme)
    give(browser, photo)
    wait(browser, lambda: "ms" in text(browser, "time"))
    assert classes(browser) == expected_classes(load_image(photo, 3, 32, 32))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    assert text(browser, "message") == ""


def test_the_question_for_the_camera_holds_nothing_up(show: Callable[..., Any], photo: Path) -> None:
    browser = show()
    browser.execute_script(
        "const canvas = document.createElement('canvas'), context = canvas.getContext('2d');"
        "setInterval(() => context.fillRect(0, 0, 9, 9), 50);"
        "navigator.mediaDevices.getUserMedia = () => new Promise(answer => {"
        "  window.stream = canvas.captureStream(5); window.allow = () => answer(window.stream); });"
    )
    ended = "return window.stream.getTracks()[0].readyState == 'ended'"
    view = browser.find_element(By.ID, "camera-view")
    browser.find_element(By.ID, "camera").click()
    give(browser, photo)
    wait(browser, lambda: "ms" in text(browser, "time"))
    browser.execute_script("window.allow()")  # too late: a photo was chosen
    wait(browser, lambda: browser.execute_script(ended))
    assert not view.is_displayed()
    browser.find_element(By.ID, "camera").click()
    browser.execute_script("window.allow()")
    wait(browser, view.is_displayed)
    browser.find_element(By.ID, "stop").click()
    assert browser.execute_script(ended)
    assert not view.is_displayed()
    assert text(browser, "message") == ""


def test_photos_are_turned_as_their_exif_data_say(show: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    image = Image.open(photo)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    browser = show()
    give(browser, tmp_path / "turned.png")
    wait(browser, lambda: "ms" in text(browser, "time"))
    assert classes(browser) == expected_classes(load_image(tmp_path / "turned.png", 3, 32, 32))


def test_jpeg_files_are_decoded_nearly_as_by_pillow(show: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    Image.open(photo).save(tmp_path / "photo.jpg", quality=85)
    browser = show()
    give(browser, tmp_path / "photo.jpg")
    wait(browser, lambda: "ms" in text(browser, "time"))
    script = "const c = document.getElementById('seen'); return [...c.getContext('2d').getImageData(0, 0, 32, 32).data]"
    seen = np.reshape(browser.execute_script(script), (32, 32, 4))[..., :3].transpose(2, 0, 1)
    assert np.abs(seen - load_image(tmp_path / "photo.jpg", 3, 32, 32).astype(int)).max() <= 1


def test_nothing_leaves_the_machine(show: Callable[..., Any], photo: Path, server: ThreadingHTTPServer) -> None:
    browser = show()
    give(browser, photo)
    wait(browser, lambda: "ms" in text(browser, "time"))
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [m["params"]["request"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert {request["method"] for request in requests} == {"GET"}
    local = (f"http://127.0.0.1:{server.server_port}/", "data:", "blob:")
    assert [request["url"] for request in requests if not request["url"].startswith(local)] == []
    script = "return fetch('https://example.org/').then(() => 'sent', error => String(error))"
    assert "TypeError" in browser.execute_script(script)


def test_layers_show_their_bits(show: Callable[..., Any], photo: Path) -> None:
    browser = show()
    give(browser, photo)
    wait(browser, lambda: "ms" in text(browser, "time"))
    plan = plan_file.load(pretrained.NETWORK)
    image = load_image(photo, 3, 32, 32)[None]
    values = reference.values(plan, image)
    name = [op.tail.bits.out for op in plan.ops if op.tail.bits is not None][3]
    shape = plan.shapes()[name]
    browser.execute_script(
        "const layer = document.getElementById('layer'); layer.value = 3; layer.dispatchEvent(new Event('input'))"
    )
    wait(browser, lambda: text(browser, "layer-name").startswith("4 of"))
    assert text(browser, "layer-name").endswith(f"{shape.channels} maps of {shape.width}×{shape.height}")
    labels = [c.get_attribute("aria-label") for c in browser.find_elements(By.CSS_SELECTOR, "#maps canvas")]
    words = np.unpackbits(np.ascontiguousarray(values[name]).view(np.uint8), axis=-1, bitorder="little")
    shares = words[0, ..., : shape.channels].mean((0, 1))
    percents = [int(label.split(": ")[1].split(" %")[0]) for label in labels]
    np.testing.assert_allclose(percents, 100 * shares[: len(percents)], atol=0.51)


def test_other_networks_and_hostile_files_can_be_dropped(show: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    browser = show()
    give(browser, photo)
    wait(browser, lambda: "ms" in text(browser, "time"))
    (tmp_path / "bad.evb").write_bytes(pretrained.NETWORK.read_bytes()[:-5])
    give(browser, tmp_path / "bad.evb")
    wait(browser, lambda: text(browser, "message"))
    assert text(browser, "message").startswith("bad.evb: the network cannot be loaded: is truncated")
    (tmp_path / "text.png").write_text("no image")
    give(browser, tmp_path / "text.png")
    wait(browser, lambda: "text.png" in text(browser, "message"))
    assert text(browser, "message") == "text.png: cannot be read as a photo by this browser"
    other = everything(1, 20)
    (tmp_path / "other.evb").write_bytes(plan_file.to_bytes(other))
    give(browser, tmp_path / "other.evb")
    wait(browser, lambda: text(browser, "about").startswith("other.evb"))
    assert text(browser, "message") == ""
    assert set(classes(browser)) <= set(other.classes)


def test_it_works_without_a_connection_once_loaded(show: Callable[..., Any], photo: Path) -> None:
    browser = show()
    wait(browser, lambda: browser.execute_script("return navigator.serviceWorker.ready.then(() => true)"))
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    try:
        browser.refresh()
        wait(browser, lambda: "tells" in text(browser, "about"))
        give(browser, photo)
        wait(browser, lambda: "ms" in text(browser, "time"))
        browser.get(f"{browser.current_url}index.html")
        wait(browser, lambda: "tells" in text(browser, "about"))
        give(browser, photo)
        wait(browser, lambda: "ms" in text(browser, "time"))
    finally:
        online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", online)
    assert classes(browser)


def test_the_example_runs_in_a_worker(browser: Any, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "dist")
    shutil.copytree(WEB / "examples", tmp_path / "examples")
    shutil.copy(pretrained.NETWORK, tmp_path / "examples" / "model.evb")
    (tmp_path / "index.html").write_text("<title>empty</title>")
    script = """
    const [network, done] = arguments;
    const worker = new Worker("examples/worker.js", { type: "module" });
    worker.onmessage = ({ data }) => done(data.error ?? data.classes.length);
    worker.postMessage({ network, image: new ImageData(40, 30) });
    """
    with serving(tmp_path) as running:
        browser.get(f"http://127.0.0.1:{running.server_port}/index.html")
        assert browser.execute_async_script(script, "model.evb") == 10
        assert browser.execute_async_script(script, "gone.evb").endswith("cannot be fetched: 404 File not found")


def test_what_can_be_operated_has_a_name(show: Callable[..., Any], photo: Path) -> None:
    browser = show()
    give(browser, photo)
    wait(browser, lambda: "ms" in text(browser, "time"))
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "slider", "image", "meter", "img"}
    nodes = [node for node in tree if not node["ignored"] and node["role"]["value"] in roles]
    assert len(nodes) > 10
    assert [node["role"]["value"] for node in nodes if not node.get("name", {}).get("value")] == []
