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

from tests.settings import architecture, train_params
from vae import inference
from vae.datasets import LabelledImages, PixelKind
from vae.model import VAE
from vae.networks.dense import DenseEncoder
from vae.objective import with_free_bits
from vae.params import TrainParams
from vae.resumption import Resumption
from vae.runtime import generator, seeded
from vae.steps import CHUNK
from vae.training import DivergedError, Epoch, Training, train

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
    resumption: Resumption | None = None,
    kind: PixelKind = PixelKind.GREY,
) -> Training:
    data, validation = labelled(images, kind), labelled(validation_images)
    return train(model, data, validation, params or settings(), report, resumption)


def weights(model: VAE) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def overfit(model: VAE, resumption: Resumption | None = None, **changes: Any) -> tuple[Training, Tensor]:
    """Learn sparse images by heart: first that few pixels are white, which helps with others, then which ones."""
    images, validation_images = (torch.where(random_images(count, seed=count) < 64, 255, 0) for count in (24, 20))
    images, validation_images = images.to(torch.uint8), validation_images.to(torch.uint8)
    params = settings(**{"epochs": 40, "batch_size": 4, "learning_rate": 0.03, **changes})
    return fit(model, images, validation_images, params, resumption=resumption), validation_images


def reference_training(model: VAE, images: Tensor, params: TrainParams) -> list[tuple[float, float]]:
    """Reconstruction and KL of every epoch of the plainest loop there is: a step a batch, its loss in one formula.

    The gradient is PyTorch's own, and so is the optimiser. Noise is drawn for the images of a chunk of steps.
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
        reconstruction_sum, kl_sum = 0.0, 0.0
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
            optimizer.step()
            reconstruction_sum += reconstruction.item()
            kl_sum += kl.item()
        epochs.append((reconstruction_sum / len(images), kl_sum / len(images)))
    return epochs


def test_losses_fall() -> None:
    """From a bit a pixel, which the untrained decoder needs, towards a bit an image, since there are two kinds only."""
    two_kinds = torch.stack([torch.zeros(IMAGE_SHAPE), torch.full(IMAGE_SHAPE, 255)]).to(torch.uint8)
    training = fit(build(), two_kinds.repeat(50, 1, 1, 1), two_kinds.repeat(50, 1, 1, 1), settings(epochs=20))
    first, last = training.history[0], training.history[-1]
    assert first.validation is not None
    assert last.validation is not None
    assert last.train.loss < 0.5 * first.train.loss
    assert last.validation.loss < 0.5 * first.validation.loss


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_equals_a_plain_loop(epochs: int) -> None:
    """23 images in batches of 7, so that the last batch is a smaller one."""
    images, params = random_images(23), settings(epochs=epochs)
    model, reference = build(), build()
    training = fit(model, images, params=params)
    expected = reference_training(reference, images, params)
    assert [epoch.number for epoch in training.history] == list(range(1, epochs + 1))
    for epoch, (reconstruction, kl) in zip(training.history, expected, strict=True):
        assert epoch.train.reconstruction == pytest.approx(reconstruction, rel=1e-5)
        assert epoch.train.kl == pytest.approx(kl, rel=1e-5)
        assert epoch.train.loss == pytest.approx(reconstruction + kl, rel=1e-5)
    # Two ways to round Adam's step of about 0.01; the steps themselves are ten thousand times larger.
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 10, 23, 100])
def test_losses_of_an_epoch_are_averages_over_images_not_batches(batch_size: int) -> None:
    """With σ = e^-20 and next to no learning, every batch size has to come to the same average."""
    model, images = build(), random_images(23)
    with torch.no_grad():
        assert isinstance(model.encoder, DenseEncoder)
        model.encoder.moments.weight[LATENT_DIM:] = 0
        model.encoder.moments.bias[LATENT_DIM:] = -40
    expected = inference.losses(model, images, seed=SEED)
    training = fit(model, images, params=settings(epochs=1, batch_size=batch_size, learning_rate=1e-30))
    assert training.best.train.reconstruction == pytest.approx(expected.reconstruction, rel=1e-6)
    assert training.best.train.kl == pytest.approx(expected.kl, rel=1e-6)


def test_same_seed_gives_the_same_bits() -> None:
    models = build(), build()
    first, again = (fit(model, random_images(23), random_images(9, seed=2)) for model in models)
    assert first == again
    assert torch.equal(weights(models[0]), weights(models[1]))


def test_another_seed_gives_another_training() -> None:
    models = build(), build()
    trainings = [fit(model, random_images(23), params=settings(seed=seed)) for seed, model in enumerate(models)]
    assert trainings[0].history[0].train != trainings[1].history[0].train
    assert not torch.equal(weights(models[0]), weights(models[1]))


def test_validation_takes_no_part_in_training() -> None:
    alone, watched = (fit(build(), random_images(23), validation) for validation in (NONE, random_images(9)))
    assert [epoch.train for epoch in alone.history] == [epoch.train for epoch in watched.history]


def test_validation_losses_are_those_of_inference_after_each_epoch() -> None:
    """The weights after an epoch are those that training of so many epochs ends with."""
    validation_images = random_images(9, seed=2)
    training = fit(build(), random_images(23), validation_images)
    for epoch in training.history:
        model = build()
        fit(model, random_images(23), params=settings(epochs=epoch.number))
        expected = inference.losses(model, validation_images, seed=SEED)
        assert epoch.validation == (expected.negative_elbo, expected.reconstruction, expected.kl)


def test_best_epoch_is_that_of_the_lowest_validation_negative_elbo() -> None:
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
def test_validation_losses_are_what_is_minimised_with_the_weight_that_the_kl_has_after_the_epoch(
    changes: dict[str, Any],
) -> None:
    validation_images = random_images(9, seed=2)
    shares = (0.5, 1, 1) if "kl_warmup_epochs" in changes else (1, 1, 1)
    number = 0

    def check(history: Sequence[Epoch]) -> None:
        """While the model has the weights of that epoch."""
        nonlocal number
        number += 1
        losses = inference.losses(model, validation_images, seed=SEED)
        weight = changes.get("beta", 1.0) * shares[number - 1]
        loss = losses.reconstruction + weight * float(
            with_free_bits(losses.kl_per_dimension, changes.get("free_bits", 0.0))
        )
        assert history[-1].validation is not None
        assert history[-1].validation[1:] == (losses.reconstruction, losses.kl)
        assert history[-1].validation.loss == pytest.approx(loss, rel=1e-9)

    model = build()
    fit(model, random_images(23), validation_images, settings(**changes), check)
    assert number == 3


def test_training_losses_are_what_is_minimised() -> None:
    weighed = fit(build(), random_images(23), params=settings(beta=4.0)).best.train
    assert weighed.loss == pytest.approx(weighed.reconstruction + 4 * weighed.kl, rel=1e-6)
    free = fit(build(), random_images(23), params=settings(free_bits=0.5)).best.train
    assert free.kl < 0.5  # so that no dimension has more than its free bits
    assert free.loss == pytest.approx(free.reconstruction + 0.5 * LATENT_DIM, rel=1e-6)


def test_importance_weighted_losses_are_the_bound_with_the_terms_of_the_negative_elbo() -> None:
    validation_images = random_images(9, seed=2)

    def check(history: Sequence[Epoch]) -> None:
        losses = inference.losses(model, validation_images, seed=SEED)
        bound = inference.importance_weighted_bound(model, validation_images, 5, SEED)
        assert history[-1].validation == (-float(bound.mean()), losses.reconstruction, losses.kl)

    model = build()
    training = fit(model, random_images(23), validation_images, settings(importance_samples=5), check)
    assert len(training.history) == 3


def values_of_epochs(training: Training) -> tuple[list[float], list[float]]:
    """Of the validation images the loss, and the negative ELBO, after each epoch."""
    terms = [epoch.validation for epoch in training.history if epoch.validation is not None]
    return [each.loss for each in terms], [each.reconstruction + each.kl for each in terms]


@pytest.mark.parametrize("changes", [{"beta": 0.0}, {"beta": 0.2}, {"free_bits": 1.5}], ids=str)
def test_best_epoch_is_that_of_the_lowest_negative_elbo_whatever_weight_the_kl_has(changes: dict[str, Any]) -> None:
    training, _ = overfit(build(), **changes)
    losses, negative_elbos = values_of_epochs(training)
    best = min(range(40), key=negative_elbos.__getitem__)
    assert training.best == training.history[best]
    assert best != min(range(40), key=losses.__getitem__)  # which would be another choice


def test_best_epoch_of_importance_weighted_training_is_that_of_the_highest_bound() -> None:
    training, _ = overfit(build(), importance_samples=3, learning_rate=0.02)
    losses, negative_elbos = values_of_epochs(training)
    best = min(range(40), key=losses.__getitem__)
    assert training.best == training.history[best]
    assert best != min(range(40), key=negative_elbos.__getitem__)


def test_pixels_are_drawn_for_training_and_not_for_validation() -> None:
    """Of images that are black and white already a draw changes nothing."""
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
def test_every_network_and_objective_can_be_trained_from_beginning_to_end(
    network: str, changes: dict[str, Any]
) -> None:
    shape = (1, 4, 8)
    model = build(network=network, image_shape=shape)
    images, validation_images = random_images(23, shape=shape), random_images(9, seed=2, shape=shape)
    training = fit(model, images, validation_images, settings(**changes), kind=PixelKind.PROBABILITIES)
    losses = inference.losses(model, validation_images, seed=SEED)
    assert training.best.validation is not None
    assert training.best.validation[1:] == (losses.reconstruction, losses.kl)


def test_model_is_left_with_the_weights_of_the_best_epoch() -> None:
    model = build()
    training, validation_images = overfit(model)
    losses = inference.losses(model, validation_images, seed=SEED)
    assert training.best.validation == (losses.negative_elbo, losses.reconstruction, losses.kl)


def test_without_validation_images_the_last_epoch_is_the_best() -> None:
    model, reference = build(), build()
    training = fit(model, random_images(4), params=settings(epochs=5))
    reference_training(reference, random_images(4), settings(epochs=5))
    assert [epoch.validation for epoch in training.history] == [None] * 5
    assert training.best == training.history[-1]
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-5, atol=1e-6)


def test_report_is_called_after_each_epoch_with_the_history_so_far() -> None:
    reports: list[list[Epoch]] = []
    training = fit(build(), random_images(23), report=lambda history: reports.append(list(history)))
    assert reports == [list(training.history[:count]) for count in (1, 2, 3)]


@pytest.mark.parametrize("validation_images", [NONE, random_images(9)], ids=["alone", "with validation"])
def test_divergence_names_the_epoch_and_what_to_change(validation_images: Tensor) -> None:
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


def test_divergence_in_a_later_epoch_names_that_epoch() -> None:
    """A single step in each epoch: its loss is still finite when the weights are no longer of use."""
    with pytest.raises(DivergedError, match="in epoch 2: the training loss"):
        fit(build(), random_images(7), params=settings(learning_rate=1e30))


def test_divergence_that_only_validation_sees_is_found() -> None:
    with pytest.raises(DivergedError, match="in epoch 1: the validation loss"):
        fit(build(), random_images(7), random_images(9), settings(learning_rate=1e30))


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


def test_untrained_loss_is_about_the_bits_of_a_coin_a_pixel() -> None:
    """Nats per image, summed over pixels: an untrained decoder says ½ nearly everywhere."""
    training = fit(build(), random_images(23), params=settings(epochs=1, batch_size=23))
    assert training.best.train.reconstruction == pytest.approx(prod(IMAGE_SHAPE) * 0.693, rel=0.1)


# More steps than a chunk of them, the last with fewer images.
LONG_EPOCH = random_images((CHUNK + 1) * 7 + 3)
EPOCHS = 4


class Interrupted(Resumption):
    """A place for states whose run is interrupted as soon as it has kept that of an epoch."""

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

    def train(self, model: VAE, resumption: Resumption | None = None) -> Training:
        """Collect the reports of this run."""
        self.reports.clear()
        return fit(
            model,
            LONG_EPOCH,
            self.validation_images,
            settings(epochs=EPOCHS, **self.changes),
            lambda history: self.reports.append(list(history)),
            resumption,
            self.kind,
        )

    def interrupt(self, after: int) -> None:
        """Start, or go on, with a fresh model, and stop after an epoch."""
        with pytest.raises(KeyboardInterrupt):
            self.train(self.build(), Interrupted(self.folder, "run", after))

    def finish(self, name: str = "run") -> tuple[Training, Tensor]:
        """Go on with a fresh model to the end."""
        model = self.build()
        return self.train(model, Resumption(self.folder, name)), weights(model)

    def uninterrupted(self) -> tuple[Training, Tensor]:
        """What an interruption must not change."""
        model = self.build()
        return self.train(model), weights(model)


@pytest.fixture
def _every_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little time an epoch takes."""
    monkeypatch.setattr("vae.resumption.SHARE_OF_TIME", 1e9)


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


