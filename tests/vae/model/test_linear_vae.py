"""A linear VAE, trained like any other, becomes probabilistic principal component analysis.

With an affine decoder and Gaussian pixels p(x) is N(b, WWᵀ + σ²I), whose maximum likelihood is known in closed form
from the eigenvalues λ of the sample covariance (Tipping & Bishop 1999, section 3). An affine encoder with a variance
that is the same for every image gives the exact posterior where the columns of W are orthogonal. So the ELBO has the
same maximum, but not its symmetry under rotations: each latent dimension becomes a principal component of its own, or
collapses (Lucas et al. 2019, sections 4 and 5).
"""

from math import log, pi
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.settings import architecture, train_params
from vae.base.runtime import seeded
from vae.data.images import LabelledImages, pixels
from vae.data.sources import load_source
from vae.diagnostics.collapse import CLEARLY_ACTIVE_VARIANCE, active_units, mean_variances
from vae.model import inference
from vae.model.likelihoods import Gaussian
from vae.model.networks import mlp
from vae.model.vae import VAE
from vae.training.loop import train

pytestmark = pytest.mark.slow

LATENT_DIM = 5
MANY_DIMENSIONS, KEPT, SCALE = 8, 4, 0.57  # four eigenvalues are above σ²
SEEDS = 10  # of the posterior noise that losses are averaged over


class PrincipalComponents(NamedTuple):
    """The sample covariance of images: eigenvalues λ in falling order (P,), and eigenvectors as columns (P, P)."""

    eigenvalues: Tensor
    directions: Tensor

    def learned_variance(self, latent_dim: int) -> float:
        """σ² of the maximum: the average eigenvalue of the components that are left out (equation 8)."""
        return float(self.eigenvalues[latent_dim:].mean())

    def kept(self, latent_dim: int, variance: float) -> int:
        """The components that raise the likelihood: those with eigenvalues above σ²."""
        return min(latent_dim, int((self.eigenvalues > variance).sum()))

    def norms(self, kept: int, variance: float) -> Tensor:
        """The lengths of the columns of W at the maximum, √(λ - σ²) (equation 7)."""
        return (self.eigenvalues[:kept] - variance).sqrt()

    def log_likelihood(self, kept: int, variance: float) -> float:
        """The maximum of the average of log p(x), in nats per image, with so many components and a σ².

        -½·(P·log 2π + Σ_kept log λ + (P - kept)·log σ² + kept + Σ_others λ / σ²)
        """
        count = len(self.eigenvalues)
        explained, others = self.eigenvalues[:kept], self.eigenvalues[kept:]
        log_determinant = explained.log().sum() + (count - kept) * log(variance)
        return float(-0.5 * (count * log(2 * pi) + log_determinant + kept + others.sum() / variance))


@pytest.fixture(scope="module")
def digits() -> LabelledImages:
    """All 1,797 handwritten digits."""
    train_images, test_images = load_source("digits", 0)
    return LabelledImages(
        torch.cat([train_images.images, test_images.images]),
        torch.cat([train_images.labels, test_images.labels]),
        train_images.class_names,
    )


@pytest.fixture(scope="module")
def components(digits: LabelledImages) -> PrincipalComponents:
    x = pixels(digits.images).flatten(1).double()
    eigenvalues, directions = torch.linalg.eigh(torch.cov(x.T, correction=0))
    return PrincipalComponents(eigenvalues.flip(0), directions.flip(1))


def linear_vae(digits: LabelledImages, latent_dim: int, scale: float | str) -> VAE:
    with seeded(3, "weights"):
        model = VAE(
            architecture(
                image_shape=(1, 8, 8), hidden_dims=(), latent_dim=latent_dim, likelihood="gaussian", scale=scale
            )
        )
    params = train_params(epochs=500, batch_size=200, learning_rate=0.05, schedule="cosine")
    train(model, digits, digits[:0], params, lambda _: None)
    return model


def weight_of(model: VAE) -> Tensor:
    """W (P, D)."""
    assert isinstance(model.decoder, mlp.Decoder)
    return model.decoder.output.weight.detach().double()


def variance_of(model: VAE) -> Tensor:
    """σ², 0-dimensional."""
    assert isinstance(model.likelihood, Gaussian)
    return model.likelihood.log_scale.detach().double().mul(2).exp()


def cosines(one: Tensor, other: Tensor) -> Tensor:
    """The cosines of the principal angles between the column spaces, in descending order."""
    values: Tensor = torch.linalg.svdvals(torch.linalg.qr(one)[0].T @ torch.linalg.qr(other)[0])
    return values


@pytest.fixture(scope="module")
def learned(digits: LabelledImages) -> VAE:
    """A model with a learned σ."""
    return linear_vae(digits, LATENT_DIM, "learned")


@pytest.fixture(scope="module")
def fixed(digits: LabelledImages) -> VAE:
    """A model with a fixed σ² that only four eigenvalues exceed, and more latent dimensions than four."""
    return linear_vae(digits, MANY_DIMENSIONS, SCALE)


