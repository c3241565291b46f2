from math import log

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis as independent_mahalanobis

from scoring import scores
from scoring.scores import Typical, joined, mahalanobis, path_norms, scores_of, typical
from tests.scoring.material import COUNT, SIDE, some_images, trained, training_images, without_weights
from vae.data import codecs
from vae.data.images import pixels
from vae.model import inference

PIXELS = SIDE * SIDE
NO_REFERENCE = Typical(torch.tensor([100.0, 140.0], dtype=torch.float64), None, None)


def test_the_negative_elbo_of_a_known_model_is_that_of_pencil_and_paper_without_an_error() -> None:
    model = without_weights(trained()).network
    found = scores_of(model, some_images(), some_images(), torch.zeros(COUNT), NO_REFERENCE, 0)
    assert found.negative_elbo.numpy() == pytest.approx(np.full(COUNT, PIXELS * log(2)))
    assert found.standard_error.numpy() == pytest.approx(np.zeros(COUNT), abs=1e-4)


def test_the_typicality_is_the_distance_to_the_mean_negative_elbo_of_training_images_on_either_side() -> None:
    model = trained().network
    found = scores_of(model, some_images(), some_images(), torch.zeros(COUNT), NO_REFERENCE, 0)
    assert torch.equal(found.typicality, (found.negative_elbo - 120).abs())


def test_the_standard_error_is_that_of_the_average_over_draws() -> None:
    """Over many seeds, averages spread as the standard error says."""
    model = trained().network
    image = some_images(1).repeat(400, 1, 1, 1)  # each copy has draws of its own
    mean, standard_error = scores.averaged_negative_elbo(model, image, 0)
    assert float(standard_error.square().mean().sqrt()) == pytest.approx(float(mean.std()), rel=0.15)


def test_the_corrected_score_is_the_negative_elbo_less_what_the_better_codec_needs() -> None:
    images = some_images(5)
    found = scores_of(trained().network, images, images, torch.zeros(5), NO_REFERENCE, 0)
    bits = codecs.least_bits(images)
    assert bits is not None
    assert found.complexity_corrected is not None
    assert torch.allclose(found.complexity_corrected, found.negative_elbo - log(2) * bits)


def test_the_bits_of_an_image_are_those_of_the_smaller_of_two_files_each() -> None:
    images = torch.cat([some_images(3), torch.zeros(1, 1, SIDE, SIDE, dtype=torch.uint8)])
    bits = codecs.least_bits(images)
    assert bits is not None
    for image, found in zip(images, bits, strict=True):
        total = codecs.codec_bits(image[None])
        assert total is not None
        assert float(found) == pytest.approx(min(total.png, total.webp) * PIXELS)
    assert bits[-1] < bits[:-1].min()
    assert codecs.least_bits(images[..., :8]) is None  # too small
    assert codecs.least_bits(images.expand(-1, 2, -1, -1)) is None  # neither grey nor RGB


def test_the_norms_of_a_known_model_are_those_of_pencil_and_paper() -> None:
    images = some_images(4)
    norms = path_norms(without_weights(trained()).network, images)
    assert norms is not None
    assert torch.allclose(norms[:, 0], (pixels(images) - 0.5).flatten(1).norm(dim=1).double(), atol=1e-5)
    assert norms[:, 1].tolist() == [0.0] * 4
    assert norms[:, 2].numpy() == pytest.approx(np.full(4, 3**0.5))


def test_the_likelihood_path_is_the_mahalanobis_distance_of_the_norms_from_those_of_training_images() -> None:
    data, model = training_images(), trained().network
    reference, norms = typical(model, data, 0), path_norms(model, some_images(6, seed=1))
    of_training = path_norms(model, data.images)
    assert norms is not None
    assert of_training is not None
    inverse = np.linalg.inv(np.cov(of_training.numpy().T))
    expected = [independent_mahalanobis(each, of_training.mean(0).numpy(), inverse) for each in norms.numpy()]
    found = mahalanobis(norms, reference)
    assert found is not None
    assert found.numpy() == pytest.approx(expected, rel=1e-4)


def test_norms_that_are_all_the_same_give_finite_distances() -> None:
    model = without_weights(trained()).network
    data = training_images(images=some_images(1).repeat(20, 1, 1, 1))
    norms = path_norms(model, some_images(6))
    assert norms is not None
    found = mahalanobis(norms, typical(model, data, 0))
    assert found is not None
    assert bool(found.isfinite().all())


def test_an_autoregressive_decoder_has_no_likelihood_path() -> None:
    model = trained(network="autoregressive", binarize="static").network
    reference = typical(model, training_images(), 0)
    found = scores_of(model, some_images(2), some_images(2), torch.zeros(2), reference, 0)
    assert found.likelihood_path is None
    assert bool(found.negative_elbo.isfinite().all())


def test_a_random_sample_of_the_training_images_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "SAMPLED", 7)
    model, data = trained().network, training_images()
    sampled = typical(model, data, 3).negative_elbo
    assert len(sampled) == 7
    every = inference.negative_elbo(model, data.images, 0).loss
    assert sampled.min() > every.min() - 20
    assert sampled.max() < every.max() + 20
    assert not torch.equal(sampled, typical(model, data, 4).negative_elbo)


def test_joined_scores_of_pieces_are_those_of_all_images_and_lack_what_a_piece_lacks() -> None:
    model = trained().network
    parts = [scores_of(model, some_images(n, n), some_images(n, n), torch.ones(n), NO_REFERENCE, 0) for n in (2, 3)]
    whole = joined(parts)
    assert torch.equal(whole.negative_elbo, torch.cat([part.negative_elbo for part in parts]))
    assert torch.equal(whole.code_distance, torch.ones(5))
    assert whole.likelihood_path is None
