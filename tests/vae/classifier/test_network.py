import pytest
import torch
from torch import nn

from tests.vae.classifier.pictures import noise, random_classifier
from vae.classifier.network import FEATURES, ImageClassifier, shrinking
from vae.data.images import ImageShape, shrunk


@pytest.mark.parametrize("classes", [1, 2, 200])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 11), (1, 28, 28), (3, 64, 64), (1, 1, 1), (1, 97, 13)], ids=str)
def test_the_network_gives_64_features_and_a_logit_for_each_class_for_any_size_of_images(
    shape: ImageShape, classes: int
) -> None:
    network = ImageClassifier(shape, classes)
    assert network.features(noise(3, shape)).shape == (3, FEATURES)
    assert network(noise(3, shape)).shape == (3, classes)


def test_logits_are_linear_in_features_which_are_not_negative() -> None:
    network, x = random_classifier().network, noise(5)
    features = network.features(x)
    assert (features >= 0).all()
    assert (features > 0).any()
    torch.testing.assert_close(network(x), nn.functional.linear(features, network.output.weight, network.output.bias))


def test_the_network_halves_images_without_pooling() -> None:
    layers = list(ImageClassifier((1, 28, 28), 10).convolutions)
    assert {type(layer) for layer in layers} == {nn.Conv2d, nn.ReLU}


def test_activations_of_drawn_weights_keep_the_size_of_the_input_from_layer_to_layer() -> None:
    network = random_classifier((3, 48, 48), 10).network
    x = noise(20, (3, 48, 48)) - 0.5
    assert 0.1 < float(network(x).detach().square().mean() / (3 * x.square().mean())) < 10


def test_weights_depend_on_the_generator_only() -> None:
    first, again, other = (random_classifier(seed=seed).network(noise(2)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_scaled_features_leave_the_logits_as_they_are() -> None:
    network, x = random_classifier().network, noise(5)
    features, logits = network.features(x), network(x)
    network.scale_features(0.25)
    torch.testing.assert_close(network.features(x), features / 4)
    torch.testing.assert_close(network(x), logits)


@pytest.mark.parametrize(
    ("shape", "factor"), [((1, 28, 28), 1), ((3, 48, 48), 1), ((3, 49, 9), 2), ((3, 64, 64), 2), ((3, 256, 256), 6)]
)
def test_images_above_48_pixels_are_shrunk_by_averaging(shape: ImageShape, factor: int) -> None:
    x = noise(2, shape)
    small = shrunk(x, shrinking(shape))
    assert small.shape[2:] == tuple(-(-side // factor) for side in shape[1:])
    assert (small is x) == (factor == 1)
    torch.testing.assert_close(small[:, :, 0, 0], x[:, :, :factor, :factor].mean((2, 3)))
    bottom, right = ((side - 1) // factor * factor for side in shape[1:])  # where the last square starts, maybe cut off
    torch.testing.assert_close(small[:, :, -1, -1], x[:, :, bottom:, right:].mean((2, 3)))
    network = random_classifier(shape).network
    torch.testing.assert_close(network.features(x), network.features(small))
