"""Reading a photo into the form that a network takes."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from evenbit.errors import InputError


def load_image(path: str | os.PathLike[str], channels: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """An image file as pixels of the wanted size.

    It is turned as its EXIF data say, laid over white where it is transparent, brought to 8 bits and to grey or
    RGB, scaled (antialiased) so that it just covers the size, and cut to its middle.

    Args:
        path: The file, in any format that pillow reads.
        channels: 1 for grey, 3 for RGB.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        `[channels, height, width]`, uint8.

    Raises:
        InputError: If the file cannot be read as an image, or is so large that it may be an attack
            (pillow's `MAX_IMAGE_PIXELS`), or `channels` is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise InputError(f"images have 1 or 3 channels, but the network takes {channels}")
    try:
        with Image.open(path) as file:
            if file.width * file.height > (Image.MAX_IMAGE_PIXELS or 0):
                raise InputError(f"{path} has {file.width} x {file.height} pixels, which is too large")
            image = _to_mode(ImageOps.exif_transpose(file), "L" if channels == 1 else "RGB")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from None
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Grey or RGB; a 16-bit image by its high byte, a transparent one over white."""
    if image.mode.startswith("I") or image.mode == "F":
        levels = np.asarray(image, np.float64)
        image = Image.fromarray(
            np.clip(levels / 256 if levels.max(initial=0) > 255 else levels, 0, 255).astype(np.uint8)
        )
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image.convert(mode)
