from __future__ import annotations

import pytest
import torch

from evenbit.train.placement import place


def test_images_that_a_gpu_has_no_room_for_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (63, 1000))
    assert place(images, torch.device("cuda")) is images
    assert place(images, torch.device("meta")).device.type == "meta"
