"""The number of images that the stage writes, their kind of pixels, and the classifier."""

import json
from math import sqrt
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages import paths, prepare
from tests.vae.data.picture_files import numbered, write_pictures
from vae.base.params import Params, PrepareParams, load_params
from vae.base.runtime import CPU
from vae.classifier import training
from vae.classifier.classifier import ClassifierKind
from vae.classifier.classifier_file import load_classifier
from vae.data.images import DatasetError, LabelledImages, PixelKind, load_images, pixels

ROOT = Path(__file__).parents[2]
PLAIN = load_params(ROOT / "params.yaml")
BINARY = [PixelKind.BINARY] * 3


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current folder; the classifier trains for one epoch only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "MOST_EPOCHS", 1)
    return tmp_path


def settings(**changes: object) -> PrepareParams:
    return PrepareParams(**{**PLAIN.prepare.model_dump(), **changes})


def params(**changes: object) -> Params:
    return PLAIN.model_copy(update={"prepare": settings(**changes)})


def prepared() -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """The training, validation and test images that the stage wrote."""
    train, validation, test = map(load_images, (paths.TRAIN_IMAGES, paths.VALIDATION_IMAGES, paths.TEST_IMAGES))
    return train, validation, test


def metrics() -> dict[str, object]:
    values: dict[str, object] = json.loads(Path("metrics/prepare.json").read_bytes())
    return values


def some_images(count: int) -> LabelledImages:
    return LabelledImages(
        torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1), torch.arange(count) % 2, ("a", "b")
    )


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("binarize", "kinds"),
    [
        ("none", [PixelKind.GREY] * 3),
        ("threshold", BINARY),
        ("static", BINARY),
        ("dynamic", [PixelKind.PROBABILITIES, *BINARY[1:]]),
    ],
)
def test_each_binarization_writes_pixels_of_the_declared_kind(binarize: str, kinds: list[PixelKind]) -> None:
    prepare.main(params(binarize=binarize))
    data = prepared()
    assert [part.kind for part in data] == kinds
    for part in data:
        black_and_white = bool(((part.images == 0) | (part.images == 255)).all())
        assert black_and_white == (part.kind == PixelKind.BINARY)
    assert metrics()["images"] == {"train": 1294, "validation": 144, "test": 359}
    assert (metrics()["entropy_floor"] == 0) == (binarize != "none")  # of the test images


@pytest.mark.usefixtures("inside")
def test_each_binarization_starts_from_the_same_images_and_draws_white_pixels_with_the_right_probability() -> None:
    prepare.main(params())
    grey = prepared()
    for binarize in ("threshold", "static", "dynamic"):
        prepare.main(params(binarize=binarize))
        for before, after in zip(grey, prepared(), strict=True):
            assert torch.equal(after.labels, before.labels)
            assert_drawn_from(before.images, after, binarize)


def assert_drawn_from(grey: Tensor, data: LabelledImages, binarize: str) -> None:
    if data.kind == PixelKind.PROBABILITIES:
        assert torch.equal(data.images, grey)
    elif binarize == "threshold":
        assert torch.equal(pixels(data.images), (pixels(grey) >= 0.5).float())
    else:
        p = pixels(grey).double()
        surprise = pixels(data.images).double() - p
        assert (surprise[(p == 0) | (p == 1)] == 0).all()
        # The number of white pixels is as expected, in total and weighted by intensity.
        for weight in (torch.ones_like(p), p):
            error = (weight * surprise).sum() / (weight.square() * p * (1 - p)).sum().sqrt()
            assert error.abs() < 4


def test_validation_and_test_images_are_drawn_independently() -> None:
    """The same grey images get different pixels in each."""
    grey = some_images(256)
    drawn = [prepare.binarized(grey, settings(binarize="static"), purpose) for purpose in ("validation", "test")]
    assert not torch.equal(drawn[0].images, drawn[1].images)


@pytest.mark.usefixtures("inside")
def test_fewer_training_images_are_a_random_subset_and_leave_the_other_splits_unchanged() -> None:
    prepare.main(params())
    train, validation, test = prepared()
    prepare.main(params(train_images=300))
    fewer, same_validation, same_test = prepared()
    assert metrics()["images"] == {"train": 300, "validation": 144, "test": 359}
    assert torch.equal(fewer.images, train.images[:300])
    assert torch.equal(same_validation.images, validation.images)
    assert torch.equal(same_test.images, test.images)
    # In random order, so about the same number of each class.
    counts = torch.bincount(fewer.labels, minlength=10)
    assert ((counts - 30).abs() < 4 * sqrt(30)).all()


