import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from tests.vae.classifier.pictures import noise, random_classifier
from vae.base.module_file import ModuleFileError
from vae.base.runtime import CPU
from vae.base.tensor_file import write_tensors
from vae.classifier.classifier import Classifier, ClassifierKind
from vae.classifier.classifier_file import CLASSIFIER_FILE, load_classifier, save_classifier
from vae.data.images import ImageShape

DIGITS: ImageShape = (1, 8, 8)
DAMAGED = "damaged, or not a classifier of this version"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "classifier.safetensors"


@pytest.fixture
def saved(path: Path) -> Path:
    save_classifier(path, random_classifier())
    return path


def write(path: Path, weights: dict[str, torch.Tensor], **changes: Any) -> None:
    description = {"kind": "classifier", "image_shape": [1, 8, 8], "classes": 5, **changes}
    write_tensors(path, weights, CLASSIFIER_FILE.key, description)


@pytest.mark.parametrize("kind", list(ClassifierKind), ids=str)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 20)], ids=str)
def test_a_loaded_classifier_gives_the_same_features_and_probabilities(
    path: Path, shape: ImageShape, kind: ClassifierKind
) -> None:
    classifier, x = Classifier(random_classifier(shape).network, kind), noise(3, shape)
    save_classifier(path, classifier)
    loaded = load_classifier(path, CPU, shape)
    assert (loaded.kind, loaded.classes) == (kind, 5)
    assert torch.equal(loaded.features(x), classifier.features(x))
    assert torch.equal(loaded.probabilities(x), classifier.probabilities(x))


def test_the_same_classifier_gives_the_same_bytes(path: Path) -> None:
    files = []
    for _ in range(2):
        save_classifier(path, random_classifier())
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_a_missing_classifier_file_is_reported_with_its_path_and_what_to_do(path: Path) -> None:
    with pytest.raises(ModuleFileError, match=re.escape(f"{path}: no such file; run dvc repro prepare")):
        load_classifier(path, CPU, DIGITS)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_classifier_file_is_refused(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ModuleFileError, match=re.escape(f"{saved}: {DAMAGED}")):
        load_classifier(saved, CPU, DIGITS)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {CLASSIFIER_FILE.key: "no JSON"},
        {CLASSIFIER_FILE.key: "[1, 8, 8]"},
        {CLASSIFIER_FILE.key: "{}"},
        {CLASSIFIER_FILE.key: '{"kind": "classifier", "image_shape": [1, 8, 8], "classes": 5}'},
    ],
)
def test_a_classifier_file_without_a_description_or_checksum_is_refused(
    saved: Path, metadata: dict[str, str] | None
) -> None:
    saved.write_bytes(save(load_file(saved), metadata))
    with pytest.raises(ModuleFileError, match=f"{DAMAGED}.*; delete it and run dvc repro prepare$"):
        load_classifier(saved, CPU, DIGITS)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "oracle"},
        {"image_shape": [8, 8]},
        {"image_shape": [1, 8, "8"]},
        {"image_shape": 8},
        {"image_shape": [3, 8, 8]},
        {"image_shape": [100_000, 100_000, 100_000]},
        {"classes": 0},
        {"classes": 6},
        {"classes": 10**30},
    ],
    ids=str,
)
def test_a_classifier_file_with_an_invalid_or_other_description_is_refused(
    saved: Path, changes: dict[str, object]
) -> None:
    write(saved, load_file(saved), **changes)
    with pytest.raises(ModuleFileError, match=f"{DAMAGED}.*; delete it and run dvc repro prepare$"):
        load_classifier(saved, CPU, DIGITS)


def test_a_classifier_file_that_lacks_a_weight_is_refused_with_the_name_of_the_weight(saved: Path) -> None:
    weights = load_file(saved)
    del weights["output.bias"]
    write(saved, weights)
    with pytest.raises(ModuleFileError, match=r"damaged.*output\.bias"):
        load_classifier(saved, CPU, DIGITS)


def test_a_classifier_file_with_weights_that_are_not_float32_is_refused(saved: Path) -> None:
    write(saved, {name: weight.half() for name, weight in load_file(saved).items()})
    with pytest.raises(ModuleFileError, match="not float32"):
        load_classifier(saved, CPU, DIGITS)


def test_a_classifier_of_images_of_another_shape_is_refused_with_both_shapes(saved: Path) -> None:
    with pytest.raises(ModuleFileError, match=r"a classifier for 1×8×8 images, .* 1×28×28 images; run dvc repro"):
        load_classifier(saved, CPU, (1, 28, 28))
