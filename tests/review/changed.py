"""A clone with a commit that changes some results by hand, so that tests need no training."""

import json
import re
from collections.abc import Callable
from hashlib import md5
from pathlib import Path

import yaml

from faults.project import Project
from vae.base.yaml12 import parse_yaml

LIMITS = """
evaluate.test.negative_elbo: {better: lower, max_worse: 0.5}
evaluate.test.mse: {better: lower, max_worse: 0.001}
evaluate.test.kl: {better: lower, max_worse: 0.5}
"""


def changed_clone(reproduced: Project, folder: Path) -> Project:
    """A clone whose commits ``HEAD~1`` and ``HEAD`` have different results.

    According to LIMITS, on test images the negative ELBO is better, the error is worse and the KL is within the spread;
    the importance-weighted bound has no limit. The verdict on posterior collapse is now a failure, samples from the
    prior are different, and the last row of losses is missing. Both have a standard error of the silhouette.
    """
    project = Project(folder)
    reproduced.run("git", "clone", "--quiet", str(reproduced.folder), str(folder))
    (folder / "limits.yaml").write_text(LIMITS)
    edit(project, "plots/evaluate/verdicts.csv", lambda text: with_verdict(text, "posterior_collapse", "healthy"))
    edit(project, "plots/embed/measures.csv", lambda text: f"{text}silhouette_se,0.125\n")
    project.commit("Limits")
    metrics = json.loads(project.read("metrics/evaluate.json"))
    metrics["test"]["negative_elbo"] -= 2
    metrics["test"]["mse"] += 0.25
    metrics["test"]["kl"] += 0.125
    metrics["test"]["negative_iwae_bound"] -= 1
    (folder / "metrics/evaluate.json").write_text(json.dumps(metrics))
    edit(project, "plots/evaluate/verdicts.csv", lambda text: with_verdict(text, "posterior_collapse", "failure"))
    edit(project, "plots/train/losses.csv", lambda text: "\n".join(text.splitlines()[:-1]) + "\n")
    (folder / "plots/generate/samples.png").write_bytes(project.read("plots/prepare/examples.png"))
    project.set({"train.beta": "0.5"})
    record(project)
    project.commit("Changed")
    return project


def record(project: Project) -> None:
    """Record the outputs as they are in ``dvc.lock``, as after a run; those that are missing stay as they were."""
    path = project.folder / "dvc.lock"
    lock = parse_yaml(path.read_bytes())
    for output in (output for stage in lock["stages"].values() for output in stage["outs"]):
        if (project.folder / output["path"]).exists():
            output["md5"] = md5(project.read(output["path"]), usedforsecurity=False).hexdigest()
            output["size"] = len(project.read(output["path"]))
    path.write_text(yaml.safe_dump(lock, sort_keys=False))


def edit(project: Project, name: str, change: Callable[[str], str]) -> None:
    """Change a text file, and record it if it is an output."""
    path = project.folder / name
    path.write_text(change(path.read_text()))
    record(project)


def with_verdict(verdicts: str, subject: str, level: str) -> str:
    """Change the level of a verdict in the text of a ``verdicts.csv``."""
    changed, count = re.subn(rf"^{subject},[^,]*,", f"{subject},{level},", verdicts, flags=re.MULTILINE)
    assert count == 1
    return changed
