"""Reading a photo into the form that a network takes."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from evenbit.errors import InputError

# Suffixes of the files in a folder that count as images.
SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".ppm",
    ".pgm",
)
# Pillow knows more formats, but some start other programs, and many were never meant for untrusted files.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# The format of many phones. Pillow reads it with the package pillow-heif, which the extra `heic` installs.
HEIC_SUFFIXES = (".heic", ".heif")
HEIC_FORMAT = "HEIF"
HEIC_ADVICE = "to read HEIC: pip install 'evenbit[heic]'"
LOOKED_AT = 200  # images, at most, that are opened to find their size


def is_image(path: Path) -> bool:
    """Whether a file in a folder counts as an image, by its name: one of `SUFFIXES`, or HEIC if it can be read."""
    suffix = path.suffix.lower()
    return (suffix in SUFFIXES or (suffix in HEIC_SUFFIXES and heic_is_readable())) and not path.name.startswith(".")


@functools.cache
def heic_is_readable() -> bool:
    """Whether pillow-heif is installed; if so, registers it with pillow."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def describe_passed_over(paths: Sequence[Path]) -> str:
    """How many files are not images, by suffix, and what to do, in one line; empty if there are none."""
    if not paths:
        return ""
    counts = Counter(path.suffix.lower() or "without suffix" for path in paths)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())
    advice = [HEIC_ADVICE] * any(suffix in counts for suffix in HEIC_SUFFIXES)
    advice += ["save images of other kinds as JPEG or PNG"] * any(suffix not in HEIC_SUFFIXES for suffix in counts)
    return f"{len(paths)} {'file is' if len(paths) == 1 else 'files are'} skipped: {kinds}; {'; '.join(advice)}"


def load_image(
    path: str | os.PathLike[str] | Image.Image, channels: int, height: int, width: int
) -> npt.NDArray[np.uint8]:
    """An image file, or an image of pillow, as pixels of the wanted size.

    It is rotated as its EXIF data say, laid over white where it is transparent, converted to grey or RGB with 8 bits,
    scaled (antialiased) so that it just covers the size, and cropped to its middle. Of an animation, the first frame is
    used.

    Args:
        path: The file, in one of `FORMATS`, or HEIC if pillow-heif is installed; or an image that pillow has opened or
            made.
        channels: 1 for grey, 3 for RGB.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        `[channels, height, width]`, uint8.

    Raises:
        InputError: If the file cannot be read as an image, holds floating-point levels, or is so large that it may
            be an attack (pillow's `MAX_IMAGE_PIXELS`), or `channels` is neither 1 nor 3.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damage that pillow tolerates
        return decode_image(path, channels, height, width)


def decode_image(
    path: str | os.PathLike[str] | Image.Image, channels: int, height: int, width: int
) -> npt.NDArray[np.uint8]:
    """Like `load_image`, but for threads: warnings are not filtered here, since a filter would hold for all threads."""
    if channels not in (1, 3):
        raise InputError(f"images have 1 or 3 channels, but the network takes {channels}")
    opened = contextlib.nullcontext(path) if isinstance(path, Image.Image) else open_image(path)
    with opened as file, _named("the image" if isinstance(path, Image.Image) else path):
        file.load()
        image = _to_mode(_upright(file), "L" if channels == 1 else "RGB")
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.array(fitted, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Opens an image and reads only its beginning; for errors see `load_image`."""
    with _named(path):
        formats: tuple[str, ...] = FORMATS
        if Path(path).suffix.lower() in HEIC_SUFFIXES:
            if not heic_is_readable():
                raise ValueError(HEIC_ADVICE)
            formats = (*FORMATS, HEIC_FORMAT)
        image = Image.open(path, formats=formats)
        try:
            _refuse_bomb(image.width * image.height)
        except BaseException:
            image.close()
            raise
        return image


def some_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Width and height of some of the images, evenly spaced; those that cannot be read are left out."""
    sizes = []
    for path in paths[:: max(1, -(-len(paths) // LOOKED_AT))]:
        with contextlib.suppress(InputError), open_image(path) as image:
            sizes.append(image.size)
    return sizes


@contextlib.contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns every error into an InputError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except Exception as error:  # whatever pillow's many parsers stumble over in a damaged file
        reason = "there is not enough memory" if isinstance(error, MemoryError) else " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as an image: {reason}") from None


def _refuse_bomb(pixels: int) -> None:
    """Raises where pillow itself only warns; pillow raises this error at twice the size."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise Image.DecompressionBombError(f"Image size ({pixels} pixels) exceeds limit of {limit} pixels")


def _upright(image: Image.Image) -> Image.Image:
    """The image rotated as its EXIF data say, or unchanged if these are damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever the parser stumbles over
        return image


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Grey or RGB; a 16-bit image by its high byte, a transparent one over white."""
    if image.mode == "F":
        raise ValueError("it holds floating-point pixel values, and which of them are black and white is unknown")
    if image.mode.startswith("I"):
        image = Image.fromarray(np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image.convert(mode)
