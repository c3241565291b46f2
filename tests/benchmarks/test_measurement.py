"""Test everything in the benchmarks except for the times themselves."""

import json
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import convolutions, decoding, fidelity, growth, mnist, products, table, threads, training
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.measurement import Settings, Spread, interleave, ratio
from benchmarks.stage_start import FIRST_WORK
from benchmarks.table import Goal, Row, Section, at_least, at_most, compared, skipped
from benchmarks.tutorial import TutorialVAE, loss_function
from vae.base import runtime
from vae.base.runtime import CPU
from vae.data.decoding import Framing
from vae.model.networks import mlp
from vae.model.objective import negative_elbo
from vae.model.vae import VAE
from vae.optimizer.weights import Weights
from vae.training.handwritten_gradient import NegativeElboGradient

MACHINE = {
    "cpu": "A processor",
    "instructions": "AVX2",
    "threads": 2,
    "memory_gib": 8,
    "torch": "2.15",
    "device": "cpu",
}


def build() -> VAE:
    return mnist.new_model(CPU)


@pytest.mark.parametrize(
    ("values", "middle"),
    [([5.0, 1.0, 3.0], 3.0), ([4.0, 1.0, 2.0, 8.0], 3.0), ([7.0], 7.0)],
    ids=["odd", "even", "one"],
)
def test_a_spread_has_median_minimum_and_maximum(values: list[float], middle: float) -> None:
    spread = Spread(values)
    assert (spread.low, spread.median, spread.high) == (min(values), middle, max(values))


def test_a_ratio_is_taken_within_each_round() -> None:
    """The second round was slow for both, which would distort the ratio of the medians."""
    found = ratio(Spread([2.0, 40.0, 3.0]), Spread([1.0, 20.0, 1.0]))
    assert list(found.values) == [2.0, 2.0, 3.0]
    assert found.median == 2.0


def test_interleaved_functions_are_called_in_turn_in_each_round() -> None:
    turns: list[str] = []

    def work(name: str) -> int:
        turns.append(name)
        return len(turns)

    measured = interleave({name: lambda name=name: work(name) for name in "abc"}, 2, "test")  # type: ignore[misc]
    assert "".join(turns) == "abcabc"
    assert measured == {"a": [1, 4], "b": [2, 5], "c": [3, 6]}


@pytest.mark.parametrize(
    ("quick", "repeats", "default", "rounds"),
    [(False, None, 5, 5), (True, None, 5, 2), (True, None, 1, 1), (True, 7, 5, 7)],
)
def test_the_number_of_rounds_is_the_requested_one_or_the_default_and_at_most_two_in_a_quick_run(
    quick: bool, repeats: int | None, default: int, rounds: int
) -> None:
    assert Settings(CPU, quick=quick, repeats=repeats).rounds(default) == rounds


def test_a_goal_is_met_at_its_limit() -> None:
    assert [at_most(value, 2, "s").met for value in (1.9, 2, 2.1)] == [True, True, False]
    assert [at_least(value, 2).met for value in (1.9, 2, 2.1)] == [False, True, True]
    assert (at_most(1, 0.03, "s").text, at_least(1, 100).text) == ("≤ 0.03 s", "≥ 100")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.5, "1,234"),
        (0.01234, "0.0123"),
        (-0.05, "-0.0500"),
        (0.0000234, "2.3e-05"),
    ],
)
def test_numbers_are_shown_to_three_digits(value: float, shown: str) -> None:
    assert table.number(value) == shown


SECTION = Section(
    "speed",
    "of something that takes a few words more than any cell of the first column has",
    [
        Row("fast", Spread([1.0, 2.0, 3.0]), "s"),
        compared("fast / slow", Spread([0.5]), at_most(0.5, 1)),
        Row("bits", "same", goal=Goal("the same", met=False), remark="twice"),
        skipped("another", "it is not here"),
    ],
)


