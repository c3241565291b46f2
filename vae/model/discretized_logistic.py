"""Likelihoods of 8-bit pixels: logistic distributions, discretized to the 256 values of a pixel.

A density of grey values can grow without limit, for example on a flat background. These are probabilities, so a bound
on log p(x) compares with every other model of the same images, and with what an image codec needs. Source: Salimans,
Karpathy, Chen & Kingma 2017 ("PixelCNN++"), section 2.1 and 2.2.
"""

from math import log, pi, sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vae.model.likelihood import INITIAL_SCALE, Likelihood, Neighbours

LARGEST = 255  # of the values of a pixel, which stand for the intensities 0, 1/255, …, 1
HALF_STEP = 1 / (2 * LARGEST)
COMPONENTS = 5  # of the mixture; as many as PNG has filters
INITIAL_LOG_SCALE = log(INITIAL_SCALE * sqrt(3) / pi)  # a logistic distribution has the standard deviation s·π/√3
# From 99.4% of the probability on one value, to almost all of it on 0 and 1. Beyond, numbers would overflow.
SMALLEST_LOG_SCALE, LARGEST_LOG_SCALE = -8.0, 5.0

CONSTANTS = {  # what the expected image depends on besides the decoder's output, for the latent explorer
    "components": COMPONENTS,
    "initial_log_scale": INITIAL_LOG_SCALE,
    "smallest_log_scale": SMALLEST_LOG_SCALE,
    "largest_log_scale": LARGEST_LOG_SCALE,
}


class DiscretizedLogistic(Likelihood):
    """Independent pixels and channels, each a logistic distribution with a location μ and a scale s of its own.

        P(x) = sigmoid((x + h - μ) / s) - sigmoid((x - h - μ) / s),   h = 1/510

    without the first boundary at x = 1 and without the second at x = 0, so that the 256 probabilities sum to one.
    The decoder's output has a channel for each μ, then one for each log s, relative to ½ and ``INITIAL_LOG_SCALE``.
    """

    def output_channels(self, image_channels: int) -> int:
        """Two for each channel of an image."""
        return 2 * image_channels

    def relative_to(self, output: Tensor, near: Neighbours) -> Tensor:
        """The parameters with each μ relative to the average of the pixels to the left and above, instead of ½."""
        location, log_scale = output.chunk(2, 1)
        return torch.cat([location + (near.left + near.above) / 2 - 0.5, log_scale], 1)

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z) in nats per image, for intensities that are multiples of 1/255."""
        return log_probability(x, *_logistic(output)).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """The expected intensity at each pixel, to within half a grey level."""
        return expectation(*_logistic(output))

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Draw one of the 256 intensities for each pixel and channel."""
        return draw(*_logistic(output), generator)


class DiscretizedLogisticMixture(Likelihood):
    """Independent pixels, each a mixture of K discretized logistic distributions of its channels.

        P(x) = Σ_k π_k Π_c P(x_c | μ_kc + Σ_(j<c) a_kcj·(x_j - ½), s_kc)

    In a component, the location of a channel depends linearly on the channels before it, such as green on red, with
    coefficients in (-1, 1). The decoder's output has channels for the K logits of π, for each component's μ and log s
    of each channel, and for its coefficients, before tanh.
    """

    def output_channels(self, image_channels: int) -> int:
        """For each component a logit, a location and a scale of each channel, and a coefficient of each pair."""
        return COMPONENTS * (1 + 2 * image_channels + image_channels * (image_channels - 1) // 2)

    def relative_to(self, output: Tensor, near: Neighbours) -> Tensor:
        """The parameters with μ of each component relative to the prediction of another of PNG's filters.

        These are the pixel to the left, the one above, none, the average of both, and left + above - above left. A
        flat colour or a straight edge continues without learning to copy 8-bit values.
        """
        left, above, above_left = near
        start = _start(output)
        none = start[2].expand_as(left)
        filters = [left, above, none, (left + above) / 2, (left + above - above_left).clamp(0, 1)]
        moved = torch.stack(filters, 1) - start.view(-1, 1, 1, 1)
        logits, location, others = output.unflatten(1, (COMPONENTS, -1)).tensor_split([1, 1 + left.shape[1]], 2)
        return torch.cat([logits, location + moved, others], 2).flatten(1, 2)

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z) in nats per image, for intensities that are multiples of 1/255."""
        parts = _mixture(output, x.shape[1])
        terms = torch.log_softmax(parts.logits, 1)
        for channel in range(x.shape[1]):
            location = parts.location_given(channel, x[:, None, :channel])
            terms = terms + log_probability(x[:, None, channel], location, parts.log_scale[:, :, channel])
        return torch.logsumexp(terms, 1).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """The expected intensity at each pixel, from each component's expected channels.

        It is exact to within half a grey level for grey images. In colour, the expectation of a channel is taken at
        the expectation of the channels before it, which ignores that intensities end at 0 and 1.
        """
        parts = _mixture(output, _image_channels(output.shape[1]))
        expected = output.new_empty(parts.location.shape)
        for channel in range(expected.shape[2]):
            location = parts.location_given(channel, expected[:, :, :channel])
            expected[:, :, channel] = expectation(location, parts.log_scale[:, :, channel])
        return (torch.softmax(parts.logits, 1)[:, :, None] * expected).sum(1)

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Draw a component for each pixel, and then its channels in order."""
        parts = _mixture(output, _image_channels(output.shape[1]))
        uniform = _uniform(parts.logits, generator)
        # The Gumbel-max trick: argmax(logit - log(-log u)) is a draw from softmax(logits).
        chosen = (parts.logits - (-uniform.log()).log()).argmax(1, keepdim=True)[:, :, None]
        one = parts.component(chosen)
        x = output.new_empty(one.location[:, 0].shape)
        for channel in range(x.shape[1]):
            location = one.location_given(channel, x[:, None, :channel])
            x[:, channel] = draw(location, one.log_scale[:, :, channel], generator)[:, 0]
        return x


