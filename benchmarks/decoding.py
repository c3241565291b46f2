"""``decoding``: images per second that a folder is read with, against bare Pillow on as many processes.

Bare Pillow opens a file, converts it to RGB, resizes it and makes an array of it. Its processes start before the clock.
The project also applies the orientation, the background and the fit, hashes the file and writes the pixels to a file.
Large JPEG files are decoded at a fraction of their size.
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from benchmarks.measurement import Settings, Spread, ratio, spreads
from benchmarks.processes import ROOT
from benchmarks.table import Row, Section, at_least
from vae.base.params import load_params
from vae.data import folder
from vae.data.decoding import RESAMPLING, Framing
from vae.data.listing import by_folders, image_names
from vae.data.preparation import Preparation
from vae.data.temporary_images import TemporaryImages
from vae.data.workers import available_cores

ROUNDS = 5
SIDE = 64
CHUNK = 16
LEAST_RATIO = 0.8

# Name, suffix, height, width, and number of files.
KINDS = (("JPEG of 500×375", ".jpg", 375, 500, 800), ("PNG of 64×64", ".png", 64, 64, 16_000))


def run(settings: Settings) -> Section:
    """Read each kind of files in turn by both ways."""
    params = load_params(ROOT / "params.yaml").prepare.model_copy(update={"dataset": "folder"})
    framing = Preparation.of(params).framing(SIDE, SIDE)
    workers = available_cores()
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="vae-bench-") as temporary,
        ProcessPoolExecutor(workers, get_context("spawn")) as pool,
    ):
        for kind, suffix, height, width, count in KINDS:
            images = Path(temporary, suffix)
            write(images, suffix, height, width, count // 8 if settings.quick else count)
            works: dict[str, Callable[[], float]] = {
                f"{kind}, this project": lambda images=images: read(images, framing),  # type: ignore[misc]
                f"{kind}, bare Pillow": lambda images=images: read_bare(images, pool),  # type: ignore[misc]
            }
            spreads(works, 1, "warm-up")
            measured = spreads(works, settings.rounds(ROUNDS), "decoding")
            ours, bare = measured.values()
            rows += rows_of(measured, ratio(ours, bare))
    return Section("decoding", f"images to 3×{SIDE}×{SIDE}, on {workers} processes", rows)


def rows_of(measured: dict[str, Spread], found: Spread) -> list[Row]:
    """Rows with the images per second of both ways, and their ratio in the first."""
    (ours, ours_spread), (bare, bare_spread) = measured.items()
    return [
        Row(ours, ours_spread, "images/s", found, at_least(found.median, LEAST_RATIO)),
        Row(bare, bare_spread, "images/s"),
    ]


def write(images: Path, suffix: str, height: int, width: int, count: int) -> None:
    """Write pictures of soft colours with some noise, which compress about as well as photographs."""
    images.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        colours = random.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (smooth + random.integers(-4, 5, (height, width, 1))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(images / f"{number:05d}{suffix}")


def read(images: Path, framing: Framing) -> float:
    """The images per second of the project."""
    start = perf_counter()
    files = by_folders(image_names(images)).files
    with TemporaryImages(images.parent, (len(files), 3, SIDE, SIDE)) as pixels:
        folder.read_images(images, files, framing, pixels)
    return len(files) / (perf_counter() - start)


def read_bare(images: Path, pool: Executor) -> float:
    """The images per second of Pillow in processes."""
    start = perf_counter()
    paths = sorted(images.iterdir())
    chunks = [paths[first : first + CHUNK] for first in range(0, len(paths), CHUNK)]
    count = sum(pool.map(decode_bare, chunks))
    return count / (perf_counter() - start)


def decode_bare(paths: list[Path]) -> int:
    """Decode and resize images; their number."""
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB").resize((SIDE, SIDE), RESAMPLING))
    return len(paths)
