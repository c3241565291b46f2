"""The training loop."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from vae import inference
from vae.errors import VAEError
from vae.model import VAE
from vae.params import TrainParams
from vae.resumption import Resumption
from vae.steps import Steps

log = logging.getLogger(__name__)


class DivergedError(VAEError):
    """The loss became NaN or infinite."""


class Terms(NamedTuple):
    """Averages over the images of an epoch, in nats per image; ``loss`` is what the optimiser minimises."""

    loss: float
    reconstruction: float
    kl: float


class Epoch(NamedTuple):
    """The losses of one epoch, counted from 1; ``validation`` is None where there is no validation set."""

    number: int
    train: Terms
    validation: Terms | None


@dataclass(frozen=True)
class Training:
    """What training leaves besides the weights: the losses of every epoch, and which epoch's weights were kept."""

    history: Sequence[Epoch]
    best: Epoch


def train(
    model: VAE,
    images: Tensor,
    validation_images: Tensor,
    params: TrainParams,
    report: Callable[[Sequence[Epoch]], None],
    resumption: Resumption | None = None,
) -> Training:
    """Minimise the negative ELBO by Adam, and leave the best epoch's weights in the model.

    The best epoch is that of the lowest validation negative ELBO; without validation images it is the last. The
    training losses of an epoch are averages over its steps, each at the weights of that moment, as they come.

    Args:
        model: the VAE, on the device to train on.
        images: uint8 (N, C, H, W).
        validation_images: uint8 (M, C, H, W); M may be 0.
        params: epochs, batch size, learning rate, precision and seed.
        report: called after each epoch with the history so far.
        resumption: where to keep the state of the run after each epoch, and what an interrupted one is gone on from;
            it comes to the same weights and losses, bit for bit. The caller discards it when the results are safe.

    Raises:
        DivergedError: a loss is NaN or infinite.
    """
    validation_images = validation_images.to(model.device)
    steps = Steps(model, images, params)
    progress = _Progress.start(steps) if resumption is None else _Progress.resume(steps, resumption)
    history = progress.history
    if history:
        report(tuple(history))

    steps_an_epoch = -(-len(images) // params.batch_size)
    with tqdm(
        total=params.epochs * steps_an_epoch, initial=len(history) * steps_an_epoch, unit="step", disable=None
    ) as bar:
        for number in range(len(history) + 1, params.epochs + 1):
            bar.set_description(f"epoch {number}/{params.epochs}")
            reconstruction, kl = steps.epoch(bar.update)
            validation = _evaluate(model, validation_images, params.seed) if len(validation_images) else None
            epoch = Epoch(number, Terms(reconstruction + kl, reconstruction, kl), validation)
            _require_finite(epoch)
            progress.add(epoch)
            bar.set_postfix(_shown(epoch))
            report(tuple(history))
            if resumption is not None:
                progress.keep(resumption)

    best = progress.best
    if best.validation is None:  # training losses are taken before each step: none has seen what the last one did
        _require_finite(best._replace(train=_evaluate(model, images[: inference.BATCH_SIZE], params.seed)))
    steps.weights.vector.copy_(progress.best_weights)
    return Training(history, best)


@dataclass
class _Progress:
    """How far training has come: with the state of ``steps``, all that the rest of it depends on."""

    steps: Steps
    history: list[Epoch]
    best_number: int
    best_weights: Tensor

    @classmethod
    def start(cls, steps: Steps) -> "_Progress":
        return cls(steps, [], 0, torch.empty_like(steps.weights.vector))

    @classmethod
    def resume(cls, steps: Steps, resumption: Resumption) -> "_Progress":
        """Go on from the state that was kept; start where there is none."""
        progress = cls.start(steps)
        state = resumption.load()
        if state is not None:
            steps.restore(state.tensors)
            progress.best_weights.copy_(state.tensors.get("best_weights", state.tensors["parameters"]))
            progress.best_number = state.values["best"]
            for number, train, validation in state.values["history"]:
                progress.history.append(Epoch(number, Terms(*train), validation and Terms(*validation)))
            log.info("an earlier run was interrupted; going on after its epoch %d", len(progress.history))
        return progress

    @property
    def best(self) -> Epoch:
        """The epoch whose weights are kept."""
        return self.history[self.best_number - 1]

    def add(self, epoch: Epoch) -> None:
        """Take up an epoch that has ended, and its weights if they are the best so far."""
        self.history.append(epoch)
        if self.best_number == 0 or _selects(epoch, self.best):
            self.best_number = epoch.number
            self.best_weights.copy_(self.steps.weights.vector)

    def keep(self, resumption: Resumption) -> None:
        """Write all of this down."""
        tensors = self.steps.state()
        if self.best_number < len(self.history):
            tensors["best_weights"] = self.best_weights
        resumption.save(tensors, {"history": self.history, "best": self.best_number})


def _evaluate(model: VAE, images: Tensor, seed: int) -> Terms:
    """The losses of the weights as they are; the same noise in every epoch, so that epochs differ by weights only."""
    result = inference.losses(model, images, seed)
    return Terms(result.negative_elbo, result.reconstruction, result.kl)


def _selects(epoch: Epoch, best: Epoch) -> bool:
    if epoch.validation is None or best.validation is None:
        return True
    negative_elbo, lowest = (terms.reconstruction + terms.kl for terms in (epoch.validation, best.validation))
    return negative_elbo < lowest


def _require_finite(epoch: Epoch) -> None:
    for name, terms in (("training", epoch.train), ("validation", epoch.validation)):
        if terms is not None and not all(map(isfinite, terms)):
            raise DivergedError(
                f"training diverged in epoch {epoch.number}: the {name} loss is {terms.loss} "
                f"(reconstruction {terms.reconstruction}, KL {terms.kl}); no model is written. "
                "Try a lower train.learning_rate or a larger train.batch_size"
            )


def _shown(epoch: Epoch) -> dict[str, str]:
    terms = epoch.validation or epoch.train
    return {name: f"{value:.2f}" for name, value in terms._asdict().items()}
