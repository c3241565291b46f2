"""Epochs compared with a plain PyTorch loop, the contents of batches, states, CUDA graphs and accelerators."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import vae.training.engine
from tests.deterministic import settings_of_a_run
from tests.settings import LIKELIHOODS, architecture, train_params
from tests.weights import entries
from vae.base.params import TrainParams
from vae.base.runtime import CPU, generator, seeded
from vae.data.images import LabelledImages, PixelKind, load_images, save_images
from vae.model.objective import Losses, training_loss
from vae.model.vae import VAE
from vae.optimizer.weights import Weights
from vae.training import accelerators
from vae.training.cuda_graphs import CapturedFunction
from vae.training.engine import CHUNK, EpochResult, TrainingEngine
from vae.training.handwritten_gradient import NegativeElboGradient
from vae.training.schedules import epoch_schedule
from vae.training.step import AutomaticDifferentiation, Step

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
EACH_LIKELIHOOD = pytest.mark.parametrize("likelihood", LIKELIHOODS)
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
    "shards": {"shards": 3},
    "averages, skipped steps and warm-up": {
        "ema_decay": 0.9,
        "skip_above": 2.0,
        "gradient_clip": 1.0,
        "warmup_epochs": 1.5,
    },
    "conv": {"network": CONVOLUTIONAL},
    "conv, residual blocks, odd size": {
        "network": {**CONVOLUTIONAL, "residual_blocks": 2, "image_shape": (3, 5, 7)},
        "ema_decay": 0.9,
    },
    "conv, gaussian, bfloat16": {"network": {**CONVOLUTIONAL, "likelihood": "gaussian"}, "precision": "bfloat16"},
    "autoregressive": {"network": AUTOREGRESSIVE, "kind": PixelKind.PROBABILITIES},
}
EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
FLOAT32_SETTINGS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


@contextmanager
def full_precision() -> Iterator[None]:
    """On CUDA, float32 products and convolutions without rounding to TF32, as an epoch in float32 computes them."""
    before = [setting.fp32_precision for setting in FLOAT32_SETTINGS]
    for setting in FLOAT32_SETTINGS:
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        for setting, value in zip(FLOAT32_SETTINGS, before, strict=True):
            setting.fp32_precision = value


@pytest.fixture(params=["cpu", "accelerator"])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Every device that this machine has; an accelerator with the settings of a run."""
    if request.param == "cpu":
        yield CPU
        return
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        pytest.skip("this machine has no accelerator")
    with settings_of_a_run():
        yield accelerator


def build(on: torch.device = CPU, seed: int = 0, **changes: Any) -> VAE:
    with seeded(seed, "weights"):
        return VAE(architecture(**changes)).to(on)


def some_images(count: int = COUNT, shape: tuple[int, int, int] = IMAGE_SHAPE) -> Tensor:
    """Dark and bright images, so that z has something to encode."""
    random = torch.Generator().manual_seed(1)
    brightness = 190 * torch.randint(0, 2, (count, 1, 1, 1), generator=random)
    return (brightness + torch.randint(0, 66, (count, *shape), generator=random)).to(torch.uint8)


def settings(**changes: Any) -> TrainParams:
    return train_params(
        **{"epochs": 6, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, "seed": SEED, **changes}
    )


def ignore(_: int) -> None:
    """Ignore the progress."""


def start(
    on: torch.device = CPU,
    *,
    images: Tensor | None = None,
    kind: PixelKind = PixelKind.GREY,
    network: dict[str, Any] = PLAIN,
    weights_seed: int = 0,
    **changes: Any,
) -> tuple[VAE, TrainingEngine]:
    """A model, and its engine before the first epoch."""
    model = build(on, weights_seed, **network)
    if images is None:
        images = some_images(shape=model.architecture.image_shape)
    return model, TrainingEngine(model, images, settings(**changes), kind)


def train(epochs: int = 2, *, on: torch.device = CPU, **variant: Any) -> tuple[Tensor, list[EpochResult]]:
    """The weights after some epochs, and the results of each."""
    model, engine = start(on, **variant)
    results = [engine.epoch(number, ignore) for number in range(1, epochs + 1)]
    return weights(model), results


def weights(model: VAE) -> Tensor:
    return torch.cat([weight.detach().flatten().cpu() for weight in model.parameters()])


def losses_of(results: list[EpochResult]) -> Tensor:
    """(epochs, 3)."""
    return torch.tensor([result.losses for result in results])


def norms_of(results: list[EpochResult]) -> Tensor:
    """(epochs,)."""
    return torch.tensor([result.gradient_norm for result in results])


