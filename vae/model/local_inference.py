"""Fit a posterior to each image by itself, with the decoder fixed, and measure what the encoder's posterior loses.

The encoder's posterior q(z|x) is worse than the true one for two reasons: the encoder does not find the best Gaussian,
and the best Gaussian q*(z) does not have the shape of p(z|x) (Cremer, Li & Duvenaud 2018, section 3):

    log p(x) - ELBO(q) = [ELBO(q*) - ELBO(q)] + [log p(x) - ELBO(q*)] = amortization gap + approximation gap
"""

from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from vae.base import collective, processes
from vae.base.precision import standard_error
from vae.base.runtime import generator, permutation
from vae.data.images import pixels
from vae.model.architecture import Architecture
from vae.model.inference import Posterior, encode
from vae.model.objective import kl_divergence, log_importance_weight
from vae.model.vae import VAE, reparameterize
from vae.optimizer.adam import Adam

# Images by network. On MNIST, one core takes 5 s for the tutorial's network, 10 s for convolutions and 40 s for the
# autoregressive decoder. Of images with more than PIXELS pixels there are fewer, so that the time stays the same.
IMAGES = {"mlp": 1000, "conv": 200, "autoregressive": 32}
PIXELS = 32 * 32
LEAST_IMAGES = 8
STEPS = 100  # with 16 times as many, the amortization gap grew by 0.01 nats on digits and by 0.06 on MNIST
LEARNING_RATE = 0.1  # of the first step, in standard deviations of the encoder's posterior
BETA_2 = 0.99  # of Adam; below the usual 0.999, since there are few steps
SAMPLES = 50  # of each posterior of an image, to measure the gaps


class Gaps(NamedTuple):
    """The two parts of the inference gap of each image, in nats, float64 on the CPU.

    Attributes:
        amortization: ELBO(q*) - ELBO(q) (N,).
        approximation: log p(x) - ELBO(q*) (N,).
        kl: KL(q*(z) ‖ p(z)), the cost of the best code (N,).
    """

    amortization: Tensor
    approximation: Tensor
    kl: Tensor


class InferenceGap(NamedTuple):
    """The inference gap and its two parts, averaged over images, in nats per image with standard errors.

    Attributes:
        amortization: ELBO(q*) - ELBO(q): the encoder does not find the best Gaussian.
        approximation: log p(x) - ELBO(q*): the best Gaussian is not the true posterior.
        total: log p(x) - ELBO(q), the sum of both.
        amortization_se: standard error over the images.
        approximation_se: standard error over the images.
        total_se: standard error over the images.
        best_kl: KL(q*(z) ‖ p(z)).
        images: the number of images.
    """

    amortization: float
    approximation: float
    total: float
    amortization_se: float
    approximation_se: float
    total_se: float
    best_kl: float
    images: int


def inference_gap(model: VAE, images: Tensor, seed: int, *, progress: bool = False) -> InferenceGap:
    """Measure the inference gap and its two parts on randomly chosen images.

    Args:
        model: the VAE.
        images: uint8 (N, C, H, W), at least two for the standard errors.
        seed: of the choice of images and of the noise.
        progress: whether to show a progress bar.
    """
    count = number_of_images(model.architecture)
    chosen = permutation(len(images), seed, "images of the inference gap")[:count]
    images = images[chosen.to(images.device)]
    best = optimize_posterior(model, images, seed, progress=progress)
    amortization, approximation, kl = measure_gaps(model, images, best, seed)
    total = amortization + approximation
    return InferenceGap(
        amortization=float(amortization.mean()),
        approximation=float(approximation.mean()),
        total=float(total.mean()),
        amortization_se=standard_error(amortization),
        approximation_se=standard_error(approximation),
        total_se=standard_error(total),
        best_kl=float(kl.mean()),
        images=len(images),
    )


