"""What the ladders degrade, and by how much."""

from pathlib import Path

import pytest
import torch
from dvc.utils.hydra import apply_overrides  # called by dvc exp run

from calibration import inference, material, posterior_collapse, representation, samples, training_length
from calibration.samples import Classified
from tests.settings import architecture
from vae.base.params import load_params
from vae.data.images import LabelledImages, PixelKind
from vae.diagnostics.training_length import forecast
from vae.diagnostics.verdict import BETWEEN_MODELS
from vae.model.inference import Posterior
from vae.model.vae import VAE

ROOT = Path(__file__).parents[2]
NAMES = tuple("abc")


def random_images(count: int, kind: PixelKind = PixelKind.GREY) -> LabelledImages:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 1, 4, 4), generator=random).to(torch.uint8)
    if kind == PixelKind.BINARY:
        images = (images >= 100).to(torch.uint8) * 255
    return LabelledImages(images, torch.arange(count) % len(NAMES), NAMES, kind)


def test_the_digits_are_prepared_and_trained_as_params_yaml_says() -> None:
    params = load_params(ROOT / "params.yaml")
    digits = material.digits()
    assert digits.params == params
    assert digits.epochs == params.train.epochs


def test_the_parameters_of_a_recipe_are_those_that_dvc_sets(tmp_path: Path) -> None:
    options = (ROOT / "recipes/mnist").read_text().replace("--set-param=", "").split()
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(path, options)
    assert material.settings("mnist") == load_params(path)


def test_a_shifted_encoder_moves_each_mean_by_the_given_number_of_standard_deviations() -> None:
    model = VAE(architecture())
    x = torch.rand(5, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    mean, log_variance = model.posterior(x)
    moved, unchanged = inference.shifted(model, 2.0).posterior(x)
    torch.testing.assert_close((moved - mean) / (0.5 * log_variance).exp(), torch.full_like(mean, 2.0))
    assert unchanged.equal(log_variance)
    assert model.posterior(x)[0].equal(mean), "the model itself has changed"


def test_dimensions_that_are_switched_off_have_the_prior_as_their_posterior() -> None:
    posterior = Posterior(torch.ones(3, 4), torch.full((3, 4), -1.0))
    mean, log_variance = posterior_collapse.without(posterior, 3)
    assert mean.tolist() == [[0, 0, 0, 1]] * 3
    assert log_variance.tolist() == [[0, 0, 0, -1]] * 3
    assert posterior.mean.eq(1).all()


@pytest.mark.parametrize("images", [100, 300, 1000, 1294, 60_000])
def test_models_of_any_number_of_images_take_about_the_same_number_of_steps(images: int) -> None:
    digits = material.digits()
    steps = digits.epochs_for(images) * -(-images // digits.params.train.batch_size)
    assert steps == pytest.approx(material.STEPS, rel=0.1)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_shuffled_labels_keep_their_frequencies_and_differ_in_at_most_the_given_share(share: float) -> None:
    labels = torch.arange(1000) % 10
    changed = representation.shuffled(labels, share)
    assert changed.bincount().equal(labels.bincount())
    # One in ten of the shuffled labels is right by chance.
    assert float((changed != labels).double().mean()) == pytest.approx(0.9 * share, abs=0.03)


def test_averages_are_of_two_images_of_different_classes() -> None:
    data = random_images(60)
    mixed = samples.averages(data, 20)
    assert len(mixed) == 20
    for average in mixed.images.int():
        pairs = [
            (i, j)
            for i in range(60)
            for j in range(60)
            if data.labels[i] != data.labels[j] and ((data.images[i].int() + data.images[j].int()) // 2).equal(average)
        ]
        assert pairs


def test_averages_of_black_and_white_images_are_black_and_white_and_keep_pixels_on_which_both_agree() -> None:
    white = LabelledImages(
        torch.full((30, 1, 2, 2), 255, dtype=torch.uint8), torch.arange(30) % 3, NAMES, PixelKind.BINARY
    )
    assert samples.averages(white, 10).images.eq(255).all()
    drawn = samples.averages(random_images(300, PixelKind.BINARY), 200)
    assert set(drawn.images.unique().tolist()) == {0, 255}
    assert drawn.kind == PixelKind.BINARY


def test_noise_has_the_values_of_each_pixel_and_no_image_of_the_data() -> None:
    data = random_images(50)
    changed = samples.noise(data)
    assert changed.images.sort(0).values.equal(data.images.sort(0).values)
    originals = {tuple(image.flatten().tolist()) for image in data.images}
    assert not originals & {tuple(image.flatten().tolist()) for image in changed.images}


def test_a_share_of_images_is_replaced_in_features_and_probabilities_alike() -> None:
    first = Classified(torch.zeros(10, 64), torch.zeros(10, 3))
    second = Classified(torch.ones(10, 64), torch.ones(10, 3))
    mixed = first.partly_replaced(second, 0.4)
    assert mixed.features[:, 0].tolist() == mixed.probabilities[:, 0].tolist() == [0] * 6 + [1] * 4


def test_what_came_is_the_fall_of_the_loss_until_ten_times_as_many_epochs() -> None:
    losses = [100 + 2 * epoch**-0.5 for epoch in range(1, 1001)]
    came = 2 * (100**-0.5 - 1000**-0.5)
    text = training_length.in_words(forecast(losses[:100]), losses, 100, BETWEEN_MODELS)
    assert text.startswith(f"{came:.2f} (")
    assert text.endswith(f"came {came:.2f}")
    assert "came" not in training_length.in_words(forecast(losses[:101]), losses, 101, BETWEEN_MODELS)