def snapshot(engine: TrainingEngine) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in engine.state().items()}


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
) -> tuple[Tensor, list[EpochResult]]:
    """The same with PyTorch's own gradients and optimizer, on the images in the order that was drawn."""
    model, params = build(on, **network), settings(batch_size=batch_size, **changes)
    images = some_images(count, model.architecture.image_shape)
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": params.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, fused=False)
    order_random, noise_random = generator(params.seed, "data order"), generator(params.seed, "latent noise", on)
    samples = () if params.importance_samples == 1 else (params.importance_samples,)
    results = []
    for number in range(1, epochs + 1):
        order = torch.randperm(count, generator=order_random)
        # Noise is drawn for the images of a chunk of steps.
        noise = torch.cat(
            [
                torch.randn(len(rows), *samples, LATENT_DIM, generator=noise_random, device=on)
                for rows in order.split(CHUNK * batch_size)
            ]
        )
        sums, norms = torch.zeros(3, dtype=torch.float64), []
        batches = order.split(batch_size)
        schedule = epoch_schedule(params, number, len(batches)).tolist()
        for rows, epsilon, (learning_rate, beta) in zip(batches, noise.split(batch_size), schedule, strict=True):
            x = torch.stack([images[row] for row in rows.tolist()]).to(on) / 255
            optimizer.zero_grad()
            with full_precision():
                losses = training_loss(model, x, epsilon, beta, params.free_bits)
                losses.loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), params.gradient_clip or torch.inf)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            sums += len(rows) * torch.tensor([term.item() for term in losses])
            norms.append(norm.item())
        results.append(EpochResult(Losses(*(sums / count).tolist()), sum(norms) / len(norms)))
    return weights(model), results


class Watching:
    """Stands in for what computes the gradient: writes down the batches, and returns known numbers.

    The loss of a batch is the average of the images' first pixels, the reconstruction 1 and the KL its weight; the
    norm of the gradient is the number of the batch, counted from 1.
    """

    def __init__(self, weights: Weights, batches: list[tuple[Tensor, Tensor]]) -> None:
        self.weights = weights
        self.batches = batches

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor) -> Losses[Tensor]:
        assert len(images) == len(noise)
        self.batches.append((images.clone(), noise.clone()))
        self.weights.gradient[-1] = len(self.batches)
        return Losses(images[:, 0].float().mean(), torch.tensor(1.0), kl_weight)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """The images and noise of every batch, in order."""
    batches: list[tuple[Tensor, Tensor]] = []

    def watch(step: Step, *_: object) -> None:
        step.backward = Watching(step.weights, batches)

    monkeypatch.setattr(vae.training.engine, "accelerate", watch)
    return batches