def number_of_images(architecture: Architecture) -> int:
    """The number of images on which to measure the gap: ``IMAGES`` of the network, or fewer if they are large."""
    _, height, width = architecture.image_shape
    most = IMAGES[architecture.network]
    return min(most, max(LEAST_IMAGES, most * PIXELS // (height * width)))


def optimize_posterior(
    model: VAE, images: Tensor, seed: int, *, steps: int = STEPS, batch_size: int | None = None, progress: bool = False
) -> Posterior:
    """Find the Gaussian q*(z) = N(μ, diag σ²) of each image with the highest ELBO, starting from the encoder's.

    Adam ascends the ELBO in μ and log σ², with fresh noise in each step and a learning rate that falls linearly to
    zero. It measures μ in standard deviations of the encoder's posterior, so that one learning rate suits every model.

    Args:
        model: the VAE, which does not change.
        images: uint8 (N, C, H, W).
        seed: of the noise.
        steps: of Adam.
        batch_size: images to decode at once, which affects only speed; ``Decoder.batch_size`` if None.
        progress: whether to show a progress bar.

    Returns:
        μ and log σ², each (N, D), on the model's device.
    """
    x = pixels(images.to(model.device))
    # Copies, because autograd cannot record the tensors of torch.inference_mode.
    mean, log_variance = (each.clone() for each in encode(model, images, batch_size=batch_size))
    deviation = torch.exp(0.5 * log_variance)
    random = generator(seed, "noise of local inference", model.device)
    change = torch.zeros(2, *mean.shape, device=model.device)  # of μ, in those deviations, and of log σ²
    optimizer = Adam(change, beta_2=BETA_2)
    hidden = processes.hides_progress(wanted=progress)
    for step in tqdm(range(1, steps + 1), desc="local inference", leave=False, disable=hidden):
        noise = torch.randn(mean.shape, generator=random, device=model.device)

        def ascent(rows: slice, noise: Tensor = noise) -> Tensor:
            q = Posterior(mean[rows] + deviation[rows] * change[0, rows], log_variance[rows] + change[1, rows])
            return elbo_gradient(model, x[rows], q, noise[rows])

        gradient = -torch.cat(collective.shared(_batches(model, len(x), batch_size), ascent), 1)
        gradient[0] *= deviation
        learning_rate = LEARNING_RATE * (1 - (step - 1) / steps)
        optimizer.step(gradient, torch.full((), learning_rate, device=model.device))
    return Posterior(mean + deviation * change[0], log_variance + change[1])


def elbo_gradient(model: VAE, x: Tensor, posterior: Posterior, noise: Tensor) -> Tensor:
    """Estimate the gradient of the ELBO in μ and log σ², without bias, from the samples μ + σ·ε and μ - σ·ε.

    log w is differentiated through z alone. The derivative of log q in its own parameters is left out: it is zero on
    average, and without it the noise of the estimate vanishes where q is the true posterior (Roeder, Wu & Duvenaud
    2017, section 3).

    Args:
        model: the VAE.
        x: intensities in [0, 1] (B, C, H, W).
        posterior: μ and log σ², each (B, D).
        noise: ε, standard normal (B, D).

    Returns:
        the gradient in μ and the gradient in log σ², in nats (2, B, D).
    """
    mean, log_variance = (each.detach().requires_grad_() for each in posterior)
    log_weights = [log_importance_weight(model, x, mean, log_variance, each)[0].sum() for each in (noise, -noise)]
    gradient = torch.stack(torch.autograd.grad(0.5 * (log_weights[0] + log_weights[1]), (mean, log_variance)))
    # The part to leave out, -log q: ∓ε/σ in μ, which cancels, and ½ - ½·ε² in log σ².
    gradient[1] -= 0.5 - 0.5 * noise.square()
    return gradient


@torch.inference_mode()
def measure_gaps(
    model: VAE, images: Tensor, best: Posterior, seed: int, *, samples: int = SAMPLES, batch_size: int | None = None
) -> Gaps:
    """Measure both parts of the inference gap of each image.

    The ELBOs of q and q* are averages of log w over k samples each, with the same noise for both. All 2k samples, as
    draws from ½·q + ½·q*, estimate log p(x) (the balance heuristic; Veach & Guibas 1995, section 3.2):

        log 1/2k Σ p(x, z_i) / (½·q(z_i) + ½·q*(z_i))

    On average this is at most log p(x), so the approximation gap may be larger than measured.

    Args:
        model: the VAE.
        images: uint8 (N, C, H, W).
        best: q* of each image, from ``optimize_posterior``.
        seed: of the noise.
        samples: k.
        batch_size: images to decode at once, which affects only speed; ``Decoder.batch_size`` if None.
    """
    x = pixels(images.to(model.device))
    proposals = (encode(model, images, batch_size=batch_size), best)
    random = generator(seed, "noise of the inference gap", model.device)
    elbos = torch.zeros(2, len(x), dtype=torch.float64)
    total_weight = torch.full((len(x),), -torch.inf, dtype=torch.float64)
    for _ in range(samples):
        noise = torch.randn(best.mean.shape, generator=random, device=model.device)

        def weights_and_ratios(rows: slice, noise: Tensor = noise) -> Tensor:
            """log w of samples of q and of q*, then the log of the other density over their own: (4, B)."""
            q, other = (Posterior(*(each[rows] for each in proposal)) for proposal in proposals)
            log_weights = [log_importance_weight(model, x[rows], *own, noise[rows])[0] for own in (q, other)]
            log_ratios = [_log_density_ratio(*both, noise[rows]) for both in ((other, q), (q, other))]
            return torch.stack(log_weights + log_ratios)

        terms = torch.cat(collective.shared(_batches(model, len(x), batch_size), weights_and_ratios), 1)
        log_weights, log_ratios = terms.split(2)
        elbos += log_weights.cpu().double() / samples
        # p(x, z) / (½·q + ½·q*) = w / (½ + ½·q*/q) for a sample of q, and the other way around for one of q*.
        log_mixture = F.softplus(log_ratios.cpu().double()) - log(2)
        total_weight = torch.logaddexp(total_weight, (log_weights.cpu() - log_mixture).logsumexp(0))
    log_likelihood = total_weight - log(2 * samples)
    return Gaps(elbos[1] - elbos[0], log_likelihood - elbos[1], kl_divergence(*best).sum(1).cpu().double())


def _log_density_ratio(numerator: Posterior, q: Posterior, noise: Tensor) -> Tensor:
    """log of numerator(z) / q(z) at the sample z = μ + σ·ε of q: (B,)."""
    z = reparameterize(*q, noise)
    standardized = (z - numerator.mean) * torch.exp(-0.5 * numerator.log_variance)
    return 0.5 * (q.log_variance - numerator.log_variance + noise.square() - standardized.square()).sum(1)


def _batches(model: VAE, count: int, batch_size: int | None) -> list[slice]:
    size = batch_size or model.decoder.batch_size
    return [slice(start, start + size) for start in range(0, count, size)]
