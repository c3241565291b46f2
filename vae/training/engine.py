"""Run the optimization steps of an epoch: every training image once, in random order."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from vae.base import processes
from vae.base.params import TrainParams
from vae.base.runtime import fits, generator
from vae.data.images import PixelKind, draw_pixels
from vae.model.objective import Losses
from vae.model.vae import VAE
from vae.training.accelerators import accelerate
from vae.training.cuda_graphs import CapturedFunction
from vae.training.schedules import epoch_schedule
from vae.training.shards import ShardedGradient
from vae.training.step import Step

CHUNK = 16  # steps whose images and noise are gathered together, and which are one graph on CUDA
RANDOM_STATES = {"data_order", "latent_noise", "pixels"}


class EpochResult(NamedTuple):
    """Averages over the steps of an epoch that were not skipped; NaN if all were.

    Attributes:
        losses: averages over all images, in nats per image.
        gradient_norm: the norm of a batch's gradient before clipping, averaged over steps.
        skipped_steps: the share of steps that were skipped; None if none ever are.
    """

    losses: Losses[float]
    gradient_norm: float
    skipped_steps: float | None = None


class TrainingEngine:
    """Runs the optimization steps: gathers images and noise, and applies the schedules, a chunk of steps at a time.

    Images stay uint8; each batch is converted to float32. If the images do not fit on the device, they stay where they
    are (possibly memory-mapped), and one chunk at a time is moved to the device.

    Attributes:
        step: the optimization step, with the weights and the optimizer.
    """

    def __init__(self, model: VAE, images: Tensor, params: TrainParams, kind: PixelKind = PixelKind.GREY) -> None:
        """Prepare to train a model on images, uint8 (N, C, H, W), with pixels of the given kind.

        The model's parameters become views of ``step.weights.vector``.
        """
        self.model = model
        self.params = params
        self.kind = kind
        self.device = model.device
        self.images = images.flatten(1)
        if fits(self.images, self.device):
            self.images = self.images.to(self.device)
        self.batch_size = params.batch_size
        samples = () if params.importance_samples == 1 else (params.importance_samples,)
        self._noise_shape = (*samples, model.latent_dim)
        self.step = Step(model, params)
        self._order_random = generator(params.seed, "data order")
        self._noise_random = generator(params.seed, "latent noise", self.device)
        self._pixel_random = generator(params.seed, "pixels", self.device)
        self._captured: dict[int, CapturedFunction] = {}
        self._accelerate()
        if params.shards > 1:
            self.step.backward = ShardedGradient(self.step.backward, self.step.weights, params.shards)

    @torch.no_grad()
    def epoch(self, number: int, advance: Callable[[int], object]) -> EpochResult:
        """Run one epoch. The CPU waits for an asynchronous device only once, at the end.

        Args:
            number: the epoch's number, from 1; learning rate and KL weight may depend on it.
            advance: called after each chunk with its number of steps.
        """
        order = torch.randperm(len(self.images), generator=self._order_random)
        if self.images.device == self.device:
            order = self._to_device(order)
        # Allocated once: a small tensor for each chunk would keep the allocator from reusing the memory of the chunk's
        # images, and memory use would grow to the size of the whole data set.
        results = torch.empty(-(-len(order) // self.batch_size), 4, device=self.device)
        schedule = self._to_device(epoch_schedule(self.params, number, len(results)))
        done = 0
        with _products_in(self.params.precision):
            for rows in order.split(CHUNK * self.batch_size):
                images, noise = self._gather(rows)
                count = -(-len(rows) // self.batch_size)
                results[done : done + count] = self._chunk(images, noise, schedule[done : done + count])
                done += count
                advance(count)
        return self._averages(results.cpu())

    def state(self) -> dict[str, Tensor]:
        """Everything that the next epoch depends on, besides ``params`` and the images."""
        average = {} if self.step.average is None else {"average": self.step.average.vector}
        return {
            **average,
            "parameters": self.step.weights.vector,
            "first_moment": self.step.optimizer.first_moment,
            "second_moment": self.step.optimizer.second_moment,
            "steps": self.step.optimizer.steps,
            "data_order": self._order_random.get_state(),
            "latent_noise": self._noise_random.get_state(),
            "pixels": self._pixel_random.get_state(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore a ``state``, to continue from there."""
        own = self.state()
        for name in own.keys() - RANDOM_STATES:
            own[name].copy_(state[name])
        self._order_random.set_state(state["data_order"])
        self._noise_random.set_state(state["latent_noise"])
        self._pixel_random.set_state(state["pixels"])

    def _gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images of a chunk, uint8 (n, pixels), and their noise."""
        images = self._to_device(self.images.index_select(0, rows))
        if self.kind == PixelKind.PROBABILITIES:
            images = draw_pixels(images, self._pixel_random)
        return images, torch.randn((len(rows), *self._noise_shape), generator=self._noise_random, device=self.device)

    def _to_device(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the device without waiting for it, so that copies overlap with earlier steps."""
        if self.device.type != "cuda" or tensor.device == self.device:
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    @torch.no_grad()
    def _accelerate(self) -> None:
        """Compare the accelerators on a batch, in full precision.

        It uses the initial weights and a noise generator of its own, so that a resumed run makes the same choice.
        """
        images = self.images[: self.batch_size].to(self.device)
        random = generator(self.params.seed, "comparison noise", self.device)
        noise = torch.randn((len(images), *self._noise_shape), generator=random, device=self.device)
        with _products_in("float32"):
            accelerate(self.step, self.model, self.params, images, noise)

    def _chunk(self, images: Tensor, noise: Tensor, schedule: Tensor) -> Tensor:
        """Run the steps of a chunk, and return their losses and gradient norms, float32 (steps, 4)."""
        if len(images) in self._captured:
            return self._captured[len(images)](images, noise, schedule)
        results = self._steps(images, noise, schedule)
        if self.device.type == "cuda" and processes.count() == 1:  # exchanges between processes are not captured
            self._captured[len(images)] = CapturedFunction(self._steps, images, noise, schedule)
        return results

    def _steps(self, images: Tensor, noise: Tensor, schedule: Tensor) -> Tensor:
        batches, noises = images.split(self.batch_size), noise.split(self.batch_size)
        results = torch.empty(len(batches), 4, device=self.device)
        for batch, epsilon, (learning_rate, kl_weight), row in zip(batches, noises, schedule, results, strict=True):
            result = self.step(batch, epsilon, kl_weight, learning_rate)
            torch.stack([*result.losses, result.gradient_norm], out=row)
        return results

    def _averages(self, results: Tensor) -> EpochResult:
        """Average over the steps of an epoch, float32 (steps, 4). The last batch may be smaller than the others."""
        sizes = torch.full((len(results), 1), self.batch_size, dtype=torch.float64)
        sizes[-1] = len(self.images) - self.batch_size * (len(results) - 1)
        skipped = self.step.optimizer.skips(results[:, 3])
        share = None if self.step.optimizer.skip_above is None else float(skipped.double().mean())
        results, sizes = results[~skipped].double(), sizes[~skipped]
        losses = (results[:, :3] * sizes).sum(0) / sizes.sum()
        return EpochResult(Losses(*losses.tolist()), float(results[:, 3].mean()), share)


@contextmanager
def _products_in(precision: str) -> Iterator[None]:
    """Within the block, allow TF32 in CUDA's matrix products and convolutions if the precision is tf32."""
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