def numbered_images(count: int = COUNT) -> Tensor:
    """Images, each filled with its own index."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, *IMAGE_SHAPE)


class TestEpoch:
    @pytest.mark.parametrize(
        ("count", "batch_size"), [(COUNT, BATCH_SIZE), (2 * CHUNK * BATCH_SIZE, BATCH_SIZE), (7, 10), (7, 7), (20, 1)]
    )
    def test_epochs_equal_those_of_a_plain_loop_for_any_number_of_images_and_batch_size(
        self, device: torch.device, count: int, batch_size: int
    ) -> None:
        actual, results = train(on=device, images=some_images(count), batch_size=batch_size)
        expected, expected_results = reference(on=device, count=count, batch_size=batch_size)
        assert not torch.allclose(expected, weights(build()), atol=0.02)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(losses_of(results), losses_of(expected_results), rtol=1e-5, atol=0)
        torch.testing.assert_close(norms_of(results), norms_of(expected_results), rtol=1e-4, atol=0)

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
            {"network": CONVOLUTIONAL, "gradient_clip": 0.5},
            {"network": AUTOREGRESSIVE},
        ],
        ids=str,
    )
    def test_epochs_equal_those_of_a_plain_loop_for_every_objective_schedule_and_network(
        self, device: torch.device, changes: dict[str, Any]
    ) -> None:
        changes = {"learning_rate": 0.01, **changes}
        actual, results = train(on=device, **changes)
        expected, expected_results = reference(on=device, **changes)
        untrained, others = (train(0, **changes)[0], train(learning_rate=0.01)[0])
        assert not torch.allclose(expected, untrained, atol=0.005)
        assert expected.shape != others.shape or not torch.allclose(expected, others, atol=0.001)
        # Where a gradient is close to zero, so is what decides the direction of Adam's first steps.
        assert (actual - expected).norm() < 1e-4 * (expected - untrained).norm()
        torch.testing.assert_close(losses_of(results), losses_of(expected_results), rtol=1e-5, atol=0)
        torch.testing.assert_close(norms_of(results), norms_of(expected_results), rtol=1e-4, atol=0)
        assert (norms_of(results) > changes.get("gradient_clip", 0)).all()  # norms before clipping

    def test_epochs_in_bfloat16_nearly_equal_those_of_a_plain_loop(self, device: torch.device) -> None:
        """In the median over seeds: on so small a network a few roundings can decide where a training goes."""
        distances = []
        for seed in range(7):
            actual, results = train(on=device, precision="bfloat16", seed=seed)
            expected, expected_results = reference(on=device, seed=seed)
            pairs = [(actual - weights(build()), expected - weights(build()))]
            pairs += [(of(results), of(expected_results)) for of in (losses_of, norms_of)]
            distances.append([float((one - other).norm() / other.norm()) for one, other in pairs])
        moved, losses, norms = torch.tensor(distances).median(0).values.tolist()
        assert moved < 0.1
        assert losses < 0.03
        assert norms < 0.03

    @pytest.mark.parametrize("count", [1, BATCH_SIZE - 1, CHUNK * BATCH_SIZE, CHUNK * BATCH_SIZE + 1, COUNT])
    def test_every_image_is_used_once_an_epoch_in_batches_of_the_size_asked_for(
        self, watched: list[tuple[Tensor, Tensor]], count: int
    ) -> None:
        TrainingEngine(build(), numbered_images(count), settings()).epoch(1, ignore)
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
            engine = TrainingEngine(build(), numbered_images(), settings(seed=seed))
            for _ in range(2):
                watched.clear()
                engine.epoch(1, ignore)
                orders.append(tuple(torch.cat([images[:, 0] for images, _ in watched]).tolist()))
                noises.append(torch.cat([noise for _, noise in watched]))
        assert len({*orders, tuple(range(COUNT))}) == 5
        every = torch.cat(noises)
        assert len(every.unique()) == every.numel() == 4 * COUNT * LATENT_DIM

    def test_noise_is_standard_normal(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        images = numbered_images(1).expand(5000, *IMAGE_SHAPE)
        TrainingEngine(build(), images, settings(batch_size=100)).epoch(1, ignore)
        noise = torch.cat([noise for _, noise in watched])
        assert noise.mean().abs() < 4 / noise.numel() ** 0.5
        assert (noise.square().mean() - 1).abs() < 4 * (2 / noise.numel()) ** 0.5

    @pytest.mark.parametrize("count", [1, BATCH_SIZE, CHUNK * BATCH_SIZE + 1, COUNT])
    def test_losses_of_an_epoch_are_averages_over_images_and_the_gradient_norm_is_one_over_steps(
        self, watched: list[tuple[Tensor, Tensor]], count: int
    ) -> None:
        """The last batch, which may be smaller, counts by its images in the losses and as one step in the norm."""
        result = TrainingEngine(build(), numbered_images(count), settings(beta=2.5)).epoch(1, ignore)
        assert result.losses == ((count - 1) / 2, 1.0, 2.5)
        assert result.gradient_norm == (len(watched) + 1) / 2

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
    def test_progress_is_reported_after_each_chunk_and_counts_every_step(
        self, count: int, batch_size: int, chunks: list[int]
    ) -> None:
        engine = TrainingEngine(build(), some_images(count), settings(batch_size=batch_size))
        told: list[int] = []
        engine.epoch(1, told.append)
        assert told == chunks
        assert engine.step.optimizer.steps.item() == sum(chunks)

    @EVERY_VARIANT
    def test_the_same_seed_gives_the_same_weights_and_results_bit_for_bit(
        self, device: torch.device, variant: dict[str, Any]
    ) -> None:
        first, results = train(on=device, **variant)
        again, results_again = train(on=device, **variant)
        assert torch.equal(first, again)
        assert results == results_again


class TestAccelerators:
    """Training is the same except for rounding, whatever computes the gradient."""

    @pytest.mark.parametrize("count", [BATCH_SIZE - 1, COUNT])
    @pytest.mark.parametrize("samples", [1, 3])
    @PRECISIONS
    def test_accelerators_are_compared_once_on_one_batch_before_the_first_step_and_in_full_precision(
        self, monkeypatch: pytest.MonkeyPatch, precision: str, samples: int, count: int
    ) -> None:
        compared: list[tuple[VAE, TrainParams, Tensor, Tensor]] = []

        def compare(step: Step, model: VAE, params: TrainParams, images: Tensor, noise: Tensor) -> None:
            assert step.optimizer.steps.item() == 0
            assert torch.equal(entries(step.weights, step.weights.vector), weights(build()))
            assert {setting.fp32_precision for setting in FLOAT32_SETTINGS} == {"ieee"}
            compared.append((model, params, images.clone(), noise.clone()))

        monkeypatch.setattr(vae.training.engine, "accelerate", compare)
        model, engine = start(images=numbered_images(count), precision=precision, importance_samples=samples)
        for number in (1, 2):
            engine.epoch(number, ignore)
        ((own, params, images, noise),) = compared
        assert own is model
        assert params == settings(precision=precision, importance_samples=samples)
        assert images.dtype == torch.uint8
        assert images.shape == (min(BATCH_SIZE, count), 12)
        assert len(images[:, 0].unique()) == len(images)
        assert noise.shape == ((len(images), LATENT_DIM) if samples == 1 else (len(images), samples, LATENT_DIM))

    @PRECISIONS
    def test_the_handwritten_gradient_is_used_for_the_network_and_objective_that_it_knows(
        self, device: torch.device, precision: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        _, engine = start(device, precision=precision)
        engine.epoch(1, ignore)
        assert isinstance(engine.step.backward, NegativeElboGradient)
        assert not caplog.records

    @pytest.mark.parametrize("variant", ["importance-weighted", "free bits", "conv", "autoregressive"])
    def test_other_networks_and_objectives_are_trained_by_automatic_differentiation(
        self, device: torch.device, variant: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        _, engine = start(device, **VARIANTS[variant])
        engine.epoch(1, ignore)
        assert isinstance(engine.step.backward, AutomaticDifferentiation)
        assert not caplog.records

    @pytest.mark.parametrize(
        ("variant", "closeness"),
        [
            ({}, 1e-5),
            ({"beta": 4.0, "kl_warmup_epochs": 2}, 1e-5),
            ({"weight_decay": 0.1, "gradient_clip": 0.5}, 1e-5),
            ({"kind": PixelKind.PROBABILITIES}, 1e-5),
            ({"precision": "bfloat16"}, 0.01),
        ],
        ids=str,
    )
    def test_without_accelerators_results_agree_random_numbers_are_the_same_and_the_state_has_the_same_parts(
        self, device: torch.device, monkeypatch: pytest.MonkeyPatch, variant: dict[str, Any], closeness: float
    ) -> None:
        _, accelerated = start(device, **variant)
        results = [accelerated.epoch(number, ignore) for number in (1, 2)]
        monkeypatch.setattr(accelerators, "ACCELERATORS", [])
        _, plain = start(device, **variant)
        plain_results = [plain.epoch(number, ignore) for number in (1, 2)]
        assert isinstance(accelerated.step.backward, NegativeElboGradient)
        assert isinstance(plain.step.backward, AutomaticDifferentiation)

        torch.testing.assert_close(losses_of(results), losses_of(plain_results), rtol=closeness, atol=0)
        torch.testing.assert_close(norms_of(results), norms_of(plain_results), rtol=10 * closeness, atol=0)
        state, plain_state = accelerated.state(), plain.state()
        assert list(state) == list(plain_state)
        for name in ("data_order", "latent_noise", "pixels", "steps"):
            assert torch.equal(state[name], plain_state[name]), name
        start_weights = start(device, **variant)[1].state()["parameters"]
        for name in ("parameters", "first_moment", "second_moment"):
            difference = (state[name] - plain_state[name]).norm()
            size = (state[name] - start_weights).norm() if name == "parameters" else state[name].norm()
            assert difference < 10 * closeness * size, name


class TestPrecision:
    def test_tf32_on_the_cpu_is_float32_bit_for_bit(self) -> None:
        tf32, results = train(precision="tf32")
        float32, float32_results = train(precision="float32")
        assert torch.equal(tf32, float32)
        assert results == float32_results

    def test_bfloat16_changes_training_but_leaves_the_weights_in_float32(self) -> None:
        bfloat16, _ = train(precision="bfloat16")
        assert not torch.equal(bfloat16, train()[0])
        assert not torch.equal(bfloat16, bfloat16.bfloat16().float())

    @pytest.fixture(params=["none", "ieee", "tf32"])
    def before(self, request: pytest.FixtureRequest) -> Iterator[str]:
        """PyTorch's settings, as set by other code."""
        own = [setting.fp32_precision for setting in FLOAT32_SETTINGS]
        for setting in FLOAT32_SETTINGS:
            setting.fp32_precision = request.param
        yield request.param
        for setting, value in zip(FLOAT32_SETTINGS, own, strict=True):
            setting.fp32_precision = value

    @PRECISIONS
    def test_tf32_is_switched_on_for_products_and_convolutions_within_an_epoch_and_only_if_asked_for(
        self, before: str, precision: str
    ) -> None:
        within: set[str] = set()
        engine = TrainingEngine(build(), some_images(), settings(precision=precision))
        engine.epoch(1, lambda _: within.update(setting.fp32_precision for setting in FLOAT32_SETTINGS))
        assert within == {"tf32" if precision == "tf32" else "ieee"}
        assert {setting.fp32_precision for setting in FLOAT32_SETTINGS} == {before}

    @PRECISIONS
    def test_an_interrupted_epoch_restores_the_precision_settings(self, before: str, precision: str) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        engine = TrainingEngine(build(), some_images(), settings(precision=precision))
        with pytest.raises(KeyboardInterrupt):
            engine.epoch(1, interrupt)
        assert {setting.fp32_precision for setting in FLOAT32_SETTINGS} == {before}


