"""Training from the first epoch to the last: losses, the best epoch, divergence, and resuming."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.settings import LIKELIHOODS, architecture, train_params
from vae.base.params import TrainParams
from vae.base.runtime import generator, seeded
from vae.data.images import LabelledImages, PixelKind
from vae.model import inference
from vae.model.networks import mlp
from vae.model.objective import Losses, average_loss
from vae.model.vae import VAE
from vae.training.checkpoint import Checkpoint
from vae.training.engine import CHUNK, EpochResult, TrainingEngine
from vae.training.loop import DivergedError, Epoch, Training, train
from vae.training.step import Step, StepResult

IMAGE_SHAPE = (1, 3, 4)
LATENT_DIM = 2
SEED = 5  # not that of the weights
NONE = torch.empty(0, *IMAGE_SHAPE, dtype=torch.uint8)


def build(**changes: Any) -> VAE:
    with seeded(0, "weights"):
        return VAE(architecture(**changes))


def random_images(count: int, seed: int = 1, shape: tuple[int, int, int] = IMAGE_SHAPE) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=random)


def settings(**changes: Any) -> TrainParams:
    return train_params(**{"seed": SEED, **changes})


def labelled(images: Tensor, kind: PixelKind = PixelKind.GREY) -> LabelledImages:
    return LabelledImages(images, torch.zeros(len(images), dtype=torch.int64), ("image",), kind)


def fit(
    model: VAE,
    images: Tensor,
    validation_images: Tensor = NONE,
    params: TrainParams | None = None,
    report: Callable[[Sequence[Epoch]], None] = lambda _: None,
    checkpoint: Checkpoint | None = None,
    kind: PixelKind = PixelKind.GREY,
) -> Training:
    data, validation = labelled(images, kind), labelled(validation_images)
    return train(model, data, validation, params or settings(), report, checkpoint)


def weights(model: VAE) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def evaluated(model: VAE, images: Tensor, samples: int = 1) -> Losses[float]:
    """The negative ELBO of the weights as they are and its terms, by ``inference``, from so many samples an image."""
    if samples > 1:
        elbo = inference.bounds(model, images, samples, SEED).elbo
    else:
        elbo = inference.negative_elbo(model, images, SEED)
    return Losses(*(float(term) for term in average_loss(elbo)))


def overfit(model: VAE, checkpoint: Checkpoint | None = None, **changes: Any) -> tuple[Training, Tensor]:
    """Learn sparse images by heart: first that few pixels are white, which helps with others, then which ones."""
    images, validation_images = (torch.where(random_images(count, seed=count) < 64, 255, 0) for count in (24, 20))
    images, validation_images = images.to(torch.uint8), validation_images.to(torch.uint8)
    params = settings(**{"epochs": 40, "batch_size": 4, "learning_rate": 0.03, **changes})
    return fit(model, images, validation_images, params, checkpoint=checkpoint), validation_images


def reference_training(model: VAE, images: Tensor, params: TrainParams) -> list[tuple[float, float, float]]:
    """Reconstruction, KL and gradient norm of every epoch of a plain loop: a step a batch, its loss in one formula.

    The gradient is PyTorch's own, and so is the optimizer. Noise is drawn for the images of a chunk of steps.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=params.learning_rate, fused=False)
    order_random = generator(params.seed, "data order")
    noise_random = generator(params.seed, "latent noise")
    epochs = []
    for _ in range(params.epochs):
        order = torch.randperm(len(images), generator=order_random).tolist()
        chunk = CHUNK * params.batch_size
        chunks = [min(chunk, len(images) - start) for start in range(0, len(images), chunk)]
        noise = torch.cat([torch.randn(count, model.latent_dim, generator=noise_random) for count in chunks])
        reconstruction_sum, kl_sum, norms = 0.0, 0.0, []
        for start in range(0, len(images), params.batch_size):
            rows = slice(start, start + params.batch_size)
            x = torch.stack([images[index] for index in order[rows]]) / 255
            mean, log_variance = model.encoder(x)
            epsilon = noise[rows]
            logits = model.decoder(mean + (log_variance / 2).exp() * epsilon)
            reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
            optimizer.zero_grad()
            ((reconstruction + kl) / len(x)).backward()
            gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
            norms.append(torch.cat(gradients).norm().item())
            optimizer.step()
            reconstruction_sum += reconstruction.item()
            kl_sum += kl.item()
        epochs.append((reconstruction_sum / len(images), kl_sum / len(images), sum(norms) / len(norms)))
    return epochs