@pytest.mark.parametrize(("asked", "expected"), [("all", 20), (1, 1), (20, 20)])
def test_train_images_sets_the_number_of_training_images(asked: int | str, expected: int) -> None:
    assert len(prepare.chosen(some_images(20), settings(train_images=asked))) == expected


def test_too_many_requested_training_images_are_rejected_with_the_key_and_advice() -> None:
    message = r"^params\.yaml: prepare\.train_images: 21 .* there are 20 .*; lower it, or set it to all$"
    with pytest.raises(DatasetError, match=message):
        prepare.chosen(some_images(20), settings(train_images=21))


def test_a_validation_fraction_that_leaves_no_training_images_is_rejected_with_the_key() -> None:
    with pytest.raises(DatasetError, match=r"^params\.yaml: prepare\.validation_fraction: 0\.9999 leaves no"):
        prepare.chosen(some_images(0), settings(validation_fraction=0.9999))


@pytest.mark.usefixtures("inside")
def test_the_classifier_is_written_with_its_accuracy_on_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_EPOCHS", 40)
    prepare.main(params(train_images=300))
    _, _, test = prepared()
    classifier = load_classifier(paths.CLASSIFIER, CPU, test.shape)
    assert classifier.kind == ClassifierKind.TRAINED
    right = (classifier.probabilities(pixels(test.images)).argmax(1) == test.labels).double().mean()
    assert metrics()["classifier_accuracy"] == pytest.approx(float(right), rel=1e-5)
    binomial = float(right * (1 - right) / (len(test) - 1)) ** 0.5
    assert metrics()["classifier_accuracy_se"] == pytest.approx(binomial, rel=1e-5)
    assert right > 0.85


@pytest.mark.usefixtures("inside")
def test_training_images_of_a_single_class_give_a_random_network_and_no_accuracy() -> None:
    prepare.main(params(train_images=1))
    assert metrics()["classifier_accuracy"] is None
    assert load_classifier(paths.CLASSIFIER, CPU, (1, 8, 8)).kind == ClassifierKind.RANDOM


@pytest.mark.usefixtures("inside")
def test_classes_without_training_images_are_no_error() -> None:
    prepare.main(params(train_images=4))
    accuracy = metrics()["classifier_accuracy"]
    assert isinstance(accuracy, float)
    assert 0 < accuracy < 1


def test_other_data_sets_have_a_manifest_without_rows(inside: Path) -> None:
    prepare.main(params(train_images=1))
    assert (inside / "data/prepared/manifest.csv").read_text() == (
        "file,split,index,class,group,width,height,mode,sha256,skipped\n"
    )


@pytest.mark.parametrize("names", [numbered("#.png", 30), [*numbered("a/#.png", 15), *numbered("b/#.png", 15)]])
def test_a_folder_is_prepared_with_and_without_classes(names: list[str], inside: Path) -> None:
    write_pictures(inside / "pictures", *names, size=20)
    prepare.main(params(dataset="folder", folder="pictures", image_size=(10, 12)))
    data = prepared()
    assert sum(map(len, data)) == 30
    assert {part.shape for part in data} == {(3, 10, 12)}
    assert metrics()["images"] == dict(zip(("train", "validation", "test"), map(len, data), strict=True))
    assert (metrics()["classifier_accuracy"] is None) == ("/" not in names[0])
    rows = (inside / "data/prepared/manifest.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["file", *sorted(names)]
    assert (inside / "plots/prepare/examples.png").exists()


def test_a_folder_gives_the_same_bytes_again(inside: Path) -> None:
    write_pictures(inside / "pictures", *numbered("a/#.png", 15), *numbered("b/#.png", 15))
    written = []
    for _ in range(2):
        prepare.main(params(dataset="folder", folder="pictures", image_size=8))
        written.append([path.read_bytes() for path in sorted((inside / "data/prepared").iterdir())])
    assert len(written[0]) == 5
    assert written[0] == written[1]


def test_pixels_in_colour_are_not_binarized(inside: Path) -> None:
    write_pictures(inside / "pictures", *numbered("#.png", 30))
    changes = {"dataset": "folder", "folder": "pictures", "image_size": 8, "binarize": "static"}
    with pytest.raises(
        DatasetError, match=r"the images are in colour; set prepare\.binarize=none or prepare\.channels=1"
    ):
        prepare.main(params(**changes))
    prepare.main(params(**changes, channels=1))
    assert {part.kind for part in prepared()} == {PixelKind.BINARY}