class TestImages:
    def test_images_that_do_not_fit_the_device_train_to_the_same_bits(
        self, monkeypatch: pytest.MonkeyPatch, device: torch.device
    ) -> None:
        expected, expected_results = train(on=device)
        monkeypatch.setattr(vae.training.engine, "fits", lambda _tensor, _on: False)
        assert TrainingEngine(build(device), some_images(), settings()).images.device == CPU
        actual, results = train(on=device)
        assert torch.equal(actual, expected)
        assert results == expected_results

    def test_images_that_fit_are_moved_to_the_device(self, device: torch.device) -> None:
        engine = TrainingEngine(build(device), some_images(), settings())
        assert engine.images.device.type == device.type

    def test_images_read_from_a_file_train_to_the_same_bits(self, tmp_path: Path, device: torch.device) -> None:
        path = tmp_path / "images.safetensors"
        save_images(path, LabelledImages(some_images(), torch.zeros(COUNT, dtype=torch.int64), ("image",)))
        content = path.read_bytes()
        actual, results = train(on=device, images=load_images(path).images)
        expected, expected_results = train(on=device)
        assert torch.equal(actual, expected)
        assert results == expected_results
        assert path.read_bytes() == content

    def test_training_leaves_the_images_unchanged(self, device: torch.device) -> None:
        images = some_images()
        train(on=device, images=images)
        assert torch.equal(images, some_images())

    def test_images_are_moved_to_the_device_a_chunk_at_a_time(self) -> None:
        moved: list[int] = []

        class Observed(TrainingEngine):
            def _to_device(self, tensor: Tensor) -> Tensor:
                moved.extend([len(tensor)] * (tensor.dtype == torch.uint8))
                return super()._to_device(tensor)

        Observed(build(), some_images(), settings()).epoch(1, ignore)
        assert moved == [CHUNK * BATCH_SIZE, CHUNK * BATCH_SIZE, COUNT - 2 * CHUNK * BATCH_SIZE]


