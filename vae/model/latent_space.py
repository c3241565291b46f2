"""Latent codes to decode: interpolations between two codes, traversals of one, and a grid over the prior."""

from collections.abc import Sequence

import torch
from torch import Tensor

NEARLY_PARALLEL = 1e-3  # sine of the angle; below it, an arc and a straight line are equal in float32


def most_active(kl: Tensor, count: int) -> list[int]:
    """The ``count`` latent dimensions with the highest KL (D,), highest first; at most D."""
    return [int(dimension) for dimension in kl.argsort(descending=True, stable=True)[:count]]


def pairs_of_different_classes(labels: Tensor, order: Tensor, count: int) -> list[tuple[int, int]]:
    """Pairs of images of different classes, as indices. No image is in two pairs.

    Args:
        labels: classes (N,).
        order: the order in which images are taken, a permutation of ``range(N)``.
        count: how many pairs; fewer are returned where the labels allow no more.
    """
    waiting: list[int] = []
    pairs: list[tuple[int, int]] = []
    for index in order.tolist():
        if len(pairs) == count:
            break
        partner = next((other for other in waiting if labels[other] != labels[index]), None)
        if partner is None:
            waiting.append(index)
        else:
            waiting.remove(partner)
            pairs.append((partner, index))
    return pairs


def interpolations(starts: Tensor, ends: Tensor, shares: Tensor) -> Tensor:
    """Straight lines between codes, (1 - t)·start + t·end: two (P, D) and t (S,) to (P, S, D)."""
    return torch.lerp(starts.unsqueeze(1), ends.unsqueeze(1), shares.unsqueeze(1))


def spherical_interpolations(starts: Tensor, ends: Tensor, shares: Tensor) -> Tensor:
    """Arcs between codes, which keep the length of typical draws of the prior better than straight lines.

        sin((1 - t)·Ω) / sin Ω · start + sin(t·Ω) / sin Ω · end

    with Ω the angle between the two codes. If Ω is nearly 0 or π, or a code is zero, interpolation is linear.
    Source: Shoemake 1985, for unit vectors; White 2016, for codes of any length.

    Args:
        starts: codes (P, D).
        ends: codes (P, D).
        shares: t (S,).

    Returns:
        (P, S, D).
    """
    straight = interpolations(starts, ends, shares)
    # In float64, and rounded at the end: the last bits of a sine differ between processors. On the CPU, since not all
    # devices have float64.
    first, last, t = starts.cpu().double(), ends.cpu().double(), shares.cpu().double().view(-1, 1)
    from_directions, to_directions = (codes / codes.norm(dim=1, keepdim=True) for codes in (first, last))
    # Precise at small angles, unlike the arc cosine of the dot product.
    difference, total = (from_directions - to_directions).norm(dim=1), (from_directions + to_directions).norm(dim=1)
    angle = (2 * torch.atan2(difference, total)).view(-1, 1, 1)
    sine = torch.sin(angle)
    from_start, from_end = torch.sin((1 - t) * angle) / sine, torch.sin(t * angle) / sine
    arcs = (from_start * first.unsqueeze(1) + from_end * last.unsqueeze(1)).to(straight)
    # The direction of a zero code is NaN, so the comparison is false.
    return torch.where((sine > NEARLY_PARALLEL).to(straight.device), arcs, straight)


def traversals(code: Tensor, dimensions: Sequence[int], values: Tensor) -> Tensor:
    """Copies of a code (D,) in which one of R dimensions is set to each of the values (S,): (R, S, D)."""
    codes = code.repeat(len(dimensions), len(values), 1)
    for row, dimension in enumerate(dimensions):
        codes[row, :, dimension] = values
    return codes


def prior_quantiles(count: int) -> Tensor:
    """The midpoints of ``count`` equally probable parts of a standard normal: Φ⁻¹((i + ½) / count), (count,)."""
    quantiles: Tensor = torch.special.ndtri((torch.arange(count) + 0.5) / count)
    return quantiles


def prior_grid(quantiles: Tensor, dimensions: Sequence[int], code: Tensor) -> Tensor:
    """A grid over two dimensions of a code, with all others as they are.

    With two dimensions in all, it covers the prior (Kingma & Welling 2013, figure 4). With many, the plane through
    zero would be far from all codes, which have a length of about √D.

    Args:
        quantiles: the values along each dimension, in ascending order (S,).
        dimensions: the horizontal and the vertical dimension; a single one gives a single row.
        code: (D,).

    Returns:
        (S, S, D), or (1, S, D); the first row is the top one.
    """
    side = len(quantiles)
    codes = code.repeat(side if len(dimensions) == 2 else 1, side, 1)
    codes[:, :, dimensions[0]] = quantiles
    if len(dimensions) == 2:
        codes[:, :, dimensions[1]] = quantiles.flip(0).unsqueeze(1)
    return codes
