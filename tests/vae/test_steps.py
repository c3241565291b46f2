from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import vae.steps
from tests.settings import architecture, train_params
from vae.backpropagation import NegativeElboGradient, Weights
from vae.cuda_graphs import CapturedFunction
from vae.datasets import LabelledImages, PixelKind, load_images, save_images
from vae.differentiation import ObjectiveGradient
from vae.model import VAE
from vae.objective import training_loss
from vae.params import TrainParams
from vae.runtime import CPU, generator, seeded
from vae.schedules import epoch_schedule
from vae.steps import CHUNK, Steps, decay_of_each

IMAGE_SHAPE = (1, 3, 4)
LATENT_DIM = 2
BATCH_SIZE = 4
COUNT = (2 * CHUNK + 3) * BATCH_SIZE + 1  # images: two whole chunks, and one of four steps of which the last is smaller
CHUNKS = [CHUNK, CHUNK, 4]
LEARNING_RATE = 0.03
SEED = 5  # not that of the weights
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
PLAIN: dict[str, Any] = {}
CONVOLUTIONAL = {"network": "conv", "image_shape": (1, 4, 8), "channels": 2, "activation": "gelu"}
AUTOREGRESSIVE = {**CONVOLUTIONAL, "network": "autoregressive"}
NETWORKS = pytest.mark.parametrize(
    "network", [PLAIN, CONVOLUTIONAL, AUTOREGRESSIVE], ids=["mlp", "conv", "autoregressive"]
)
LIKELIHOODS = pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "gaussian", "laplace"])
# What the state of an epoch, a captured chunk and a device may depend on, each as the arguments of ``train``.
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "tf32": {"precision": "tf32"},
    "bfloat16": {"precision": "bfloat16"},
    "dynamic pixels": {"kind": PixelKind.PROBABILITIES},
    "schedules": {"schedule": "cosine", "kl_warmup_epochs": 3},
    "decay and largest norm": {"weight_decay": 0.1, "gradient_clip": 1.0},
    "importance-weighted": {"importance_samples": 3},
    "free bits": {"free_bits": 0.1},
    "conv": {"network": CONVOLUTIONAL},
    "conv, gaussian, bfloat16": {"network": {**CONVOLUTIONAL, "likelihood": "gaussian"}, "precision": "bfloat16"},
    "autoregressive": {"network": AUTOREGRESSIVE, "kind": PixelKind.PROBABILITIES},
}
EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
FLOAT32_SETTINGS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


@pytest.fixture(params=["cpu", "accelerator"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device that this machine has."""
    if request.param == "cpu":
        return CPU
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        pytest.skip("this machine has no accelerator")
    return accelerator


def build(on: torch.device = CPU, seed: int = 0, **changes: Any) -> VAE:
    with seeded(seed, "weights"):
        return VAE(architecture(**changes)).to(on)


def some_images(count: int = COUNT, shape: tuple[int, int, int] = IMAGE_SHAPE) -> Tensor:
    """Dark ones and bright ones, so that there is something to say by z."""
    random = torch.Generator().manual_seed(1)
    brightness = 190 * torch.randint(0, 2, (count, 1, 1, 1), generator=random)
    return (brightness + torch.randint(0, 66, (count, *shape), generator=random)).to(torch.uint8)


def settings(**changes: Any) -> TrainParams:
    return train_params(
        **{"epochs": 6, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, "seed": SEED, **changes}
    )


def ignore(_: int) -> None:
    """What ``advance`` may do."""


def start(
    on: torch.device = CPU,
    *,
    images: Tensor | None = None,
    kind: PixelKind = PixelKind.GREY,
    network: dict[str, Any] = PLAIN,
    weights_seed: int = 0,
    **changes: Any,
) -> tuple[VAE, Steps]:
    """A model, and its steps before the first epoch."""
    model = build(on, weights_seed, **network)
    if images is None:
        images = some_images(shape=model.architecture.image_shape)
    return model, Steps(model, images, settings(**changes), kind)


def train(
    epochs: int = 2, *, on: torch.device = CPU, **variant: Any
) -> tuple[Tensor, list[tuple[float, float, float]]]:
    """The weights after some epochs, and the losses of each."""
    model, steps = start(on, **variant)
    losses = [steps.epoch(number, ignore) for number in range(1, epochs + 1)]
    return weights(model), losses


def far_from_the_prior() -> VAE:
    """A model whose posterior has μ and log σ² of about 1.5, whatever the image."""
    model = build()
    with torch.no_grad():
        list(model.encoder.parameters())[-1].fill_(1.5)
    return model


def weights(model: VAE) -> Tensor:
    return torch.cat([weight.detach().flatten().cpu() for weight in model.parameters()])


def snapshot(steps: Steps) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in steps.state().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def reference(
    epochs: int = 2,
    *,
    on: torch.device = CPU,
    count: int = COUNT,
    batch_size: int = BATCH_SIZE,
    network: dict[str, Any] = PLAIN,
    **changes: Any,
) -> tuple[Tensor, list[tuple[float, float, float]]]:
    """The same by PyTorch's own gradients and optimiser, an image after the other from the order that was drawn."""
    model, params = build(on, **network), settings(batch_size=batch_size, **changes)
    images = some_images(count, model.architecture.image_shape)
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": params.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, fused=False)
    order_random, noise_random = generator(SEED, "data order"), generator(SEED, "latent noise", on)
    samples = () if params.importance_samples == 1 else (params.importance_samples,)
    losses = []
    for number in range(1, epochs + 1):
        order = torch.randperm(count, generator=order_random)
        # Noise is drawn for the images of a chunk of steps.
        noise = torch.cat(
            [
                torch.randn(len(rows), *samples, LATENT_DIM, generator=noise_random, device=on)
                for rows in order.split(CHUNK * batch_size)
            ]
        )
        sums = torch.zeros(3, dtype=torch.float64)
        batches = order.split(batch_size)
        schedule = epoch_schedule(params, number, len(batches)).tolist()
        for rows, epsilon, (learning_rate, beta) in zip(batches, noise.split(batch_size), schedule, strict=True):
            x = torch.stack([images[row] for row in rows.tolist()]).to(on) / 255
            terms = training_loss(model, x, epsilon, beta, params.free_bits)
            optimizer.zero_grad()
            terms.loss.backward()
            if params.gradient_clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), params.gradient_clip)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            sums += len(rows) * torch.tensor([term.item() for term in terms])
        loss, reconstruction, kl = (sums / count).tolist()
        losses.append((loss, reconstruction, kl))
    return weights(model), losses


