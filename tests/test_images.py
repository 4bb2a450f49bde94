from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from evenbit.data import hold_out, load_dataset
from evenbit.errors import DataError, InputError
from evenbit.images import describe_passed_over, heic_is_readable, load_image
from evenbit.predict import predict_images

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mode_of(path: Path) -> str:
    with Image.open(path) as image:
        return image.mode


def colour(path: Path, channels: int = 3) -> list[int]:
    """The one colour of an image."""
    found = load_image(path, channels, 4, 4)
    assert (found == found[:, :1, :1]).all()
    return found[:, 0, 0].tolist()


def test_an_image_of_the_wanted_size_is_unchanged(tmp_path: Path):
    image = pixels(6, 9)
    Image.fromarray(image).save(tmp_path / "x.png")
    found = load_image(tmp_path / "x.png", 3, 6, 9)
    np.testing.assert_array_equal(found, image.transpose(2, 0, 1))
    assert found.dtype == np.uint8
    assert found.flags.writeable


def test_one_channel_is_luminance(tmp_path: Path):
    Image.new("RGB", (4, 4), (10, 200, 30)).save(tmp_path / "x.png")
    assert colour(tmp_path / "x.png", 1) == [(299 * 10 + 587 * 200 + 114 * 30 + 500) // 1000]


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_stays_grey(tmp_path: Path, channels: int):
    Image.new("L", (4, 4), 77).save(tmp_path / "x.png")
    assert colour(tmp_path / "x.png", channels) == [77] * channels


def test_black_and_white_is_0_and_255(tmp_path: Path):
    Image.new("1", (4, 4), 1).save(tmp_path / "x.png")
    assert colour(tmp_path / "x.png") == [255] * 3


def test_a_palette_is_looked_up(tmp_path: Path):
    Image.new("RGB", (4, 4), (10, 200, 30)).quantize(2).save(tmp_path / "x.png")
    assert mode_of(tmp_path / "x.png") == "P"
    assert colour(tmp_path / "x.png") == [10, 200, 30]


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int):
    image = pixels(6, 9)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(image).save(tmp_path / "x.png", exif=exif)
    upright = UPRIGHT[orientation](image)
    np.testing.assert_array_equal(load_image(tmp_path / "x.png", 3, *upright.shape[:2]), upright.transpose(2, 0, 1))


def test_exif_orientation_of_a_jpeg_is_applied(tmp_path: Path):
    image = np.zeros((16, 32), np.uint8)
    image[:, 16:] = 255  # its right half is white; turned clockwise, the lower half is
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(image).save(tmp_path / "x.jpg", exif=exif)
    found = load_image(tmp_path / "x.jpg", 1, 32, 16)[0]
    assert found[:14].max() < 20
    assert found[18:].min() > 235


@pytest.mark.parametrize(
    ("mode", "pixel", "wanted"),
    [
        ("RGBA", (255, 0, 0, 0), [255, 255, 255]),
        ("RGBA", (255, 0, 0, 255), [255, 0, 0]),
        ("RGBA", (0, 0, 0, 51), [204, 204, 204]),
        ("LA", (0, 51), [204, 204, 204]),
    ],
)
def test_transparency_shows_white(tmp_path: Path, mode: str, pixel: tuple[int, ...], wanted: list[int]):
    Image.new(mode, (4, 4), pixel).save(tmp_path / "x.png")
    assert colour(tmp_path / "x.png") == wanted


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_transparent_palette_entry_shows_white(tmp_path: Path, transparency: int | bytes):
    image = Image.new("P", (8, 4), 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(1, (4, 0, 8, 4))
    image.save(tmp_path / "x.png", transparency=transparency)
    found = load_image(tmp_path / "x.png", 3, 4, 8)
    assert found[:, 0, 0].tolist() == [255, 255, 255]
    assert found[:, 0, 7].tolist() == [0, 0, 200]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("level", "wanted"), [(0, 0), (255, 0), (256, 1), (32768, 128), (65535, 255)])
def test_16_bits_keep_their_high_byte(tmp_path: Path, suffix: str, level: int, wanted: int):
    Image.fromarray(np.full((4, 4), level, np.uint16)).save(tmp_path / f"x.{suffix}")
    assert colour(tmp_path / f"x.{suffix}") == [wanted] * 3


