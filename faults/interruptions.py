"""``dvc repro`` is stopped at random moments and started again: it ends with the bytes of an undisturbed run."""

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from faults.material import Material, difference, half_written
from faults.outcome import Outcome
from faults.processes import DEADLINE, Run, run_again

SECONDS_TO_END = 15  # after Ctrl-C or SIGTERM, on a busy machine


@dataclass(frozen=True)
class Interruption:
    """A way to stop a run.

    Attributes:
        fault: what is done.
        stop: does it.
        cleans_up: whether the processes can remove partly written files.
        ends_all: whether all processes end; if not, the next run starts while the stage goes on.
    """

    fault: str
    stop: Callable[[Run], None]
    cleans_up: bool = False
    ends_all: bool = True


KILL = Interruption("SIGKILL to all processes", Run.kill)
KILL_STAGE = Interruption("SIGKILL to the stage's process", lambda run: run.wait_for(run.kill_stage))
CTRL_C = Interruption("Ctrl-C", lambda run: run.send(signal.SIGINT), cleans_up=True)
TERMINATE = Interruption("SIGTERM to all processes", lambda run: run.send(signal.SIGTERM), cleans_up=True)
TERMINATE_DVC = Interruption("SIGTERM to DVC's process", Run.terminate, ends_all=False)

# In turn; five in eight kill.
INTERRUPTIONS = (KILL, KILL_STAGE, CTRL_C, KILL, KILL_STAGE, TERMINATE, KILL, TERMINATE_DVC)


def outcomes(material: Material, cases: int) -> Iterator[Outcome]:
    """Stop a run in each case, at moments that are spread evenly over the time of an undisturbed run."""
    random = Random(cases)
    moments = [(case + random.random()) / cases for case in range(cases)]
    random.shuffle(moments)
    for case, moment in enumerate(moments):
        stage, seconds = point(material.durations, moment * sum(material.durations.values()))
        while (found := outcome(material, INTERRUPTIONS[case % len(INTERRUPTIONS)], stage, seconds)) is None:
            seconds /= 2  # the machine is less busy than it was in the undisturbed run
        yield found


def point(durations: Mapping[str, float], seconds: float) -> tuple[str, float]:
    """The stage that runs some seconds after the start of the run, and how many of them are after its own start."""
    for stage, duration in durations.items():
        if seconds < duration:
            return stage, seconds
        seconds -= duration
    return stage, duration


def outcome(material: Material, interruption: Interruption, stage: str, seconds: float) -> Outcome | None:
    """Stop a run, run it again, and compare the results with those of an undisturbed run; None if it ended before.

    The run starts in a clone: with the committed results of other parameters and an empty cache.

    Args:
        material: of the project.
        interruption: how to stop it.
        stage: stop it in this stage, or before the first if empty.
        seconds: after the start of the stage.
    """
    with material.workspace(material.clone) as project, Run(project, "dvc", "repro") as run:
        run.wait_for(lambda: run.is_in(stage))
        if run.ends_within(seconds):
            return None
        interruption.stop(run)
        if run.process.poll() == 0:
            return None
        place, wrong = run.stage or "before the first stage", []
        if interruption.ends_all and not run.all_end_within(SECONDS_TO_END):
            wrong.append(f"did not end within {SECONDS_TO_END} s")
        elif interruption.ends_all and (files := half_written(project, material, abandoned=not interruption.cleans_up)):
            wrong.append(f"half-written: {files}")
        if f'File "{project.folder}' in run.output:
            wrong.append("a traceback")

        repaired, again = run_again(project)
        if again.returncode:
            wrong.append("dvc repro failed")
        elif not run.all_end_within(DEADLINE):
            wrong.append("a process remained")
        elif differs := difference(project, material.undisturbed):
            wrong.append(f"other results: {differs}")
        if wrong:
            kept = material.keep(project)
            (kept / "next.log").write_text(again.stdout, encoding="utf-8")
            return Outcome(interruption.fault, place, ", ".join(wrong), f"kept in {kept}")
    return Outcome(interruption.fault, place, f"{repaired}the same bytes")
