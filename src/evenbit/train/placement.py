"""Where the training images lie."""

from __future__ import annotations

import torch
from torch import Tensor


def place(images: Tensor, device: torch.device) -> Tensor:
    """The images on the device, or where they are if they would take more than half of a GPU's free memory.

    On the device a batch is only picked; otherwise it is copied there at every step.

    Args:
        images: uint8, `[N, C, H, W]`, in the machine's own memory.
        device: That trains.
    """
    if device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)
