"""The optimisation steps of an epoch: every training image once, in random order."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from vae.adam import Adam
from vae.backpropagation import NegativeElboGradient, Weights, known_by_hand
from vae.cuda_graphs import CapturedFunction
from vae.datasets import PixelKind, draw_pixels
from vae.differentiation import ObjectiveGradient
from vae.model import VAE
from vae.params import TrainParams
from vae.runtime import fits, generator
from vae.schedules import epoch_schedule

Gradient = NegativeElboGradient | ObjectiveGradient

CHUNK = 16  # steps: their images and noise are gathered together, and on CUDA they are one graph


class Steps:
    """Stochastic gradient descent on the objective, a chunk of steps at a time.

    The images stay where they are when they do not fit the model's device, as uint8, memory-mapped if they came so;
    what is moved, or made float32, is a chunk, or a batch, of them.

    Attributes:
        weights: the model's parameters as one vector, and their gradient.
        optimizer: Adam, on that vector.
    """

    def __init__(self, model: VAE, images: Tensor, params: TrainParams, kind: PixelKind = PixelKind.GREY) -> None:
        """Make a model ready for training on images, uint8 (N, C, H, W), whose pixels are of a kind.

        Its parameters become views of ``weights.vector``.
        """
        self.params = params
        self.kind = kind
        self.device = model.device
        self.images = images.flatten(1)
        if fits(self.images, self.device):
            self.images = self.images.to(self.device)
        self.batch_size = params.batch_size
        self.precision = params.precision
        samples = () if params.importance_samples == 1 else (params.importance_samples,)
        self._noise_shape = (*samples, model.latent_dim)
        sizes = {min(params.batch_size, len(images)), len(images) % params.batch_size} - {0}
        self.weights, self._gradients = _gradients(model, params, sizes)
        decay = decay_of_each(model, params.weight_decay) if params.weight_decay else None
        self.optimizer = Adam(self.weights.vector, decay, params.gradient_clip or None)
        self._order_random = generator(params.seed, "data order")
        self._noise_random = generator(params.seed, "latent noise", self.device)
        self._pixel_random = generator(params.seed, "pixels", self.device)
        self._captured: dict[int, CapturedFunction] = {}

    @torch.no_grad()
    def epoch(self, number: int, advance: Callable[[int], object]) -> tuple[float, float, float]:
        """Make the steps of one epoch.

        Args:
            number: of the epoch, counted from 1: learning rate and weight of the KL may depend on it.
            advance: called after each chunk with the number of its steps.

        Returns:
            loss, reconstruction and KL, averages over all images in nats per image, each at the weights of its step. A
            device that works by itself is waited for here alone, at the end of the epoch.
        """
        order = torch.randperm(len(self.images), generator=self._order_random).to(self.images.device)
        # Set aside at once: a small tensor that each chunk leaves behind would keep the memory of its images from
        # being used again, and take in the end as much as all of them.
        losses = torch.empty(-(-len(order) // self.batch_size), 3, device=self.device)
        schedule = epoch_schedule(self.params, number, len(losses)).to(self.device)
        done = 0
        with _products_in(self.precision):
            for rows in order.split(CHUNK * self.batch_size):
                images = self._to_device(self.images.index_select(0, rows))
                if self.kind == PixelKind.PROBABILITIES:
                    images = draw_pixels(images, self._pixel_random)
                shape = (len(rows), *self._noise_shape)
                noise = torch.randn(shape, generator=self._noise_random, device=self.device)
                count = -(-len(rows) // self.batch_size)
                losses[done : done + count] = self._chunk(images, noise, schedule[done : done + count])
                done += count
                advance(count)
        loss, reconstruction, kl = (losses.cpu().double().sum(0) / len(order)).tolist()
        return loss, reconstruction, kl

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch depends on, besides parameters and data."""
        return {
            "parameters": self.weights.vector,
            "first_moment": self.optimizer.first_moment,
            "second_moment": self.optimizer.second_moment,
            "steps": self.optimizer.steps,
            "data_order": self._order_random.get_state(),
            "latent_noise": self._noise_random.get_state(),
            "pixels": self._pixel_random.get_state(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where a ``state`` was taken."""
        own = self.state()
        for name in ("parameters", "first_moment", "second_moment", "steps"):
            own[name].copy_(state[name])
        self._order_random.set_state(state["data_order"])
        self._noise_random.set_state(state["latent_noise"])
        self._pixel_random.set_state(state["pixels"])
        self.weights.refresh()

    def _to_device(self, images: Tensor) -> Tensor:
        if self.device.type != "cuda" or images.device == self.device:
            return images.to(self.device)
        return images.pin_memory().to(self.device, non_blocking=True)  # beside the steps of the chunk before

    def _chunk(self, images: Tensor, noise: Tensor, schedule: Tensor) -> Tensor:
        """The steps of a chunk, and the sums of their losses: float32 (steps, 3)."""
        if len(images) in self._captured:
            return self._captured[len(images)](images, noise, schedule)
        losses = self._steps(images, noise, schedule)
        if self.device.type == "cuda":
            self._captured[len(images)] = CapturedFunction(self._steps, images, noise, schedule)
        return losses

    def _steps(self, images: Tensor, noise: Tensor, schedule: Tensor) -> Tensor:
        batches, noises = images.split(self.batch_size), noise.split(self.batch_size)
        losses = torch.empty(len(batches), 3, device=self.device)
        for batch, epsilon, (learning_rate, kl_weight), loss in zip(batches, noises, schedule, losses, strict=True):
            self._gradients[len(batch)](batch, epsilon, kl_weight, loss)
            self.optimizer.step(self.weights.gather_gradient(), learning_rate)
            self.weights.refresh()
        return losses


def _gradients(model: VAE, params: TrainParams, sizes: Iterable[int]) -> tuple[Weights, dict[int, Gradient]]:
    """What computes the gradient of a batch of each size, by hand where that is known, and where it is kept."""
    dtype = torch.bfloat16 if params.precision == "bfloat16" else torch.float32
    if known_by_hand(model.architecture, params):
        weights = Weights(model, dtype)
        return weights, {size: NegativeElboGradient(model, weights, size) for size in sizes}
    weights = Weights(model)
    return weights, dict.fromkeys(sizes, ObjectiveGradient(model, weights, dtype, params.free_bits))


def decay_of_each(model: VAE, weight_decay: float) -> Tensor:
    """The decay of each parameter, in the order of ``Weights.vector``: that of matrices and kernels alone (P,)."""
    parts = [torch.full_like(each, weight_decay if each.ndim > 1 else 0.0).flatten() for each in model.parameters()]
    return torch.cat(parts).detach()


@contextmanager
def _products_in(precision: str) -> Iterator[None]:
    """Let CUDA round what goes into float32 products and convolutions to TF32, within the block, where asked for."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # not in the stubs
    settings = (torch.backends.cuda.matmul, convolutions)
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for setting, own in zip(settings, before, strict=True):
            setting.fp32_precision = own
