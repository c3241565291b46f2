import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from scoring.neighbours import CANDIDATES, DUPLICATE, NEAREST, TooFewImagesError, TrainingImages
from tests.scoring.material import COUNT, some_images, trained, training_images
from vae.data.images import PixelKind
from vae.model import inference

MODEL = trained().network


def codes(images: Tensor) -> Tensor:
    return inference.encode(MODEL, images).mean


def test_a_training_image_is_its_own_nearest_image_and_a_duplicate() -> None:
    data = training_images()
    found = TrainingImages(MODEL, data, 0).nearest(codes(data.images), data.images)
    assert found.image.tolist() == list(range(COUNT))
    assert found.difference.tolist() == [0.0] * COUNT


def test_the_distance_is_the_mean_of_those_to_the_nearest_codes() -> None:
    data, images = training_images(), some_images(6, seed=1)
    found = TrainingImages(MODEL, data, 0).nearest(codes(images), images)
    distances = np.linalg.norm(codes(images).numpy()[:, None] - codes(data.images).numpy()[None], axis=2)
    assert found.distance.numpy() == pytest.approx(np.sort(distances, 1)[:, :NEAREST].mean(1), rel=1e-5)


def test_the_nearest_image_has_the_nearest_pixels_among_the_images_of_the_nearest_codes() -> None:
    data, images = training_images(), some_images(6, seed=1)
    found = TrainingImages(MODEL, data, 0).nearest(codes(images), images)
    for row, (image, code) in enumerate(zip(images, codes(images), strict=True)):
        candidates = (codes(data.images) - code).norm(dim=1).argsort()[:CANDIDATES].tolist()
        differences = {
            index: float((data.images[index].double() - image.double()).square().mean().sqrt()) for index in candidates
        }
        best = min(differences, key=lambda index: differences[index])
        assert int(found.image[row]) == best
        assert float(found.difference[row]) == pytest.approx(differences[best], rel=1e-5)


def test_an_image_saved_again_as_jpeg_is_a_duplicate_and_another_image_is_not() -> None:
    data = training_images()
    file = io.BytesIO()
    Image.fromarray(data.images[5, 0].numpy()).save(file, "JPEG", quality=75)
    again = torch.from_numpy(np.array(Image.open(file)))[None, None]
    images = torch.cat([again, some_images(3, seed=1)])
    found = TrainingImages(MODEL, data, 0).nearest(codes(images), images)
    assert int(found.image[0]) == 5
    assert (found.difference <= DUPLICATE).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("kind", "in_grey"), [(PixelKind.GREY, True), (PixelKind.PROBABILITIES, True), (PixelKind.BINARY, False)]
)
def test_pixels_that_training_draws_are_compared_in_grey(kind: PixelKind, in_grey: bool) -> None:
    assert TrainingImages(MODEL, training_images(kind), 0).in_grey == in_grey


def test_too_few_training_images_are_refused() -> None:
    with pytest.raises(TooFewImagesError, match="9 training images; at least 10 are needed"):
        TrainingImages(MODEL, training_images(images=some_images(9)), 0)
