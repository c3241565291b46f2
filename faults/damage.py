"""Files are damaged in random bytes: each is refused with one clear error, or harmless.

Harmless is what ends with the same result as without the damage, or what makes a training run start from the beginning.
"""

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from random import Random
from typing import NamedTuple

from faults.material import CHECKPOINTS, Material, difference
from faults.outcome import Outcome
from faults.processes import DEADLINE, Run, run_again
from faults.project import Project
from faults.reading import (
    CLASSIFIER,
    GROUP_MEANS,
    HISTORY,
    IMAGES,
    METRICS,
    MODEL,
    READINGS,
    TABLES,
    Reading,
    save_state,
)
from vae.base.errors import VAEError

LONGEST = 4096  # bytes of a run that is damaged, or appended

Damage = Callable[[bytes, Random], bytes]


def flip_bits(content: bytes, random: Random) -> bytes:
    """Flip one to eight bits."""
    damaged = bytearray(content)
    for _ in range(random.randint(1, 8)):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def overwrite(content: bytes, random: Random) -> bytes:
    """Put random bytes in place of a run."""
    start, end = a_run(content, random)
    return content[:start] + random.randbytes(end - start) + content[end:]


def zero(content: bytes, random: Random) -> bytes:
    """Put zeros in place of a run, as a file system does for blocks that it lost."""
    start, end = a_run(content, random)
    return content[:start] + bytes(end - start) + content[end:]


def cut_off(content: bytes, random: Random) -> bytes:
    """Leave out the end, or all."""
    return content[: random.randrange(len(content))]


def extend(content: bytes, random: Random) -> bytes:
    """Append random bytes."""
    return content + random.randbytes(random.randint(1, LONGEST))


def a_run(content: bytes, random: Random) -> tuple[int, int]:
    """Start and end of a run of bytes."""
    start = random.randrange(len(content))
    return start, min(len(content), start + random.randint(1, LONGEST))


DAMAGES: dict[str, Damage] = {
    "bits flipped": flip_bits,
    "bytes overwritten": overwrite,
    "zeros": zero,
    "cut off": cut_off,
    "extended": extend,
}


class Running(NamedTuple):
    """A command that runs in a project with a damaged file, and ends as without the damage or names the file.

    Attributes:
        fault: which files are damaged, and what runs.
        names: their paths in a project.
        command: runs the stage that reads the file, or all.
    """

    fault: str
    names: Sequence[str]
    command: Callable[[str], tuple[str, ...]]


READERS = {  # a stage that reads each file
    IMAGES[0]: "train",
    IMAGES[1]: "train",
    IMAGES[2]: "embed",
    CLASSIFIER: "generate",
    MODEL: "evaluate",
    HISTORY: "evaluate",
}
RUNNINGS = (
    Running(
        "inputs of a stage that is run by hand",
        tuple(READERS),
        lambda name: ("python", "-m", f"stages.{READERS[name]}"),
    ),
    Running(
        "any result, and dvc repro",
        (*IMAGES, CLASSIFIER, MODEL, HISTORY, *GROUP_MEANS, *METRICS, *TABLES),
        lambda _: ("dvc", "repro"),
    ),
    Running("dvc.lock, and dvc repro", ("dvc.lock",), lambda _: ("dvc", "repro")),
)
RUN_EVERY = 10  # of so many cases, one is a whole command


def outcomes(material: Material, cases: int) -> Iterator[Outcome]:
    """Damage a file in each case: nine are read in this process, the tenth by a command."""
    logging.getLogger("vae").setLevel(logging.ERROR)
    with material.workspace(material.undisturbed) as project:
        save_state(project)
        expected: dict[str, str] = {}
        for case in range(cases):
            yield outcome(material, project, case, expected)


