"""The parts of the benchmarks that can be right or wrong; how long things take is not tested."""

import json
from importlib import import_module
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import fidelity, growth, mnist, products, table, training
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.measurement import Settings, Spread, interleave, ratio
from benchmarks.stage_start import FIRST_WORK
from benchmarks.table import Goal, Row, Section, at_least, at_most, compared, skipped
from benchmarks.tutorial import TutorialVAE, loss_function
from vae.backpropagation import NegativeElboGradient, Weights
from vae.model import VAE
from vae.networks.dense import DenseDecoder, DenseEncoder
from vae.objective import negative_elbo
from vae.runtime import CPU

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
def test_a_spread_has_the_middle_and_both_ends(values: list[float], middle: float) -> None:
    spread = Spread(values)
    assert (spread.low, spread.median, spread.high) == (min(values), middle, max(values))


def test_a_ratio_is_taken_within_each_round() -> None:
    """The second round was slow for both, which the ratio of the medians would not see."""
    found = ratio(Spread([2.0, 40.0, 3.0]), Spread([1.0, 20.0, 1.0]))
    assert list(found.values) == [2.0, 2.0, 3.0]
    assert found.median == 2.0


def test_works_take_turns() -> None:
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
def test_rounds_are_those_asked_for_else_the_default_and_few_when_quick(
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


def test_the_table_reads_as_it_is() -> None:
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


def test_every_line_of_the_table_has_the_same_columns_for_markdown() -> None:
    lines = table.text(MACHINE, [SECTION, SECTION], quick=True).splitlines()[2:]
    assert {line.count("|") for line in lines} == {len(table.COLUMNS) + 1}
    assert all(line.startswith("|") and line.endswith("|") for line in lines)


def test_a_table_of_a_quick_try_says_so() -> None:
    assert table.QUICK in table.text(MACHINE, [SECTION], quick=True)
    assert table.QUICK not in table.text(MACHINE, [SECTION], quick=False)


def test_met_goals_are_counted() -> None:
    assert table.goals_met(SECTION) == "1 of 2 goals met"
    assert table.goals_met(Section("none", "", [Row("fast", Spread([1.0]))])) == "no goals"


def test_json_has_every_round_and_goal() -> None:
    figures = json.loads(json.dumps(table.values(SECTION)))["figures"]
    assert figures[0] == {
        "what": "fast",
        "measured": {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": [1.0, 2.0, 3.0]},
        "unit": "s",
    }
    assert (figures[1]["ratio"]["median"], figures[1]["goal"], figures[1]["met"]) == (0.5, "≤ 1", True)
    assert (figures[2]["measured"], figures[2]["met"]) == ("same", False)


def test_training_compares_with_the_tutorial_and_with_the_products() -> None:
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


def test_growth_is_that_over_the_smallest_size() -> None:
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
    """Of a training step by automatic differentiation, counted by PyTorch."""
    model, images = build(), torch.rand(batch_size, 1, 28, 28)
    with FlopCounterMode(display=False) as counter:
        reconstruction, kl = negative_elbo(model, images, torch.randn(batch_size, 20))
        (reconstruction.sum() + kl.sum()).backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("batch_size", [128, 96])
def test_products_of_a_step_are_those_of_automatic_differentiation(batch_size: int) -> None:
    step = products.step_products(build(), batch_size, torch.float32)
    assert len(step) == 11
    assert products.operations(step) == counted_operations(batch_size)


def test_products_of_an_epoch_are_those_of_all_its_steps() -> None:
    epoch = products.training_epoch(build(), images=2 * 16 + 5, batch_size=16, dtype=torch.bfloat16)
    with FlopCounterMode(display=False) as counter:
        epoch()
    assert counter.get_total_flops() == 2 * counted_operations(16) + counted_operations(5)


def test_products_of_decoding_are_those_of_the_decoder() -> None:
    model = build()
    decode = products.decoding(model, images=23, batch_size=10)
    with FlopCounterMode(display=False) as expected:
        model.decoder(torch.randn(23, 20))
    with FlopCounterMode(display=False) as counter:
        decode()
    assert counter.get_total_flops() == expected.get_total_flops()


def test_products_are_computed_where_they_are_to_go_and_stay_finite() -> None:
    step = products.step_products(build(), 16, torch.float32)
    for _ in range(3):
        products.multiply(step)
    for left, right, out in step:
        torch.testing.assert_close(out, left @ right)
        assert out.abs().min() > 0
        assert torch.isfinite(out).all()


def test_each_layer_reads_what_the_one_before_it_wrote() -> None:
    step = products.step_products(build(), 16, torch.float32)
    encoder, decoder = step[:2], step[2:4]
    for one, other in (*pairwise(encoder), *pairwise(decoder)):
        assert other.left is one.out


def test_the_tutorials_step_has_the_loss_and_gradient_of_the_projects() -> None:
    model, tutorial = build(), TutorialVAE()
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, DenseEncoder)
    assert isinstance(decoder, DenseDecoder)
    with torch.no_grad():
        for name in ("weight", "bias"):
            theirs = {child: getattr(layer, name) for child, layer in tutorial.named_children()}
            theirs["fc1"].copy_(getattr(encoder.hidden[0], name))
            mean, log_variance = getattr(encoder.moments, name).chunk(2)
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

    weights, losses = Weights(model), torch.empty(3)
    with torch.no_grad():
        NegativeElboGradient(model, weights, 8)(images, noise, torch.tensor(1.0), losses)
    torch.testing.assert_close(losses[0], loss.detach())
    by_fc4 = tutorial.fc4.weight.grad
    assert by_fc4 is not None
    torch.testing.assert_close(weights.of(decoder.output.weight)[1], by_fc4 / 8)  # the tutorial's loss is a sum


@pytest.mark.parametrize("equal_every_chunk", [True, False])
def test_steps_beside_those_of_automatic_differentiation_differ_by_rounding_only(equal_every_chunk: bool) -> None:
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (18 * mnist.BATCH_SIZE + 5, 1, 28, 28), dtype=torch.uint8, generator=random)
    largest, average = fidelity.differences(images, mnist.settings(), CPU, equal_every_chunk=equal_every_chunk)
    assert 0 < largest < 1e-5
    assert average < 1e-6


def test_steps_that_are_wrong_would_be_seen_beside_those_of_automatic_differentiation() -> None:
    """With the KL weighed, say, which the reference does not know."""
    images = torch.randint(0, 256, (500, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    params = mnist.settings().model_copy(update={"beta": 5.0})
    largest, _ = fidelity.differences(images, params, CPU, equal_every_chunk=True)
    assert largest > 1e-3


def test_each_stage_has_the_call_that_ends_its_start() -> None:
    for stage, (module, function) in FIRST_WORK.items():
        assert callable(getattr(import_module(module), function)), stage


@pytest.mark.parametrize(
    ("arguments", "word"), [(["speed"], "there are training"), (["--repeats", "0"], "whole number")]
)
def test_a_mistake_on_the_command_line_is_explained(
    arguments: list[str], word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert word in capsys.readouterr().err
    assert "speed" not in BENCHMARKS
