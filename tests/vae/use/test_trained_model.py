import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vae
from tests.settings import architecture
from vae.base.module_file import ModuleFileError
from vae.base.runtime import CPU, DeviceError, seeded
from vae.data.images import pixels
from vae.data.preparation import Preparation
from vae.model import inference
from vae.model.model_file import Origin, save_model
from vae.model.vae import VAE
from vae.use.pictures import PicturesError
from vae.use.trained_model import CodesError, TrainedModel

SHAPE = (1, 4, 6)


def trained(binarize: str = "none", **changes: Any) -> TrainedModel:
    """A small model with random weights."""
    with seeded(0, "tests of trained models"):
        network = VAE(architecture(**{"image_shape": SHAPE, "latent_dim": 3, **changes}))
    preparation = Preparation.model_validate(
        {"dataset": "folder", "fit": "pad", "background": "black", "binarize": binarize}
    )
    return TrainedModel(network, Origin(preparation=preparation, training_images="0123abcd"))


IMAGES = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


def test_a_loaded_model_gives_the_results_of_the_saved_one(tmp_path: Path) -> None:
    model, path = trained(), tmp_path / "vae.safetensors"
    save_model(path, model.network, model.origin)
    for given in (path, str(path)):
        loaded = vae.load(given, "cpu")
        assert loaded.origin == model.origin
        assert loaded.image_shape == SHAPE
        assert loaded.latent_dim == 3
        assert np.array_equal(loaded.encode(IMAGES), model.encode(IMAGES))


def test_a_model_file_that_does_not_say_how_images_were_prepared_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "vae.safetensors"
    save_model(path, trained().network)
    with pytest.raises(ModuleFileError, match=re.escape(f"{path}: does not say how") + ".*run dvc repro"):
        vae.load(path)


def test_a_device_that_the_machine_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"^abacus: no such device on this machine; choose one of cpu.*leave it out"):
        vae.load(tmp_path, "abacus")


def test_images_are_encoded_decoded_and_scored_as_by_the_functions_that_the_stages_call() -> None:
    model = trained()
    images = torch.from_numpy(IMAGES)
    posterior = inference.encode(model.network, images)
    assert np.array_equal(model.encode(IMAGES), posterior.mean.numpy())
    assert np.array_equal(model.posterior(IMAGES).log_variance, posterior.log_variance.numpy())
    assert np.array_equal(
        model.decode(model.encode(IMAGES)), inference.decode(model.network, posterior.mean, 0).numpy()
    )
    assert np.array_equal(model.reconstruct(IMAGES), model.decode(model.encode(IMAGES)))
    expected = inference.bounds(model.network, images, 7, 3).elbo.loss
    assert np.array_equal(model.negative_elbo(IMAGES, samples=7, seed=3), expected.numpy())


def test_the_negative_elbo_of_known_networks_is_that_of_pencil_and_paper() -> None:
    """All weights are zero: q(z|x) is the prior, each pixel is white with probability ½."""
    model = trained("threshold")
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.zero_()
    assert model.negative_elbo(IMAGES, samples=2) == pytest.approx(np.full(5, 24 * np.log(2)))


def test_a_single_image_gives_results_without_an_axis_for_several() -> None:
    model = trained()
    image = IMAGES[0, 0]
    assert np.allclose(model.encode(image), model.encode(IMAGES)[0], atol=1e-6)
    assert model.decode(model.encode(image)).shape == SHAPE
    assert model.reconstruct(image).shape == SHAPE
    assert model.posterior(image).log_variance.shape == (3,)
    assert f"{model.negative_elbo(image):.3f}" == f"{model.negative_elbo(Image.fromarray(image)):.3f}"


def test_tensors_give_tensors_and_everything_else_gives_arrays() -> None:
    model = trained()
    for images in (torch.from_numpy(IMAGES), [torch.from_numpy(IMAGES[0])]):
        codes = model.encode(images)
        assert isinstance(codes, torch.Tensor)
        for result in (model.reconstruct(images), model.negative_elbo(images), model.decode(codes)):
            assert isinstance(result, torch.Tensor)
            assert result.device == CPU
    for given in (IMAGES, [IMAGES[0]], [Image.fromarray(IMAGES[0, 0])]):
        assert all(isinstance(found, np.ndarray) for found in (*model.posterior(given), model.negative_elbo(given)))


def test_intensities_as_floats_have_the_codes_of_the_same_pixels() -> None:
    model = trained()
    assert np.array_equal(model.encode(pixels(torch.from_numpy(IMAGES)).numpy()), model.encode(IMAGES))
    assert model.encode(model.sample(2)).shape == (2, 3)


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_pixels_are_drawn_black_or_white_if_those_of_training_images_were_the_same_ones_for_a_seed(
    binarize: str,
) -> None:
    model = trained(binarize)
    prepared = model.prepare(IMAGES, seed=1)
    assert set(prepared.unique().tolist()) == {0, 255}
    assert torch.equal(prepared, model.prepare(IMAGES, seed=1))
    assert not torch.equal(prepared, model.prepare(IMAGES, seed=2))
    grey = np.full((2000, *SHAPE), 51, np.uint8)
    assert model.prepare(grey).float().mean() == pytest.approx(51, abs=5 * 102 / np.sqrt(2000 * 24))


def test_pixels_become_white_from_an_intensity_of_a_half_if_those_of_training_images_did() -> None:
    prepared = trained("threshold").prepare(IMAGES).numpy()
    assert np.array_equal(prepared, np.where(IMAGES >= 128, 255, 0))


def test_the_pixels_of_images_are_kept_if_those_of_training_images_were() -> None:
    assert np.array_equal(trained().prepare(IMAGES).numpy(), IMAGES)


@pytest.mark.parametrize("changes", [{}, {"network": "autoregressive"}, {"likelihood": "gaussian"}])
def test_the_same_call_gives_the_same_result_and_images_have_intensities_from_0_to_1(changes: dict[str, Any]) -> None:
    model = trained("dynamic" if not changes.get("likelihood") else "none", **changes)
    for first, second in (
        (model.sample(3, seed=4), model.sample(3, seed=4)),
        (model.reconstruct(IMAGES), model.reconstruct(IMAGES)),
        (model.negative_elbo(IMAGES), model.negative_elbo(IMAGES)),
    ):
        assert np.array_equal(first, second)
    samples = model.sample(3)
    assert samples.shape == (3, *SHAPE)
    assert samples.min() >= 0
    assert samples.max() <= 1
    assert not np.array_equal(samples, model.sample(3, seed=5))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 4)), "codes of shape 2×4; expected N×3, or 3 for one code"),
        (np.zeros((0, 3)), "codes of shape 0×3"),
        (np.zeros((1, 1, 3)), "codes of shape 1×1×3"),
        (np.array([0, np.inf, 0]), "codes that are not finite numbers"),
    ],
)
def test_what_are_no_codes_of_the_model_is_refused(codes: Any, message: str) -> None:
    with pytest.raises(CodesError, match=re.escape(message)):
        trained().decode(codes)


def test_no_samples_and_no_draws_are_refused() -> None:
    with pytest.raises(CodesError, match="0 samples; expected 1 at least"):
        trained().sample(0)
    with pytest.raises(CodesError, match="0 samples; expected 1 at least"):
        trained().negative_elbo(IMAGES, samples=0)


def test_images_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(PicturesError, match="no images"):
        trained().encode([])