class TestState:
    @EVERY_VARIANT
    def test_the_epoch_after_restoring_a_state_is_the_same_bit_for_bit(
        self, device: torch.device, variant: dict[str, Any]
    ) -> None:
        _, engine = start(device, **variant)
        engine.epoch(1, ignore)
        state = snapshot(engine)
        result, expected = engine.epoch(2, ignore), snapshot(engine)

        # Another model and another seed: all that counts is in the state, and in the number of the epoch.
        other, heir = start(device, weights_seed=9, seed=9, **variant)
        heir.restore(state)
        assert same(heir.state(), state)
        assert torch.equal(weights(other), entries(heir.step.weights, state["parameters"].cpu()))
        assert heir.epoch(2, ignore) == result
        assert same(heir.state(), expected)

    @EVERY_VARIANT
    @pytest.mark.slow
    def test_restoring_an_earlier_state_repeats_the_epoch_bit_for_bit(
        self, device: torch.device, variant: dict[str, Any]
    ) -> None:
        _, engine = start(device, **variant)
        beginning = snapshot(engine)
        result, expected = engine.epoch(1, ignore), snapshot(engine)
        engine.epoch(2, ignore)
        engine.restore(beginning)
        assert engine.epoch(1, ignore) == result
        assert same(engine.state(), expected)

    def test_a_state_on_the_cpu_can_be_restored_on_any_device(self, device: torch.device) -> None:
        """A state that is read from a file is on the CPU."""
        engine = TrainingEngine(build(device), some_images(), settings())
        state = {name: tensor.cpu().clone() for name, tensor in engine.state().items()}
        result = engine.epoch(1, ignore)
        engine.restore(state)
        assert engine.epoch(1, ignore) == result

    def test_training_after_restoring_a_state_leaves_its_tensors_unchanged(self, device: torch.device) -> None:
        engine = TrainingEngine(build(device), some_images(), settings())
        engine.epoch(1, ignore)
        state = snapshot(engine)
        copy = {name: tensor.clone() for name, tensor in state.items()}
        engine.epoch(1, ignore)
        engine.restore(state)
        engine.epoch(1, ignore)
        assert same(state, copy)

    def test_an_epoch_changes_every_part_of_the_state_and_the_pixel_generator_only_if_pixels_are_drawn(self) -> None:
        for kind, unchanged in ((PixelKind.PROBABILITIES, []), (PixelKind.GREY, ["pixels"])):
            engine = TrainingEngine(build(), some_images(), settings(), kind)
            before = snapshot(engine)
            engine.epoch(1, ignore)
            assert [name for name, tensor in engine.state().items() if torch.equal(tensor, before[name])] == unchanged

    def test_reading_the_state_does_not_change_training(self) -> None:
        engine, undisturbed = (TrainingEngine(build(), some_images(), settings()) for _ in range(2))
        engine.state()
        result = engine.epoch(1, lambda _: engine.state().clear())
        assert result == undisturbed.epoch(1, ignore)
        assert same(engine.state(), undisturbed.state())


