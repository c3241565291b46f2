"""The optimisation steps of an epoch: every training image once, in random order."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from vae.adam import Adam
from vae.backpropagation import NegativeElboGradient, Weights
from vae.cuda_graphs import CapturedFunction
from vae.model import VAE
from vae.params import TrainParams
from vae.runtime import fits, generator

CHUNK = 16  # steps: their images and noise are gathered together, and on CUDA they are one graph


class Steps:
    """Stochastic gradient descent on the negative ELBO, a chunk of steps at a time.

    The images stay where they are when they do not fit the model's device, as uint8, memory-mapped if they came so;
    what is moved, or made float32, is a chunk, or a batch, of them.

    Attributes:
        weights: the model's parameters as one vector, and their gradient.
        optimizer: Adam, on that vector.
    """

    def __init__(self, model: VAE, images: Tensor, params: TrainParams) -> None:
        """Make a model ready for training on images: uint8 (N, C, H, W).

        Its parameters become views of ``weights.vector``.
        """
        self.device = model.device
        self.images = images.flatten(1)
        if fits(self.images, self.device):
            self.images = self.images.to(self.device)
        self.batch_size = params.batch_size
        self.precision = params.precision
        self.latent_dim = model.latent_dim
        self.weights = Weights(model, torch.bfloat16 if self.precision == "bfloat16" else torch.float32)
        self.optimizer = Adam(self.weights.vector, params.learning_rate)
        self._order_random = generator(params.seed, "data order")
        self._noise_random = generator(params.seed, "latent noise", self.device)
        sizes = {min(params.batch_size, len(images)), len(images) % params.batch_size} - {0}
        self._gradients = {size: NegativeElboGradient(model, self.weights, size) for size in sizes}
        self._captured: dict[int, CapturedFunction] = {}

    @torch.no_grad()
    def epoch(self, advance: Callable[[int], object]) -> tuple[float, float]:
        """Make the steps of one epoch.

        Args:
            advance: called after each chunk with the number of its steps.

        Returns:
            reconstruction and KL, averages over all images in nats per image, each at the weights of its step. A
            device that works by itself is waited for here alone, at the end of the epoch.
        """
        order = torch.randperm(len(self.images), generator=self._order_random).to(self.images.device)
        # Set aside at once: a small tensor that each chunk leaves behind would keep the memory of its images from
        # being used again, and take in the end as much as all of them.
        losses = torch.empty(-(-len(order) // self.batch_size), 2, device=self.device)
        done = 0
        with _products_in(self.precision):
            for rows in order.split(CHUNK * self.batch_size):
                images = self._to_device(self.images.index_select(0, rows))
                noise = torch.randn(len(rows), self.latent_dim, generator=self._noise_random, device=self.device)
                count = -(-len(rows) // self.batch_size)
                losses[done : done + count] = self._chunk(images, noise)
                done += count
                advance(count)
        reconstruction, kl = (losses.cpu().double().sum(0) / len(order)).tolist()
        return reconstruction, kl

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch depends on, besides parameters and data."""
        return {
            "parameters": self.weights.vector,
            "first_moment": self.optimizer.first_moment,
            "second_moment": self.optimizer.second_moment,
            "steps": self.optimizer.steps,
            "data_order": self._order_random.get_state(),
            "latent_noise": self._noise_random.get_state(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where a ``state`` was taken."""
        own = self.state()
        for name in ("parameters", "first_moment", "second_moment", "steps"):
            own[name].copy_(state[name])
        self._order_random.set_state(state["data_order"])
        self._noise_random.set_state(state["latent_noise"])
        self.weights.refresh()

    def _to_device(self, images: Tensor) -> Tensor:
        if self.device.type != "cuda" or images.device == self.device:
            return images.to(self.device)
        return images.pin_memory().to(self.device, non_blocking=True)  # beside the steps of the chunk before

    def _chunk(self, images: Tensor, noise: Tensor) -> Tensor:
        """The steps of a chunk, and the sums of their losses: float32 (steps, 2)."""
        if len(images) in self._captured:
            return self._captured[len(images)](images, noise)
        losses = self._steps(images, noise)
        if self.device.type == "cuda":
            self._captured[len(images)] = CapturedFunction(self._steps, images, noise)
        return losses

    def _steps(self, images: Tensor, noise: Tensor) -> Tensor:
        batches = images.split(self.batch_size)
        losses = torch.empty(len(batches), 2, device=self.device)
        for batch, batch_noise, loss in zip(batches, noise.split(self.batch_size), losses, strict=True):
            self._gradients[len(batch)](batch, batch_noise, loss)
            self.optimizer.step(self.weights.gather_gradient())
            self.weights.refresh()
        return losses


@contextmanager
def _products_in(precision: str) -> Iterator[None]:
    """Let CUDA round what goes into a float32 product to TF32, within the block, where that is asked for."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
