"""``fidelity``: whether the optimizations of training change its results.

This measures no times. It compares test losses after the same training in float32 and in lower precision, losses of
the handwritten gradient and of automatic differentiation, and the bits of two identical runs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import mnist
from benchmarks.measurement import Settings, Spread
from benchmarks.mnist import Precision
from benchmarks.table import Goal, Row, Section
from vae.base.params import TrainParams
from vae.data.images import LabelledImages, pixels
from vae.model import inference
from vae.model.vae import VAE
from vae.training.engine import TrainingEngine
from vae.training.loop import Training, train

EPOCHS, QUICK_EPOCHS = 3, 2
NATS = 0.5  # largest change of the test loss by a lower precision


def run(settings: Settings) -> Section:
    """Train in each precision, twice in float32, and compare an epoch with automatic differentiation."""
    images = mnist.training_images(quick=settings.quick)
    epochs = settings.epochs or (QUICK_EPOCHS if settings.quick else EPOCHS)
    device = settings.device

    rows = []
    negative_elbo: dict[Precision, float] = {}
    for precision in mnist.precisions(device):
        model, training = trained(images, mnist.settings(precision, epochs), device)
        negative_elbo[precision] = float(inference.negative_elbo(model, mnist.test_images().images, seed=0).loss.mean())
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
    largest, _ = differences(images.images, mnist.settings(), device, equal_every_chunk=True)
    _, average = differences(images.images, mnist.settings(), device, equal_every_chunk=False)
    rows.append(Row("a step's loss from autograd's, largest relative difference", Spread([largest])))
    rows.append(Row("an epoch's average loss from autograd's, relative difference", Spread([average])))
    return Section("fidelity", f"trained on {epochs} × {len(images):,} MNIST images, {mnist.ABOUT_THE_MODEL}", rows)


def trained(images: LabelledImages, params: TrainParams, device: torch.device) -> tuple[VAE, Training]:
    """Train a model as the stage does, without a validation set."""
    model = mnist.new_model(device)
    return model, train(model, images, images[:0], params, lambda _: None)


def weights(model: VAE) -> Tensor:
    """All weights of a model as one vector."""
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


class ComparedEngine(TrainingEngine):
    """Engine that repeats each step with automatic differentiation, on a second model with the same images and noise.

    The learning rate must be constant, and the objective the plain negative ELBO.

    Attributes:
        equal_every_chunk: whether the reference starts each chunk of steps with our weights and Adam moments.
        losses: for each chunk of steps, the losses (steps,) of our engine and of the reference.
    """

    def __init__(
        self, model: VAE, reference: VAE, images: Tensor, params: TrainParams, *, equal_every_chunk: bool
    ) -> None:
        super().__init__(model, images, params)
        self.reference = reference
        self.reference_optimizer = torch.optim.Adam(reference.parameters(), lr=params.learning_rate)
        self.equal_every_chunk = equal_every_chunk
        self.losses: list[tuple[Tensor, Tensor]] = []

    def _chunk(self, images: Tensor, noise: Tensor, schedule: Tensor) -> Tensor:
        if self.equal_every_chunk:
            self._make_equal()
        ours = super()._chunk(images, noise, schedule)
        with torch.enable_grad():
            batches = zip(images.split(self.batch_size), noise.split(self.batch_size), strict=True)
            theirs = torch.stack([self._reference_step(x, epsilon) for x, epsilon in batches])
        self.losses.append((ours[:, 0], theirs))
        return ours

    def _make_equal(self) -> None:
        """Copy our weights and moments to the reference, since differences from rounding grow from step to step."""
        optimizer = self.step.optimizer
        ours = (self.step.weights.vector, optimizer.first_moment, optimizer.second_moment)
        for parameter, part in zip(self.reference.parameters(), self.step.weights.slices.values(), strict=True):
            state = self.reference_optimizer.state[parameter]
            theirs = [parameter, *(state[name] for name in ("exp_avg", "exp_avg_sq") if name in state)]
            for place, vector in zip(theirs, ours, strict=False):  # before the first step there are no moments
                place.copy_(vector[part].view_as(place))

    def _reference_step(self, images: Tensor, noise: Tensor) -> Tensor:
        x = pixels(images).view(len(images), *self.reference.architecture.image_shape)
        mean, log_variance = self.reference.encoder(x)
        logits = self.reference.decoder(mean + torch.exp(0.5 * log_variance) * noise)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - mean.square() - log_variance.exp())
        self.reference_optimizer.zero_grad()
        loss = (reconstruction + kl) / len(x)
        loss.backward()
        self.reference_optimizer.step()
        return loss.detach()


def differences(
    images: Tensor, params: TrainParams, device: torch.device, *, equal_every_chunk: bool
) -> tuple[float, float]:
    """|ours - reference| / reference over an epoch: the largest of all steps, and that of the average loss."""
    models = mnist.new_model(device), mnist.new_model(device)
    engine = ComparedEngine(*models, images, params, equal_every_chunk=equal_every_chunk)
    engine.epoch(1, lambda _: None)
    ours, theirs = (torch.cat(losses).double() for losses in zip(*engine.losses, strict=True))
    return float(((ours - theirs).abs() / theirs).max()), float((ours.sum() - theirs.sum()).abs() / theirs.sum())