class TestObjective:
    """The result of training with every network, likelihood and objective."""

    @NETWORKS
    @EACH_LIKELIHOOD
    @pytest.mark.parametrize(
        "objective",
        [{}, {"beta": 4.0}, {"kl_warmup_epochs": 1}, {"free_bits": 0.1}, {"importance_samples": 3}],
        ids=["plain", "beta", "warm-up", "free bits", "importance-weighted"],
    )
    @pytest.mark.slow
    def test_the_loss_is_finite_and_falls_for_every_network_likelihood_and_objective(
        self, network: dict[str, Any], likelihood: str, objective: dict[str, Any]
    ) -> None:
        """From the second epoch on, in which every objective has its final form."""
        model = {**network, "likelihood": likelihood}
        images = some_images(40, model.get("image_shape", IMAGE_SHAPE))
        _, results = train(5, images=images, network=model, batch_size=8, learning_rate=0.01, **objective)
        losses = losses_of(results)
        assert losses.isfinite().all()
        assert losses[-1, 0] < losses[1, 0] - 0.01

    @pytest.mark.parametrize(("free_bits", "least", "most"), [(0.5, 0.38, 0.55), (0.0, 0.0, 0.02)])
    def test_free_bits_keep_about_that_much_kl_in_dimensions_that_carry_no_information(
        self, free_bits: float, least: float, most: float
    ) -> None:
        """There is only one image, so the KL, which is high at first, serves no purpose."""
        images = some_images(1).expand(64, *IMAGE_SHAPE)
        params = settings(epochs=12, batch_size=2, learning_rate=0.002, free_bits=free_bits)
        model = build()
        with torch.no_grad():
            list(model.encoder.parameters())[-1].fill_(1.5)  # μ and log σ², whatever the image
        engine = TrainingEngine(model, images, params)
        first, *_, last = [engine.epoch(number, ignore).losses.kl for number in range(1, params.epochs + 1)]
        assert first > 1.5 * LATENT_DIM
        assert least * LATENT_DIM <= last <= most * LATENT_DIM


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
    def test_each_step_is_made_with_the_learning_rate_and_the_kl_weight_of_its_moment(
        self, changes: dict[str, Any]
    ) -> None:
        used: list[Tensor] = []

        class Observed(TrainingEngine):
            def _steps(self, images: Tensor, noise: Tensor, schedule: Tensor) -> Tensor:
                used.append(schedule)
                return super()._steps(images, noise, schedule)

        params = settings(**changes)
        engine = Observed(build(), some_images(), params)
        for number in range(1, params.epochs + 1):
            used.clear()
            engine.epoch(number, ignore)
            assert [len(schedule) for schedule in used] == CHUNKS
            assert torch.equal(torch.cat(used), epoch_schedule(params, number, sum(CHUNKS)))

    @NETWORKS
    @PRECISIONS
    def test_a_learning_rate_too_small_to_count_leaves_every_bit_of_the_weights(
        self, network: dict[str, Any], precision: str
    ) -> None:
        """The comparison of accelerators, which changes the weights, leaves no trace either."""
        trained, _ = train(1, network=network, learning_rate=1e-30, precision=precision)
        assert torch.equal(trained, weights(build(**network)))