def test_levels_of_a_32_bit_image_outside_16_bits_are_clipped(tmp_path: Path):
    Image.fromarray(np.array([[-5, 300_000]], np.int32)).save(tmp_path / "x.tif")
    assert load_image(tmp_path / "x.tif", 1, 1, 2).reshape(-1).tolist() == [0, 255]


def test_16_bits_a_colour_keep_their_high_byte(tmp_path: Path):
    """Pillow cannot write such a file, so it is put together here: signature, IHDR, IDAT, IEND."""
    row = b"\0" + np.array([[0x0A80, 0xC8FF, 0x1E00]] * 4, ">u2").tobytes()
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row * 4)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert colour(tmp_path / "x.png") == [0x0A, 0xC8, 0x1E]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str):
    first, *others = (Image.new("RGB", (8, 8), name) for name in ("red", "lime", "blue"))
    first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=others)
    np.testing.assert_allclose(colour(tmp_path / f"x.{suffix}"), [255, 0, 0], atol=1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("content", [b"garbage!!", b"MM\0*\xff\xff\xff\xff"])
def test_damaged_exif_data_are_passed_over(tmp_path: Path, suffix: str, content: bytes):
    Image.new("RGB", (8, 8), "red").save(tmp_path / f"x.{suffix}", exif=b"Exif\0\0" + content)
    np.testing.assert_allclose(colour(tmp_path / f"x.{suffix}"), [255, 0, 0], atol=2)


@pytest.mark.parametrize(("ink", "wanted"), [((255, 0, 0, 0), [0, 255, 255]), ((0, 0, 0, 255), [0, 0, 0])])
def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path, ink: tuple[int, ...], wanted: list[int]):
    Image.new("CMYK", (16, 16), ink).save(tmp_path / "x.jpg", quality=95)
    assert mode_of(tmp_path / "x.jpg") == "CMYK"
    np.testing.assert_allclose(load_image(tmp_path / "x.jpg", 3, 4, 4)[:, 1, 1], wanted, atol=3)
    assert load_image(tmp_path / "x.jpg", 1, 4, 4).shape == (1, 4, 4)


def test_the_middle_of_a_long_side_is_kept(tmp_path: Path):
    image = np.zeros((20, 60), np.uint8)
    image[:, 20:40] = 255
    Image.fromarray(image).save(tmp_path / "wide.png")
    Image.fromarray(image.T).save(tmp_path / "tall.png")
    for name in ("wide", "tall"):
        assert load_image(tmp_path / f"{name}.png", 1, 20, 20).min() == 255


def test_shrinking_is_antialiased(tmp_path: Path):
    checkers = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(checkers.astype(np.uint8)).save(tmp_path / "x.png")
    found = load_image(tmp_path / "x.png", 1, 8, 8)
    assert found.min() > 120
    assert found.max() < 136


@pytest.mark.parametrize(("height", "width"), [(8, 16), (16, 8), (50, 40), (1, 1)])
def test_any_size_is_made(tmp_path: Path, height: int, width: int):
    Image.fromarray(pixels(13, 10)).save(tmp_path / "x.png")
    assert load_image(tmp_path / "x.png", 3, height, width).shape == (3, height, width)


@pytest.mark.parametrize("side", [11, 30])  # pillow only warns of the first
def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int):
    Image.new("L", (side, side)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match=rf"x\.png cannot be read as an image: Image size \({side * side} pixels\)"):
        load_image(tmp_path / "x.png", 3, 4, 4)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif"])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(pixels(40, 40)).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(InputError, match=rf"x\.{suffix} cannot be read as an image"):
        load_image(path, 3, 8, 8)