class Watching:
    """Stands in for ``NegativeElboGradient``: writes down what it is given, and leaves the weights alone."""

    batches: list[tuple[Tensor, Tensor]]

    def __init__(self, _model: VAE, _weights: Weights, batch_size: int) -> None:
        self.batch_size = batch_size

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor, losses: Tensor) -> None:
        assert len(images) == len(noise) == self.batch_size
        self.batches.append((images.clone(), noise.clone()))
        losses[0], losses[1], losses[2] = images[:, 0].sum(), len(images), kl_weight * len(images)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """The images and noise of every batch, as they come."""
    batches: list[tuple[Tensor, Tensor]] = []
    monkeypatch.setattr(Watching, "batches", batches, raising=False)
    monkeypatch.setattr(vae.steps, "NegativeElboGradient", Watching)
    return batches


def numbered_images(count: int = COUNT) -> Tensor:
    """Each full of its own index."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, *IMAGE_SHAPE)


class TestEpoch:
    @pytest.mark.parametrize(
        ("count", "batch_size"), [(COUNT, BATCH_SIZE), (2 * CHUNK * BATCH_SIZE, BATCH_SIZE), (7, 10), (7, 7), (20, 1)]
    )
    def test_epochs_are_those_of_a_plain_loop(self, device: torch.device, count: int, batch_size: int) -> None:
        actual, losses = train(on=device, images=some_images(count), batch_size=batch_size)
        expected, expected_losses = reference(on=device, count=count, batch_size=batch_size)
        assert not torch.allclose(expected, weights(build()), atol=0.02)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected_losses), rtol=1e-5, atol=0)

    @pytest.mark.parametrize(
        "changes",
        [
            {"beta": 4.0},
            {"beta": 0.0},
            {"kl_warmup_epochs": 2, "schedule": "cosine"},
            {"schedule": "eight_stages"},
            {"weight_decay": 0.3},
            {"gradient_clip": 0.5},
            {"free_bits": 0.1},
            {"importance_samples": 3},
            {"network": {"activation": "tanh"}},
            {"network": {"likelihood": "gaussian"}, "weight_decay": 0.3},
            {"network": CONVOLUTIONAL},
            {"network": AUTOREGRESSIVE},
        ],
        ids=str,
    )
    def test_so_they_are_of_every_objective_schedule_and_network(
        self, device: torch.device, changes: dict[str, Any]
    ) -> None:
        changes = {"learning_rate": 0.01, **changes}
        actual, losses = train(on=device, **changes)
        expected, expected_losses = reference(on=device, **changes)
        untrained, others = (train(0, **changes)[0], train(learning_rate=0.01)[0])
        assert not torch.allclose(expected, untrained, atol=0.005)
        assert expected.shape != others.shape or not torch.allclose(expected, others, atol=0.001)
        # Where a gradient is close to zero, so is what decides the direction of Adam's first steps.
        assert (actual - expected).norm() < 1e-4 * (expected - untrained).norm()
        torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected_losses), rtol=1e-5, atol=0)

    def test_epochs_in_bfloat16_are_nearly_those_of_a_plain_loop(self, device: torch.device) -> None:
        actual, losses = train(on=device, precision="bfloat16")
        expected, expected_losses = reference(on=device)
        assert (actual - expected).norm() < 0.1 * (expected - weights(build())).norm()
        torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected_losses), rtol=0.03, atol=0)

    @pytest.mark.parametrize("count", [1, BATCH_SIZE - 1, CHUNK * BATCH_SIZE, CHUNK * BATCH_SIZE + 1, COUNT])
    def test_every_image_is_used_once_in_batches_of_the_size_that_was_asked_for(
        self, watched: list[tuple[Tensor, Tensor]], count: int
    ) -> None:
        Steps(build(), numbered_images(count), settings()).epoch(1, ignore)
        images = torch.cat([images for images, _ in watched])
        assert images.dtype == torch.uint8
        assert images[:, 0].sort().values.tolist() == list(range(count))
        assert torch.equal(images, images[:, :1].expand_as(images))
        whole, rest = divmod(count, BATCH_SIZE)
        assert [len(images) for images, _ in watched] == [BATCH_SIZE] * whole + [rest] * (rest > 0)

    def test_order_and_noise_differ_from_epoch_to_epoch_and_seed_to_seed(
        self, watched: list[tuple[Tensor, Tensor]]
    ) -> None:
        orders: list[tuple[int, ...]] = []
        noises: list[Tensor] = []
        for seed in (0, 1):
            steps = Steps(build(), numbered_images(), settings(seed=seed))
            for _ in range(2):
                watched.clear()
                steps.epoch(1, ignore)
                orders.append(tuple(torch.cat([images[:, 0] for images, _ in watched]).tolist()))
                noises.append(torch.cat([noise for _, noise in watched]))
        assert len({*orders, tuple(range(COUNT))}) == 5
        every = torch.cat(noises)
        assert len(every.unique()) == every.numel() == 4 * COUNT * LATENT_DIM

    def test_noise_is_standard_normal(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        Steps(build(), numbered_images(1).expand(5000, *IMAGE_SHAPE), settings(batch_size=100)).epoch(1, ignore)
        noise = torch.cat([noise for _, noise in watched])
        assert noise.mean().abs() < 4 / noise.numel() ** 0.5
        assert (noise.square().mean() - 1).abs() < 4 * (2 / noise.numel()) ** 0.5

    @pytest.mark.parametrize("count", [1, BATCH_SIZE, CHUNK * BATCH_SIZE + 1, COUNT])
    @pytest.mark.usefixtures("watched")
    def test_losses_are_averages_over_images(self, count: int) -> None:
        """Of batches that report the sum of their images' numbers, and how many they are."""
        losses = Steps(build(), numbered_images(count), settings()).epoch(1, ignore)
        assert losses == ((count - 1) / 2, 1.0, 1.0)

    @pytest.mark.parametrize(
        ("count", "batch_size", "chunks"),
        [
            (COUNT, BATCH_SIZE, CHUNKS),
            (CHUNK * BATCH_SIZE, BATCH_SIZE, [CHUNK]),
            (CHUNK * BATCH_SIZE + 1, BATCH_SIZE, [CHUNK, 1]),
            (7, 10, [1]),
            (7, 1, [7]),
        ],
    )
    def test_advance_is_told_of_every_step(self, count: int, batch_size: int, chunks: list[int]) -> None:
        steps = Steps(build(), some_images(count), settings(batch_size=batch_size))
        told: list[int] = []
        steps.epoch(1, told.append)
        assert told == chunks
        assert steps.optimizer.steps.item() == sum(chunks)

    @EVERY_VARIANT
    def test_same_seed_gives_the_same_bits(self, device: torch.device, variant: dict[str, Any]) -> None:
        first, losses = train(on=device, **variant)
        again, losses_again = train(on=device, **variant)
        assert torch.equal(first, again)
        assert losses == losses_again


