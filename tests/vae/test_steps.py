from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

import vae.steps
from vae.backpropagation import Weights
from vae.cuda_graphs import CapturedFunction
from vae.datasets import LabelledImages, load_images, save_images
from vae.model import VAE, Architecture
from vae.objective import negative_elbo
from vae.params import TrainParams
from vae.runtime import CPU, generator, seeded
from vae.steps import CHUNK, Steps

Precision = Literal["float32", "tf32", "bfloat16"]

IMAGE_SHAPE = (1, 3, 4)
LATENT_DIM = 2
BATCH_SIZE = 4
COUNT = (2 * CHUNK + 3) * BATCH_SIZE + 1  # images: two whole chunks, and one of four steps of which the last is smaller
CHUNKS = [CHUNK, CHUNK, 4]
LEARNING_RATE = 0.03
SEED = 5  # not that of the weights
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
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


def build(on: torch.device = CPU, seed: int = 0) -> VAE:
    with seeded(seed, "weights"):
        return VAE(Architecture(image_shape=IMAGE_SHAPE, hidden_dims=(8,), latent_dim=LATENT_DIM)).to(on)


def some_images(count: int = COUNT) -> Tensor:
    """Dark ones and bright ones, so that there is something to say by z."""
    random = torch.Generator().manual_seed(1)
    brightness = 190 * torch.randint(0, 2, (count, 1, 1, 1), generator=random)
    return (brightness + torch.randint(0, 66, (count, *IMAGE_SHAPE), generator=random)).to(torch.uint8)


def settings(*, precision: Precision = "float32", batch_size: int = BATCH_SIZE, seed: int = SEED) -> TrainParams:
    return TrainParams(epochs=1, batch_size=batch_size, learning_rate=LEARNING_RATE, precision=precision, seed=seed)


def ignore(_: int) -> None:
    """What ``advance`` may do."""


def train(
    epochs: int = 2,
    *,
    on: torch.device = CPU,
    images: Tensor | None = None,
    precision: Precision = "float32",
    batch_size: int = BATCH_SIZE,
    seed: int = SEED,
) -> tuple[Tensor, list[tuple[float, float]]]:
    """The weights after some epochs, and the losses of each."""
    model = build(on)
    params = settings(precision=precision, batch_size=batch_size, seed=seed)
    steps = Steps(model, some_images() if images is None else images, params)
    losses = [steps.epoch(ignore) for _ in range(epochs)]
    return weights(model), losses


def weights(model: VAE) -> Tensor:
    return torch.cat([weight.detach().flatten().cpu() for weight in model.parameters()])


def snapshot(steps: Steps) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in steps.state().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def reference(
    epochs: int = 2, *, on: torch.device = CPU, count: int = COUNT, batch_size: int = BATCH_SIZE
) -> tuple[Tensor, list[tuple[float, float]]]:
    """The same by PyTorch's own gradients and optimiser, an image after the other from the order that was drawn."""
    model, images = build(on), some_images(count)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=False)
    order_random, noise_random = generator(SEED, "data order"), generator(SEED, "latent noise", on)
    losses = []
    for _ in range(epochs):
        order = torch.randperm(count, generator=order_random)
        # Noise is drawn for the images of a chunk of steps.
        noise = torch.cat(
            [
                torch.randn(len(rows), LATENT_DIM, generator=noise_random, device=on)
                for rows in order.split(CHUNK * batch_size)
            ]
        )
        sums = torch.zeros(2, dtype=torch.float64)
        for rows, epsilon in zip(order.split(batch_size), noise.split(batch_size), strict=True):
            x = torch.stack([images[row] for row in rows.tolist()]).to(on) / 255
            reconstruction, kl = negative_elbo(model, x, epsilon)
            optimizer.zero_grad()
            ((reconstruction.sum() + kl.sum()) / len(rows)).backward()
            optimizer.step()
            sums += torch.tensor([reconstruction.sum().item(), kl.sum().item()])
        by_reconstruction, by_kl = (sums / count).tolist()
        losses.append((by_reconstruction, by_kl))
    return weights(model), losses