def test_training_and_validation_losses_fall() -> None:
    """From a bit a pixel, which the untrained decoder needs, towards a bit an image, since there are two kinds only."""
    two_kinds = torch.stack([torch.zeros(IMAGE_SHAPE), torch.full(IMAGE_SHAPE, 255)]).to(torch.uint8)
    training = fit(build(), two_kinds.repeat(50, 1, 1, 1), two_kinds.repeat(50, 1, 1, 1), settings(epochs=20))
    first, last = training.history[0], training.history[-1]
    assert first.validation is not None
    assert last.validation is not None
    assert last.train.loss < 0.5 * first.train.loss
    assert last.validation.loss < 0.5 * first.validation.loss


def test_losses_gradient_norms_and_weights_equal_those_of_a_plain_loop() -> None:
    """23 images in batches of 7, so that the last batch is a smaller one."""
    images, params = random_images(23), settings(epochs=3)
    model, reference = build(), build()
    training = fit(model, images, params=params)
    expected = reference_training(reference, images, params)
    assert [epoch.number for epoch in training.history] == [1, 2, 3]
    for epoch, (reconstruction, kl, gradient_norm) in zip(training.history, expected, strict=True):
        assert epoch.train.reconstruction == pytest.approx(reconstruction, rel=1e-5)
        assert epoch.train.kl == pytest.approx(kl, rel=1e-5)
        assert epoch.train.loss == pytest.approx(reconstruction + kl, rel=1e-5)
        assert epoch.gradient_norm == pytest.approx(gradient_norm, rel=1e-5)
    # Two ways to round Adam's step of about 0.01; the steps themselves are ten thousand times larger.
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-5, atol=1e-6)


def test_the_same_seed_gives_the_same_history_and_weights_bit_for_bit() -> None:
    models = build(), build()
    first, again = (fit(model, random_images(23), random_images(9, seed=2)) for model in models)
    assert first == again
    assert torch.equal(weights(models[0]), weights(models[1]))


def test_another_seed_gives_other_losses_and_weights() -> None:
    models = build(), build()
    trainings = [fit(model, random_images(23), params=settings(seed=seed)) for seed, model in enumerate(models)]
    assert trainings[0].history[0].train != trainings[1].history[0].train
    assert not torch.equal(weights(models[0]), weights(models[1]))


def test_validation_does_not_change_training() -> None:
    alone, watched = (fit(build(), random_images(23), validation) for validation in (NONE, random_images(9)))
    assert [epoch[:3] for epoch in alone.history] == [epoch[:3] for epoch in watched.history]


def test_validation_losses_are_those_of_the_weights_at_the_end_of_each_epoch() -> None:
    """Which are the weights that training for so many epochs ends with."""
    validation_images = random_images(9, seed=2)
    training = fit(build(), random_images(23), validation_images)
    for epoch in training.history:
        model = build()
        fit(model, random_images(23), params=settings(epochs=epoch.number))
        assert epoch.validation == evaluated(model, validation_images)


def test_the_best_epoch_has_the_lowest_validation_negative_elbo_if_that_is_trained() -> None:
    training, _ = overfit(build())
    validation = [epoch.validation for epoch in training.history if epoch.validation]
    best = min(range(40), key=lambda index: validation[index].reconstruction + validation[index].kl)
    assert training.best == training.history[best]
    assert 0 < best < 39
    assert best != min(range(40), key=lambda index: validation[index].reconstruction)  # the KL has its say


OBJECTIVES: list[dict[str, Any]] = [
    {"beta": 4.0},
    {"beta": 0.0},
    {"kl_warmup_epochs": 2},
    {"kl_warmup_epochs": 2, "beta": 0.5},
    {"free_bits": 0.1},
    {"free_bits": 0.1, "beta": 0.5},
]


@pytest.mark.parametrize("changes", OBJECTIVES, ids=str)
def test_the_validation_loss_has_the_free_bits_and_the_kl_weight_that_training_has_at_the_end_of_the_epoch(
    changes: dict[str, Any],
) -> None:
    validation_images = random_images(9, seed=2)
    shares = (0.5, 1, 1) if "kl_warmup_epochs" in changes else (1, 1, 1)
    number = 0

    def check(history: Sequence[Epoch]) -> None:
        """While the model has the weights of that epoch."""
        nonlocal number
        number += 1
        elbo = inference.negative_elbo(model, validation_images, SEED)
        reconstruction, kl = float(elbo.reconstruction.mean()), elbo.kl.mean(0).tolist()
        weight = changes.get("beta", 1.0) * shares[number - 1]
        penalties = [max(each, changes.get("free_bits", 0.0)) for each in kl]
        assert history[-1].validation is not None
        assert history[-1].validation[1:] == pytest.approx((reconstruction, sum(kl)), rel=1e-12)
        assert history[-1].validation.loss == pytest.approx(reconstruction + weight * sum(penalties), rel=1e-9)

    model = build()
    fit(model, random_images(23), validation_images, settings(**changes), check)
    assert number == 3