class TestPrecision:
    def test_tf32_on_the_cpu_is_float32_bit_for_bit(self) -> None:
        tf32, losses = train(precision="tf32")
        float32, float32_losses = train(precision="float32")
        assert torch.equal(tf32, float32)
        assert losses == float32_losses

    def test_bfloat16_rounds_what_goes_into_products_but_not_the_weights(self) -> None:
        bfloat16, _ = train(precision="bfloat16")
        assert not torch.equal(bfloat16, train()[0])
        assert not torch.equal(bfloat16, bfloat16.bfloat16().float())

    @pytest.fixture(params=["none", "ieee", "tf32"])
    def before(self, request: pytest.FixtureRequest) -> Iterator[str]:
        """What PyTorch is set to, by others."""
        own = [setting.fp32_precision for setting in FLOAT32_SETTINGS]
        for setting in FLOAT32_SETTINGS:
            setting.fp32_precision = request.param
        yield request.param
        for setting, value in zip(FLOAT32_SETTINGS, own, strict=True):
            setting.fp32_precision = value

    @PRECISIONS
    def test_products_and_convolutions_are_rounded_to_tf32_where_it_is_asked_for_and_within_an_epoch_only(
        self, before: str, precision: str
    ) -> None:
        within: set[str] = set()
        steps = Steps(build(), some_images(), settings(precision=precision))
        steps.epoch(1, lambda _: within.update(setting.fp32_precision for setting in FLOAT32_SETTINGS))
        assert within == {"tf32" if precision == "tf32" else "ieee"}
        assert {setting.fp32_precision for setting in FLOAT32_SETTINGS} == {before}

    @PRECISIONS
    def test_an_epoch_that_is_interrupted_puts_the_setting_back_too(self, before: str, precision: str) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        steps = Steps(build(), some_images(), settings(precision=precision))
        with pytest.raises(KeyboardInterrupt):
            steps.epoch(1, interrupt)
        assert {setting.fp32_precision for setting in FLOAT32_SETTINGS} == {before}


