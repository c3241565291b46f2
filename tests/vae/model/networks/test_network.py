import sys
from math import prod
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from tests.settings import PLAIN_ARCHITECTURE, architecture, train_params
from vae.base.params import ModelParams
from vae.base.runtime import seeded
from vae.data.images import LabelledImages, pixels
from vae.model import inference, networks
from vae.model.architecture import Architecture
from vae.model.networks import autoregressive, conv, mlp, network
from vae.model.networks.network import NoExpectedImageError, build, dense_layers
from vae.model.objective import training_loss
from vae.model.vae import VAE
from vae.training.loop import train

IMAGE_SHAPE = (1, 4, 8)
LATENT_DIM = 2
IMAGES = 12
NETWORK_NAMES = get_args(ModelParams.model_fields["network"].annotation)


class ToyEncoder(network.Encoder):
    """μ and log σ² that are affine in the pixels."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.mean = nn.Linear(prod(architecture.image_shape), architecture.latent_dim)
        self.log_variance = nn.Linear(prod(architecture.image_shape), architecture.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(x.flatten(1)), self.log_variance(x.flatten(1))


class ToyDecoder(network.Decoder):
    """Logits that are affine in the code."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.dense = nn.Linear(architecture.latent_dim, prod(architecture.image_shape))

    def forward(self, z: Tensor) -> Tensor:
        output: Tensor = self.dense(z).view(len(z), *IMAGE_SHAPE)
        return output


class PixelDecoder(network.Decoder):
    """Logits from the code and from the pixels, which it records; every image that it draws is grey."""

    needs_pixels = True
    batch_size = 5

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.dense = nn.Linear(architecture.latent_dim, prod(architecture.image_shape))
        self.seen: list[Tensor] = []

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        self.seen.append(x)
        from_code: Tensor = self.dense(z).view(len(z), *IMAGE_SHAPE)
        return from_code + x.roll(1, 3)

    def drawn_images(self, z: Tensor, *_: Any, **__: Any) -> Tensor:
        return torch.full((len(z), *IMAGE_SHAPE), 0.5)


def model_with(decoder: type[network.Decoder], monkeypatch: pytest.MonkeyPatch) -> VAE:
    """A model of a network "toy", for which nothing is added but its module."""
    module = ModuleType("vae.model.networks.toy")
    module.__dict__.update(Encoder=ToyEncoder, Decoder=decoder)
    monkeypatch.setitem(sys.modules, "vae.model.networks.toy", module)
    values = {**PLAIN_ARCHITECTURE, "network": "toy", "image_shape": IMAGE_SHAPE, "latent_dim": LATENT_DIM}
    with seeded(0, "weights"):
        return VAE(Architecture.model_construct(**values))


def some_images() -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (IMAGES, *IMAGE_SHAPE), dtype=torch.uint8, generator=random)


def codes(count: int) -> Tensor:
    return torch.randn(count, LATENT_DIM, generator=torch.Generator().manual_seed(2))


def test_every_network_that_a_parameter_can_name_is_a_module_and_every_module_can_be_named() -> None:
    assert {module.name for module in iter_modules(networks.__path__)} == {"network", *NETWORK_NAMES}


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_build_makes_the_encoder_and_decoder_of_the_named_module(name: str) -> None:
    module = {"mlp": mlp, "conv": conv, "autoregressive": autoregressive}[name]
    encoder, decoder = build(architecture(network=name, image_shape=IMAGE_SHAPE))
    assert type(encoder) is module.Encoder
    assert type(decoder) is module.Decoder
    assert isinstance(encoder, network.Encoder)
    assert isinstance(decoder, network.Decoder)


