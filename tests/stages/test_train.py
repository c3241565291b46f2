"""What the training stage logs and writes while it runs."""

import logging
from pathlib import Path

import pytest

from stages import paths
from stages.train import (
    Report,
    in_words,
    table,
    warn_of_long_training,
    warn_of_slow_precision,
    whole_history,
)
from vae.base import runtime
from vae.base.params import Params, load_params
from vae.model.objective import Losses
from vae.training.loop import Epoch, Training

COMMITTED = load_params(Path(__file__).parents[2] / "params.yaml")


def with_epochs(epochs: int) -> Params:
    return COMMITTED.model_copy(update={"train": COMMITTED.train.model_copy(update={"epochs": epochs})})


def history(epochs: int) -> list[Epoch]:
    losses = Losses(2.0, 1.5, 0.5)
    return [Epoch(number, losses, 1.0, losses) for number in range(1, epochs + 1)]


@pytest.mark.parametrize(
    ("images", "epochs", "warned"),
    [
        (1294, COMMITTED.train.epochs, False),
        (60_000, 30, False),
        (60_000, COMMITTED.train.epochs, True),
    ],
    ids=["digits by default", "MNIST by its recipe", "MNIST with the epochs of digits"],
)
def test_training_warns_if_the_number_of_epochs_was_meant_for_a_smaller_data_set(
    images: int, epochs: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_long_training(images, with_epochs(epochs))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * warned
    assert ("$(cat recipes/mnist)" in caplog.text) == warned


@pytest.mark.parametrize(
    ("precision", "native", "warned"),
    [("bfloat16", False, True), ("bfloat16", True, False), ("float32", False, False)],
)
def test_training_warns_if_the_processor_has_to_imitate_bfloat16(
    precision: str, native: bool, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime, "has_bfloat16", lambda _: native)
    train = COMMITTED.train.model_copy(update={"precision": precision})
    warn_of_slow_precision(COMMITTED.model_copy(update={"train": train}), runtime.CPU)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * warned


@pytest.mark.parametrize("epochs", [1, 3, 30, 1000])
def test_about_twenty_epochs_are_logged_including_the_first_and_the_last(
    epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(paths, "LOSSES", tmp_path / "losses.csv")
    caplog.set_level(logging.INFO)
    report = Report(epochs)
    whole = history(epochs)
    for number in range(1, epochs + 1):
        report(whole[:number])
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("epoch 1: ")
    assert lines[-1].startswith(f"epoch {epochs}: ")
    assert min(epochs, 20) <= len(lines) <= 40


def test_the_table_of_losses_contains_every_epoch_at_the_end_even_if_epochs_are_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "LOSSES", tmp_path / "losses.csv")
    report = Report(50)
    whole = history(50)
    written = set()
    for number in range(1, 51):
        report(whole[:number])
        written.add((tmp_path / "losses.csv").read_text().count("\n") - 1)
    assert 1 in written  # written at once, so that a run can be watched from its first epoch
    assert (tmp_path / "losses.csv").read_text().count("\n") - 1 == 50


def test_the_history_contains_every_epoch_the_best_one_and_the_parameters_that_shape_the_curve() -> None:
    epochs = history(3)
    params = COMMITTED.train.model_copy(update={"schedule": "cosine", "kl_warmup_epochs": 2})
    whole = whole_history(Training(epochs, epochs[1]), params)
    columns = whole.pop("epochs")
    assert whole == {"best_epoch": 2, "schedule": "cosine", "kl_warmup_epochs": 2}
    assert isinstance(columns, dict)
    assert columns["epoch"] == [1, 2, 3]
    assert columns["train_loss"] == columns["validation_loss"] == [2.0, 2.0, 2.0]


def test_the_history_has_a_column_of_skipped_steps_only_if_steps_may_be_skipped() -> None:
    assert "skipped_steps" not in table(history(2))
    assert table([epoch._replace(skipped_steps=0.25) for epoch in history(2)])["skipped_steps"] == [0.25, 0.25]


def test_the_losses_of_an_epoch_in_words_name_the_share_of_skipped_steps_if_there_are_any() -> None:
    (epoch,) = history(1)
    for share, words in ((None, None), (0.0, None), (0.125, "; 12.5% of steps skipped")):
        line = in_words(epoch._replace(skipped_steps=share))
        assert line.endswith(words) if words else "skipped" not in line