class TestPixels:
    """Black or white pixels that are drawn whenever an image is used."""

    def batches(
        self, watched: list[tuple[Tensor, Tensor]], images: Tensor, epochs: int, **changes: Any
    ) -> list[Tensor]:
        """The images of each epoch, in the order in which they were used."""
        kind = changes.pop("kind", PixelKind.PROBABILITIES)
        engine = TrainingEngine(build(), images, settings(**changes), kind)
        seen = []
        for number in range(1, epochs + 1):
            watched.clear()
            engine.epoch(number, ignore)
            seen.append(torch.cat([images for images, _ in watched]))
        return seen

    def test_a_pixel_is_white_with_the_probability_that_is_its_intensity(
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

    def test_pixels_are_drawn_anew_for_each_image_and_epoch(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        images = torch.full((COUNT, *IMAGE_SHAPE), 128, dtype=torch.uint8)
        seen = torch.cat(self.batches(watched, images, 3))
        # Of 3 × 141 draws of 12 fair coins about 22 are expected to agree with an earlier one.
        assert len(seen.unique(dim=0)) > 3 * COUNT - 50

    def test_drawn_pixels_repeat_with_the_same_seed_and_differ_with_another(
        self, watched: list[tuple[Tensor, Tensor]]
    ) -> None:
        first, again, other = (torch.cat(self.batches(watched, some_images(), 2, seed=seed)) for seed in (5, 5, 6))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_pixels_drawn_after_restoring_a_state_are_those_that_would_have_been_drawn(
        self, watched: list[tuple[Tensor, Tensor]]
    ) -> None:
        engine = TrainingEngine(build(), some_images(), settings(), PixelKind.PROBABILITIES)
        engine.epoch(1, ignore)
        state = snapshot(engine)
        heir = TrainingEngine(build(), some_images(), settings(seed=9), PixelKind.PROBABILITIES)
        heir.restore(state)
        seen = []
        for each in (engine, heir):
            watched.clear()
            each.epoch(2, ignore)
            seen.append(torch.cat([images for images, _ in watched]))
        assert torch.equal(seen[0], seen[1])

    @pytest.mark.parametrize("kind", [PixelKind.GREY, PixelKind.BINARY])
    def test_pixels_of_other_kinds_are_not_drawn(self, watched: list[tuple[Tensor, Tensor]], kind: PixelKind) -> None:
        (seen,) = self.batches(watched, numbered_images(), 1, kind=kind)
        assert seen[:, 0].sort().values.tolist() == list(range(COUNT))

    def test_drawing_pixels_does_not_change_order_and_noise(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        """The images are black and white already, so that drawing them has no effect."""
        images = (some_images() > 127).to(torch.uint8) * 255
        runs = []
        for kind in (PixelKind.BINARY, PixelKind.PROBABILITIES):
            self.batches(watched, images, 2, kind=kind)
            runs.append(list(watched))
        for (one, noise), (other, other_noise) in zip(*runs, strict=True):
            assert torch.equal(one, other)
            assert torch.equal(noise, other_noise)

    def test_order_noise_and_pixels_have_generators_with_different_seeds(self) -> None:
        """With one seed for both, the drawn pixels would depend on the noise."""
        state = TrainingEngine(build(), some_images(), settings(), PixelKind.PROBABILITIES).state()
        order, noise, pixels = (state[name] for name in ("data_order", "latent_noise", "pixels"))
        assert not torch.equal(pixels, noise)
        assert not torch.equal(pixels, order)
        assert not torch.equal(order, noise)

    def test_drawing_pixels_leaves_the_images_themselves_grey(self) -> None:
        images = some_images()
        train(images=images, kind=PixelKind.PROBABILITIES)
        assert torch.equal(images, some_images())


class PretendedCuda(str):
    """A device that is the CPU for PyTorch, and a CUDA device for ``TrainingEngine``."""

    type = "cuda"


class PretendedCapture:
    """A ``CapturedFunction`` without CUDA: it computes in memory of its own, and returns copies."""

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
    """``TrainingEngine`` on CUDA, where it captures a graph for each size of a chunk."""

    @pytest.fixture
    def pretended(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainingEngine], None]:
        """Make ``TrainingEngine`` on the CPU work as on CUDA."""
        monkeypatch.setattr(PretendedCapture, "captured", [], raising=False)
        monkeypatch.setattr(PretendedCapture, "replayed", [], raising=False)
        monkeypatch.setattr(vae.training.engine, "CapturedFunction", PretendedCapture)
        monkeypatch.setattr(Tensor, "pin_memory", lambda images: images)
        return lambda engine: monkeypatch.setattr(engine, "device", PretendedCuda("cpu"))

    @EVERY_VARIANT
    @pytest.mark.slow
    def test_captured_steps_train_to_the_same_bits_as_steps_that_are_not_captured(
        self, pretended: Callable[[TrainingEngine], None], variant: dict[str, Any]
    ) -> None:
        expected, expected_results = train(epochs=3, **variant)
        model, engine = start(**variant)
        pretended(engine)
        results = [engine.epoch(number, ignore) for number in (1, 2, 3)]
        assert torch.equal(weights(model), expected)
        assert results == expected_results

    def test_each_size_of_a_chunk_is_captured_after_it_has_run_once_and_replayed_from_then_on(
        self, pretended: Callable[[TrainingEngine], None]
    ) -> None:
        engine = TrainingEngine(build(), some_images(), settings())
        pretended(engine)
        for _ in range(3):
            engine.epoch(1, ignore)
        whole, rest = CHUNK * BATCH_SIZE, COUNT - 2 * CHUNK * BATCH_SIZE
        assert PretendedCapture.captured == [whole, rest]
        assert PretendedCapture.replayed == [whole] + 2 * [whole, whole, rest]

    def test_restoring_a_state_writes_it_to_where_captured_steps_read_it(
        self, pretended: Callable[[TrainingEngine], None]
    ) -> None:
        engine = TrainingEngine(build(), some_images(), settings())
        pretended(engine)
        engine.epoch(1, ignore)
        state = snapshot(engine)
        result, expected = engine.epoch(1, ignore), snapshot(engine)
        places = [tensor.data_ptr() for tensor in list(engine.state().values())[:4]]
        engine.restore(state)
        assert [tensor.data_ptr() for tensor in list(engine.state().values())[:4]] == places
        assert engine.epoch(1, ignore) == result
        assert same(engine.state(), expected)

    def test_nothing_is_captured_on_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vae.training.engine, "CapturedFunction", None)
        train()


@needs_cuda
class TestCuda:
    """What only a CUDA device can show."""

    CUDA = torch.device("cuda")

    @pytest.fixture(autouse=True)
    def configured(self) -> Iterator[None]:
        """The settings of a run, in which bits repeat."""
        with settings_of_a_run():
            yield

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

    def test_a_captured_function_that_changes_its_arguments_leaves_the_callers_alone(self) -> None:
        argument = torch.ones(3, device=self.CUDA)
        torch.zeros_like(argument).add_(1)
        captured = CapturedFunction(lambda x: x.add_(1), argument)
        assert captured(argument).tolist() == [2, 2, 2]
        assert argument.tolist() == [1, 1, 1]

    @EVERY_VARIANT
    def test_captured_steps_on_cuda_train_to_the_same_bits_as_steps_that_are_not_captured(
        self, monkeypatch: pytest.MonkeyPatch, variant: dict[str, Any]
    ) -> None:
        captured, results = train(epochs=3, on=self.CUDA, **variant)
        monkeypatch.setattr(TrainingEngine, "_chunk", TrainingEngine._steps)
        plain, plain_results = train(epochs=3, on=self.CUDA, **variant)
        assert torch.equal(captured, plain)
        assert results == plain_results

    @pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
    @pytest.mark.parametrize("fit", [True, False])
    @EVERY_VARIANT
    def test_from_the_second_epoch_on_no_step_waits_for_the_device(
        self, monkeypatch: pytest.MonkeyPatch, fit: bool, variant: dict[str, Any]
    ) -> None:
        """Measured from the end of the first chunk to that of the last, without the epoch's order and final sum."""
        monkeypatch.setattr(vae.training.engine, "fits", lambda _tensor, _on: fit)
        _, engine = start(self.CUDA, **variant)
        engine.epoch(1, ignore)  # compares accelerators, and captures
        chunks_left = len(CHUNKS)

        def refuse_to_wait_until_the_last(_: int) -> None:
            nonlocal chunks_left
            chunks_left -= 1
            torch.cuda.set_sync_debug_mode("error" if chunks_left else "default")

        try:
            engine.epoch(1, refuse_to_wait_until_the_last)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert chunks_left == 0


def test_a_resumed_run_computes_the_gradient_as_the_interrupted_one_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regardless of rounding at the weights that it resumes from."""
    initial = weights(build())
    monkeypatch.setattr(
        accelerators,
        "largest_difference",
        lambda _reference, _candidate, own, *_: 0.0 if torch.equal(entries(own, own.vector), initial) else torch.inf,
    )
    _, engine = start()
    engine.epoch(1, ignore)
    _, heir = start()
    heir.restore(engine.state())
    heir.epoch(2, ignore)
    assert isinstance(heir.step.backward, NegativeElboGradient)