class Watching:
    """Stands in for ``NegativeElboGradient``: writes down what it is given, and leaves the weights alone."""

    batches: list[tuple[Tensor, Tensor]]

    def __init__(self, _model: VAE, _weights: Weights, batch_size: int) -> None:
        self.batch_size = batch_size

    def __call__(self, images: Tensor, noise: Tensor, losses: Tensor) -> None:
        assert len(images) == len(noise) == self.batch_size
        self.batches.append((images.clone(), noise.clone()))
        losses[0], losses[1] = images[:, 0].sum(), len(images)


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

    def test_epochs_in_bfloat16_are_nearly_those_of_a_plain_loop(self, device: torch.device) -> None:
        actual, losses = train(on=device, precision="bfloat16")
        expected, expected_losses = reference(on=device)
        assert (actual - expected).norm() < 0.1 * (expected - weights(build())).norm()
        torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected_losses), rtol=0.03, atol=0)

    @pytest.mark.parametrize("count", [1, BATCH_SIZE - 1, CHUNK * BATCH_SIZE, CHUNK * BATCH_SIZE + 1, COUNT])
    def test_every_image_is_used_once_in_batches_of_the_size_that_was_asked_for(
        self, watched: list[tuple[Tensor, Tensor]], count: int
    ) -> None:
        Steps(build(), numbered_images(count), settings()).epoch(ignore)
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
                steps.epoch(ignore)
                orders.append(tuple(torch.cat([images[:, 0] for images, _ in watched]).tolist()))
                noises.append(torch.cat([noise for _, noise in watched]))
        assert len({*orders, tuple(range(COUNT))}) == 5
        every = torch.cat(noises)
        assert len(every.unique()) == every.numel() == 4 * COUNT * LATENT_DIM

    def test_noise_is_standard_normal(self, watched: list[tuple[Tensor, Tensor]]) -> None:
        Steps(build(), numbered_images(1).expand(5000, *IMAGE_SHAPE), settings(batch_size=100)).epoch(ignore)
        noise = torch.cat([noise for _, noise in watched])
        assert noise.mean().abs() < 4 / noise.numel() ** 0.5
        assert (noise.square().mean() - 1).abs() < 4 * (2 / noise.numel()) ** 0.5

    @pytest.mark.parametrize("count", [1, BATCH_SIZE, CHUNK * BATCH_SIZE + 1, COUNT])
    @pytest.mark.usefixtures("watched")
    def test_losses_are_averages_over_images(self, count: int) -> None:
        """Of batches that report the sum of their images' numbers, and how many they are."""
        losses = Steps(build(), numbered_images(count), settings()).epoch(ignore)
        assert losses == ((count - 1) / 2, 1.0)

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
        steps.epoch(told.append)
        assert told == chunks
        assert steps.optimizer.steps.item() == sum(chunks)

    @PRECISIONS
    def test_same_seed_gives_the_same_bits(self, device: torch.device, precision: Precision) -> None:
        first, losses = train(on=device, precision=precision)
        again, losses_again = train(on=device, precision=precision)
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
        matmul = torch.backends.cuda.matmul
        own = matmul.fp32_precision
        matmul.fp32_precision = request.param
        yield request.param
        matmul.fp32_precision = own

    @PRECISIONS
    def test_products_are_rounded_to_tf32_where_it_is_asked_for_and_within_an_epoch_only(
        self, before: str, precision: Precision
    ) -> None:
        within: set[str] = set()
        steps = Steps(build(), some_images(), settings(precision=precision))
        steps.epoch(lambda _: within.add(torch.backends.cuda.matmul.fp32_precision))
        assert within == {"tf32" if precision == "tf32" else "ieee"}
        assert torch.backends.cuda.matmul.fp32_precision == before

    @PRECISIONS
    def test_an_epoch_that_is_interrupted_puts_the_setting_back_too(self, before: str, precision: Precision) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        steps = Steps(build(), some_images(), settings(precision=precision))
        with pytest.raises(KeyboardInterrupt):
            steps.epoch(interrupt)
        assert torch.backends.cuda.matmul.fp32_precision == before


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

        Observed(build(), some_images(), settings()).epoch(ignore)
        assert moved == [CHUNK * BATCH_SIZE, CHUNK * BATCH_SIZE, COUNT - 2 * CHUNK * BATCH_SIZE]