@pytest.mark.usefixtures("_every_epoch_is_kept")
class TestInterruption:
    @pytest.mark.parametrize("after", range(1, EPOCHS + 1))
    def test_a_run_interrupted_after_any_epoch_comes_to_the_same_bits(self, runs: Runs, after: int) -> None:
        """After the last one, too, when nothing is left to train but the results are not yet safe."""
        expected = runs.uninterrupted()
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
        ],
        ids=str,
    )
    def test_so_does_one_of_any_objective_schedule_pixels_and_likelihood(
        self, tmp_path: Path, variant: dict[str, Any], after: int
    ) -> None:
        runs = Runs(tmp_path, random_images(9, seed=2), **variant)
        expected = runs.uninterrupted()
        runs.interrupt(after)
        assert_same(runs.finish(), expected)
        assert runs.reports == [list(expected[0].history[:count]) for count in range(after, EPOCHS + 1)]

    @pytest.mark.parametrize("network", ["conv", "autoregressive"])
    def test_so_does_one_of_any_network(self, tmp_path: Path, network: str) -> None:
        shape = (1, 4, 8)
        images, validation_images = random_images(40, shape=shape), random_images(9, seed=2, shape=shape)

        def run(resumption: Resumption | None) -> tuple[Training, Tensor]:
            model = build(network=network, image_shape=shape)
            return fit(model, images, validation_images, settings(), resumption=resumption), weights(model)

        expected = run(None)
        with pytest.raises(KeyboardInterrupt):
            run(Interrupted(tmp_path, "run", after=2))
        assert_same(run(Resumption(tmp_path, "run")), expected)

    @pytest.mark.parametrize("interruptions", [(1, 2), (1, 4), (2, 3, 4), (1, 2, 3, 4)], ids=str)
    def test_a_run_interrupted_more_than_once_comes_to_the_same_bits(
        self, runs: Runs, interruptions: tuple[int, ...]
    ) -> None:
        expected = runs.uninterrupted()
        for after in interruptions:
            runs.interrupt(after)
        assert_same(runs.finish(), expected)
        assert len(runs.reports) == 1 + EPOCHS - interruptions[-1]

    @pytest.mark.parametrize("number", range(1, EPOCHS + 1))
    def test_a_run_interrupted_before_it_has_kept_an_epoch_makes_that_epoch_again(
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
                Resumption(runs.folder, "run"),
            )
        assert_same(runs.finish(), expected)
        assert [len(report) for report in runs.reports] == list(range(max(1, number - 1), EPOCHS + 1))

    def test_a_run_that_is_not_interrupted_is_not_changed_by_keeping_states(self, runs: Runs) -> None:
        expected = runs.uninterrupted()
        assert_same(runs.finish(), expected)
        assert [len(report) for report in runs.reports] == [1, 2, 3, 4]

    def test_the_state_outlives_training_until_the_caller_discards_it(self, runs: Runs) -> None:
        expected = runs.finish()
        assert_same(runs.finish(), expected)
        assert [len(report) for report in runs.reports] == [EPOCHS]

    def test_nothing_of_the_fresh_model_matters(self, runs: Runs) -> None:
        expected = runs.uninterrupted()
        runs.interrupt(after=2)
        with seeded(1, "other weights"):
            other = VAE(build().architecture)
        training = runs.train(other, Resumption(runs.folder, "run"))
        assert_same((training, weights(other)), expected)

    def test_a_state_of_another_identity_is_not_used(self, runs: Runs) -> None:
        expected = runs.uninterrupted()
        runs.interrupt(after=2)
        assert_same(runs.finish("another run"), expected)
        assert [len(report) for report in runs.reports] == [1, 2, 3, 4]

    @pytest.mark.parametrize("content", [b"", b"\0" * 5000], ids=["empty", "zeros"])
    def test_a_damaged_state_is_not_used(self, runs: Runs, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
        expected = runs.uninterrupted()
        runs.interrupt(after=2)
        (state,) = runs.folder.iterdir()
        state.write_bytes(content)
        assert_same(runs.finish(), expected)
        assert [len(report) for report in runs.reports] == [1, 2, 3, 4]
        assert "starting anew" in caplog.text

    @pytest.mark.parametrize("after", range(1, EPOCHS + 1))
    def test_the_log_says_after_which_epoch_a_run_goes_on(
        self, tmp_path: Path, after: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        runs = Runs(tmp_path)
        runs.interrupt(after)
        assert "going on" not in caplog.text
        runs.finish()
        assert caplog.text.count("going on after its epoch") == 1
        assert caplog.messages[-1].endswith(f"going on after its epoch {after}")

    @pytest.mark.parametrize("later", [0, 1, 8])
    def test_a_best_epoch_before_the_interruption_keeps_its_weights(self, tmp_path: Path, later: int) -> None:
        reference = build()
        expected, _ = overfit(reference)
        after = expected.best.number + later
        assert 1 < after < 40
        with pytest.raises(KeyboardInterrupt):
            overfit(build(), Interrupted(tmp_path, "run", after))
        model = build()
        training, validation_images = overfit(model, Resumption(tmp_path, "run"))
        assert_same((training, weights(model)), (expected, weights(reference)))
        losses = inference.losses(model, validation_images, seed=SEED)
        assert expected.best.validation == (losses.negative_elbo, losses.reconstruction, losses.kl)

    def test_a_best_epoch_after_the_interruption_takes_the_place_of_an_earlier_one(self, tmp_path: Path) -> None:
        reference = build()
        expected, _ = overfit(reference)
        assert expected.best.number > 2
        with pytest.raises(KeyboardInterrupt):
            overfit(build(), Interrupted(tmp_path, "run", after=2))
        model = build()
        training, _ = overfit(model, Resumption(tmp_path, "run"))
        assert_same((training, weights(model)), (expected, weights(reference)))

    def test_a_training_that_diverged_diverges_again_in_the_same_epoch(self, tmp_path: Path) -> None:
        """A state that leads to no result is no worse than none."""
        messages = []
        for _ in range(2):
            with pytest.raises(DivergedError, match="in epoch 2") as caught:
                fit(
                    build(),
                    random_images(7),
                    params=settings(learning_rate=1e30),
                    resumption=Resumption(tmp_path, "run"),
                )
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


def test_a_run_whose_last_epochs_were_not_kept_makes_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keeping states has no time at all but for the first."""
    monkeypatch.setattr("vae.resumption.SHARE_OF_TIME", 0)
    runs = Runs(tmp_path, random_images(9, seed=2))
    expected = runs.uninterrupted()
    runs.interrupt(after=3)
    assert_same(runs.finish(), expected)
    assert [len(report) for report in runs.reports] == [1, 2, 3, 4]


def test_a_run_goes_on_whatever_becomes_of_its_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "a file where a folder belongs"
    folder.write_text("")
    runs = Runs(folder, random_images(9, seed=2))
    expected = runs.uninterrupted()
    assert_same(runs.finish(), expected)
    assert "cannot be written" in caplog.text
