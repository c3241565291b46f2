"""How often training waits for a CUDA device, counted on the pretended one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import vae.training.checkpoint
import vae.training.engine
from tests.deterministic import settings_of_a_run
from tests.pretended_device import Waits, pretended_cuda
from tests.vae.training.test_engine import (
    BATCH_SIZE,
    CHUNKS,
    COUNT,
    EVERY_VARIANT,
    IMAGE_SHAPE,
    build,
    ignore,
    same,
    settings,
    some_images,
    start,
    train,
    weights,
)
from vae.data.images import LabelledImages
from vae.training import accelerators, loop
from vae.training.checkpoint import Checkpoint
from vae.training.loop import Training

CUDA = torch.device("cuda:1")  # not the current device
SIZES_OF_CHUNKS = len(set(CHUNKS))  # each is captured once
CHECKS = 1 + len(accelerators.ENLARGEMENTS)  # whether the reference overflows, when accelerators are compared
COMPARISONS = 6  # at larger weights this model's does, and nothing is compared


@pytest.fixture(autouse=True)
def waits() -> Iterator[Waits]:
    with settings_of_a_run(), pretended_cuda() as counted:
        yield counted


@pytest.mark.parametrize("fits", [True, False], ids=["on the device", "a chunk at a time"])
@EVERY_VARIANT
def test_an_epoch_waits_for_the_device_once_and_has_the_bits_of_the_cpu(
    waits: Waits, variant: dict[str, Any], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vae.training.engine, "fits", lambda *_: fits)
    expected, expected_results = train(3, **variant)
    model, engine = start(CUDA, **variant)
    results = []
    for number in (1, 2, 3):
        waits.clear()
        results.append(engine.epoch(number, ignore))
        captures = {"capture of a graph": SIZES_OF_CHUNKS} if number == 1 else {}
        assert waits.reasons == {"copy to the CPU": 1, **captures}
    assert results == expected_results
    assert torch.equal(weights(model), expected)


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9, "skip_above": 2.0}], ids=str)
def test_a_state_saved_on_cuda_is_restored_on_cuda(waits: Waits, changes: dict[str, Any]) -> None:
    _, engine = start(CUDA, **changes)
    engine.epoch(1, ignore)
    state = {name: tensor.cpu().clone() for name, tensor in engine.state().items()}
    result = engine.epoch(2, ignore)
    _, heir = start(CUDA, weights_seed=9, seed=9, **changes)
    heir.restore(state)
    waits.clear()
    assert heir.epoch(2, ignore) == result
    assert waits.reasons["copy to the CPU"] == 1
    ours, theirs = ({name: tensor.cpu() for name, tensor in each.state().items()} for each in (engine, heir))
    assert same(ours, theirs)


def trained(epochs: int, validation: int, checkpoint: Checkpoint | None = None, **changes: Any) -> Training:
    images, held_out = (
        LabelledImages(some_images(count), torch.zeros(count, dtype=torch.int64), ("image",))
        for count in (COUNT, validation)
    )
    model = build(CUDA)
    return loop.train(model, images, held_out, settings(epochs=epochs, **changes), lambda _: None, checkpoint)


@pytest.mark.parametrize(
    ("changes", "validation", "an_epoch"),
    [
        ({}, 0, 1),
        ({}, 9, 1 + 1),
        ({"ema_decay": 0.9, "skip_above": 2.0}, 9, 1 + 1),
        ({"importance_samples": 3}, 9, 1 + 2),  # the weights of samples, and the KL
        ({"importance_samples": 21}, 9, 1 + 3 + 1),  # ten samples at a time
    ],
    ids=[
        "no validation images",
        "validation images",
        "averages and skipped steps",
        "3 importance samples",
        "21 importance samples",
    ],
)
def test_a_training_waits_at_its_start_once_for_each_epoch_and_once_for_each_result_of_validation(
    waits: Waits, changes: dict[str, Any], validation: int, an_epoch: int
) -> None:
    build(CUDA)
    for_model = waits.total  # a copy for each parameter
    counts = []
    for epochs in (2, 5):
        waits.clear()
        trained(epochs, validation, **changes)
        counts.append(waits.total - for_model)
    copies = 1 + (validation > 0)  # training images and validation images
    comparison = 0 if "importance_samples" in changes else CHECKS + COMPARISONS  # of the handwritten gradient
    end = 0 if validation else 2  # to check the final weights on a batch: images there, losses back
    assert counts[0] == copies + comparison + SIZES_OF_CHUNKS + 2 * an_epoch + end
    assert counts[1] - counts[0] == 3 * an_epoch


@pytest.mark.parametrize(("changes", "tensors"), [({}, 4), ({"ema_decay": 0.9}, 5)], ids=str)
def test_a_checkpoint_waits_for_each_tensor_that_it_saves(
    waits: Waits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], tensors: int
) -> None:
    monkeypatch.setattr(vae.training.checkpoint, "SHARE_OF_TIME", float("inf"))
    counts = []
    for checkpoint in (None, Checkpoint(tmp_path, "run")):
        waits.clear()
        trained(3, 0, checkpoint, **changes)
        counts.append(waits.total)
    # Weights, two moments, number of steps, and the average if there is one; the last epoch's weights are the best.
    assert counts[1] - counts[0] == 3 * tensors


def test_images_are_moved_to_the_device_before_training_or_a_chunk_at_a_time(
    waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {}
    for fit in (True, False):
        monkeypatch.setattr(vae.training.engine, "fits", lambda *_, fit=fit: fit)
        _, engine = start(CUDA, images=some_images(COUNT, IMAGE_SHAPE), batch_size=BATCH_SIZE)
        waits.clear()
        engine.epoch(1, ignore)
        moved[fit] = waits.transfers["copy to the device"]
    assert moved == {True: 2, False: 1 + len(CHUNKS)}  # order and schedule; schedule and chunks
