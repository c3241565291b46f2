from dataclasses import replace

import pytest
import torch

from tests.vae.classifier.pictures import noise, stripes
from vae.base.runtime import CPU, generator
from vae.classifier.classifier import ClassifierKind, accuracy
from vae.classifier.training import SHIFT, learning_rate, shifted, small, train_classifier
from vae.data.images import LabelledImages, PixelKind, at_threshold, hold_out, pixels
from vae.data.sources import load_source


@pytest.mark.slow
def test_the_classifier_of_digits_is_right_on_97_percent_of_test_digits_and_its_probabilities_are_calibrated() -> None:
    train, test = load_source("digits", 0)
    classifier = train_classifier(hold_out(train, 0.1, 0, "validation split")[0], 0, CPU)
    probabilities = classifier.probabilities(pixels(test.images))
    right = accuracy(probabilities, test.labels)
    assert classifier.kind == ClassifierKind.TRAINED
    assert right > 0.97
    assert float(probabilities.amax(1).mean()) == pytest.approx(right, abs=0.015)


@pytest.mark.parametrize("classes", [(0, 1), (3, 1), (0, 2, 4)], ids=str)
def test_a_class_without_training_images_is_never_predicted(classes: tuple[int, ...]) -> None:
    data = stripes(150, classes)
    probabilities = train_classifier(data, 0, CPU).probabilities(pixels(data.images))
    assert probabilities.shape == (150, 5)
    assert accuracy(probabilities, data.labels) == 1
    absent = [index for index in range(5) if index not in classes]
    assert float(probabilities[:, absent].mean()) < 0.02


@pytest.mark.parametrize("kind", list(PixelKind), ids=str)
def test_training_repeats_bit_for_bit_with_its_seed_only(kind: PixelKind) -> None:
    data = stripes(40, (0, 1, 2), kind=kind)
    data = at_threshold(data) if kind == PixelKind.BINARY else data
    first, again, other = (train_classifier(data, seed, CPU).probabilities(noise(5)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_leaves_the_random_numbers_of_others_as_they_are() -> None:
    before = torch.get_rng_state()
    train_classifier(stripes(20, (0, 1)), 0, CPU)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
@pytest.mark.parametrize("count", [1, 30])
def test_images_of_a_single_class_give_a_network_with_random_weights(names: tuple[str, ...], count: int) -> None:
    data = replace(stripes(count, (0,)), class_names=names)
    classifier = train_classifier(data, 0, CPU)
    assert classifier.kind == ClassifierKind.RANDOM
    assert classifier.classes == len(names)
    assert torch.isfinite(classifier.features(pixels(data.images))).all()


@pytest.mark.parametrize("classes", [(0,), (0, 1, 2)], ids=str)
def test_the_variances_of_the_features_over_training_images_add_up_to_one(classes: tuple[int, ...]) -> None:
    data = stripes(60, classes)
    features = train_classifier(data, 0, CPU).features(pixels(data.images))
    assert float(features.double().var(0, correction=0).sum()) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_images_without_contrast_are_no_error(value: int) -> None:
    data = LabelledImages(torch.full((20, 3, 8, 8), value, dtype=torch.uint8), torch.arange(20) % 2, ("a", "b"))
    probabilities = train_classifier(data, 0, CPU).probabilities(pixels(data.images))
    torch.testing.assert_close(probabilities, torch.full((20, 2), 0.5, dtype=torch.float64), atol=0.2, rtol=0)


def test_accuracy_is_the_share_of_images_whose_label_is_most_probable() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.75, 0.25], [1.0, 0.0, 0.0], [0.25, 0.0, 0.75]])
    assert accuracy(probabilities, torch.tensor([0, 1, 2, 2])) == 0.75


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    rates = [learning_rate(step / 100) for step in range(101)]
    assert rates[0] == 0
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert rates.index(max(rates)) == 10


def test_shifts_move_the_centre_of_an_image_by_up_to_half_a_pixel_and_keep_its_brightness() -> None:
    images = torch.zeros(2000, 1, 8, 8, dtype=torch.uint8)
    images[:, :, 3:5, 3:5] = 200
    moved = shifted(images, generator(0, "test")).double()
    assert moved.sum((1, 2, 3)).sub(800).abs().max() <= 8  # rounding of at most 16 pixels
    coordinates = torch.arange(8, dtype=torch.float64)
    for axis in (2, 3):
        other = 5 - axis
        centres = (moved.sum((1, other)) * coordinates).sum(1) / moved.sum((1, 2, 3)) - 3.5
        assert centres.abs().max() <= SHIFT + 0.01
        assert float(centres.mean()) == pytest.approx(0, abs=0.03)
        assert float(centres.std()) == pytest.approx(SHIFT / 3**0.5, rel=0.05)  # uniform


def test_shifts_of_colour_images_repeat_the_border_in_place_of_black() -> None:
    white = torch.full((50, 3, 8, 8), 255, dtype=torch.uint8)
    assert torch.equal(shifted(white, generator(0, "test")), white)
    assert (shifted(white[:, :1], generator(0, "test")) < 255).any()


def test_large_colour_images_are_learned_from_their_shrunk_versions() -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    images = torch.randint(0, 150, (60, 3, 130, 100), dtype=torch.uint8, generator=random)
    images[labels == 1, 0] += 100
    data = LabelledImages(images, labels, ("grey", "red"))
    assert small(data).shape == (3, 44, 34)
    assert accuracy(train_classifier(data, 0, CPU).probabilities(images), labels) == 1


@pytest.mark.parametrize("classes", [2, 200])
def test_two_to_two_hundred_classes_are_learned(classes: int) -> None:
    random = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 200, (classes, 3, 1, 1), dtype=torch.uint8, generator=random)
    labels = torch.arange(4 * classes) % classes
    data = LabelledImages(colours[labels].expand(-1, -1, 8, 8).contiguous(), labels, tuple(map(str, range(classes))))
    assert train_classifier(data, 0, CPU).probabilities(data.images).shape == (4 * classes, classes)
