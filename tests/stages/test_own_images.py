"""Evaluate, generate and embed, and examples of prepare, on images in colour, without classes, and of many classes."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages import embed, evaluate, generate, paths, prepare
from tests.settings import architecture
from vae.base.artifacts import write_json
from vae.base.params import Params, load_params
from vae.base.runtime import seeded
from vae.base.yaml12 import parse_yaml
from vae.classifier import training
from vae.data.images import ImageShape, LabelledImages, save_images
from vae.model.model_file import save_model
from vae.model.vae import VAE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STAGES = {"evaluate": evaluate, "generate": generate, "embed": embed}
COLUMNS = ("loss", "reconstruction", "kl")
TERMS = [f"{part}_{term}" for part in ("train", "validation") for term in COLUMNS]


def params() -> Params:
    plain = load_params(ROOT / "params.yaml")
    changes: dict[str, dict[str, Any]] = {
        "evaluate": {"importance_samples": 2},
        "generate": {"neighbours": 2},
        "embed": {"neighbours": 2, "points": 40, "method": "pca"},
    }
    return plain.model_copy(update={name: getattr(plain, name).model_copy(update=own) for name, own in changes.items()})


def images(count: int, classes: int, shape: ImageShape, seed: int = 0) -> LabelledImages:
    """Images with a colour for each class, and noise."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    colours = torch.randint(0, 200, (classes, shape[0], 1, 1), generator=torch.Generator().manual_seed(9))
    noise = torch.randint(0, 56, (count, *shape), generator=random)
    names = tuple(f"kind {index}" for index in range(classes)) if classes > 1 else ("images",)
    return LabelledImages((colours[labels] + noise).to(torch.uint8), labels, names)


def run(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    classes: int,
    shape: ImageShape,
    test_images: int,
    likelihood: str = "gaussian",
    stages: Iterable[str] = STAGES,
) -> None:
    """Write prepared images, a classifier and a model with random weights; run stages on them."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(training, "MOST_EPOCHS", 2)
    monkeypatch.setattr(training, "FEWEST_EPOCHS", 1)
    train, test = images(60, classes, shape), images(test_images, classes, shape, 1)
    save_images(paths.TRAIN_IMAGES, train)
    save_images(paths.TEST_IMAGES, test)
    prepare.classify(train, test, 0)
    prepare.draw_examples(train, params().prepare)
    with seeded(0, "weights"):
        save_model(paths.MODEL, VAE(architecture(image_shape=shape, likelihood=likelihood, latent_dim=3)))
    epochs = {"epoch": [1], "gradient_norm": [1.0], **{term: [9.0] for term in TERMS}}
    history = {"best_epoch": 1, "schedule": "constant", "kl_warmup_epochs": 0, "epochs": epochs}
    write_json(paths.HISTORY, history, checked=True)
    for stage in stages:
        STAGES[stage].main(params())


def metrics(stage: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((paths.METRICS / f"{stage}.json").read_bytes())
    return values


def measures(stage: str) -> dict[str, str]:
    with (paths.PLOTS / stage / "measures.csv").open(encoding="utf-8", newline="") as file:
        return {row["measure"]: row["value"] for row in csv.DictReader(file)}


def declared(stage: str) -> set[Path]:
    """The outputs that dvc.yaml declares for a stage."""
    description = parse_yaml((ROOT / "dvc.yaml").read_bytes())["stages"][stage]
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in description.get(kind, [])]
    return {Path(entry if isinstance(entry, str) else next(iter(entry))) for entry in entries}


@pytest.mark.parametrize(
    ("classes", "shape", "likelihood"),
    [(1, (3, 24, 18), "gaussian"), (2, (3, 16, 16), "discretized_logistic"), (50, (1, 20, 20), "bernoulli")],
    ids=["colour without classes", "two classes in colour", "fifty grey classes"],
)
def test_every_declared_output_is_written_for_images_of_one_to_many_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, shape: ImageShape, likelihood: str
) -> None:
    run(tmp_path, monkeypatch, classes, shape, 52, likelihood)
    for stage in STAGES:
        assert {path for path in declared(stage) if not path.exists()} == set()
        assert "nan" not in {value.casefold() for value in measures(stage).values()}
    if classes == 1:
        judge_without_classes()
    else:
        assert None not in [*metrics("embed").values(), metrics("generate")["unclear_share"]]
    for name in ("evaluate/error_per_class", "generate/class_balance"):
        assert len(Path(f"plots/{name}.csv").read_text(encoding="utf-8").splitlines()) == 1 + classes


def judge_without_classes() -> None:
    """Check that what needs classes is not judged, and the rest is."""
    levels: dict[str, str] = {}
    for stage in ("evaluate", "generate", "embed"):
        with Path(f"plots/{stage}/verdicts.csv").open(encoding="utf-8", newline="") as file:
            levels |= {row["verdict"]: row["level"] for row in csv.DictReader(file)}
    assert levels["classes_of_samples"] == levels["representation"] == "not judged"
    judged = {"sample_quality", "posterior_collapse", "overfitting"}
    assert "not judged" not in {levels[name] for name in judged}
    accuracies = dict.fromkeys(("neighbour_accuracy", "linear_probe_accuracy"))
    assert metrics("embed") == {**accuracies, "embed_verdict": "not judged"}
    assert Path("data/group_means/embed.csv").read_text(encoding="utf-8") == "group,images\n"
    assert measures("embed")["silhouette"] == measures("embed")["label_information"] == ""
    assert measures("generate")["features"] == "random network"


def test_three_images_without_classes_are_enough_for_one_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = params()
    one = {name: getattr(plain, name).model_copy(update={"neighbours": 1}) for name in ("generate", "embed")}
    monkeypatch.setattr("tests.stages.test_own_images.params", lambda: plain.model_copy(update=one))
    run(tmp_path, monkeypatch, 1, (3, 50, 37), 3)
    assert all(path.exists() for stage in STAGES for path in declared(stage))


def test_results_do_not_depend_on_how_many_images_are_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, pictures = [], []
    for values in (10**9, 11 * 3 * 16 * 16):
        monkeypatch.setattr("vae.model.inference.VALUES_AT_ONCE", values)
        folder = tmp_path / str(values)
        folder.mkdir()
        run(folder, monkeypatch, 2, (3, 16, 16), 40, stages=["evaluate", "generate"])
        numbers.append((metrics("evaluate")["test"]["mse"], metrics("generate")["frechet_distance"]))
        pictures.append(tuple(path.read_bytes() for path in sorted(paths.PLOTS.glob("*/*reconstructions.png"))))
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)
    assert pictures[0] == pictures[1]


def height(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.height


def test_examples_show_up_to_twenty_classes_and_without_classes_a_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, heights = paths.PLOTS / "prepare" / "examples.png", {}
    for classes in (1, 20, 21, 200):
        prepare.draw_examples(images(240, classes, (3, 16, 16)), params().prepare)
        heights[classes] = height(path)
    assert heights[20] == heights[21] == heights[200]
    assert heights[1] == pytest.approx(heights[20] / 2, rel=0.1), "ten rows"
    assert np.asarray(Image.open(path)).std(2).max() > 0, "in colour"
