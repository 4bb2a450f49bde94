"""Changing JSON values, and safetensors files of which JSON is a part."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import safetensors

ChangeBytes = Callable[[bytes], bytes]
NUMBERS = (-(2**63), -1, 0, 1, 2, 3, 7, 16, 64, 2**15, 2**15 + 1, 2**24, 2**28, 2**31, 2**32, 2**63, 2**64, 10**30)
OTHERS = (None, True, "", "images", [], {}, [1, 1], ["images"], 0.5, -1.0, 1e300, 2.0**-149, float("inf"), float("nan"))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value, with each of its keys."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def change(value: Any, rng: random.Random, change_bytes: ChangeBytes) -> None:
    """Changes one thing inside a JSON value, in place."""
    found = list(places(value))
    if not found:
        return
    container, key = rng.choice(found)
    other_container, other_key = rng.choice(found)
    other = copy.deepcopy(other_container[other_key])
    old = container[key]
    kind = rng.randrange(7)
    if kind == 0:
        container[key] = other
    elif kind == 1:
        container[key] = rng.choice(NUMBERS)
    elif kind == 2:
        container[key] = copy.deepcopy(rng.choice(OTHERS))
    elif kind == 3:
        del container[key]
    elif kind == 4 and isinstance(container, list):
        container.insert(key, other)
    elif kind == 4:
        container[other_key] = other  # a field that another object has
    elif isinstance(old, str):
        container[key] = change_bytes(old.encode(errors="replace")).decode(errors="replace")
    elif type(old) in (int, float):
        container[key] = rng.choice((old + 1, old - 1, 2 * old, -old))
    else:
        container[key] = other


@dataclass
class SafetensorsFile:
    """The parts of a safetensors file.

    Attributes:
        header: Entries of the tensors by name.
        metadata: Texts by name.
        body: The tensors' bytes.
    """

    header: dict[str, Any]
    metadata: dict[str, Any]
    body: bytes

    @classmethod
    def parse(cls, data: bytes) -> SafetensorsFile | None:
        """The parts; None if the bytes are no such file."""
        length = int.from_bytes(data[:8], "little")
        try:
            header = json.loads(data[8 : 8 + length])
            metadata = header.pop("__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return cls(header, metadata, data[8 + length :]) if isinstance(metadata, dict) else None

    def to_bytes(self) -> bytes:
        """The file of these parts."""
        text = json.dumps({"__metadata__": self.metadata, **self.header}).encode()
        return len(text).to_bytes(8, "little") + text + self.body


def mutate_file(
    data: bytes, rng: random.Random, change_bytes: ChangeBytes, change_part: Callable[[SafetensorsFile, int], None]
) -> bytes:
    """Takes a safetensors file apart and puts it together again, changed.

    Args:
        data: The file; changed as bytes if it is no such file, and now and then else.
        rng: What decides.
        change_bytes: The fuzzer's own mutation.
        change_part: Gets the parts and a number from 1 to 7; changes a part, and the digest with it.
    """
    file = SafetensorsFile.parse(data)
    kind = rng.randrange(8)
    if file is None or kind == 0:
        return change_bytes(data)
    # What has been changed may not be one of ours any more, of which no digest can be taken.
    with contextlib.suppress(ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError):
        change_part(file, kind)
    return file.to_bytes()
