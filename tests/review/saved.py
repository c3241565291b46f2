"""Experiments made by hand, so that nothing has to be trained for them."""

import json
from collections.abc import Mapping

from tests.projects import Project


def save_experiment(project: Project, name: str, parameters: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """Save an experiment with other parameters and other metrics of embed, and restore the workspace."""
    path = project.folder / "metrics/embed.json"
    project.set(parameters)
    path.write_text(json.dumps(json.loads(path.read_text()) | metrics))
    project.dvc("exp", "save", "--name", name)
    project.run("git", "checkout", "--quiet", ".")


def remove_metrics(project: Project) -> None:
    """Empty all files of what the stages have measured."""
    for path in project.folder.glob("metrics/*.json"):
        path.write_text("{}")
    for path in project.folder.glob("plots/*/measures.csv"):
        path.write_text("measure,value\n")