class TestImages:
    def test_images_that_do_not_fit_the_device_train_to_the_same_bits(
        self, monkeypatch: pytest.MonkeyPatch, device: torch.device
    ) -> None:
        expected, expected_losses = train(on=device)
        monkeypatch.setattr(vae.steps, "fits", lambda _tensor, _on: False)
        assert Steps(build(device), some_images(), settings()).images.device == CPU
        actual, losses = train(on=device)
        assert torch.equal(actual, expected)
        assert losses == expected_losses

    def test_images_that_fit_are_moved_to_the_device(self, device: torch.device) -> None:
        steps = Steps(build(device), some_images(), settings())
        assert steps.images.device.type == device.type

    def test_images_read_from_a_file_train_to_the_same_bits(self, tmp_path: Path, device: torch.device) -> None:
        path = tmp_path / "images.safetensors"
        save_images(path, LabelledImages(some_images(), torch.zeros(COUNT, dtype=torch.int64), ("image",)))
        content = path.read_bytes()
        actual, losses = train(on=device, images=load_images(path).images)
        expected, expected_losses = train(on=device)
        assert torch.equal(actual, expected)
        assert losses == expected_losses
        assert path.read_bytes() == content

    def test_images_stay_as_they_are(self, device: torch.device) -> None:
        images = some_images()
        train(on=device, images=images)
        assert torch.equal(images, some_images())

    def test_no_more_than_a_chunk_of_the_images_is_moved(self) -> None:
        moved: list[int] = []

        class Observed(Steps):
            def _to_device(self, images: Tensor) -> Tensor:
                moved.append(len(images))
                assert images.dtype == torch.uint8
                return super()._to_device(images)

        Observed(build(), some_images(), settings()).epoch(1, ignore)
        assert moved == [CHUNK * BATCH_SIZE, CHUNK * BATCH_SIZE, COUNT - 2 * CHUNK * BATCH_SIZE]


class TestState:
    @EVERY_VARIANT
    def test_the_next_epoch_of_a_restored_state_is_the_same_bit_for_bit(
        self, device: torch.device, variant: dict[str, Any]
    ) -> None:
        _, steps = start(device, **variant)
        steps.epoch(1, ignore)
        state = snapshot(steps)
        losses, expected = steps.epoch(2, ignore), snapshot(steps)

        # Another model and another seed: all that counts is in the state, and in the number of the epoch.
        other, heir = start(device, weights_seed=9, seed=9, **variant)
        heir.restore(state)
        assert same(heir.state(), state)
        assert torch.equal(weights(other), state["parameters"].cpu())
        assert heir.epoch(2, ignore) == losses
        assert same(heir.state(), expected)

    @EVERY_VARIANT
    def test_a_state_may_be_gone_back_to(self, device: torch.device, variant: dict[str, Any]) -> None:
        _, steps = start(device, **variant)
        beginning = snapshot(steps)
        losses, expected = steps.epoch(1, ignore), snapshot(steps)
        steps.epoch(2, ignore)
        steps.restore(beginning)
        assert steps.epoch(1, ignore) == losses
        assert same(steps.state(), expected)

    def test_a_state_may_come_from_the_cpu(self, device: torch.device) -> None:
        """From a file, that is."""
        steps = Steps(build(device), some_images(), settings())
        state = {name: tensor.cpu().clone() for name, tensor in steps.state().items()}
        losses = steps.epoch(1, ignore)
        steps.restore(state)
        assert steps.epoch(1, ignore) == losses

    def test_restoring_and_training_on_leave_the_given_tensors_as_they_are(self, device: torch.device) -> None:
        steps = Steps(build(device), some_images(), settings())
        steps.epoch(1, ignore)
        state = snapshot(steps)
        copy = {name: tensor.clone() for name, tensor in state.items()}
        steps.epoch(1, ignore)
        steps.restore(state)
        steps.epoch(1, ignore)
        assert same(state, copy)

    def test_every_part_of_the_state_has_changed_after_an_epoch(self) -> None:
        """That of the pixels' generator where pixels are drawn."""
        for kind, unchanged in ((PixelKind.PROBABILITIES, []), (PixelKind.GREY, ["pixels"])):
            steps = Steps(build(), some_images(), settings(), kind)
            before = snapshot(steps)
            steps.epoch(1, ignore)
            assert [name for name, tensor in steps.state().items() if torch.equal(tensor, before[name])] == unchanged

    def test_asking_for_the_state_changes_nothing(self) -> None:
        steps, undisturbed = (Steps(build(), some_images(), settings()) for _ in range(2))
        steps.state()
        losses = steps.epoch(1, lambda _: steps.state().clear())
        assert losses == undisturbed.epoch(1, ignore)
        assert same(steps.state(), undisturbed.state())


