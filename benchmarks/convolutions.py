"""``convolutions``: seconds per epoch of a convolutional network on colour images, next to a plain PyTorch loop.

Both train the same network on the same images with the same objective. The plain loop keeps all images in float32, and
updates each parameter by ``torch.optim.Adam(fused=True)``. The images are noise, which takes as long as others.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import mnist
from benchmarks.measurement import Settings, ratio, spreads, timed
from benchmarks.mnist import Precision
from benchmarks.table import Row, Section, at_most, compared
from vae.base import runtime
from vae.model.architecture import Architecture
from vae.model.objective import training_loss
from vae.model.vae import VAE
from vae.training.engine import TrainingEngine

ROUNDS = 5
IMAGES, QUICK_IMAGES = 256, 64
BATCH_SIZE = 64
ARCHITECTURE = Architecture(
    **{
        **mnist.ARCHITECTURE.model_dump(),
        "image_shape": (3, 64, 64),
        "network": "conv",
        "hidden_dims": (128,),
        "residual_blocks": 1,
        "latent_dim": 64,
        "likelihood": "discretized_logistic",
    }
)
GOAL = 1.0  # of the project's time over the plain loop's


def run(settings: Settings) -> Section:
    """Time an epoch of each, in each precision that the device has instructions for."""
    precisions = available_precisions(settings.device)
    images = colour_images(QUICK_IMAGES if settings.quick else IMAGES)
    works: dict[str, Callable[[], object]] = {}
    for precision in precisions:
        params = mnist.settings(precision).model_copy(update={"batch_size": BATCH_SIZE})
        works[f"ours, {precision}"] = our_epoch(TrainingEngine(new_model(settings.device), images, params))
        works[f"plain loop, {precision}"] = PlainLoop(new_model(settings.device), images, precision).epoch
    clocks = {name: timed(work, settings.device) for name, work in works.items()}
    spreads(clocks, 1, "warm-up")
    measured = spreads(clocks, settings.rounds(ROUNDS), "convolutions")
    rows = [Row(name, seconds, "s") for name, seconds in measured.items()]
    for precision in precisions:
        found = ratio(measured[f"ours, {precision}"], measured[f"plain loop, {precision}"])
        goal = at_most(found.median, GOAL)
        rows.append(compared(f"ours, {precision} / plain loop, {precision}", found, goal))
    channels, height, width = ARCHITECTURE.image_shape
    size = f"{height}×{width}×{channels}"
    about = f"an epoch of {len(images)} images of {size}, conv with residual blocks, batches of {BATCH_SIZE}"
    return Section("convolutions", about, rows)


def available_precisions(device: torch.device) -> tuple[Precision, ...]:
    """The precisions to compare. Without instructions for bfloat16, an epoch would take minutes."""
    return ("float32", "bfloat16") if runtime.has_bfloat16(device) else ("float32",)


def colour_images(count: int) -> Tensor:
    """Noise, uint8 (N, C, H, W)."""
    shape = (count, *ARCHITECTURE.image_shape)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def new_model(device: torch.device) -> VAE:
    """A model with the same weights every time."""
    with runtime.seeded(0, "initial weights"):
        return VAE(ARCHITECTURE).to(device)


def our_epoch(engine: TrainingEngine) -> Callable[[], object]:
    """Return a function that trains for an epoch."""
    return lambda: engine.epoch(1, lambda _: None).losses.loss


class PlainLoop:
    """A training loop in the fewest lines: no data loader, and the loss is read once an epoch."""

    def __init__(self, model: VAE, images: Tensor, precision: Precision) -> None:
        self.model = model
        self.images = images.to(model.device).float() / 255
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self.optimizer = torch.optim.Adam(model.parameters(), lr=mnist.LEARNING_RATE, fused=True)

    def epoch(self) -> float:
        """Train on every image once, and return the average loss in nats per image."""
        device, losses = self.images.device, []
        for rows in torch.randperm(len(self.images), device=device).split(BATCH_SIZE):
            noise = torch.randn(len(rows), self.model.latent_dim, device=device)
            self.optimizer.zero_grad()
            with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
                loss = training_loss(self.model, self.images[rows], noise).loss
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())
