"""Experiments made by hand, so that tests need no training."""

import json
from collections.abc import Mapping

from faults.project import Project
from tests.review.changed import record


def save_experiment(project: Project, name: str, parameters: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """Save an experiment with changed parameters and metrics of embed, and restore the workspace."""
    path = project.folder / "metrics/embed.json"
    project.set(parameters)
    path.write_text(json.dumps(json.loads(path.read_text()) | metrics))
    record(project)
    project.dvc("exp", "save", "--name", name)
    project.run("git", "checkout", "--quiet", ".")


def remove_metrics(project: Project) -> None:
    """Empty all files of metrics and measures."""
    for path in project.folder.glob("metrics/*.json"):
        path.write_text("{}")
    for path in project.folder.glob("plots/*/measures.csv"):
        path.write_text("measure,value\n")
    record(project)