class TestObjective:
    """What the loss of every network, likelihood and objective comes to, and what reaches the steps."""

    @NETWORKS
    @LIKELIHOODS
    @pytest.mark.parametrize(
        "objective",
        [{}, {"beta": 4.0}, {"kl_warmup_epochs": 1}, {"free_bits": 0.1}, {"importance_samples": 3}],
        ids=["plain", "beta", "warm-up", "free bits", "importance-weighted"],
    )
    def test_losses_are_finite_and_fall(
        self, network: dict[str, Any], likelihood: str, objective: dict[str, Any]
    ) -> None:
        """From the second epoch on, in which every objective has its final form."""
        model = {**network, "likelihood": likelihood}
        images = some_images(40, model.get("image_shape", IMAGE_SHAPE))
        _, losses = train(5, images=images, network=model, batch_size=8, learning_rate=0.01, **objective)
        assert torch.tensor(losses).isfinite().all()
        assert losses[-1][0] < losses[1][0] - 0.01

    @EVERY_VARIANT
    def test_reported_terms_add_up_to_the_loss_of_the_plain_objective(self, variant: dict[str, Any]) -> None:
        plain = {"kl_warmup_epochs": 0, "free_bits": 0.0, "importance_samples": 1}
        _, losses = train(1, **{**variant, **plain})
        loss, reconstruction, kl = losses[0]
        assert loss == pytest.approx(reconstruction + kl, rel=1e-6)

    @pytest.mark.parametrize("network", [PLAIN, {"activation": "tanh"}], ids=["by hand", "by autograd"])
    def test_loss_has_the_weight_of_the_kl_and_the_terms_have_not(self, network: dict[str, Any]) -> None:
        _, losses = train(3, network=network, beta=2.5)
        for loss, reconstruction, kl in losses:
            assert loss == pytest.approx(reconstruction + 2.5 * kl, rel=1e-6)
            assert kl > 0.01

    @pytest.mark.parametrize("network", [PLAIN, {"activation": "tanh"}], ids=["by hand", "by autograd"])
    def test_a_warm_up_starts_without_the_kl(self, network: dict[str, Any]) -> None:
        """With a step an epoch the first is that of β = 0, bit for bit, and the second half-way of two."""
        whole: dict[str, Any] = {"network": network, "batch_size": COUNT}
        warm, losses = train(1, **whole, kl_warmup_epochs=2)
        none, none_losses = train(1, **whole, beta=0.0)
        assert torch.equal(warm, none)
        assert losses == none_losses
        assert losses[0][0] == losses[0][1]
        _, (_, second, third) = train(3, **whole, kl_warmup_epochs=2)
        assert second[0] == pytest.approx(second[1] + 0.5 * second[2], rel=1e-6)
        assert third[0] == pytest.approx(third[1] + third[2], rel=1e-6)

    def test_importance_weighted_loss_is_below_the_negative_elbo_of_the_same_weights(self) -> None:
        """By Jensen's inequality: of more samples less is lost. With next to no learning all are of one model."""
        bounds = []
        for samples in (1, 2, 10, 50):
            model = far_from_the_prior()
            steps = Steps(model, some_images(), settings(importance_samples=samples, learning_rate=1e-30))
            bounds.append(steps.epoch(1, ignore)[0])
        assert all(more < fewer - 0.05 for fewer, more in pairwise(bounds))

    @pytest.mark.parametrize(("free_bits", "least", "most"), [(0.5, 0.38, 0.55), (0.0, 0.0, 0.02)])
    def test_free_bits_keep_the_kl_of_dimensions_that_say_nothing(
        self, free_bits: float, least: float, most: float
    ) -> None:
        """There is one image only, so that all KL, of which there is much at first, is a waste."""
        images = some_images(1).expand(64, *IMAGE_SHAPE)
        params = settings(epochs=12, batch_size=2, learning_rate=0.002, free_bits=free_bits)
        steps = Steps(far_from_the_prior(), images, params)
        first, *_, last = [steps.epoch(number, ignore) for number in range(1, params.epochs + 1)]
        assert first[2] > 1.5 * LATENT_DIM
        assert least * LATENT_DIM <= last[2] <= most * LATENT_DIM

    @pytest.mark.parametrize(
        ("network", "changes"),
        [(PLAIN, {}), (PLAIN, {"beta": 2.0}), ({"activation": "tanh"}, {}), (PLAIN, {"free_bits": 0.1})],
        ids=str,
    )
    def test_the_gradient_is_that_derived_by_hand_where_it_is_known(
        self, network: dict[str, Any], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        by_hand = network == PLAIN and "free_bits" not in changes
        other = ObjectiveGradient if by_hand else NegativeElboGradient
        monkeypatch.setattr(vae.steps, other.__name__, None)
        train(network=network, **changes)


class TestSchedule:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"schedule": "cosine", "kl_warmup_epochs": 2},
            {"schedule": "eight_stages", "beta": 0.5},
        ],
        ids=str,
    )
    def test_each_step_has_the_learning_rate_and_the_weight_of_its_moment(self, changes: dict[str, Any]) -> None:
        used: list[Tensor] = []

        class Observed(Steps):
            def _steps(self, images: Tensor, noise: Tensor, schedule: Tensor) -> Tensor:
                used.append(schedule)
                return super()._steps(images, noise, schedule)

        params = settings(**changes)
        steps = Observed(build(), some_images(), params)
        for number in range(1, params.epochs + 1):
            used.clear()
            steps.epoch(number, ignore)
            assert [len(schedule) for schedule in used] == CHUNKS
            assert torch.equal(torch.cat(used), epoch_schedule(params, number, sum(CHUNKS)))

    def test_an_epoch_with_next_to_no_learning_rate_leaves_the_weights(self) -> None:
        """The last of very many by a cosine, of which the first moves them."""
        for number, most in ((1, None), (100_000, 1e-6)):
            model, steps = start(schedule="cosine", epochs=100_000)
            steps.epoch(number, ignore)
            moved = (weights(model) - weights(build())).abs().max().item()
            assert moved > 0.1 if most is None else moved < most

    def test_a_learning_rate_too_small_to_count_leaves_every_bit(self) -> None:
        for network in (PLAIN, CONVOLUTIONAL, AUTOREGRESSIVE):
            assert torch.equal(train(1, network=network, learning_rate=1e-30)[0], weights(build(**network)))

    @pytest.mark.parametrize(
        "network",
        [PLAIN, {**CONVOLUTIONAL, "likelihood": "gaussian"}, AUTOREGRESSIVE],
        ids=["mlp", "conv, gaussian", "autoregressive"],
    )
    def test_matrices_and_kernels_decay_and_neither_biases_nor_scales(self, network: dict[str, Any]) -> None:
        model = build(**network)
        parts = decay_of_each(model, 0.3).split([weight.numel() for weight in model.parameters()])
        for (name, weight), part in zip(model.named_parameters(), parts, strict=True):
            assert (part == (0.3 if name.endswith("weight") else 0)).all(), name
            assert part.numel() == weight.numel()

    def test_weights_that_decay_are_smaller_in_the_end(self) -> None:
        decaying, free = (train(4, weight_decay=decay)[0] for decay in (1.0, 0.0))
        assert decaying.norm() < 0.8 * free.norm()