@pytest.mark.parametrize("content", [b"", b"some text", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.png cannot be read as an image"):
        load_image(tmp_path / "x.png", 3, 8, 8)


def test_floating_point_levels_are_refused(tmp_path: Path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(InputError, match=r"x\.tif cannot be read as an image: it holds floating-point pixel values"):
        load_image(tmp_path / "x.tif", 1, 4, 4)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.png does not exist"):
        load_image(tmp_path / "none.png", 3, 8, 8)
    with pytest.raises(InputError, match="cannot be read as an image"):
        load_image(tmp_path, 3, 8, 8)


def test_other_numbers_of_channels_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="1 or 3 channels, but the network takes 4"):
        load_image(tmp_path / "x.png", 4, 8, 8)


@pytest.mark.parametrize("kind", ["EPS", "ICO", "TGA"])
def test_formats_that_nobody_photographs_in_are_refused(tmp_path: Path, kind: str):
    """Pillow would start another program for the first of them."""
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png", kind)
    with pytest.raises(InputError, match=r"x\.png cannot be read as an image"):
        load_image(tmp_path / "x.png", 3, 4, 4)


@pytest.fixture
def heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in for pillow-heif: it makes a format of the right name known, which holds PNG after six letters."""

    def opened(file: BinaryIO, filename: str | bytes) -> Image.Image:
        file.seek(6)
        return PngImageFile(BytesIO(file.read()))

    def register() -> None:
        Image.register_open("HEIF", opened, lambda prefix: prefix.startswith(b"ftheic"))  # type: ignore[arg-type]

    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=register))
    heic_is_readable.cache_clear()
    yield
    heic_is_readable.cache_clear()
    Image.OPEN.pop("HEIF", None)
    Image.ID.remove("HEIF")


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if pillow-heif were not installed, whether or not it is."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic_is_readable.cache_clear()
    yield
    heic_is_readable.cache_clear()


def save_heic(path: Path, level: int = 7) -> None:
    file = BytesIO()
    Image.new("RGB", (9, 7), (level,) * 3).save(file, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"ftheic" + file.getvalue())


def two_classes(folder: Path) -> None:
    """Two PNG and two HEIC files of each of two classes, and a text."""
    for index, name in enumerate("ab"):
        for level in (1, 2):
            save_heic(folder / name / f"{level}.HEIC", 10 * index + level)
            Image.new("RGB", (9, 7), (100 + 10 * index + level,) * 3).save(folder / name / f"{level}.png")
    (folder / "b" / "notes.txt").write_text("no photo")
    (folder / "b" / ".hidden.heic").write_text("no photo")


@pytest.mark.usefixtures("heif")
def test_heic_is_read_where_its_package_is_installed(tmp_path: Path) -> None:
    two_classes(tmp_path)
    assert load_image(tmp_path / "a" / "1.HEIC", 1, 7, 9).max() == 1
    data = load_dataset(str(tmp_path), size=8)
    assert len(data.train) + len(data.test) == 8
    assert describe_passed_over(data.passed_over) == (
        "1 file is skipped: 1 .txt; save images of other kinds as JPEG or PNG"
    )
    told: list[str] = []
    assert len(predict_images(None, [tmp_path], tell=told.append)) == 8
    assert told == [f"{tmp_path}: 1 file is skipped: 1 .txt; save images of other kinds as JPEG or PNG"]


@pytest.mark.usefixtures("no_heif")
def test_heic_is_counted_where_its_package_is_missing(tmp_path: Path) -> None:
    two_classes(tmp_path)
    data = load_dataset(str(tmp_path), size=8)
    assert len(data.train) + len(data.test) == 4
    others = (
        "5 files are skipped: 4 .heic, 1 .txt; to read HEIC: pip install 'evenbit[heic]'; "
        "save images of other kinds as JPEG or PNG"
    )
    assert describe_passed_over(data.passed_over) == others
    told: list[str] = []
    assert len(predict_images(None, [tmp_path], tell=told.append)) == 4
    assert told == [f"{tmp_path}: {others}"]
    with pytest.raises(InputError, match=r"1\.HEIC cannot be read as an image: to read HEIC: pip install"):
        load_image(tmp_path / "a" / "1.HEIC", 3, 8, 8)


@pytest.mark.usefixtures("no_heif")
def test_a_folder_of_nothing_but_heic_says_why_it_is_empty(tmp_path: Path) -> None:
    for name in "ab":
        save_heic(tmp_path / name / "1.heic")
    why = r"1 file is skipped: 1 \.heic; to read HEIC: pip install 'evenbit\[heic\]'"
    with pytest.raises(DataError, match=rf"class folder .*a holds 0 images; it needs at least 2; {why}$"):
        load_dataset(str(tmp_path))
    with pytest.raises(InputError, match=f"a holds no images; {why}$"):
        predict_images(None, [tmp_path / "a"])


def test_held_out_images_keep_what_was_passed_over(tmp_path: Path) -> None:
    for name in "ab":
        for level in range(6):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("L", (8, 8), level).save(tmp_path / name / f"{level}.png")
    (tmp_path / "a" / "README").touch()
    data = load_dataset(str(tmp_path), size=8)
    assert hold_out(data, 0.3).passed_over == data.passed_over == (tmp_path / "a" / "README",)
    assert "1 without suffix" in describe_passed_over(data.passed_over)
    assert describe_passed_over([]) == ""