def outcome(material: Material, project: Project, case: int, expected: dict[str, str]) -> Outcome:
    """One case, the same for the same number whatever came before. In turn, all pairs of damage and reader occur."""
    random = Random(case)
    runs, place = divmod(case, RUN_EVERY)
    if place == RUN_EVERY - 1:
        ways, commands = list(DAMAGES), (*RUNNINGS, None)
        run = commands[runs % len(commands)]
        way = ways[runs // len(commands) % len(ways)]
        return run_with(material, run, way, random) if run else resume_with(material, way, random)
    pairs = list(product(DAMAGES, READINGS))
    way, reading = pairs[(case - runs) % len(pairs)]
    return read_with(material, project, reading, way, random, expected)


def read_with(
    material: Material, project: Project, reading: Reading, way: str, random: Random, expected: dict[str, str]
) -> Outcome:
    """Read a damaged file in this process; it is as before at the end."""
    name = random.choice(reading.names)
    if name not in expected:
        expected[name] = repr(reading.read(project, name))
    with damaged(project, name, way, random):
        try:
            found = reading.read(project, name)
        except VAEError as error:
            return Outcome(reading.fault, way, "refused", unclear(str(error), name))
        except Exception as error:  # what a user would see as a traceback
            return Outcome(
                reading.fault, way, "a traceback", f"{name}: {error!r}; kept as {kept(material, project, name)}"
            )
        if repr(found) == expected[name]:
            return Outcome(reading.fault, way, "the same result")
        if found is None:
            return Outcome(reading.fault, way, "ignored: the run starts from the beginning")
        if reading.is_source and project.run("git", "status", "--porcelain", "--", name):
            return Outcome(reading.fault, way, "read as an edit, which Git shows")
        return Outcome(reading.fault, way, "another result", f"{name}: kept as {kept(material, project, name)}")


def run_with(material: Material, running: Running, way: str, random: Random) -> Outcome:
    """Run a command in a project with a damaged file."""
    with material.workspace(material.undisturbed) as project:
        name = random.choice(running.names)
        damage(project, name, way, random)
        broken = project.read(name)
        with Run(project, *running.command(name)) as run:
            status = run.process.wait(DEADLINE)
            result, wrong = "the same bytes", ""
            if status != 0:
                result = "refused"
                wrong = unclear(run.output, name) or other_changes(project, material, name, broken)
            elif differs := difference(project, material.undisturbed):
                result, wrong = "other bytes", differs
            if wrong:
                wrong = f"{name}: {wrong}; kept in {material.keep(project)}"
    return Outcome(running.fault, way, result, wrong)


def resume_with(material: Material, way: str, random: Random) -> Outcome:
    """Kill a training run, damage the state that it saved, and run it again."""
    fault = "saved state of a training run, and dvc repro"
    with material.workspace(material.clone) as project:
        folder = project.folder / CHECKPOINTS
        with Run(project, "dvc", "repro", "train") as run:
            run.wait_for(lambda: any(folder.glob("*.state")))
            run.kill()
        states = list(folder.glob("*.state"))
        for path in states:
            damage(project, path.relative_to(project.folder).as_posix(), way, random)
        _, again = run_again(project)
        wrong = "failed" if again.returncode else difference(project, material.undisturbed)
        if not states:
            return Outcome(fault, way, "no state was saved", wrong)
        if wrong:
            return Outcome(fault, way, "other bytes", f"{wrong}; kept in {material.keep(project)}")
    return Outcome(fault, way, "the same bytes")


def unclear(output: str, name: str) -> str:
    """What keeps the output of a command from being one clear error; empty if nothing does."""
    if "Traceback" in output:
        return "a traceback"
    return "" if Path(name).name in output else f"the error does not name the file: {output}"


def other_changes(project: Project, material: Material, name: str, broken: bytes) -> str:
    """What a command that was refused changed; empty if nothing."""
    path = project.folder / name
    if not path.exists() or path.read_bytes() != broken:
        return f"{name} changed"
    path.write_bytes(material.undisturbed.read(name))
    return difference(project, material.undisturbed)


def kept(material: Material, project: Project, name: str) -> Path:
    """A copy of a damaged file, to look at."""
    content = project.read(name)
    copy = material.folder / f"damaged-{zlib.crc32(content):08x}-{Path(name).name}"
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(content)
    return copy


@contextmanager
def damaged(project: Project, name: str, way: str, random: Random) -> Iterator[None]:
    """Damage a file within the block."""
    content = project.read(name)
    damage(project, name, way, random)
    try:
        yield
    finally:
        (project.folder / name).write_bytes(content)


def damage(project: Project, name: str, way: str, random: Random) -> None:
    """Damage a file, so that at least one byte differs."""
    content = broken = project.read(name)
    while broken == content:
        broken = DAMAGES[way](content, random)
    (project.folder / name).write_bytes(broken)