class TestPixels:
    """Black or white pixels that are drawn whenever an image is used."""

    def batches(
        self, watched: list[tuple[Tensor, Tensor]], images: Tensor, epochs: int, **changes: Any
    ) -> list[Tensor]:
        """The images of each epoch, in the order in which they were used."""
        kind = changes.pop("kind", PixelKind.PROBABILITIES)
        steps = Steps(build(), images, settings(**changes), kind)
        seen = []
        for number in range(1, epochs + 1):
            watched.clear()
            steps.epoch(number, ignore)
            seen.append(torch.cat([images for images, _ in watched]))
        return seen

    def test_they_are_white_with_the_probability_that_the_intensity_says(
        self, watched: list[tuple[Tensor, Tensor]]
    ) -> None:
        image = torch.tensor([0, 1, 30, 64, 100, 127, 128, 150, 200, 230, 254, 255], dtype=torch.uint8)
        count = 4000
        (seen,) = self.batches(watched, image.view(1, *IMAGE_SHAPE).expand(count, *IMAGE_SHAPE), 1, batch_size=100)
        assert seen.dtype == torch.uint8
        assert set(seen.unique().tolist()) == {0, 255}
        p = image / 255
        share = (seen == 255).float().mean(0)
        assert ((share - p).abs() <= 4 * (p * (1 - p) / count).sqrt()).all()  # exactly so where p is 0 or 1

    def test_they_are_drawn_anew_for_each_image_and_epoch(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        images = torch.full((COUNT, *IMAGE_SHAPE), 128, dtype=torch.uint8)
        seen = torch.cat(self.batches(watched, images, 3))
        # Of 3 × 141 draws of 12 fair coins about 22 are expected to agree with an earlier one.
        assert len(seen.unique(dim=0)) > 3 * COUNT - 50

    def test_they_repeat_with_the_seed_and_differ_with_another(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        first, again, other = (torch.cat(self.batches(watched, some_images(), 2, seed=seed)) for seed in (5, 5, 6))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_they_come_after_a_restored_state_as_they_would_have(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        steps = Steps(build(), some_images(), settings(), PixelKind.PROBABILITIES)
        steps.epoch(1, ignore)
        state = snapshot(steps)
        heir = Steps(build(), some_images(), settings(seed=9), PixelKind.PROBABILITIES)
        heir.restore(state)
        seen = []
        for each in (steps, heir):
            watched.clear()
            each.epoch(2, ignore)
            seen.append(torch.cat([images for images, _ in watched]))
        assert torch.equal(seen[0], seen[1])

    @pytest.mark.parametrize("kind", [PixelKind.GREY, PixelKind.BINARY])
    def test_other_pixels_are_used_as_they_are(self, watched: list[tuple[Tensor, Tensor]], kind: PixelKind) -> None:
        (seen,) = self.batches(watched, numbered_images(), 1, kind=kind)
        assert seen[:, 0].sort().values.tolist() == list(range(COUNT))

    def test_order_and_noise_are_the_same_with_and_without_drawing(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        """Of images that are black and white already, on which a draw has no effect."""
        images = (some_images() > 127).to(torch.uint8) * 255
        runs = []
        for kind in (PixelKind.BINARY, PixelKind.PROBABILITIES):
            self.batches(watched, images, 2, kind=kind)
            runs.append(list(watched))
        for (one, noise), (other, other_noise) in zip(*runs, strict=True):
            assert torch.equal(one, other)
            assert torch.equal(noise, other_noise)

    def test_order_noise_and_pixels_have_a_generator_each(self) -> None:
        """Two of one seed would draw pixels that go by the noise."""
        state = Steps(build(), some_images(), settings(), PixelKind.PROBABILITIES).state()
        order, noise, pixels = (state[name] for name in ("data_order", "latent_noise", "pixels"))
        assert not torch.equal(pixels, noise)
        assert not torch.equal(pixels, order)
        assert not torch.equal(order, noise)

    def test_the_images_themselves_stay_grey(self) -> None:
        images = some_images()
        train(images=images, kind=PixelKind.PROBABILITIES)
        assert torch.equal(images, some_images())


class PretendedCuda(str):
    """A device that PyTorch takes for the CPU, and ``Steps`` for one of CUDA."""

    type = "cuda"


class PretendedCapture:
    """What ``CapturedFunction`` does, without CUDA: it computes on, and returns from, memory of its own."""

    captured: list[int]
    replayed: list[int]

    def __init__(self, function: Callable[..., Tensor], *inputs: Tensor) -> None:
        self.function = function
        self.inputs = [torch.empty_like(tensor) for tensor in inputs]
        self.output = torch.empty(0)
        self.captured.append(len(inputs[0]))

    def __call__(self, *inputs: Tensor) -> Tensor:
        self.replayed.append(len(inputs[0]))
        for place, tensor in zip(self.inputs, inputs, strict=True):
            assert place.shape == tensor.shape
            place.copy_(tensor)
        output = self.function(*self.inputs)
        self.output.resize_(output.shape).copy_(output)
        return self.output.clone()


class TestCapturing:
    """``Steps`` on CUDA, where it captures a graph for each size of a chunk."""

    @pytest.fixture
    def pretended(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Steps], None]:
        """Make ``Steps`` on the CPU work as on CUDA."""
        monkeypatch.setattr(PretendedCapture, "captured", [], raising=False)
        monkeypatch.setattr(PretendedCapture, "replayed", [], raising=False)
        monkeypatch.setattr(vae.steps, "CapturedFunction", PretendedCapture)
        monkeypatch.setattr(Tensor, "pin_memory", lambda images: images)
        return lambda steps: monkeypatch.setattr(steps, "device", PretendedCuda("cpu"))

    @EVERY_VARIANT
    def test_captured_steps_train_to_the_same_bits(
        self, pretended: Callable[[Steps], None], variant: dict[str, Any]
    ) -> None:
        expected, expected_losses = train(epochs=3, **variant)
        model, steps = start(**variant)
        pretended(steps)
        losses = [steps.epoch(number, ignore) for number in (1, 2, 3)]
        assert torch.equal(weights(model), expected)
        assert losses == expected_losses

    def test_each_size_of_a_chunk_is_captured_once_after_it_has_run_and_replayed_ever_after(
        self, pretended: Callable[[Steps], None]
    ) -> None:
        steps = Steps(build(), some_images(), settings())
        pretended(steps)
        for _ in range(3):
            steps.epoch(1, ignore)
        whole, rest = CHUNK * BATCH_SIZE, COUNT - 2 * CHUNK * BATCH_SIZE
        assert PretendedCapture.captured == [whole, rest]
        assert PretendedCapture.replayed == [whole] + 2 * [whole, whole, rest]

    def test_captured_steps_go_on_from_a_restored_state(self, pretended: Callable[[Steps], None]) -> None:
        """The state is put where the captured steps look for it."""
        steps = Steps(build(), some_images(), settings())
        pretended(steps)
        steps.epoch(1, ignore)
        state = snapshot(steps)
        losses, expected = steps.epoch(1, ignore), snapshot(steps)
        places = [tensor.data_ptr() for tensor in list(steps.state().values())[:4]]
        steps.restore(state)
        assert [tensor.data_ptr() for tensor in list(steps.state().values())[:4]] == places
        assert steps.epoch(1, ignore) == losses
        assert same(steps.state(), expected)

    def test_nothing_is_captured_on_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vae.steps, "CapturedFunction", None)
        train()


@needs_cuda
class TestCuda:
    """What only a CUDA device can show."""

    CUDA = torch.device("cuda")

    def test_a_captured_function_returns_what_the_function_would(self) -> None:
        def function(x: Tensor, y: Tensor) -> Tensor:
            return (x @ y).relu().sum(1)

        def inputs(seed: int) -> list[Tensor]:
            random = torch.Generator().manual_seed(seed)
            return [torch.randn(5, 5, generator=random).to(self.CUDA) for _ in range(2)]

        function(*inputs(0))
        captured = CapturedFunction(function, *inputs(0))
        outputs = [captured(*inputs(seed)) for seed in range(3)]
        for seed, output in enumerate(outputs):  # each keeps its own, whatever came after it
            assert torch.equal(output, function(*inputs(seed)))

    def test_capturing_computes_nothing_and_each_call_computes_once(self) -> None:
        total = torch.zeros(3, device=self.CUDA)

        def add(x: Tensor) -> Tensor:
            return total.add_(x).sum()

        add(torch.zeros(3, device=self.CUDA))
        captured = CapturedFunction(add, torch.ones(3, device=self.CUDA))
        assert total.tolist() == [0, 0, 0]
        assert captured(torch.tensor([1.0, 2.0, 3.0], device=self.CUDA)).item() == 6
        assert captured(torch.tensor([1.0, 1.0, 1.0], device=self.CUDA)).item() == 9
        assert total.tolist() == [2, 3, 4]

    def test_the_arguments_of_a_captured_function_stay_the_callers(self) -> None:
        argument = torch.ones(3, device=self.CUDA)
        torch.zeros_like(argument).add_(1)
        captured = CapturedFunction(lambda x: x.add_(1), argument)
        assert captured(argument).tolist() == [2, 2, 2]
        assert argument.tolist() == [1, 1, 1]

    @EVERY_VARIANT
    def test_captured_steps_train_to_the_bits_of_steps_that_are_not(
        self, monkeypatch: pytest.MonkeyPatch, variant: dict[str, Any]
    ) -> None:
        captured, losses = train(epochs=3, on=self.CUDA, **variant)
        monkeypatch.setattr(Steps, "_chunk", Steps._steps)
        plain, plain_losses = train(epochs=3, on=self.CUDA, **variant)
        assert torch.equal(captured, plain)
        assert losses == plain_losses

    @pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
    @pytest.mark.parametrize("fit", [True, False])
    @EVERY_VARIANT
    def test_within_an_epoch_nothing_waits_for_the_device(
        self, monkeypatch: pytest.MonkeyPatch, fit: bool, variant: dict[str, Any]
    ) -> None:
        """From the end of the first chunk to that of the last: an epoch begins with its order, and ends with a sum."""
        monkeypatch.setattr(vae.steps, "fits", lambda _tensor, _on: fit)
        _, steps = start(self.CUDA, **variant)
        steps.epoch(1, ignore)  # captures
        chunks_left = len(CHUNKS)

        def refuse_to_wait_until_the_last(_: int) -> None:
            nonlocal chunks_left
            chunks_left -= 1
            torch.cuda.set_sync_debug_mode("error" if chunks_left else "default")

        try:
            steps.epoch(1, refuse_to_wait_until_the_last)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert chunks_left == 0
