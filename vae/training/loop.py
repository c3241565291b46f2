"""The training loop."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from vae.base import processes
from vae.base.errors import VAEError
from vae.base.params import TrainParams
from vae.base.precision import standard_error
from vae.data.images import LabelledImages
from vae.model import inference
from vae.model.objective import Losses, average_loss
from vae.model.vae import VAE
from vae.training.checkpoint import Checkpoint
from vae.training.engine import TrainingEngine
from vae.training.schedules import kl_weight

log = logging.getLogger(__name__)


class DivergedError(VAEError):
    """The loss became NaN or infinite."""


class Epoch(NamedTuple):
    """The losses, the gradient norm and the skipped steps of one epoch.

    Attributes:
        number: the epoch's number, from 1.
        train: averages over the steps of the epoch that were not skipped.
        gradient_norm: the norm of a batch's gradient before clipping, averaged over steps.
        validation: losses at the end of the epoch; None if there is no validation set.
        validation_loss_se: the standard error of the validation loss; None if there are fewer than two images.
        skipped_steps: the share of steps that were skipped; None if none ever are.
    """

    number: int
    train: Losses[float]
    gradient_norm: float
    validation: Losses[float] | None
    validation_loss_se: float | None = None
    skipped_steps: float | None = None


@dataclass(frozen=True)
class Training:
    """The result of training, besides the model's weights: every epoch, and the one whose weights were kept."""

    history: Sequence[Epoch]
    best: Epoch


