"""The training loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from vae import inference
from vae.datasets import pixels
from vae.errors import VAEError
from vae.model import VAE
from vae.objective import negative_elbo
from vae.params import TrainParams
from vae.runtime import generator


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
) -> Training:
    """Minimise the negative ELBO by Adam, and leave the best epoch's weights in the model.

    The best epoch is that of the lowest validation negative ELBO; without validation images it is the last. The
    training losses of an epoch are averages over its steps, each at the weights of that moment, as they come.

    Args:
        model: the VAE, on the device to train on.
        images: uint8 (N, C, H, W).
        validation_images: uint8 (M, C, H, W); M may be 0.
        params: epochs, batch size, learning rate and seed.
        report: called after each epoch with the history so far.

    Raises:
        DivergedError: a loss is NaN or infinite.
    """
    images, validation_images = images.to(model.device), validation_images.to(model.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=params.learning_rate, fused=True)
    order_random = generator(params.seed, "data order")
    noise_random = generator(params.seed, "latent noise", model.device)
    history: list[Epoch] = []
    best, best_weights = None, {}

    steps = -(-len(images) // params.batch_size)
    with tqdm(total=params.epochs * steps, unit="step", disable=None) as bar:
        for number in range(1, params.epochs + 1):
            bar.set_description(f"epoch {number}/{params.epochs}")
            sums = []
            for batch in torch.randperm(len(images), generator=order_random).split(params.batch_size):
                x = pixels(images[batch.to(images.device)])
                noise = torch.randn(len(x), model.latent_dim, generator=noise_random, device=x.device)
                terms = negative_elbo(model, x, noise)
                reconstruction, kl = terms.reconstruction.sum(), terms.kl.sum()
                ((reconstruction + kl) / len(x)).backward()
                optimizer.step()
                optimizer.zero_grad()
                sums.append(torch.stack([reconstruction, kl]).detach())
                bar.update()

            validation = _evaluate(model, validation_images, params.seed) if len(validation_images) else None
            epoch = Epoch(number, _average(sums, len(images)), validation)
            _require_finite(epoch)
            history.append(epoch)
            if best is None or _selects(epoch, best):
                best = epoch
                best_weights = {name: weight.clone() for name, weight in model.state_dict().items()}
            bar.set_postfix(_shown(epoch))
            report(tuple(history))

    assert best is not None  # params.epochs is at least 1
    if best.validation is None:  # training losses are taken before each step: none has seen what the last one did
        _require_finite(best._replace(train=_evaluate(model, images[: inference.BATCH_SIZE], params.seed)))
    model.load_state_dict(best_weights)
    return Training(history, best)


def _average(sums: Sequence[Tensor], count: int) -> Terms:
    reconstruction, kl = (torch.stack(tuple(sums)).cpu().double().sum(0) / count).tolist()
    return Terms(reconstruction + kl, reconstruction, kl)


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