def test_the_table_shows_figures_ratios_goals_and_remarks_in_aligned_columns() -> None:
    assert table.text(MACHINE, [SECTION], quick=False) == (
        "A processor (AVX2), 2 threads, 8 GiB; torch 2.15 on cpu\n"
        "\n"
        "| what        | measured: median (min–max) | ratio: median (min–max) | goal     | met |\n"
        "|-------------|----------------------------|-------------------------|----------|-----|\n"
        "| **speed**: of something that takes a few words more than any cell of the first column has | | | | |\n"
        "| fast        | 2.00 s (1.00–3.00)         |                         |          |     |\n"
        "| fast / slow |                            | 0.500                   | ≤ 1      | yes |\n"
        "| bits        | same, twice                |                         | the same | no  |\n"
        "| another: skipped, it is not here                                            | | | | |"
    )


def test_every_line_of_the_table_has_the_same_number_of_columns() -> None:
    lines = table.text(MACHINE, [SECTION, SECTION], quick=True).splitlines()[2:]
    assert {line.count("|") for line in lines} == {len(table.COLUMNS) + 1}
    assert all(line.startswith("|") and line.endswith("|") for line in lines)


def test_the_table_says_if_it_is_from_a_quick_run() -> None:
    assert table.QUICK in table.text(MACHINE, [SECTION], quick=True)
    assert table.QUICK not in table.text(MACHINE, [SECTION], quick=False)


def test_the_summary_of_a_section_says_how_many_goals_are_met() -> None:
    assert table.goals_met(SECTION) == "1 of 2 goals met"
    assert table.goals_met(Section("none", "", [Row("fast", Spread([1.0]))])) == "no goals"