def train(
    model: VAE,
    data: LabelledImages,
    validation: LabelledImages,
    params: TrainParams,
    report: Callable[[Sequence[Epoch]], None],
    checkpoint: Checkpoint | None = None,
) -> Training:
    """Minimize the objective by Adam, and leave the best epoch's weights in the model.

    The best epoch has the lowest validation loss, among the epochs after the KL warm-up: the value of what is trained,
    at the full weight of the KL. Without validation images, it is the last epoch. The training losses of an epoch are
    averages over its steps, so they lag behind the weights at its end. If the weights are averaged, the average is what
    is validated and kept, and the training losses are those of the weights themselves.

    Args:
        model: the VAE, on the device to train on.
        data: the training images.
        validation: the validation images; there may be none.
        params: the objective and its optimization.
        report: called after each epoch with the history so far.
        checkpoint: saves the state after each epoch. An interrupted run resumes from it and ends with the same weights
            and losses, bit for bit. The caller discards it once the results are saved.

    Raises:
        DivergedError: a loss is NaN or infinite, or all steps of an epoch were skipped.
    """
    validation_images = validation.images.to(model.device)
    engine = TrainingEngine(model, data.images, params, data.kind)
    progress = _Progress.start(engine) if checkpoint is None else _Progress.resume(engine, checkpoint)
    history = progress.history
    if history:
        report(tuple(history))

    steps_an_epoch = -(-len(data) // params.batch_size)
    done, hidden = len(history) * steps_an_epoch, processes.hides_progress()
    with tqdm(total=params.epochs * steps_an_epoch, initial=done, unit="step", disable=hidden) as bar:
        for number in range(len(history) + 1, params.epochs + 1):
            bar.set_description(f"epoch {number}/{params.epochs}")
            result = engine.epoch(number, bar.update)
            validation_losses, error = None, None
            if len(validation_images):
                with engine.step.weights.replaced(engine.step.result):
                    validation_losses, error = _evaluate(model, validation_images, params, number)
            epoch = Epoch(number, result.losses, result.gradient_norm, validation_losses, error, result.skipped_steps)
            _require_finite(epoch)
            progress.add(epoch, params)
            bar.set_postfix(_shown(epoch))
            report(tuple(history))
            if checkpoint is not None:
                progress.save(checkpoint)

    best = progress.best
    engine.step.weights.vector.copy_(progress.best_weights)
    if best.validation is None:  # training losses lag the last step, so the final weights are checked too
        first = data.images[: params.batch_size]
        losses, _ = _evaluate(model, first, params, best.number)
        _require_finite(best._replace(train=losses))
    return Training(history, best)


@dataclass
class _Progress:
    """The epochs so far and the best weights; the remaining epochs depend on these and the engine's state."""

    engine: TrainingEngine
    history: list[Epoch]
    best_number: int
    best_weights: Tensor

    @classmethod
    def start(cls, engine: TrainingEngine) -> "_Progress":
        return cls(engine, [], 0, torch.empty_like(engine.step.result))

    @classmethod
    def resume(cls, engine: TrainingEngine, checkpoint: Checkpoint) -> "_Progress":
        """Resume from the checkpoint, or start from the beginning if there is none."""
        progress = cls.start(engine)
        state = checkpoint.load()
        if state is not None:
            engine.restore(state.tensors)
            progress.best_weights.copy_(state.tensors.get("best_weights", engine.step.result))
            progress.best_number = state.values["best"]
            for number, train, gradient_norm, validation, *others in state.values["history"]:
                epoch = Epoch(number, Losses(*train), gradient_norm, validation and Losses(*validation), *others)
                progress.history.append(epoch)
            log.info("resuming an interrupted run after epoch %d", len(progress.history))
        return progress

    @property
    def best(self) -> Epoch:
        """The epoch whose weights are kept."""
        return self.history[self.best_number - 1]

    def add(self, epoch: Epoch, params: TrainParams) -> None:
        """Record a finished epoch, and keep its weights if they are the best so far."""
        self.history.append(epoch)
        if self.best_number == 0 or _is_better(epoch, self.best, params):
            self.best_number = epoch.number
            self.best_weights.copy_(self.engine.step.result)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint."""
        tensors = self.engine.state()
        if self.best_number < len(self.history):
            tensors["best_weights"] = self.best_weights
        checkpoint.save(tensors, {"history": self.history, "best": self.best_number})


def _evaluate(model: VAE, images: Tensor, params: TrainParams, epoch: int) -> tuple[Losses[float], float | None]:
    """The losses at the current weights, and the standard error of the first; None for a single image.

    The noise is the same in every epoch, so that only the weights differ.
    """
    weight = kl_weight(params, epoch)
    if params.importance_samples > 1:
        elbo, bound = inference.bounds(model, images, params.importance_samples, params.seed)
        losses = average_loss(elbo, weight, params.free_bits)._replace(loss=-bound.mean())
        parts = bound
    else:
        elbo = inference.negative_elbo(model, images, params.seed)
        losses = average_loss(elbo, weight, params.free_bits)
        parts = _linearized(elbo, weight, params.free_bits)
    error = standard_error(parts) if len(images) > 1 else None
    return Losses(*(float(term) for term in losses)), error


def _linearized(elbo: Losses[Tensor], weight: float, free_bits: float) -> Tensor:
    """What each image adds to the loss of a data set to first order, for the delta method: nats (N,).

    The loss is a function of averages over images, and not itself an average where the KL has free bits. By its
    gradient, each image adds its reconstruction + β Σ KL_d over the dimensions whose average KL is above λ.
    """
    reconstruction, kl = (term.clone().requires_grad_() for term in (elbo.reconstruction, elbo.kl))
    loss = average_loss(Losses(elbo.loss, reconstruction, kl), weight, free_bits).loss
    by_reconstruction, by_kl = torch.autograd.grad(loss, (reconstruction, kl))
    return len(kl) * (by_reconstruction * elbo.reconstruction + (by_kl * elbo.kl).sum(1))


def _is_better(epoch: Epoch, best: Epoch, params: TrainParams) -> bool:
    """Whether an epoch replaces the best one so far. Until the end of the KL warm-up, each epoch does."""
    if epoch.validation is None or best.validation is None or best.number <= params.kl_warmup_epochs:
        return True
    return epoch.validation.loss < best.validation.loss


def _require_finite(epoch: Epoch) -> None:
    if epoch.skipped_steps == 1:
        raise DivergedError(
            f"all steps of epoch {epoch.number} were skipped, because the norms of their gradients were above "
            "train.skip_above or not finite; no model is written. Set train.skip_above to several times the gradient "
            "norm of a run without it (in models/history.json), or try a lower train.learning_rate"
        )
    for name, losses in (("training", epoch.train), ("validation", epoch.validation)):
        if losses is not None and not all(map(isfinite, (*losses, epoch.gradient_norm))):
            raise DivergedError(
                f"training diverged in epoch {epoch.number}: the {name} loss is {losses.loss} "
                f"(reconstruction {losses.reconstruction}, KL {losses.kl}), the gradient norm is "
                f"{epoch.gradient_norm}; no model is written. "
                "Try a lower train.learning_rate, a larger train.batch_size, train.gradient_clip or train.skip_above"
            )


def _shown(epoch: Epoch) -> dict[str, str]:
    losses = epoch.validation or epoch.train
    return {name: f"{value:.2f}" for name, value in losses._asdict().items()}
