"""Imports every module of the installed package; prints as JSON which package each one lacks that cannot be."""

from __future__ import annotations

import importlib
import json
import pkgutil

import evenbit


def main() -> None:
    lacks = {}
    for module in pkgutil.walk_packages(evenbit.__path__, "evenbit.", onerror=lambda name: None):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            lacks[module.name] = error.name
    print(json.dumps(lacks))


if __name__ == "__main__":
    main()
