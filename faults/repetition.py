"""Stages run again and again, with threads, alone and side by side: they write the same bytes each time."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle, product

from torch.nn.functional import pad

from faults.material import Material, declared_outputs
from faults.outcome import Outcome
from faults.project import Project
from stages import paths
from vae.base import runtime
from vae.classifier.classifier_file import save_classifier
from vae.classifier.training import train_classifier
from vae.data.images import LabelledImages, load_images, save_images

# Batches and layers of the tutorial's size, which PyTorch and MKL divide among threads.
PARAMETERS = {
    "train.epochs": "1",
    "model.hidden_dims": "[400]",
    "model.latent_dim": "20",
    "generate.samples": "500",
}
IMAGES = {paths.TRAIN_IMAGES: 20_000, paths.VALIDATION_IMAGES: 1_000, paths.TEST_IMAGES: 500}
STAGES = ("train", "generate")

# The threads are those that the stages choose.
CHOSEN_BY_STAGES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_NUM_THREADS", "MKL_CBWR")
ALL_THREADS = "VAE_SAME_BYTES=0"  # the digits would be computed with one
COMMAND = ("env", *(word for name in CHOSEN_BY_STAGES for word in ("-u", name)), ALL_THREADS, "python", "-m")

BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


# How many stages run side by side, and how many other busy processes there are.
LOADS = {
    "alone": (1, 0),
    "beside another such stage": (2, 0),
    "beside another such stage and a busy process": (2, 1),
}

Written = tuple[dict[str, bytes], str]  # the content of a stage's outputs by path, and its log


def outcomes(material: Material, cases: int) -> Iterator[Outcome]:
    """Train and generate in turn, under each load; stages side by side run in two copies of the project."""
    with ExitStack() as stack:
        projects = [stack.enter_context(material.workspace(material.undisturbed)) for _ in range(2)]
        pool = stack.enter_context(ThreadPoolExecutor(len(projects)))
        for project in projects:
            enlarge(project)
        first = {stage: run(projects[0], stage) for stage in STAGES}
        left = cases
        for (place, (side_by_side, busy)), stage in cycle(product(LOADS.items(), STAGES)):
            chosen = projects[: min(side_by_side, left)]
            compared = partial(outcome, material, stage=stage, place=place, first=first[stage])
            with busy_processes(busy):
                found = list(pool.map(compared, chosen))
            yield from found
            left -= len(found)
            if not left:
                return


def outcome(material: Material, project: Project, stage: str, place: str, first: Written) -> Outcome:
    """Run a stage, and compare what it writes with what it wrote before."""
    written, log = run(project, stage)
    threads = ", ".join(re.findall(r"(\d+ threads?)", log)[:1])
    fault = f"{stage}, {threads}"
    differs = sorted(name for name, content in first[0].items() if content != written[name])
    if not differs:
        return Outcome(fault, place, "the same bytes")
    kept = material.keep(project)
    for name, (content, text) in {"first": first, "other": (written, log)}.items():
        (kept / f"{name}.log").write_text(text, encoding="utf-8")
        for path, data in content.items():
            (kept / name / path).parent.mkdir(parents=True, exist_ok=True)
            (kept / name / path).write_bytes(data)
    for path, data in first[0].items():
        (project.folder / path).write_bytes(data)  # for the next cases
    return Outcome(fault, place, "other bytes", f"{', '.join(differs)}; kept in {kept}")


def run(project: Project, stage: str) -> Written:
    """Run a stage; what it wrote."""
    names = declared_outputs(project, stage)
    for name in names:
        (project.folder / name).unlink()
    log = project.run(*COMMAND, f"stages.{stage}")
    return {name: project.read(name) for name in names}, log


def enlarge(project: Project) -> None:
    """Replace the digits by so many of 28×28 pixels, and the classifier and the model by such for these."""
    for path, count in IMAGES.items():
        save_images(project.folder / path, larger(load_images(project.folder / path), count))
    train = load_images(project.folder / paths.TRAIN_IMAGES)
    save_classifier(project.folder / paths.CLASSIFIER, train_classifier(train[:1_000], 0, runtime.CPU))
    project.set(PARAMETERS)


def larger(data: LabelledImages, count: int) -> LabelledImages:
    """A number of images of 28×28 pixels from images of 8×8: each pixel three times three, and a black margin."""
    images = pad(data.images.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3), (2, 2, 2, 2))
    repeats = -(-count // len(data))
    return LabelledImages(
        images.repeat(repeats, 1, 1, 1)[:count], data.labels.repeat(repeats)[:count], data.class_names
    )


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Keep a number of other processes busy within the block."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