class _Mixture(NamedTuple):
    """The parameters of a mixture at each pixel.

    Attributes:
        logits: of π (B, K, H, W).
        location: μ (B, K, C, H, W).
        log_scale: log s (B, K, C, H, W).
        coefficients: a, the channel pairs in the order (1, 0), (2, 0), (2, 1) (B, K, C·(C - 1)/2, H, W).
    """

    logits: Tensor
    location: Tensor
    log_scale: Tensor
    coefficients: Tensor

    def location_given(self, channel: int, before: Tensor) -> Tensor:
        """The locations of a channel, given the channels before it (B, K or 1, channel, H, W): (B, K, H, W)."""
        first = channel * (channel - 1) // 2
        coefficients = self.coefficients[:, :, first : first + channel]
        return self.location[:, :, channel] + (coefficients * (before - 0.5)).sum(2)

    def component(self, chosen: Tensor) -> "_Mixture":
        """One component of each pixel, by its index (B, 1, 1, H, W)."""
        location, log_scale, coefficients = (
            part.gather(1, chosen.expand(-1, -1, part.shape[2], -1, -1)) for part in self[1:]
        )
        return _Mixture(self.logits[:, :1], location, log_scale, coefficients)


def log_probability(x: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """log P(x) of a discretized logistic distribution, elementwise.

    With a and b for the boundaries (x ± h - μ) / s, it is computed without cancellation:

        sigmoid(a) - sigmoid(b) = sigmoid(a) · sigmoid(-b) · (1 - exp(-(a - b)))
    """
    inverse_scale = torch.exp(-log_scale)
    width = 2 * HALF_STEP * inverse_scale
    a = (x - location + HALF_STEP) * inverse_scale
    highest, lowest = x > 1 - HALF_STEP, x < HALF_STEP
    below_a = F.logsigmoid(a).masked_fill(highest, 0)
    above_b = F.logsigmoid(width - a).masked_fill(lowest, 0)
    return below_a + above_b + torch.log(-torch.expm1(-width)).masked_fill(highest | lowest, 0)


def expectation(location: Tensor, log_scale: Tensor) -> Tensor:
    """E[x] of a logistic distribution whose tails are moved to 0 and 1, elementwise.

        E[x] = ∫₀¹ sigmoid((μ - t) / s) dt = s·(softplus(μ / s) - softplus((μ - 1) / s))

    The expectation of the discretized distribution is the midpoint rule for this integral with 255 steps.
    """
    scale = torch.exp(log_scale)
    return (scale * (F.softplus(location / scale) - F.softplus((location - 1) / scale))).clamp(0, 1)


def draw(location: Tensor, log_scale: Tensor, generator: Generator) -> Tensor:
    """Draw intensities from discretized logistic distributions, elementwise: μ + s·log(u / (1 - u)), rounded."""
    u = _uniform(location, generator)
    x = location + torch.exp(log_scale) * (u.log() - torch.log1p(-u))
    return (x.clamp(0, 1) * LARGEST).round() / LARGEST


def _logistic(output: Tensor) -> tuple[Tensor, Tensor]:
    """The locations and logarithms of the scales of the decoder's output, (B, 2·C, H, W) to (B, C, H, W) each."""
    location, log_scale = output.chunk(2, 1)
    return location + 0.5, _bounded(log_scale)


def _mixture(output: Tensor, channels: int) -> _Mixture:
    """The parameters of the mixture in the decoder's output."""
    parts = output.unflatten(1, (COMPONENTS, -1))
    logits, location, log_scale, coefficients = parts.split([1, channels, channels, channels * (channels - 1) // 2], 2)
    location = location + _start(output).view(-1, 1, 1, 1)
    return _Mixture(logits[:, :, 0], location, _bounded(log_scale), torch.tanh(coefficients))


def _start(output: Tensor) -> Tensor:
    """The locations of the components at first (K,): spread over the intensities, so that they start to differ."""
    return torch.linspace(0, 1, 2 * COMPONENTS + 1, device=output.device, dtype=output.dtype)[1::2]


def _bounded(log_scale: Tensor) -> Tensor:
    return (log_scale + INITIAL_LOG_SCALE).clamp(SMALLEST_LOG_SCALE, LARGEST_LOG_SCALE)


def _image_channels(output_channels: int) -> int:
    """The number of channels of the images, from that of the mixture's parameters."""
    mixture, channels = DiscretizedLogisticMixture(), 1
    while mixture.output_channels(channels) < output_channels:
        channels += 1
    return channels


def _uniform(like: Tensor, generator: Generator) -> Tensor:
    """Uniform numbers in (0, 1), without its ends."""
    u = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
    smallest = torch.finfo(like.dtype).eps / 2
    return u.clamp(smallest, 1 - smallest)
