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
from vae.datasets import LabelledImages
from vae.errors import VAEError
from vae.model import VAE
from vae.objective import with_free_bits
from vae.params import TrainParams
from vae.resumption import Resumption
from vae.schedules import kl_weight
from vae.steps import Steps

log = logging.getLogger(__name__)


class DivergedError(VAEError):
    """The loss became NaN or infinite."""


class Terms(NamedTuple):
    """Averages over the images of an epoch, in nats per image.

    ``loss`` is what the optimiser minimises: by default the sum of the other two, else with the KL weighed or with its
    free bits, or minus the importance-weighted bound.
    """

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
    data: LabelledImages,
    validation: LabelledImages,
    params: TrainParams,
    report: Callable[[Sequence[Epoch]], None],
    resumption: Resumption | None = None,
) -> Training:
    """Minimise the objective by Adam, and leave the best epoch's weights in the model.

    The best epoch is that of the lowest validation negative ELBO, whatever weight the KL has in training, or of the
    highest importance-weighted bound where that is trained; without validation images it is the last. The training
    losses of an epoch are averages over its steps, each at the weights of that moment, as they come.

    Args:
        model: the VAE, on the device to train on.
        data: the training images.
        validation: the validation images; there may be none.
        params: the objective, and its optimisation.
        report: called after each epoch with the history so far.
        resumption: where to keep the state of the run after each epoch, and what an interrupted one is gone on from;
            it comes to the same weights and losses, bit for bit. The caller discards it when the results are safe.

    Raises:
        DivergedError: a loss is NaN or infinite.
    """
    validation_images = validation.images.to(model.device)
    steps = Steps(model, data.images, params, data.kind)
    progress = _Progress.start(steps) if resumption is None else _Progress.resume(steps, resumption)
    history = progress.history
    if history:
        report(tuple(history))

    steps_an_epoch = -(-len(data) // params.batch_size)
    with tqdm(
        total=params.epochs * steps_an_epoch, initial=len(history) * steps_an_epoch, unit="step", disable=None
    ) as bar:
        for number in range(len(history) + 1, params.epochs + 1):
            bar.set_description(f"epoch {number}/{params.epochs}")
            terms = Terms(*steps.epoch(number, bar.update))
            held_out = _evaluate(model, validation_images, params, number) if len(validation_images) else None
            epoch = Epoch(number, terms, held_out)
            _require_finite(epoch)
            progress.add(epoch, params)
            bar.set_postfix(_shown(epoch))
            report(tuple(history))
            if resumption is not None:
                progress.keep(resumption)

    best = progress.best
    if best.validation is None:  # training losses are taken before each step: none has seen what the last one did
        first = data.images[: inference.BATCH_SIZE]
        _require_finite(best._replace(train=_evaluate(model, first, params, best.number)))
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

    def add(self, epoch: Epoch, params: TrainParams) -> None:
        """Take up an epoch that has ended, and its weights if they are the best so far."""
        self.history.append(epoch)
        if self.best_number == 0 or _is_better(epoch, self.best, params):
            self.best_number = epoch.number
            self.best_weights.copy_(self.steps.weights.vector)

    def keep(self, resumption: Resumption) -> None:
        """Write all of this down."""
        tensors = self.steps.state()
        if self.best_number < len(self.history):
            tensors["best_weights"] = self.best_weights
        resumption.save(tensors, {"history": self.history, "best": self.best_number})


def _evaluate(model: VAE, images: Tensor, params: TrainParams, epoch: int) -> Terms:
    """The losses of the weights as they are; the same noise in every epoch, so that epochs differ by weights only."""
    result = inference.losses(model, images, params.seed)
    if params.importance_samples > 1:
        bound = inference.importance_weighted_bound(model, images, params.importance_samples, params.seed)
        return Terms(-float(bound.mean()), result.reconstruction, result.kl)
    weighted = kl_weight(params, epoch) * float(with_free_bits(result.kl_per_dimension, params.free_bits))
    return Terms(result.reconstruction + weighted, result.reconstruction, result.kl)


def _is_better(epoch: Epoch, best: Epoch, params: TrainParams) -> bool:
    if epoch.validation is None or best.validation is None:
        return True
    return _criterion(epoch.validation, params) < _criterion(best.validation, params)


def _criterion(terms: Terms, params: TrainParams) -> float:
    return terms.loss if params.importance_samples > 1 else terms.reconstruction + terms.kl


def _require_finite(epoch: Epoch) -> None:
    for name, terms in (("training", epoch.train), ("validation", epoch.validation)):
        if terms is not None and not all(map(isfinite, terms)):
            raise DivergedError(
                f"training diverged in epoch {epoch.number}: the {name} loss is {terms.loss} "
                f"(reconstruction {terms.reconstruction}, KL {terms.kl}); no model is written. "
                "Try a lower train.learning_rate, a larger train.batch_size or train.gradient_clip"
            )


def _shown(epoch: Epoch) -> dict[str, str]:
    terms = epoch.validation or epoch.train
    return {name: f"{value:.2f}" for name, value in terms._asdict().items()}
