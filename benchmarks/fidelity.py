"""``fidelity``: whether what makes training fast changes what it comes to.

Not a timing: test losses after the same training in float32 and in lower precision, the losses of the hand-derived
steps next to those of automatic differentiation, and whether a run repeats bit for bit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import mnist
from benchmarks.measurement import Settings, Spread
from benchmarks.mnist import Precision
from benchmarks.table import Goal, Row, Section
from vae import inference
from vae.datasets import pixels
from vae.model import VAE
from vae.params import TrainParams
from vae.steps import Steps
from vae.training import Training, train

EPOCHS, QUICK_EPOCHS = 3, 2
NATS = 0.5  # that a lower precision may change the test loss by


def run(settings: Settings) -> Section:
    """Train in each precision, twice in float32, and make an epoch by automatic differentiation beside ours."""
    images = mnist.training_images(quick=settings.quick)
    epochs = settings.epochs or (QUICK_EPOCHS if settings.quick else EPOCHS)
    device = settings.device

    rows = []
    negative_elbo: dict[Precision, float] = {}
    for precision in mnist.precisions(device):
        model, training = trained(images, mnist.settings(precision, epochs), device)
        negative_elbo[precision] = inference.losses(model, mnist.test_images().images, seed=0).negative_elbo
        rows.append(Row(f"test negative ELBO, {precision}", Spread([negative_elbo[precision]]), "nats", digits=5))
        if precision == "float32":
            again = trained(images, mnist.settings(precision, epochs), device)
            same = training == again[1] and torch.equal(weights(model), weights(again[0]))
            repetition = Row("two runs in float32", "same bits" if same else "differ", goal=Goal("same bits", same))
    for precision, value in negative_elbo.items():
        if precision != "float32":
            difference = value - negative_elbo["float32"]
            goal = Goal(f"within {NATS:g} nats", abs(difference) <= NATS)
            rows.append(Row(f"{precision} less float32", Spread([difference]), "nats", goal=goal))
    rows.append(repetition)
    largest = Spread([largest_difference(images, mnist.settings(), device)])
    rows.append(Row("largest relative difference of a step's loss from autograd's, over an epoch", largest))
    return Section("fidelity", f"trained on {epochs} × {len(images):,} MNIST images, {mnist.ABOUT_THE_MODEL}", rows)


def trained(images: Tensor, params: TrainParams, device: torch.device) -> tuple[VAE, Training]:
    """A model trained as the stage does, without a validation set."""
    model = mnist.new_model(device)
    return model, train(model, images, images[:0], params, lambda _: None)


def weights(model: VAE) -> Tensor:
    """All of them, as one vector."""
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


class ComparedSteps(Steps):
    """Steps that are made by automatic differentiation too, on a second model, with the same images and noise.

    Attributes:
        losses: of each chunk of steps the sums of reconstruction and KL over each batch, ours and the reference's.
    """

    def __init__(self, model: VAE, reference: VAE, images: Tensor, params: TrainParams) -> None:
        super().__init__(model, images, params)
        self.reference = reference
        self.reference_optimizer = torch.optim.Adam(reference.parameters(), lr=params.learning_rate)
        self.losses: list[tuple[Tensor, Tensor]] = []

    def _chunk(self, images: Tensor, noise: Tensor) -> Tensor:
        ours = super()._chunk(images, noise)
        with torch.enable_grad():
            batches = zip(images.split(self.batch_size), noise.split(self.batch_size), strict=True)
            theirs = torch.stack([self._reference_step(x, epsilon) for x, epsilon in batches])
        self.losses.append((ours, theirs))
        return ours

    def _reference_step(self, images: Tensor, noise: Tensor) -> Tensor:
        x = pixels(images).view(len(images), *self.reference.architecture.image_shape)
        mean, log_variance = self.reference.encoder(x)
        logits = self.reference.decoder(mean + torch.exp(0.5 * log_variance) * noise)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())
        self.reference_optimizer.zero_grad()
        ((reconstruction + kl) / len(x)).backward()
        self.reference_optimizer.step()
        return torch.stack([reconstruction, kl]).detach()


def largest_difference(images: Tensor, params: TrainParams, device: torch.device) -> float:
    """|ours - reference| / reference of the loss of a step, the largest over an epoch from the same weights."""
    steps = ComparedSteps(mnist.new_model(device), mnist.new_model(device), images, params)
    steps.epoch(lambda _: None)
    ours, theirs = (torch.cat(losses).double().sum(1) for losses in zip(*steps.losses, strict=True))
    return float(((ours - theirs).abs() / theirs).max())