def test_the_training_loss_has_the_kl_weight_and_the_free_bits() -> None:
    weighed = fit(build(), random_images(23), params=settings(beta=4.0)).best.train
    assert weighed.loss == pytest.approx(weighed.reconstruction + 4 * weighed.kl, rel=1e-6)
    free = fit(build(), random_images(23), params=settings(free_bits=0.5)).best.train
    assert free.kl < 0.5  # so that no dimension has more than its free bits
    assert free.loss == pytest.approx(free.reconstruction + 0.5 * LATENT_DIM, rel=1e-6)


def one_batch_without_noise(model: VAE, images: Tensor, **changes: Any) -> Epoch:
    """An epoch of one step, with a learning rate and a σ close to zero: validation has the same weights and codes."""
    with torch.no_grad():
        assert isinstance(model.encoder, mlp.Encoder)
        model.encoder.posterior_params.weight.mul_(10)
        model.encoder.posterior_params.weight[LATENT_DIM:] = 0
        model.encoder.posterior_params.bias[LATENT_DIM:] = -40
    params = settings(epochs=1, batch_size=len(images), learning_rate=1e-30, **changes)
    return fit(model, images, images, params).best


@pytest.mark.parametrize("changes", [{}, {"beta": 4.0}, {"free_bits": 20.5}, {"free_bits": 20.5, "beta": 0.5}], ids=str)
def test_training_and_validation_losses_of_the_same_images_and_weights_are_equal(changes: dict[str, Any]) -> None:
    """With free bits between the KLs of the two dimensions."""
    epoch = one_batch_without_noise(build(), random_images(23), **changes)
    assert epoch.validation is not None
    assert epoch.train == pytest.approx(epoch.validation, rel=1e-6)
    is_plain = epoch.train.loss == pytest.approx(epoch.train.reconstruction + epoch.train.kl, rel=1e-3)
    assert is_plain == (not changes)


def test_an_edit_of_the_average_loss_changes_training_and_validation_losses_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def edited(elbo: Losses[Tensor], kl_weight: Tensor | float = 1.0, free_bits: float = 0.0) -> Losses[Tensor]:
        reconstruction, kl = elbo.reconstruction.mean(), elbo.kl.mean(0)
        return Losses(reconstruction + 3 * kl_weight * kl.clamp(min=free_bits).sum(), reconstruction, kl.sum())

    monkeypatch.setattr(average_loss, "__code__", edited.__code__)
    epoch = one_batch_without_noise(build(), random_images(23), beta=2.0)
    assert epoch.validation is not None
    for losses in (epoch.train, epoch.validation):
        assert losses.loss == pytest.approx(losses.reconstruction + 3 * 2 * losses.kl, rel=1e-6)
    assert epoch.train == pytest.approx(epoch.validation, rel=1e-6)


def test_importance_weighted_losses_are_the_bound_and_the_terms_of_the_negative_elbo_of_the_same_samples() -> None:
    validation_images = random_images(9, seed=2)

    def check(history: Sequence[Epoch]) -> None:
        losses = evaluated(model, validation_images, samples=5)
        bound = inference.bounds(model, validation_images, 5, SEED).importance_weighted
        assert history[-1].validation == (-float(bound.mean()), losses.reconstruction, losses.kl)
        assert history[-1].validation_loss_se == pytest.approx(float(bound.std()) / 3, rel=1e-9)

    model = build()
    training = fit(model, random_images(23), validation_images, settings(importance_samples=5), check)
    assert len(training.history) == 3


@pytest.mark.parametrize("changes", [{}, *OBJECTIVES], ids=str)
def test_the_standard_error_of_the_validation_loss_is_that_of_a_bootstrap_over_images(changes: dict[str, Any]) -> None:
    """Which draws images with replacement and takes the loss, free bits and all, of each such set of images."""
    validation_images = random_images(400, seed=2)
    training = fit(trained := build(), random_images(23), validation_images, settings(**changes))
    elbo = inference.negative_elbo(trained, validation_images, SEED)
    random = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(2000):
        drawn = torch.randint(0, 400, (400,), generator=random)
        reconstruction, kl = elbo.reconstruction[drawn].mean(), elbo.kl[drawn].mean(0)
        penalty = kl.clamp(min=changes.get("free_bits", 0.0)).sum()
        losses.append(reconstruction + changes.get("beta", 1.0) * penalty)
    assert training.best == training.history[-1]
    assert training.best.validation_loss_se == pytest.approx(float(torch.stack(losses).std()), rel=0.06)