@pytest.mark.parametrize("decoder", [ToyDecoder, PixelDecoder])
def test_a_network_added_as_one_module_is_encoded_decoded_and_evaluated_like_any_other(
    decoder: type[network.Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = model_with(decoder, monkeypatch), some_images()
    mean, log_variance = inference.encode(model, images)
    assert mean.shape == log_variance.shape == (IMAGES, LATENT_DIM)
    assert inference.decode(model, codes(7), seed=0).shape == (7, *IMAGE_SHAPE)
    elbo = inference.negative_elbo(model, images, seed=0)
    assert elbo.loss.shape == (IMAGES,)
    assert elbo.kl.shape == (IMAGES, LATENT_DIM)
    bound = inference.bounds(model, images, samples=50, seed=0).importance_weighted
    assert bound.mean() > -elbo.loss.mean()


@pytest.mark.parametrize("decoder", [ToyDecoder, PixelDecoder])
@pytest.mark.parametrize("samples", [1, 3])
def test_a_network_added_as_one_module_is_trained_like_any_other(
    decoder: type[network.Decoder], samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_with(decoder, monkeypatch)
    noise = codes(IMAGES) if samples == 1 else codes(samples * IMAGES).view(IMAGES, samples, LATENT_DIM)
    before = training_loss(model, pixels(some_images()), noise).loss.item()
    data = LabelledImages(some_images(), torch.zeros(IMAGES, dtype=torch.int64), ("one",))
    params = train_params(epochs=30, batch_size=5, learning_rate=0.02, importance_samples=samples)
    train(model, data, data[:0], params, lambda _: None)
    assert training_loss(model, pixels(some_images()), noise).loss.item() < before - 1


def test_a_decoder_that_needs_pixels_gets_those_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = model_with(PixelDecoder, monkeypatch), pixels(some_images())
    assert isinstance(model.decoder, PixelDecoder)
    with torch.no_grad():
        log_likelihood = model.log_likelihood(x, codes(IMAGES))
        logits = model.decoder.dense(codes(IMAGES)).view(x.shape) + x.roll(1, 3)
    expected = -nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(log_likelihood, expected)
    (seen,) = model.decoder.seen
    assert torch.equal(seen, x)


def test_evaluation_passes_as_many_images_at_once_as_the_decoder_says(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(PixelDecoder, monkeypatch)
    assert isinstance(model.decoder, PixelDecoder)
    inference.negative_elbo(model, some_images(), seed=0)
    assert [len(x) for x in model.decoder.seen] == [5, 5, 2]


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, [7]), (1, [1] * 7), (5, [5, 2])])
def test_expected_images_of_a_decoder_are_the_likelihoods_mean_batch_by_batch(
    batch_size: int | None, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, z = model_with(ToyDecoder, monkeypatch), codes(7)
    expected = torch.sigmoid(model.decoder(z))
    decoded: list[int] = []
    model.decoder.register_forward_pre_hook(lambda _, inputs: decoded.append(len(inputs[0])))
    images = inference.expected_images(model, z, batch_size=batch_size)
    torch.testing.assert_close(images, expected)
    assert decoded == sizes


def test_a_decoder_that_needs_pixels_refuses_expected_images_and_says_which_networks_have_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_with(PixelDecoder, monkeypatch)
    with pytest.raises(NoExpectedImageError, match=r"model\.network: .* draw images instead, or .* mlp or conv"):
        inference.expected_images(model, codes(3))


def test_pictures_show_expected_images_or_those_that_the_decoder_draws_if_it_has_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    z = codes(3)
    expecting, drawing = (model_with(decoder, monkeypatch) for decoder in (ToyDecoder, PixelDecoder))
    assert torch.equal(inference.decode(expecting, z, seed=0), inference.expected_images(expecting, z))
    assert torch.equal(inference.decode(drawing, z, seed=0), torch.full((3, *IMAGE_SHAPE), 0.5))


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_layers_of_a_decoder_one_after_the_other_give_its_output(name: str) -> None:
    _, decoder = build(architecture(network=name, image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM))
    assert decoder.layers is not None
    torch.testing.assert_close(nn.Sequential(*decoder.layers)(codes(3)), decoder(codes(3)))


def test_a_decoder_that_is_no_sequence_of_layers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_with(ToyDecoder, monkeypatch).decoder.layers is None
    assert build(architecture(network="autoregressive", image_shape=IMAGE_SHAPE))[1].layers is None


@pytest.mark.parametrize(
    ("name", "at_minus_one", "at_two"),
    [
        ("relu", 0.0, 2.0),
        ("tanh", -0.761594, 0.964028),
        ("gelu", -0.158655, 1.954500),  # a·Φ(a)
        ("silu", -0.268941, 1.761594),  # a·sigmoid(a)
    ],
)
def test_dense_layers_end_in_the_named_activation(name: str, at_minus_one: float, at_two: float) -> None:
    layers = dense_layers([2, 2], name)
    with torch.no_grad():
        for weight in layers.parameters():
            weight.copy_(torch.eye(2) if weight.ndim == 2 else torch.zeros(2))
        activity = layers(torch.tensor([[-1.0, 2.0]]))
    torch.testing.assert_close(activity, torch.tensor([[at_minus_one, at_two]]), rtol=0, atol=2e-6)
