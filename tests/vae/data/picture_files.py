"""Folders of small picture files for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, *names: str, mode: str = "RGB", size: int = 8) -> None:
    """Write a picture under each name. The content depends on the name only, and is different for each."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(list(name.encode()))
        pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path, "PNG")


def numbered(pattern: str, count: int) -> list[str]:
    """``count`` names with a number in place of ``#``."""
    return [pattern.replace("#", f"{number:03d}") for number in range(count)]