def test_the_standard_error_of_the_validation_loss_leaves_out_dimensions_whose_kl_is_free() -> None:
    validation_images = random_images(50, seed=2)
    training = fit(trained := build(), random_images(23), validation_images, settings(free_bits=100.0))
    reconstruction = inference.negative_elbo(trained, validation_images, SEED).reconstruction
    assert training.best.validation_loss_se == pytest.approx(float(reconstruction.std()) / 50**0.5, rel=1e-9)


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_validation_images_their_loss_has_no_standard_error(count: int) -> None:
    training = fit(build(), random_images(23), random_images(count, seed=2))
    assert [epoch.validation_loss_se for epoch in training.history] == [None] * 3


def values_of_epochs(training: Training) -> tuple[list[float], list[float]]:
    """Of the validation images the loss, and the negative ELBO, after each epoch."""
    losses = [epoch.validation for epoch in training.history if epoch.validation is not None]
    return [each.loss for each in losses], [each.reconstruction + each.kl for each in losses]


@pytest.mark.parametrize(
    "changes",
    [
        {"beta": 0.0},
        {"beta": 0.2},
        {"free_bits": 1.5},
        {"importance_samples": 3, "learning_rate": 0.02},
    ],
    ids=str,
)
def test_the_best_epoch_has_the_lowest_validation_value_of_the_trained_objective(changes: dict[str, Any]) -> None:
    training, _ = overfit(build(), **changes)
    losses, negative_elbos = values_of_epochs(training)
    best = min(range(40), key=losses.__getitem__)
    assert training.best == training.history[best]
    assert best != min(range(40), key=negative_elbos.__getitem__)  # which would be another choice


@pytest.mark.parametrize("changes", [{}, {"beta": 0.5}, {"beta": 4.0}, {"free_bits": 0.5}], ids=str)
@pytest.mark.parametrize("warmup", [30, 39])
def test_the_best_epoch_is_one_after_the_warm_up_at_the_full_weight_of_the_kl(
    warmup: int, changes: dict[str, Any]
) -> None:
    training, _ = overfit(build(), kl_warmup_epochs=warmup, **changes)
    losses, _ = values_of_epochs(training)
    best = min(range(warmup, 40), key=losses.__getitem__)
    assert training.best == training.history[best]
    assert min(range(40), key=losses.__getitem__) < warmup  # with less weight of the KL, the loss is lower


def test_pixels_are_drawn_for_training_and_not_for_validation() -> None:
    """Drawing the pixels of images that are black and white already changes nothing."""
    validation_images = random_images(9, seed=2)
    black_and_white = (random_images(23) > 127).to(torch.uint8) * 255
    drawn, as_they_are = (
        fit(build(), black_and_white, validation_images, kind=kind)
        for kind in (PixelKind.PROBABILITIES, PixelKind.GREY)
    )
    assert drawn == as_they_are
    grey, drawn = (
        fit(build(), random_images(23), validation_images, kind=kind)
        for kind in (PixelKind.GREY, PixelKind.PROBABILITIES)
    )
    assert grey.history[0].train != drawn.history[0].train


@pytest.mark.parametrize("changes", [{}, {"importance_samples": 3}, {"free_bits": 0.1}], ids=str)
@pytest.mark.parametrize("network", ["mlp", "conv", "autoregressive"])
def test_every_network_and_objective_trains_and_leaves_the_weights_of_the_best_epoch(
    network: str, changes: dict[str, Any]
) -> None:
    shape = (1, 4, 8)
    model = build(network=network, image_shape=shape)
    images, validation_images = random_images(23, shape=shape), random_images(9, seed=2, shape=shape)
    training = fit(model, images, validation_images, settings(**changes), kind=PixelKind.PROBABILITIES)
    assert training.best.validation is not None
    expected = evaluated(model, validation_images, changes.get("importance_samples", 1))
    assert training.best.validation[1:] == expected[1:]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize(
    ("network", "precision"),
    [("mlp", "float32"), ("conv", "float32"), ("conv", "bfloat16"), ("autoregressive", "float32")],
)
def test_every_likelihood_trains_on_colour_images_of_odd_sizes_with_every_network(
    network: str, precision: str, likelihood: str
) -> None:
    shape = (3, 9, 14)
    colours = torch.tensor([[255, 128, 0], [30, 60, 200]], dtype=torch.uint8).repeat(12, 1)
    images = colours.view(24, 3, 1, 1).expand(24, *shape).contiguous()
    model = build(network=network, likelihood=likelihood, image_shape=shape, residual_blocks=1)
    training = fit(model, images, images[:4], settings(epochs=8, precision=precision))
    first, last = training.history[0], training.best
    assert first.validation is not None
    assert last.validation is not None
    assert last.train.loss < first.train.loss
    assert last.validation.loss < first.validation.loss
    assert training.best.validation == evaluated(model, images[:4])


def test_the_model_is_left_with_the_weights_of_the_best_epoch() -> None:
    model = build()
    training, validation_images = overfit(model)
    assert training.best.validation == evaluated(model, validation_images)


