"""What every stage writes about its results."""

import csv
import json
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages import paths
from stages.results import density_rows, write_curves, write_results
from vae.diagnostics.verdict import Level, Verdict

VERDICT = Verdict("overfitting", Level.WARNING, "a gap of 2 nats", "at most 1 nat", "fewer train.epochs")
LOSSES = torch.tensor([100.0, 104.0, 90.0, 110.0], dtype=torch.float64)
MEASURES = {"test": {"loss": 101.0, "mse": 0.01}, "accuracy": 0.75, "other": {"deep": 3}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results are written."""
    monkeypatch.setattr(paths, "METRICS", tmp_path / "metrics")
    monkeypatch.setattr(paths, "PLOTS", tmp_path / "plots")
    monkeypatch.setattr(paths, "GROUP_MEANS", tmp_path / "data/group_means")
    return tmp_path


def write(**changes: Any) -> None:
    write_results("stage", "Verdicts", MEASURES, ["test", "accuracy"], [VERDICT], **changes)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measures(folder: Path) -> dict[str, str]:
    return {row["measure"]: row["value"] for row in rows(folder / "plots/stage/measures.csv")}


def test_metrics_are_written_as_json_and_all_other_measures_as_a_table(folder: Path) -> None:
    write()
    metrics = json.loads((folder / "metrics/stage.json").read_bytes())
    assert metrics == {"test": MEASURES["test"], "accuracy": 0.75, "stage_verdict": "1 warning"}
    assert measures(folder) == {"other.deep": "3"}
    assert (folder / "plots/stage/verdicts.png").exists()


def test_verdicts_are_written_as_a_table_of_words(folder: Path) -> None:
    write()
    assert rows(folder / "plots/stage/verdicts.csv") == [
        {
            "verdict": "overfitting",
            "level": "warning",
            "finding": "a gap of 2 nats",
            "criterion": "at most 1 nat",
            "advice": "fewer train.epochs",
        }
    ]


def test_densities_are_written_as_points_of_a_curve_of_each_group_with_an_area_of_one(folder: Path) -> None:
    groups = {"few": np.arange(8.0), "none": np.array([np.nan])}
    write_curves(folder / "curves.csv", density_rows("a panel", groups))
    points = rows(folder / "curves.csv")
    assert {(point["panel"], point["curve"]) for point in points} == {("a panel", "few"), ("a panel", "none")}
    few = [(float(point["x"]), float(point["y"])) for point in points if point["curve"] == "few"]
    assert [x for x, _ in few] == pytest.approx([0.875, 2.625, 4.375, 6.125])  # 2 · 8^(1/3) = 4 bins
    assert sum(y for _, y in few) * 1.75 == pytest.approx(1, rel=1e-5)
    assert density_rows("a panel", {"none": np.array([np.nan])}) == []


def test_the_standard_error_of_a_metric_is_the_measure_with_its_key_and_se(folder: Path) -> None:
    write(per_image={"test.loss": LOSSES, "accuracy": torch.tensor([True, True, True, False])})
    found = measures(folder)
    # Around the mean of 101: 1 + 9 + 121 + 81 = 212.
    assert float(found["test.loss_se"]) == pytest.approx(sqrt(212 / 3 / 4), rel=1e-5)
    assert float(found["accuracy_se"]) == pytest.approx(sqrt(0.75 * 0.25 / 3), rel=1e-5)
    assert "test.loss_se" not in (folder / "metrics/stage.json").read_text()


def test_a_ready_made_standard_error_is_written_in_the_same_way_and_no_group_means(folder: Path) -> None:
    write(errors={"test.mse": 0.0025})
    assert measures(folder)["test.mse_se"] == "0.0025"
    assert not (folder / "data/group_means/stage.csv").exists()


@pytest.mark.parametrize("values", [torch.tensor([100.0]), torch.tensor([True])], ids=["loss", "accuracy"])
def test_a_measure_of_a_single_image_has_an_empty_cell_for_its_standard_error(folder: Path, values: Tensor) -> None:
    write(per_image={"test.loss": values})
    assert measures(folder)["test.loss_se"] == ""


def test_group_means_are_a_row_for_each_group_with_its_number_of_images_and_a_column_for_each_measure(
    folder: Path,
) -> None:
    values: Mapping[str, Tensor] = {"test.loss": torch.arange(102.0), "accuracy": torch.arange(102) < 51}
    write(per_image=values)
    table = rows(folder / "data/group_means/stage.csv")
    assert list(table[0]) == ["group", "images", "test.loss", "accuracy"]
    assert [row["group"] for row in table] == [str(number) for number in range(50)]
    assert [row["images"] for row in table] == ["3", "3", *["2"] * 48]
    # Group 0 has images 0, 50 and 100; group 49 has images 49 and 99.
    assert [float(table[0][name]) for name in values] == pytest.approx([50, 2 / 3], rel=1e-5)
    assert [float(table[49][name]) for name in values] == pytest.approx([74, 0.5], rel=1e-5)
