"""Long photos lose much when only their middle is seen, and training says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from evenbit.data.cropping import describe_cropping


@pytest.mark.parametrize(("long", "told"), [(0, ""), (1, "10 %"), (5, "50 %")])
def test_the_share_of_long_photos_is_told(tmp_path: Path, long: int, told: str) -> None:
    sizes = [(30, 45) if index % 2 else (45, 30) for index in range(long)] + [(30, 44)] * (10 - long)
    paths = [tmp_path / f"{index}.png" for index in range(10)]
    for path, size in zip(paths, sizes, strict=True):
        Image.new("RGB", size).save(path)
    assert describe_cropping(paths).startswith(told)
    assert bool(describe_cropping(paths)) == bool(told)


def test_what_cannot_be_opened_is_not_long(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no image")
    assert describe_cropping([tmp_path / "x.png"]) == ""
    assert describe_cropping([]) == ""