def test_without_validation_images_the_last_epoch_is_the_best() -> None:
    model, reference = build(), build()
    training = fit(model, random_images(4), params=settings(epochs=5))
    reference_training(reference, random_images(4), settings(epochs=5))
    assert [epoch.validation for epoch in training.history] == [None] * 5
    assert training.best == training.history[-1]
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-5, atol=1e-6)


def test_the_history_so_far_is_reported_after_each_epoch() -> None:
    reports: list[list[Epoch]] = []
    training = fit(build(), random_images(23), report=lambda history: reports.append(list(history)))
    assert reports == [list(training.history[:count]) for count in (1, 2, 3)]


@pytest.mark.parametrize("validation_images", [NONE, random_images(9, seed=2)], ids=["alone", "with validation"])
def test_the_average_of_the_weights_is_what_is_validated_and_kept_and_does_not_change_training(
    validation_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, plain, kept, after_each_step = build(), build(), build(), []
    step = TrainingEngine._steps

    def recorded(engine: TrainingEngine, *inputs: Tensor) -> Tensor:
        take = engine.step.optimizer.step

        def recording(gradient: Tensor, rate: Tensor) -> Tensor:
            norm = take(gradient, rate)
            after_each_step.append(weights(engine.model).double())
            return norm

        with monkeypatch.context() as patched:
            patched.setattr(engine.step.optimizer, "step", recording)
            return step(engine, *inputs)

    images = random_images(23)
    without = fit(plain, images, validation_images, settings(epochs=4))
    monkeypatch.setattr(TrainingEngine, "_steps", recorded)
    training = fit(model, images, validation_images, settings(epochs=4, ema_decay=0.8))
    assert [epoch.train for epoch in training.history] == [epoch.train for epoch in without.history]
    for epoch in training.history:
        steps = torch.stack(after_each_step[: 4 * epoch.number])
        shares = 0.8 ** torch.arange(len(steps) - 1, -1, -1, dtype=torch.float64)
        average = (shares @ steps / shares.sum()).float()
        torch.nn.utils.vector_to_parameters(average, kept.parameters())
        if epoch.validation is not None:
            assert epoch.validation.loss == pytest.approx(evaluated(kept, validation_images).loss, rel=1e-5)
        if epoch is training.best:
            torch.testing.assert_close(weights(model), average, rtol=1e-5, atol=1e-6)
            assert not torch.allclose(average, steps[-1].float(), atol=1e-3)


def spoil(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Make the loss and the gradient NaN in some steps, counted from 1."""
    taken = [0]
    original = Step.__call__

    def spoilt(step: Step, images: Tensor, noise: Tensor, *others: Tensor) -> StepResult:
        taken[0] += 1
        return original(step, images, noise * torch.nan if taken[0] in numbers else noise, *others)

    monkeypatch.setattr(Step, "__call__", spoilt)


@pytest.mark.parametrize("network", [{}, {"activation": "silu"}], ids=["handwritten gradient", "automatic"])
@pytest.mark.parametrize("changes", [{}, {"gradient_clip": 1.0, "weight_decay": 0.1, "ema_decay": 0.5}], ids=str)
def test_steps_with_a_gradient_that_is_not_finite_are_skipped_and_counted(
    network: dict[str, Any], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 1, 6)
    model = build(**network)
    training = fit(model, random_images(23), random_images(9), settings(epochs=3, skip_above=1e6, **changes))
    assert [epoch.skipped_steps for epoch in training.history] == [0.25, 0.25, 0]
    assert weights(model).isfinite().all()
    assert training.history[2].train.loss < training.history[0].train.loss


def test_the_losses_of_an_epoch_are_averages_over_the_images_of_steps_that_were_not_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = []
    original = Step.__call__

    def recorded(step: Step, *inputs: Tensor) -> StepResult:
        results.append((len(inputs[0]), original(step, *inputs)))
        return results[-1][1]

    monkeypatch.setattr(Step, "__call__", recorded)
    (epoch,) = fit(build(), random_images(23), params=settings(epochs=1, skip_above=1.2)).history
    taken = [(count, result) for count, result in results if result.gradient_norm <= 1.2]
    assert 0 < len(taken) < len(results)
    assert epoch.skipped_steps == 1 - len(taken) / len(results)
    images = sum(count for count, _ in taken)
    expected = sum(count * result.losses.loss.item() for count, result in taken) / images
    assert epoch.train.loss == pytest.approx(expected, rel=1e-6)
    norms = [result.gradient_norm.item() for _, result in taken]
    assert epoch.gradient_norm == pytest.approx(sum(norms) / len(norms), rel=1e-6)


@pytest.mark.parametrize("skip_above", [1e-6, 1e9])
def test_an_epoch_whose_steps_were_all_skipped_ends_training_with_what_to_change(
    skip_above: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if skip_above > 1:
        spoil(monkeypatch, *range(5, 100))
    number = 2 if skip_above > 1 else 1
    with pytest.raises(DivergedError, match=rf"^all steps of epoch {number} were skipped.*train\.skip_above") as caught:
        fit(build(), random_images(23), random_images(9), settings(epochs=5, skip_above=skip_above))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("validation_images", [NONE, random_images(9)], ids=["alone", "with validation"])
def test_divergence_is_reported_in_one_line_that_names_the_epoch_and_what_to_change(validation_images: Tensor) -> None:
    reports: list[int] = []
    with pytest.raises(DivergedError, match=r"in epoch 1: .*train\.learning_rate") as caught:
        fit(
            build(),
            random_images(23),
            validation_images,
            settings(learning_rate=1e30),
            lambda history: reports.append(len(history)),
        )
    assert "\n" not in str(caught.value)
    assert reports == []


def test_divergence_in_a_later_epoch_is_reported_with_that_epoch() -> None:
    """In each epoch there is a single step, of which the loss is finite and the weights after it are not of use."""
    with pytest.raises(DivergedError, match="in epoch 2: the training loss"):
        fit(build(), random_images(7), params=settings(learning_rate=1e30))


def test_divergence_that_only_the_validation_loss_shows_is_found() -> None:
    with pytest.raises(DivergedError, match="in epoch 1: the validation loss"):
        fit(build(), random_images(7), random_images(9), settings(learning_rate=1e30))


@pytest.mark.parametrize("validation_images", [NONE, random_images(9)], ids=["alone", "with validation"])
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_gradient_norm_that_is_not_finite_counts_as_divergence_though_all_losses_are_finite(
    monkeypatch: pytest.MonkeyPatch, validation_images: Tensor, value: float
) -> None:
    epoch = TrainingEngine.epoch

    def second_without_norm(engine: TrainingEngine, number: int, advance: Callable[[int], object]) -> EpochResult:
        result = epoch(engine, number, advance)
        return result._replace(gradient_norm=value) if number == 2 else result

    monkeypatch.setattr(TrainingEngine, "epoch", second_without_norm)
    reports: list[int] = []
    with pytest.raises(DivergedError, match="in epoch 2"):
        fit(build(), random_images(23), validation_images, report=lambda history: reports.append(len(history)))
    assert reports == [1]


@pytest.mark.parametrize(
    ("network", "changes"),
    [({}, {}), ({"likelihood": "gaussian"}, {}), ({}, {"importance_samples": 3}), ({}, {"gradient_clip": 1.0})],
    ids=str,
)
def test_divergence_in_the_very_last_step_is_found_without_validation_images(
    network: dict[str, Any], changes: dict[str, Any]
) -> None:
    params = settings(epochs=1, batch_size=7, learning_rate=1e30, **changes)
    with pytest.raises(DivergedError, match="epoch 1"):
        fit(build(**network), random_images(7), params=params)


def test_the_loss_of_an_untrained_model_is_about_one_bit_a_pixel() -> None:
    """Nats per image, summed over pixels: the decoder's probabilities are about ½."""
    training = fit(build(), random_images(23), params=settings(epochs=1, batch_size=23))
    assert training.best.train.reconstruction == pytest.approx(prod(IMAGE_SHAPE) * 0.693, rel=0.1)


# More steps than a chunk of them, the last with fewer images.
LONG_EPOCH = random_images((CHUNK + 1) * 7 + 3)
EPOCHS = 4


class Interrupted(Checkpoint):
    """A checkpoint whose run is interrupted as soon as it has saved the state of an epoch."""

    def __init__(self, folder: Path, name: str, after: int) -> None:
        super().__init__(folder, name)
        self.after = after

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        super().save(tensors, values)
        if len(values["history"]) == self.after:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Runs:
    """One training, interrupted or not, on the same images with the same parameters."""

    folder: Path
    validation_images: Tensor = NONE
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the parameters
    kind: PixelKind = PixelKind.GREY
    network: Mapping[str, Any] = field(default_factory=dict)
    reports: list[list[Epoch]] = field(default_factory=list)

    def build(self) -> VAE:
        """A fresh model."""
        return build(**self.network)

    def train(self, model: VAE, checkpoint: Checkpoint | None = None) -> Training:
        """Collect the reports of this run."""
        self.reports.clear()
        return fit(
            model,
            LONG_EPOCH,
            self.validation_images,
            settings(epochs=EPOCHS, **self.changes),
            lambda history: self.reports.append(list(history)),
            checkpoint,
            self.kind,
        )

    def interrupt(self, after: int) -> None:
        """Start, or resume, with a fresh model, and stop after an epoch."""
        with pytest.raises(KeyboardInterrupt):
            self.train(self.build(), Interrupted(self.folder, "run", after))

    def finish(self) -> tuple[Training, Tensor]:
        """Resume with a fresh model, and train to the end."""
        model = self.build()
        return self.train(model, Checkpoint(self.folder, "run")), weights(model)

    def uninterrupted(self) -> tuple[Training, Tensor]:
        """What an interruption must not change."""
        model = self.build()
        return self.train(model), weights(model)


@pytest.fixture
def _every_epoch_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short an epoch is."""
    monkeypatch.setattr("vae.training.checkpoint.SHARE_OF_TIME", 1e9)


@pytest.fixture(params=[NONE, random_images(9, seed=2)], ids=["alone", "with validation"])
def validation_images(request: pytest.FixtureRequest) -> Tensor:
    images: Tensor = request.param
    return images


@pytest.fixture(params=["float32", "bfloat16"])
def runs(request: pytest.FixtureRequest, validation_images: Tensor, tmp_path: Path) -> Runs:
    return Runs(tmp_path, validation_images, {"precision": request.param})


def assert_same(outcome: tuple[Training, Tensor], expected: tuple[Training, Tensor]) -> None:
    """Bit for bit: no tolerance, and repr tells the sign of zero."""
    assert repr(list(outcome[0].history)) == repr(list(expected[0].history))
    assert outcome[0].best == expected[0].best
    assert torch.equal(outcome[1].view(torch.int32), expected[1].view(torch.int32))


@pytest.mark.usefixtures("_every_epoch_is_saved")
@pytest.mark.slow
class TestInterruption:
    @pytest.mark.parametrize("after", range(1, EPOCHS + 1))
    def test_a_run_resumed_after_any_epoch_ends_with_the_same_history_and_weights_bit_for_bit(
        self, runs: Runs, after: int
    ) -> None:
        """The last epoch is among them: nothing is left to train, but the results are not yet safe."""
        expected = runs.uninterrupted()
        assert all(epoch.gradient_norm > 0 for epoch in expected[0].history)
        runs.interrupt(after)
        assert_same(runs.finish(), expected)
        assert runs.reports == [list(expected[0].history[:count]) for count in range(after, EPOCHS + 1)]

    @pytest.mark.parametrize("after", [1, 3])
    @pytest.mark.parametrize(
        "variant",
        [
            {"kind": PixelKind.PROBABILITIES},
            {"changes": {"schedule": "cosine", "kl_warmup_epochs": 3}},
            {"changes": {"schedule": "eight_stages", "weight_decay": 0.1, "gradient_clip": 1.0}},
            {"changes": {"beta": 4.0, "free_bits": 0.1}},
            {"changes": {"importance_samples": 3}, "kind": PixelKind.PROBABILITIES},
            {"network": {"likelihood": "gaussian", "activation": "silu"}, "changes": {"precision": "bfloat16"}},
            {"network": {"likelihood": "laplace", "scale": 0.5}},
            {"changes": {"ema_decay": 0.9, "skip_above": 1.2, "warmup_epochs": 2.5}},
        ],
        ids=str,
    )
    def test_a_run_of_any_objective_schedule_pixels_and_likelihood_resumes_bit_for_bit(
        self, tmp_path: Path, variant: dict[str, Any], after: int
    ) -> None:
        runs = Runs(tmp_path, random_images(9, seed=2), **variant)
        expected = runs.uninterrupted()
        runs.interrupt(after)
        assert_same(runs.finish(), expected)
        assert runs.reports == [list(expected[0].history[:count]) for count in range(after, EPOCHS + 1)]

    @pytest.mark.parametrize("network", ["conv", "autoregressive"])
    def test_a_run_of_any_network_resumes_bit_for_bit(self, tmp_path: Path, network: str) -> None:
        shape = (1, 4, 8)
        images, validation_images = random_images(40, shape=shape), random_images(9, seed=2, shape=shape)

        def run(checkpoint: Checkpoint | None) -> tuple[Training, Tensor]:
            model = build(network=network, image_shape=shape)
            return fit(model, images, validation_images, settings(), checkpoint=checkpoint), weights(model)

        expected = run(None)
        with pytest.raises(KeyboardInterrupt):
            run(Interrupted(tmp_path, "run", after=2))
        assert_same(run(Checkpoint(tmp_path, "run")), expected)

    @pytest.mark.parametrize("interruptions", [(1, 2), (1, 4), (2, 3, 4), (1, 2, 3, 4)], ids=str)
    def test_a_run_resumed_more_than_once_ends_with_the_same_history_and_weights_bit_for_bit(
        self, runs: Runs, interruptions: tuple[int, ...]
    ) -> None:
        expected = runs.uninterrupted()
        for after in interruptions:
            runs.interrupt(after)
        assert_same(runs.finish(), expected)
        assert len(runs.reports) == 1 + EPOCHS - interruptions[-1]

    @pytest.mark.parametrize("number", range(1, EPOCHS + 1))
    def test_an_epoch_that_was_interrupted_before_it_was_saved_is_repeated_bit_for_bit(
        self, runs: Runs, number: int
    ) -> None:
        def interrupt(history: Sequence[Epoch]) -> None:
            if len(history) == number:
                raise KeyboardInterrupt

        expected = runs.uninterrupted()
        with pytest.raises(KeyboardInterrupt):
            fit(
                build(),
                LONG_EPOCH,
                runs.validation_images,
                settings(epochs=EPOCHS, **runs.changes),
                interrupt,
                Checkpoint(runs.folder, "run"),
            )
        assert_same(runs.finish(), expected)
        assert [len(report) for report in runs.reports] == list(range(max(1, number - 1), EPOCHS + 1))

    def test_saving_states_does_not_change_training(self, runs: Runs) -> None:
        expected = runs.uninterrupted()
        assert_same(runs.finish(), expected)
        assert [len(report) for report in runs.reports] == [1, 2, 3, 4]

    def test_the_state_stays_after_the_last_epoch_until_the_caller_discards_it(self, runs: Runs) -> None:
        expected = runs.finish()
        assert_same(runs.finish(), expected)
        assert [len(report) for report in runs.reports] == [EPOCHS]

    def test_resuming_does_not_depend_on_the_weights_of_the_model_it_is_given(self, runs: Runs) -> None:
        expected = runs.uninterrupted()
        runs.interrupt(after=2)
        with seeded(1, "other weights"):
            other = VAE(build().architecture)
        training = runs.train(other, Checkpoint(runs.folder, "run"))
        assert_same((training, weights(other)), expected)

    @pytest.mark.parametrize("after", range(1, EPOCHS + 1))
    def test_the_log_says_after_which_epoch_a_run_resumes(
        self, tmp_path: Path, after: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        runs = Runs(tmp_path)
        runs.interrupt(after)
        assert "resuming" not in caplog.text
        runs.finish()
        assert caplog.text.count("resuming an interrupted run after epoch") == 1
        assert caplog.messages[-1].endswith(f"resuming an interrupted run after epoch {after}")

    @pytest.mark.parametrize("later", [0, 1, 8])
    def test_the_weights_of_a_best_epoch_before_the_interruption_survive_it(self, tmp_path: Path, later: int) -> None:
        reference = build()
        expected, _ = overfit(reference)
        after = expected.best.number + later
        assert 1 < after < 40
        with pytest.raises(KeyboardInterrupt):
            overfit(build(), Interrupted(tmp_path, "run", after))
        model = build()
        training, validation_images = overfit(model, Checkpoint(tmp_path, "run"))
        assert_same((training, weights(model)), (expected, weights(reference)))
        assert expected.best.validation == evaluated(model, validation_images)

    def test_a_better_epoch_after_the_interruption_replaces_the_best_one_before_it(self, tmp_path: Path) -> None:
        reference = build()
        expected, _ = overfit(reference)
        assert expected.best.number > 2
        with pytest.raises(KeyboardInterrupt):
            overfit(build(), Interrupted(tmp_path, "run", after=2))
        model = build()
        training, _ = overfit(model, Checkpoint(tmp_path, "run"))
        assert_same((training, weights(model)), (expected, weights(reference)))

    def test_a_run_that_diverged_diverges_again_in_the_same_epoch_when_it_resumes(self, tmp_path: Path) -> None:
        messages = []
        for _ in range(2):
            with pytest.raises(DivergedError, match="in epoch 2") as caught:
                fit(
                    build(),
                    random_images(7),
                    params=settings(learning_rate=1e30),
                    checkpoint=Checkpoint(tmp_path, "run"),
                )
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


def test_epochs_that_were_not_saved_for_lack_of_time_are_repeated_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first is saved here."""
    monkeypatch.setattr("vae.training.checkpoint.SHARE_OF_TIME", 0)
    runs = Runs(tmp_path, random_images(9, seed=2))
    expected = runs.uninterrupted()
    runs.interrupt(after=3)
    assert_same(runs.finish(), expected)
    assert [len(report) for report in runs.reports] == [1, 2, 3, 4]


def test_a_run_whose_states_cannot_be_saved_trains_to_the_end_with_the_same_results(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a file where a folder belongs"
    folder.write_text("")
    runs = Runs(folder, random_images(9, seed=2))
    expected = runs.uninterrupted()
    assert_same(runs.finish(), expected)
    assert "cannot be written" in caplog.text
