"""The comparison of experiments, as a user calls it."""

import csv

from tests.projects import Project


def compared_methods(project: Project) -> str:
    """Two experiments beside the workspace that only embed runs anew for."""
    for name, method in (("flat", "pca"), ("again", "tsne")):
        changes = ("-S", f"embed.method={method}", "-S", "embed.points=150")
        project.dvc("exp", "run", "--temp", "--quiet", "--name", name, *changes)
    return project.run("python", "-m", "review.compare", "--metrics", "trustworthiness", "negative_elbo")


def test_all_experiments_are_compared_with_the_workspace_in_a_table_and_pictures(workspace: Project) -> None:
    output = compared_methods(workspace)
    folder = workspace.folder / "comparison"
    names = {"comparison.md", "table.csv", "hyperparameters.png", "reconstructions.png", "samples.png"}
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == names
    head, *body = csv.reader((folder / "table.csv").read_text().splitlines())
    assert head == ["embed.method", "embed.points", "seeds", "embed.trustworthiness", "evaluate.test.negative_elbo"]
    assert sorted(tuple(row[:3]) for row in body) == [("pca", "150", "1"), ("tsne", "100", "1"), ("tsne", "150", "1")]
    assert "Sorted by embed.trustworthiness, the lowest first." in output
    found = [float(row[3]) for row in body]
    assert found == sorted(found)
    assert all(row[0] in output for row in body)
    page = (folder / "comparison.md").read_text()
    assert all(f"]({name})" in page for name in names if name.endswith(".png"))
    assert workspace.run("git", "status", "--porcelain") == ""

    before = workspace.files("comparison")
    two = ("python", "-m", "review.compare", "flat", "again", "--metrics")
    assert "trustworthiness, the highest first." in workspace.run(*two, "trustworthiness", "--highest-first")
    assert len(workspace.read("comparison/table.csv").splitlines()) == 3
    assert "neighbour_accuracy, the highest first." in workspace.run(*two, "neighbour_accuracy")  # by limits.yaml
    workspace.run("python", "-m", "review.compare", "--metrics", "trustworthiness", "negative_elbo")
    assert workspace.files("comparison") == before  # the same bytes


def test_a_metric_that_no_run_has_is_refused(clone: Project) -> None:
    output = clone.run("python", "-m", "review.compare", "--metrics", "nothing", status=2)
    assert "METRIC=nothing: no such metric" in output
    assert "Traceback" not in output
