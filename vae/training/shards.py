"""Cut batches into shards, which processes share, so that the steps do not depend on the number of processes.

The gradient of each shard is computed by itself, and the gradients are added in the order of the shards. So one, two or
four processes take the same steps, bit for bit, as long as each computes with the same number of threads. An all-reduce
would add them in an order that depends on the processes. With a single process, shards still save memory, because the
activations of a single shard are held at a time.
"""

import torch
from torch import Tensor

from vae.base import collective, processes
from vae.model.objective import Losses
from vae.optimizer.weights import Weights
from vae.training.step import Backward

LOSSES = len(Losses._fields)


class ShardedGradient:
    """The loss of a batch and its gradient, from those of its shards.

        L = Σ_s n_s/B·L_s,   ∂L/∂θ = Σ_s n_s/B·∂L_s/∂θ,   for shards of n_s of the B images

    It holds for losses that are averages over images, and so not for free bits.
    """

    def __init__(self, backward: Backward, weights: Weights, shards: int) -> None:
        """Prepare to compute the shards of this process.

        Args:
            backward: computes the loss of a shard, and writes its gradient to ``weights.gradient``.
            weights: whose gradient is computed.
            shards: their number, which the number of processes divides.
        """
        self.backward = backward
        self.weights = weights
        self.shards = shards
        own = shards // processes.count()
        self.own = range(own * processes.number(), own * (processes.number() + 1))
        pieces = processes.count()
        self._size = len(weights.vector) + LOSSES
        self._terms = weights.vector.new_zeros(own, -(-self._size // pieces) * pieces)  # the gradient and the losses

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor) -> Losses[Tensor]:
        """Compute the loss of a batch, and write its gradient to ``Weights.gradient``."""
        parts = list(zip(images.tensor_split(self.shards), noise.tensor_split(self.shards), strict=True))
        for terms, shard in zip(self._terms, self.own, strict=True):
            part, epsilon = parts[shard]
            terms.zero_()
            if len(part):  # the last batch of an epoch may have fewer images than shards
                losses = self.backward(part, epsilon, kl_weight)
                torch.cat([self.weights.gradient, torch.stack(losses)], out=terms[: self._size])
                terms.mul_(len(part) / len(images))
        total = sum_in_order(self._terms)
        self.weights.gradient.copy_(total[: len(self.weights.gradient)])
        return Losses(*total[len(self.weights.gradient) : self._size])


def sum_in_order(rows: Tensor) -> Tensor:
    """The sum of the rows of all processes, added in the order of the processes and of their rows.

    Each process adds one piece of the vectors and sends the sum to the others. So it receives
    (shards / processes + 1) vectors, whereas all vectors would be as many as there are shards.

    Args:
        rows: of this process (R, P), with P a multiple of the number of processes.

    Returns:
        the sum (P,).

    Raises:
        ProcessError: another process has ended.
    """
    count = processes.count()
    if count == 1:
        return _added(rows)
    pieces = rows.view(len(rows), count, -1).transpose(0, 1).contiguous()  # a piece of each row for each process
    received, total = torch.empty_like(pieces), torch.empty_like(rows[0])
    with collective.exchanging():
        torch.distributed.all_to_all_single(received, pieces)
        torch.distributed.all_gather_into_tensor(total, _added(received.flatten(0, 1)))
    return total


def _added(rows: Tensor) -> Tensor:
    """The sum of rows, one after another; ``sum`` may add them in another order."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total