@pytest.fixture(scope="module")
def active(fixed: VAE) -> Tensor:
    """The longest columns of that model's decoder, in falling order of their lengths (P, 4)."""
    weight = weight_of(fixed)
    return weight[:, weight.norm(dim=0).argsort(descending=True)[:KEPT]]


def assert_reaches(maximum: float, model: VAE, images: Tensor) -> None:
    """The ELBO, averaged over images and seeds, is close to a log-likelihood and does not exceed it."""
    elbos = -torch.stack([inference.negative_elbo(model, images, seed).loss.mean() for seed in range(SEEDS)])
    assert elbos.mean().item() == pytest.approx(maximum, abs=0.1)
    assert elbos.mean() < maximum + 4 * elbos.std() / SEEDS**0.5


def test_elbo_of_a_linear_vae_reaches_the_maximum_likelihood_of_probabilistic_pca(
    learned: VAE, digits: LabelledImages, components: PrincipalComponents
) -> None:
    maximum = components.log_likelihood(LATENT_DIM, components.learned_variance(LATENT_DIM))
    assert_reaches(maximum, learned, digits.images)
    # A model that leaves out a single component is farther below.
    assert components.log_likelihood(LATENT_DIM - 1, components.learned_variance(LATENT_DIM - 1)) < maximum - 1


def test_marginal_likelihood_is_just_below_its_maximum_and_the_importance_weighted_bound_estimates_it(
    learned: VAE, digits: LabelledImages, components: PrincipalComponents
) -> None:
    maximum = components.log_likelihood(LATENT_DIM, components.learned_variance(LATENT_DIM))
    assert isinstance(learned.decoder, mlp.Decoder)
    weight, bias = weight_of(learned), learned.decoder.output.bias.detach().double()
    covariance = weight @ weight.T + variance_of(learned) * torch.eye(len(bias))
    marginal = torch.distributions.MultivariateNormal(bias, covariance)
    log_likelihood = marginal.log_prob(pixels(digits.images).flatten(1).double()).mean().item()
    assert maximum - 0.01 < log_likelihood <= maximum
    bound = inference.bounds(learned, digits.images, samples=20, seed=0).importance_weighted.mean().item()
    assert bound == pytest.approx(log_likelihood, abs=0.02)


def test_learned_variance_is_the_average_of_the_eigenvalues_that_are_left_out(
    learned: VAE, components: PrincipalComponents
) -> None:
    assert variance_of(learned).item() == pytest.approx(components.learned_variance(LATENT_DIM), rel=0.01)


def test_decoder_spans_the_principal_components_in_orthogonal_columns(
    learned: VAE, components: PrincipalComponents
) -> None:
    weight = weight_of(learned)
    assert cosines(weight, components.directions[:, :LATENT_DIM]).min() > 0.999
    columns = F.normalize(weight, dim=0)
    assert (columns.T @ columns - torch.eye(LATENT_DIM)).abs().max() < 0.1


def test_elbo_with_a_fixed_variance_reaches_the_maximum_likelihood_of_probabilistic_pca(
    fixed: VAE, digits: LabelledImages, components: PrincipalComponents
) -> None:
    assert components.kept(MANY_DIMENSIONS, SCALE**2) == KEPT
    assert_reaches(components.log_likelihood(KEPT, SCALE**2), fixed, digits.images)


def test_as_many_dimensions_are_active_as_eigenvalues_exceed_the_fixed_variance(
    fixed: VAE, digits: LabelledImages, components: PrincipalComponents
) -> None:
    kl = inference.negative_elbo(fixed, digits.images, seed=0).kl.mean(0).sort(descending=True).values
    variances = mean_variances(inference.encode(fixed, digits.images).mean)
    assert active_units(variances, CLEARLY_ACTIVE_VARIANCE) == KEPT
    # Of a component the KL, averaged over images, is ½·log λ/σ².
    expected = 0.5 * (components.eigenvalues[:KEPT] / SCALE**2).log()
    torch.testing.assert_close(kl[:KEPT], expected, rtol=0, atol=0.03)
    assert kl[KEPT:].max() < 0.01


def test_each_active_dimension_is_a_principal_component(active: Tensor, components: PrincipalComponents) -> None:
    assert cosines(active, components.directions[:, :KEPT]).min() > 0.995
    torch.testing.assert_close(active.norm(dim=0), components.norms(KEPT, SCALE**2), rtol=0.06, atol=0)
    columns = F.normalize(active, dim=0)
    assert (columns.T @ columns - torch.eye(KEPT)).abs().max() < 0.1
    similarity = (columns * components.directions[:, :KEPT]).sum(0).abs()
    # The first two eigenvalues are 9% apart: to mix them half and half costs 0.001 nats only.
    assert (similarity[:2] > 0.9).all()
    assert (similarity[2:] > 0.98).all()
