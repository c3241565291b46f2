import pytest
import torch

from tests.vae.classifier.pictures import noise, random_classifier
from vae.classifier import classifier as module
from vae.data.images import ImageShape, pixels


def test_probabilities_are_the_softmax_of_the_logits_in_float64() -> None:
    classifier, x = random_classifier(), noise(7)
    probabilities = classifier.probabilities(x)
    assert probabilities.dtype == torch.float64
    torch.testing.assert_close(probabilities, classifier.network(x).detach().double().softmax(1))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(7, dtype=torch.float64))


def test_features_are_those_of_the_network_in_float32_without_a_gradient() -> None:
    classifier, x = random_classifier(), noise(7)
    features = classifier.features(x)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(features, classifier.network.features(x).detach())


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_results_do_not_depend_on_the_batch_size(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, x = random_classifier(), noise(7)
    features, probabilities = classifier.features(x), classifier.probabilities(x)
    monkeypatch.setattr(module, "BATCH_SIZE", batch_size)
    torch.testing.assert_close(classifier.features(x), features)
    torch.testing.assert_close(classifier.probabilities(x), probabilities, rtol=1e-5, atol=1e-7)


def test_no_images_give_no_rows() -> None:
    classifier = random_classifier()
    assert classifier.features(noise(0)).shape == (0, 64)
    assert classifier.probabilities(noise(0)).shape == (0, 5)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 200, 130)], ids=str)
def test_images_in_8_bits_give_the_features_of_their_intensities(shape: ImageShape) -> None:
    classifier = random_classifier(shape)
    images = (255 * noise(3, shape)).to(torch.uint8)
    assert torch.equal(classifier.features(images), classifier.features(pixels(images)))
    assert torch.equal(classifier.probabilities(images), classifier.probabilities(pixels(images)))


def test_large_images_are_classified_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_SIZE", 72)
    sizes: list[int] = []
    classifier = random_classifier((3, 256, 256))

    def features(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return torch.zeros(len(x), 64)

    monkeypatch.setattr(classifier.network, "features", features)
    classifier.features(torch.zeros(5, 3, 256, 256, dtype=torch.uint8))
    assert sizes == [2, 2, 1]
