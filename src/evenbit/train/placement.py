"""Where the training images are kept, and how they are fetched batch by batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from evenbit.data.dataset import Images, ImageSource
from evenbit.data.image_files import ImageFiles

READ_AHEAD = 2  # batches


def place(images: ImageSource, device: torch.device) -> Tensor | ImageFiles:
    """Puts the images on the device, unless they are in files or would fill more than half of a GPU's free memory.

    Batches are then selected on the device; otherwise each batch is copied to it.

    Args:
        images: uint8, `[N, C, H, W]`.
        device: The device that trains.
    """
    if isinstance(images, ImageFiles):
        return images
    if device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return torch.from_numpy(images)
    return torch.from_numpy(images).to(device)


def batches(images: Tensor | ImageFiles, order: Sequence[Tensor]) -> Iterator[Tensor]:
    """The images of each batch, on the device of its indices; files are read ahead of the batches in use.

    Args:
        images: The result of `place`.
        order: For each batch the indices of its images, `[N]`.

    Raises:
        DataError: If a file cannot be read.
    """
    if isinstance(images, Tensor):
        for index in order:
            yield images[index.to(images.device)].to(index.device)
        return
    with ThreadPoolExecutor(1) as reader:
        ahead: deque[tuple[Future[Images], torch.device]] = deque()
        for index in order:
            ahead.append((reader.submit(images.__getitem__, index.cpu().numpy()), index.device))
            if len(ahead) > READ_AHEAD:
                yield _received(*ahead.popleft())
        while ahead:
            yield _received(*ahead.popleft())


def _received(images: Future[Images], device: torch.device) -> Tensor:
    return torch.from_numpy(images.result()).to(device)