class TestState:
    @PRECISIONS
    def test_the_next_epoch_of_a_restored_state_is_the_same_bit_for_bit(
        self, device: torch.device, precision: Precision
    ) -> None:
        steps = Steps(build(device), some_images(), settings(precision=precision))
        steps.epoch(ignore)
        state = snapshot(steps)
        losses, expected = steps.epoch(ignore), snapshot(steps)

        # Another model and another seed: all that counts is in the state.
        other = build(device, seed=9)
        heir = Steps(other, some_images(), settings(precision=precision, seed=9))
        heir.restore(state)
        assert same(heir.state(), state)
        assert torch.equal(weights(other), state["parameters"].cpu())
        assert heir.epoch(ignore) == losses
        assert same(heir.state(), expected)

    @PRECISIONS
    def test_a_state_may_be_gone_back_to(self, device: torch.device, precision: Precision) -> None:
        steps = Steps(build(device), some_images(), settings(precision=precision))
        beginning = snapshot(steps)
        losses, expected = steps.epoch(ignore), snapshot(steps)
        steps.epoch(ignore)
        steps.restore(beginning)
        assert steps.epoch(ignore) == losses
        assert same(steps.state(), expected)

    def test_a_state_may_come_from_the_cpu(self, device: torch.device) -> None:
        """From a file, that is."""
        steps = Steps(build(device), some_images(), settings())
        state = {name: tensor.cpu().clone() for name, tensor in steps.state().items()}
        losses = steps.epoch(ignore)
        steps.restore(state)
        assert steps.epoch(ignore) == losses

    def test_restoring_and_training_on_leave_the_given_tensors_as_they_are(self, device: torch.device) -> None:
        steps = Steps(build(device), some_images(), settings())
        steps.epoch(ignore)
        state = snapshot(steps)
        copy = {name: tensor.clone() for name, tensor in state.items()}
        steps.epoch(ignore)
        steps.restore(state)
        steps.epoch(ignore)
        assert same(state, copy)

    def test_every_part_of_the_state_has_changed_after_an_epoch(self) -> None:
        steps = Steps(build(), some_images(), settings())
        before = snapshot(steps)
        steps.epoch(ignore)
        assert [name for name, tensor in steps.state().items() if torch.equal(tensor, before[name])] == []

    def test_asking_for_the_state_changes_nothing(self) -> None:
        steps, undisturbed = (Steps(build(), some_images(), settings()) for _ in range(2))
        steps.state()
        losses = steps.epoch(lambda _: steps.state().clear())
        assert losses == undisturbed.epoch(ignore)
        assert same(steps.state(), undisturbed.state())


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

    @PRECISIONS
    def test_captured_steps_train_to_the_same_bits(
        self, pretended: Callable[[Steps], None], precision: Precision
    ) -> None:
        expected, expected_losses = train(epochs=3, precision=precision)
        model = build()
        steps = Steps(model, some_images(), settings(precision=precision))
        pretended(steps)
        losses = [steps.epoch(ignore) for _ in range(3)]
        assert torch.equal(weights(model), expected)
        assert losses == expected_losses

    def test_each_size_of_a_chunk_is_captured_once_after_it_has_run_and_replayed_ever_after(
        self, pretended: Callable[[Steps], None]
    ) -> None:
        steps = Steps(build(), some_images(), settings())
        pretended(steps)
        for _ in range(3):
            steps.epoch(ignore)
        whole, rest = CHUNK * BATCH_SIZE, COUNT - 2 * CHUNK * BATCH_SIZE
        assert PretendedCapture.captured == [whole, rest]
        assert PretendedCapture.replayed == [whole] + 2 * [whole, whole, rest]

    def test_captured_steps_go_on_from_a_restored_state(self, pretended: Callable[[Steps], None]) -> None:
        """The state is put where the captured steps look for it."""
        steps = Steps(build(), some_images(), settings())
        pretended(steps)
        steps.epoch(ignore)
        state = snapshot(steps)
        losses, expected = steps.epoch(ignore), snapshot(steps)
        places = [tensor.data_ptr() for tensor in list(steps.state().values())[:4]]
        steps.restore(state)
        assert [tensor.data_ptr() for tensor in list(steps.state().values())[:4]] == places
        assert steps.epoch(ignore) == losses
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

    @PRECISIONS
    def test_captured_steps_train_to_the_bits_of_steps_that_are_not(
        self, monkeypatch: pytest.MonkeyPatch, precision: Precision
    ) -> None:
        captured, losses = train(epochs=3, on=self.CUDA, precision=precision)
        monkeypatch.setattr(Steps, "_chunk", Steps._steps)
        plain, plain_losses = train(epochs=3, on=self.CUDA, precision=precision)
        assert torch.equal(captured, plain)
        assert losses == plain_losses

    @pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
    @pytest.mark.parametrize("fit", [True, False])
    def test_within_an_epoch_nothing_waits_for_the_device(self, monkeypatch: pytest.MonkeyPatch, fit: bool) -> None:
        """From the end of the first chunk to that of the last: an epoch begins with its order, and ends with a sum."""
        monkeypatch.setattr(vae.steps, "fits", lambda _tensor, _on: fit)
        steps = Steps(build(self.CUDA), some_images(), settings())
        steps.epoch(ignore)  # captures
        chunks_left = len(CHUNKS)

        def refuse_to_wait_until_the_last(_: int) -> None:
            nonlocal chunks_left
            chunks_left -= 1
            torch.cuda.set_sync_debug_mode("error" if chunks_left else "default")

        try:
            steps.epoch(refuse_to_wait_until_the_last)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert chunks_left == 0