def test_the_json_contains_every_round_and_every_goal() -> None:
    figures = json.loads(json.dumps(table.values(SECTION)))["figures"]
    assert figures[0] == {
        "what": "fast",
        "measured": {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": [1.0, 2.0, 3.0]},
        "unit": "s",
    }
    assert (figures[1]["ratio"]["median"], figures[1]["goal"], figures[1]["met"]) == (0.5, "≤ 1", True)
    assert (figures[2]["measured"], figures[2]["met"]) == ("same", False)


def test_training_is_compared_with_the_tutorial_and_with_the_bare_products() -> None:
    seconds = {
        training.TUTORIAL: 12.0,
        training.ours("float32"): 3.0,
        training.ours("bfloat16"): 2.0,
        training.bare("float32"): 2.5,
        training.bare("bfloat16"): 0.5,
    }
    rows = training.rows({name: Spread([value]) for name, value in seconds.items()}, CPU)
    ratios = [(row.ratio.median, row.goal) for row in rows if row.ratio]
    assert ratios == [
        (1.2, ("≤ 1.35", True)),
        (4.0, ("≥ 2.6", True)),
        (4.0, ("≤ 2.4", False)),
        (6.0, ("≥ 4", True)),
    ]


def test_growth_of_time_and_memory_is_relative_to_the_smallest_data_set() -> None:
    measured = {
        "10 images": [{"seconds_per_image": 2.0, "peak_bytes": 500}],
        "40 images": [{"seconds_per_image": 3.0, "peak_bytes": 590}],
    }
    rows = growth.rows(measured, [10, 40])
    found = {row.what: (row.ratio.median, row.goal and row.goal.met) for row in rows if row.ratio}
    assert found == {
        "an image, of 40 images / 10 images": (1.5, False),
        "more memory per byte of more images, 40 images": (3.0, False),
    }


def counted_operations(batch_size: int) -> int:
    """The operations of a training step with automatic differentiation, counted by PyTorch."""
    model, images = build(), torch.rand(batch_size, 1, 28, 28)
    with FlopCounterMode(display=False) as counter:
        negative_elbo(model, images, torch.randn(batch_size, 20)).loss.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("batch_size", [128, 96])
def test_the_products_of_a_step_take_as_many_operations_as_automatic_differentiation(batch_size: int) -> None:
    step = products.step_products(build(), batch_size, torch.float32)
    assert len(step) == 11
    assert products.operations(step) == counted_operations(batch_size)


def test_the_products_of_an_epoch_take_as_many_operations_as_all_its_steps() -> None:
    epoch = products.training_epoch(build(), images=2 * 16 + 5, batch_size=16, dtype=torch.bfloat16)
    with FlopCounterMode(display=False) as counter:
        epoch()
    assert counter.get_total_flops() == 2 * counted_operations(16) + counted_operations(5)


def test_the_products_of_decoding_take_as_many_operations_as_the_decoder() -> None:
    model = build()
    decode = products.decoding(model, images=23, batch_size=10)
    with FlopCounterMode(display=False) as expected:
        model.decoder(torch.randn(23, 20))
    with FlopCounterMode(display=False) as counter:
        decode()
    assert counter.get_total_flops() == expected.get_total_flops()


def test_products_are_written_to_their_outputs_and_stay_finite_when_repeated() -> None:
    step = products.step_products(build(), 16, torch.float32)
    for _ in range(3):
        products.multiply(step)
    for left, right, out in step:
        torch.testing.assert_close(out, left @ right)
        assert out.abs().min() > 0
        assert torch.isfinite(out).all()


def test_the_products_of_each_layer_read_the_output_of_the_layer_before() -> None:
    step = products.step_products(build(), 16, torch.float32)
    encoder, decoder = step[:2], step[2:4]
    for one, other in (*pairwise(encoder), *pairwise(decoder)):
        assert other.left is one.out


def test_a_step_of_the_tutorial_has_the_same_loss_and_gradient_as_a_step_of_the_project() -> None:
    model, tutorial = build(), TutorialVAE()
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, mlp.Encoder)
    assert isinstance(decoder, mlp.Decoder)
    with torch.no_grad():
        for name in ("weight", "bias"):
            theirs = {child: getattr(layer, name) for child, layer in tutorial.named_children()}
            theirs["fc1"].copy_(getattr(encoder.hidden[0], name))
            mean, log_variance = getattr(encoder.posterior_params, name).chunk(2)
            theirs["fc21"].copy_(mean)
            theirs["fc22"].copy_(log_variance)
            theirs["fc3"].copy_(getattr(decoder.hidden[0], name))
            theirs["fc4"].copy_(getattr(decoder.output, name))

    random = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (8, 784), dtype=torch.uint8, generator=random)
    x = images.view(8, 1, 28, 28) / 255
    with torch.random.fork_rng():
        torch.manual_seed(4)
        noise = torch.randn(8, 20)
        torch.manual_seed(4)
        reconstruction, mean, log_variance = tutorial(x)
    loss = loss_function(reconstruction, x, mean, log_variance)
    loss.backward()

    weights = Weights(model)
    with torch.no_grad():
        losses = NegativeElboGradient(model, weights, torch.float32)(images, noise, torch.tensor(1.0))
    torch.testing.assert_close(8 * losses.loss, loss.detach())  # the tutorial's loss is a sum
    by_ours, by_theirs = decoder.output.weight.grad, tutorial.fc4.weight.grad
    assert by_ours is not None
    assert by_theirs is not None
    assert by_ours.any()
    torch.testing.assert_close(8 * by_ours, by_theirs)


@pytest.mark.parametrize("equal_every_chunk", [True, False])
def test_losses_of_the_engine_differ_from_those_of_automatic_differentiation_only_by_rounding(
    equal_every_chunk: bool,
) -> None:
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (18 * mnist.BATCH_SIZE + 5, 1, 28, 28), dtype=torch.uint8, generator=random)
    largest, average = fidelity.differences(images, mnist.settings(), CPU, equal_every_chunk=equal_every_chunk)
    assert 0 < largest < 1e-5
    assert average < 1e-6


