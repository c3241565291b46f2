"""Each ladder on digits: healthy where nothing is degraded, and never better further down."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import log

import pytest

from calibration import (
    blurring,
    holes,
    inference,
    material,
    overfitting,
    posterior_collapse,
    representation,
    samples,
    training_length,
)
from calibration.ladder import Ladder, Reading
from calibration.material import Material
from vae.data.images import black_and_white
from vae.diagnostics.verdict import Level

pytestmark = pytest.mark.slow

EPOCHS = 200  # of the shared model

ORDER = [Level.HEALTHY, Level.WARNING, Level.FAILURE]


@pytest.fixture(scope="module")
def digits() -> Material:
    return replace(material.digits(), epochs=EPOCHS)


def levels(readings: Mapping[str, Reading], rungs: Sequence[str]) -> list[Level]:
    return [readings[rung].verdict.level for rung in rungs if rung in readings]


def require_monotone(found: Sequence[Level]) -> None:
    """Fail unless the first level is healthy, the last a failure, and none better than the one before it."""
    assert found[0] is Level.HEALTHY, found
    assert found[-1] is Level.FAILURE, found
    assert all(ORDER.index(better) <= ORDER.index(worse) for better, worse in pairwise(found)), found


@pytest.mark.parametrize(
    "ladder",
    [
        blurring.BLUR,
        posterior_collapse.LADDER,
        overfitting.LADDER,
        inference.LADDER,
        holes.LADDER,
        representation.LADDER,
    ],
    ids=lambda ladder: ladder.title,
)
def test_a_ladder_leads_from_healthy_to_failure_and_never_back(ladder: Ladder, digits: Material) -> None:
    readings = ladder.read(digits)
    assert set(readings) <= set(ladder.rungs)
    require_monotone(levels(readings, ladder.rungs))


@pytest.mark.parametrize("ladder", [samples.QUALITY, samples.CLASSES], ids=lambda ladder: ladder.title)
@pytest.mark.parametrize("name", ["averages", "noise"])
def test_samples_lead_from_healthy_to_failure_as_more_of_them_are_replaced(
    name: str, ladder: Ladder, digits: Material
) -> None:
    readings = ladder.read(digits)
    assert set(readings) == set(ladder.rungs)
    require_monotone(levels(readings, [samples.CLEAN, *(samples.replaced(name, share) for share in samples.SHARES)]))


def test_samples_lead_from_healthy_to_failure_as_more_classes_are_missing(digits: Material) -> None:
    readings = samples.CLASSES.read(digits)
    missing = [samples.left_out(classes) for classes in samples.CLASSES_LEFT_OUT]
    require_monotone(levels(readings, [samples.CLEAN, *missing]))


def test_a_training_run_is_judged_after_each_number_of_epochs_that_it_has(digits: Material) -> None:
    readings = training_length.LADDER.read(digits)
    assert list(readings) == ["100 epochs", "50 epochs", "30 epochs", "10 epochs", "5 epochs"]
    assert readings["5 epochs"].verdict.level is not Level.HEALTHY
    assert "came" not in readings["30 epochs"].measure
    assert "came" in readings["10 epochs"].measure


def test_blur_of_black_and_white_images_is_left_out(digits: Material) -> None:
    train, test = (black_and_white(data, 0, "pixels") for data in (digits.train, digits.test))
    binary = Material("binary", train, train[:0], test, digits.params, 1)
    assert blurring.BLUR.read(binary) == blurring.NOISE.read(binary) == {}


def test_reconstructions_with_more_noise_than_the_mean_image_has_error_are_not_judged(digits: Material) -> None:
    readings = blurring.NOISE.read(digits)
    found = levels(readings, blurring.NOISE.rungs)
    assert found[0] is Level.FAILURE  # blurred, and without noise
    assert found[-1] is Level.NOT_JUDGED
    for reading, level in zip(readings.values(), found, strict=True):
        sharpness, error = (float(number.rstrip("%")) for number in reading.measure.split(", "))
        assert (error > 1 or sharpness > 150) == (level is Level.NOT_JUDGED)


def test_models_of_8_bit_pixels_are_judged_in_bits_per_dimension(digits: Material) -> None:
    model = digits.params.model.model_copy(update={"likelihood": "discretized_logistic_mixture"})
    of_8_bits = replace(digits, params=digits.params.model_copy(update={"model": model}))
    assert of_8_bits.between_models.warning == pytest.approx(0.08 * 64 * log(2))
    assert digits.between_models.warning == 0.8


def test_the_same_ladder_has_the_same_readings_each_time(digits: Material) -> None:
    again = replace(material.digits(), epochs=EPOCHS)
    assert posterior_collapse.LADDER.read(again) == posterior_collapse.LADDER.read(digits)