def test_fidelity_detects_a_loss_that_differs_from_the_reference() -> None:
    """For example one with a KL weight, which the reference ignores."""
    images = torch.randint(0, 256, (500, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    params = mnist.settings().model_copy(update={"beta": 5.0})
    largest, _ = fidelity.differences(images, params, CPU, equal_every_chunk=True)
    assert largest > 1e-3


def test_each_case_of_the_threads_benchmark_with_a_goal_is_divided_by_another_case() -> None:
    for case, reference in threads.CASES.items():
        assert reference is None or reference in threads.CASES.keys() - {case}
    assert all(threads.CASES[case] is not None for case in threads.GOALS)


def test_the_threads_benchmark_is_skipped_on_an_accelerator() -> None:
    (row,) = threads.run(Settings(torch.device("cuda"))).rows
    assert "skipped" in row.what


def test_the_busy_process_of_the_threads_benchmark_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, command: list[str]) -> None:
            super().__init__(command)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    with threads.busy_process():
        (process,) = started
        assert process.poll() is None
    assert process.poll() is not None


def test_both_ways_of_the_decoding_benchmark_read_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "perf_counter", iter([0.0, 2.0, 2.0, 4.0]).__next__)
    framing = Framing(decoding.SIDE, decoding.SIDE, "crop", (255, 255, 255))
    decoding.write(tmp_path / "jpg", ".jpg", 40, 50, count=20)
    with ThreadPoolExecutor(2) as pool:
        assert decoding.read(tmp_path / "jpg", framing) == decoding.read_bare(tmp_path / "jpg", pool) == 10


def test_the_goal_of_the_decoding_benchmark_is_judged_by_the_ratio() -> None:
    for ours, met in ((70.0, False), (90.0, True)):
        measured = {"ours": Spread([ours]), "bare": Spread([100.0])}
        first, second = decoding.rows_of(measured, ratio(*measured.values()))
        assert first.goal == Goal("≥ 0.8", met)
        assert second.goal is None


def test_the_first_function_that_each_stage_calls_exists() -> None:
    for stage, (module, function) in FIRST_WORK.items():
        assert callable(getattr(import_module(module), function)), stage


@pytest.mark.parametrize(
    ("arguments", "word"), [(["speed"], "choose from training"), (["--repeats", "0"], "whole number")]
)
def test_an_error_on_the_command_line_is_explained(
    arguments: list[str], word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert word in capsys.readouterr().err
    assert "speed" not in BENCHMARKS


def test_the_convolutional_network_is_trained_alike_by_the_project_and_by_the_plain_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = {"image_shape": (3, 9, 8), "channels": 4, "hidden_dims": (16,), "latent_dim": 2}
    monkeypatch.setattr(convolutions, "ARCHITECTURE", convolutions.ARCHITECTURE.model_copy(update=small))
    losses: dict[str, list[float]] = {}

    def recorded(works: Mapping[str, Callable[[], Any]], *_: object) -> dict[str, Spread]:
        for name, work in works.items():
            losses.setdefault(name, []).append(work())
        return {name: Spread([1.0, 2.0]) for name in works}

    both = ("float32", "bfloat16")
    monkeypatch.setattr(convolutions, "available_precisions", lambda _: both)
    monkeypatch.setattr(convolutions, "timed", lambda work, _: work)
    monkeypatch.setattr(convolutions, "spreads", recorded)
    section = convolutions.run(Settings(CPU, quick=True))
    for precision in both:
        (first, second), (plain, later) = (losses[f"{name}, {precision}"] for name in ("ours", "plain loop"))
        assert first == pytest.approx(plain, rel=0.02)
        assert second == pytest.approx(later, rel=0.02)
        assert second < first
    assert "64 images of 9×8×3" in section.about
    assert [row.goal.met for row in section.rows if row.goal] == [True, True]


@pytest.mark.parametrize("native", [True, False])
def test_convolutions_in_bfloat16_are_timed_only_on_devices_that_have_instructions_for_it(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "has_bfloat16", lambda _: native)
    assert ("bfloat16" in convolutions.available_precisions(CPU)) == native
