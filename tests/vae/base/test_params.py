import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vae.base.params import Params, ParamsError, load_params
from vae.base.yaml12 import parse_yaml

COMMITTED = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path for a test's parameter file."""
    return tmp_path / "params.yaml"


def changed(changes: Mapping[str, str | None]) -> str:
    """The committed parameters with changed values, each as YAML text; None removes a key."""
    values = parse_yaml(COMMITTED.read_bytes())
    sections = {section: {key: json.dumps(value) for key, value in keys.items()} for section, keys in values.items()}
    for dotted, value in changes.items():
        section, key = dotted.split(".")
        if value is None:
            del sections[section][key]
        else:
            sections[section][key] = value
    return "".join(
        f"{section}:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())
        for section, keys in sections.items()
    )


def load_changed(path: Path, **changes: str | None) -> Params:
    """Load the committed parameters with changed values; two underscores stand for a dot."""
    path.write_text(changed({name.replace("__", "."): value for name, value in changes.items()}))
    return load_params(path)


def refusal(path: Path, text: str) -> str:
    """The error message for an invalid parameter file."""
    path.write_text(text)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    return str(caught.value)


def test_the_committed_parameters_are_valid_and_none_is_lost_on_the_way() -> None:
    raw = parse_yaml(COMMITTED.read_bytes())
    assert load_params(COMMITTED).model_dump(mode="json") == raw


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("train.batch_size", "0", "a number greater than or equal to 1"),
        ("train.batch_size", "-128", "a number greater than or equal to 1"),
        ("train.batch_size", "128.0", "a whole number"),
        ("train.batch_size", "true", "a whole number"),
        ("train.batch_size", "'128'", "a whole number"),
        ("train.batch_size", "null", "a whole number"),
        ("train.batch_size", "[128]", "a whole number"),
        ("train.epochs", "0", "a number greater than or equal to 1"),
        ("train.epochs", "many", "a whole number"),
        ("train.learning_rate", "0", "a number greater than 0"),
        ("train.learning_rate", "-0.001", "a number greater than 0"),
        ("train.learning_rate", ".nan", "a finite number"),
        ("train.learning_rate", ".inf", "a finite number"),
        ("train.learning_rate", "1e999", "a finite number"),
        ("train.learning_rate", "'1e-3'", "a number"),
        ("train.learning_rate", "0,001", "a number"),
        ("train.learning_rate", "true", "a number"),
        ("train.seed", "-1", "a number greater than or equal to 0"),
        ("train.seed", "9223372036854775808", "a number less than 9223372036854775808"),
        ("prepare.validation_fraction", "1", "a number less than 1"),
        ("prepare.validation_fraction", "-0.1", "a number greater than or equal to 0"),
        ("prepare.validation_fraction", ".nan", "a finite number"),
        ("prepare.dataset", "cifar10", "'digits'"),
        ("prepare.dataset", "3", "'digits'"),
        *(
            ("prepare.image_size", value, "a whole number from 1 to 1024, or two as [height, width]")
            for value in ("0", "1025", "32.0", "true", "null", "'32'", "[32]", "[32, 0]", "[32, x]", "[8, 8, 8]")
        ),
        ("prepare.folder", "''", "a text"),
        ("prepare.folder", "42", "a text"),
        ("prepare.fit", "cover", "'crop', 'pad' or 'stretch'"),
        ("prepare.channels", "2", "'auto', 1 or 3"),
        ("prepare.channels", "'3'", "'auto', 1 or 3"),
        ("prepare.max_skipped", "1.1", "a number less than or equal to 1"),
        ("model.hidden_dims", "400", "a list"),
        ("model.hidden_dims", "'400'", "a list"),
        ("model.latent_dim", "0", "a number greater than or equal to 1"),
        ("prepare.train_images", "0", "a number greater than or equal to 1, or 'all'"),
        ("prepare.train_images", "-5", "a number greater than or equal to 1, or 'all'"),
        ("prepare.train_images", "1000.0", "a whole number, or 'all'"),
        ("prepare.train_images", "most", "a whole number, or 'all'"),
        ("prepare.train_images", "true", "a whole number, or 'all'"),
        ("prepare.train_images", "null", "a whole number, or 'all'"),
        ("prepare.train_images", "[100]", "a whole number, or 'all'"),
        ("prepare.binarize", "otsu", "'none', 'threshold', 'static' or 'dynamic'"),
        ("prepare.binarize", "true", "'none', 'threshold', 'static' or 'dynamic'"),
        ("prepare.binarize", "null", "'none', 'threshold', 'static' or 'dynamic'"),
        ("model.network", "cnn", "'mlp', 'conv' or 'autoregressive'"),
        ("model.activation", "ReLU", "'relu', 'tanh', 'gelu' or 'silu'"),
        ("model.channels", "0", "a number greater than or equal to 1"),
        ("model.residual_blocks", "-1", "a number greater than or equal to 0"),
        ("model.masked_layers", "0", "a number greater than or equal to 1"),
        (
            "model.likelihood",
            "normal",
            "'bernoulli', 'continuous_bernoulli', 'gaussian', 'laplace', 'discretized_logistic' or "
            "'discretized_logistic_mixture'",
        ),
        ("model.scale", "0", "a number greater than 0, or 'learned'"),
        ("model.scale", "-0.1", "a number greater than 0, or 'learned'"),
        ("model.scale", ".inf", "a finite number, or 'learned'"),
        ("model.scale", ".nan", "a finite number, or 'learned'"),
        ("model.scale", "'0.1'", "a number, or 'learned'"),
        ("model.scale", "fixed", "a number, or 'learned'"),
        ("model.scale", "null", "a number, or 'learned'"),
        ("train.schedule", "step", "'constant', 'cosine' or 'eight_stages'"),
        ("train.beta", "-1", "a number greater than or equal to 0"),
        ("train.beta", ".nan", "a finite number"),
        ("train.kl_warmup_epochs", "-1", "a number greater than or equal to 0"),
        ("train.kl_warmup_epochs", "1.5", "a whole number"),
        ("train.free_bits", "-0.1", "a number greater than or equal to 0"),
        ("train.importance_samples", "0", "a number greater than or equal to 1"),
        ("train.importance_samples", "5.0", "a whole number"),
        ("train.weight_decay", "-0.01", "a number greater than or equal to 0"),
        ("train.gradient_clip", "-1", "a number greater than or equal to 0"),
        ("train.gradient_clip", "null", "a number"),
        ("train.warmup_epochs", "-1", "a number greater than or equal to 0"),
        ("train.skip_above", "-1", "a number greater than or equal to 0"),
        ("train.ema_decay", "1", "a number less than 1"),
        ("train.ema_decay", "-0.1", "a number greater than or equal to 0"),
        ("train.precision", "float16", "'float32', 'tf32' or 'bfloat16'"),
        ("evaluate.importance_samples", "0", "a number greater than or equal to 1"),
        ("generate.samples", "0", "a number greater than or equal to 1"),
        ("generate.neighbours", "0", "a number greater than or equal to 1"),
        ("embed.method", "tSNE", "'tsne', 'pca' or 'umap'"),
        ("embed.points", "9", "a number greater than or equal to 10"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_what_belongs_there(
    path: Path, key: str, value: str, expected: str
) -> None:
    message = refusal(path, changed({key: value}))
    assert message.startswith(f"{path}: {key}: expected {expected}")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("value", "shown"), [("'1e-3'", "the string '1e-3'"), ("fast", "the string 'fast'")])
def test_a_string_where_a_number_belongs_is_shown_as_a_string(path: Path, value: str, shown: str) -> None:
    assert refusal(path, changed({"train.learning_rate": value})).endswith(f"got {shown}")


@pytest.mark.parametrize(("value", "place"), [("[0]", 0), ("[400, '200']", 1), ("[400, 200, 1.5]", 2), ("[true]", 0)])
def test_a_wrong_width_is_refused_with_its_place_in_the_list(path: Path, value: str, place: int) -> None:
    assert refusal(path, changed({"model.hidden_dims": value})).startswith(f"{path}: model.hidden_dims.{place}: ")


@pytest.mark.parametrize(
    ("key", "value", "number"),
    [
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", "1e-05", 0.00001),
        ("learning_rate", "1E-3", 0.001),
        ("learning_rate", "1", 1.0),
        ("seed", "9223372036854775807", 2**63 - 1),
        ("seed", "0", 0),
        ("epochs", "1", 1),
    ],
)
def test_numbers_are_read_by_the_rules_of_yaml_1_2(path: Path, key: str, value: str, number: float) -> None:
    assert getattr(load_changed(path, **{f"train__{key}": value}).train, key) == number


def test_no_validation_set_may_be_asked_for(path: Path) -> None:
    assert load_changed(path, prepare__validation_fraction="0").prepare.validation_fraction == 0


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("prepare.train_images", "all", "all"),
        ("prepare.train_images", "1", 1),
        ("prepare.binarize", "none", "none"),
        ("prepare.binarize", "threshold", "threshold"),
        ("prepare.binarize", "static", "static"),
        ("prepare.binarize", "dynamic", "dynamic"),
        ("model.network", "mlp", "mlp"),
        ("model.network", "conv", "conv"),
        ("model.activation", "tanh", "tanh"),
        ("model.activation", "gelu", "gelu"),
        ("model.activation", "silu", "silu"),
        ("model.channels", "1", 1),
        ("model.masked_layers", "1", 1),
        ("model.likelihood", "continuous_bernoulli", "continuous_bernoulli"),
        ("model.likelihood", "gaussian", "gaussian"),
        ("model.likelihood", "laplace", "laplace"),
        ("train.schedule", "cosine", "cosine"),
        ("train.schedule", "eight_stages", "eight_stages"),
        ("train.beta", "0", 0.0),
        ("train.beta", "4", 4.0),
        ("train.kl_warmup_epochs", "29", 29),  # of 30
        ("train.free_bits", "0.5", 0.5),
        ("train.importance_samples", "50", 50),
        ("train.weight_decay", "1e-2", 0.01),
        ("train.gradient_clip", "5", 5.0),
        ("train.precision", "tf32", "tf32"),
        ("model.residual_blocks", "2", 2),
        ("train.warmup_epochs", "0.5", 0.5),
        ("train.skip_above", "1e6", 1e6),
        ("train.ema_decay", "0.999", 0.999),
    ],
)
def test_every_choice_of_networks_likelihoods_objectives_and_schedules_may_be_made(
    path: Path, key: str, text: str, value: object
) -> None:
    section, name = key.split(".")
    assert getattr(getattr(load_changed(path, **{f"{section}__{name}": text}), section), name) == value


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
@pytest.mark.parametrize(("text", "scale"), [("learned", "learned"), ("0.1", 0.1), ("1", 1.0)])
def test_a_scale_is_learned_or_a_number(path: Path, likelihood: str, text: str, scale: float | str) -> None:
    params = load_changed(path, model__likelihood=likelihood, model__scale=text)
    assert params.model.scale == scale


@pytest.mark.parametrize(
    "changes",
    [
        {"prepare.binarize": "dynamic"},
        {"prepare.binarize": "static"},
        {"prepare.binarize": "threshold"},
        {"model.likelihood": "gaussian"},
        {"model.likelihood": "laplace", "model.scale": "0.1"},
        {"model.likelihood": "continuous_bernoulli"},
        {"model.likelihood": "discretized_logistic_mixture"},
    ],
    ids=str,
)
def test_an_autoregressive_decoder_may_learn_pixels_that_it_can_draw(path: Path, changes: dict[str, str]) -> None:
    path.write_text(changed({**changes, "model.network": "autoregressive"}))
    assert load_params(path).model.network == "autoregressive"


# Values that do not go together, and a change that mends them with the words in which the message offers it.
COMBINATIONS: list[tuple[dict[str, str], dict[str, str], str]] = [
    *(
        ({"model.scale": "0.1", "model.likelihood": likelihood}, change, words)
        for likelihood in ("bernoulli", "continuous_bernoulli", "discretized_logistic")
        for change, words in (
            ({"model.scale": "learned"}, "set model.scale=learned"),
            ({"model.likelihood": "gaussian"}, "or another likelihood"),
        )
    ),
    *(
        ({"train.importance_samples": "5", key: value}, change, words)
        for key, value, neutral in (
            ("train.beta", "0.5", "1"),
            ("train.beta", "0", "1"),
            ("train.kl_warmup_epochs", "3", "0"),
            ("train.free_bits", "0.1", "0"),
        )
        for change, words in (
            ({"train.importance_samples": "1"}, "set train.importance_samples=1"),
            ({key: neutral}, f"{key}={neutral}"),
        )
    ),
    *(
        ({key: epochs, "train.epochs": "10"}, {key: "9"}, "lower it")
        for key in ("train.kl_warmup_epochs", "train.warmup_epochs")
        for epochs in ("10", "11")
    ),
    *(
        ({"model.likelihood": likelihood, "prepare.binarize": binarize}, change, words)
        for likelihood in (
            *("continuous_bernoulli", "gaussian", "laplace"),
            *("discretized_logistic", "discretized_logistic_mixture"),
        )
        for binarize in ("threshold", "static", "dynamic")
        for change, words in (
            ({"model.likelihood": "bernoulli"}, "set model.likelihood=bernoulli"),
            ({"prepare.binarize": "none"}, "or prepare.binarize=none"),
        )
    ),
    (
        {"model.network": "autoregressive", "model.likelihood": "bernoulli"},
        {"prepare.binarize": "dynamic"},
        "set prepare.binarize",
    ),
]


@pytest.mark.parametrize(("values", "change", "words"), COMBINATIONS, ids=str)
def test_values_that_do_not_go_together_are_refused_with_their_keys_and_a_way_out(
    path: Path, values: dict[str, str], change: dict[str, str], words: str
) -> None:
    message = refusal(path, changed(values))
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: {next(iter(values))}: ")
    assert all(key in message for key in values)
    reason, way_out = message.split("; ")
    assert next(iter(values.values())) in reason
    assert words in way_out
    path.write_text(changed({**values, **change}))
    load_params(path)


def test_mistakes_in_one_section_do_not_hide_values_that_do_not_go_together_in_another(path: Path) -> None:
    mistakes: dict[str, str | None] = {
        "prepare.train_images": "0",
        "model.scale": "0.1",
        "train.importance_samples": "5",
        "train.free_bits": "1",
    }
    lines = [line.removeprefix(f"{path}: ").split(": ")[0] for line in refusal(path, changed(mistakes)).splitlines()]
    assert lines == ["prepare.train_images", "model.scale", "train.importance_samples"]


@pytest.mark.parametrize("dataset", ["digits", "mnist", "fashion_mnist", "kmnist"])
def test_every_data_set_may_be_named(path: Path, dataset: str) -> None:
    assert load_changed(path, prepare__dataset=dataset).prepare.dataset == dataset


@pytest.mark.parametrize(
    ("value", "widths"),
    [
        ("[400]", (400,)),
        ("[512, 256]", (512, 256)),
        ("[]", ()),
        ("\n    - 512\n    - 256", (512, 256)),
        ("\n  - 512\n  - 256", (512, 256)),
    ],
    ids=["one", "two", "none", "block list", "block list, not indented"],
)
def test_hidden_layers_are_a_list_in_either_style(path: Path, value: str, widths: tuple[int, ...]) -> None:
    assert load_changed(path, model__hidden_dims=value).model.hidden_dims == widths


@pytest.mark.parametrize(
    "key",
    [f"{section}.{key}" for section, keys in parse_yaml(COMMITTED.read_bytes()).items() for key in keys],
)
def test_a_missing_parameter_is_refused_with_its_key(path: Path, key: str) -> None:
    assert refusal(path, changed({key: None})) == f"{path}: {key}: missing; add it"


def test_a_missing_section_is_refused_with_its_name(path: Path) -> None:
    text = re.sub(r"(?m)^train:\n(  .*\n)+", "", changed({}))
    assert refusal(path, text) == f"{path}: train: missing; add it"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("train.epoch", "epochs"),
        ("train.learningrate", "learning_rate"),
        ("generate.neighbors", "neighbours"),
        ("train.kl_warmup", "kl_warmup_epochs"),
        ("model.residual_block", "residual_blocks"),
        ("prepare.binarise", "binarize"),
    ],
)
def test_an_unknown_parameter_is_refused_with_the_name_that_was_meant(path: Path, key: str, meant: str) -> None:
    message = refusal(path, changed({key: "1"}))
    assert message == f"{path}: {key}: unknown key; did you mean {meant}?"


def test_an_unknown_parameter_like_no_other_is_refused_with_all_that_are_known(path: Path) -> None:
    message = refusal(path, changed({"evaluate.zzz": "1"}))
    assert message == f"{path}: evaluate.zzz: unknown key; valid names: importance_samples, seed"


def test_an_unknown_section_is_refused_with_the_name_that_was_meant(path: Path) -> None:
    message = refusal(path, changed({}) + "trian:\n  epochs: 3\n")
    assert message == f"{path}: trian: unknown key; did you mean train?"


def test_a_key_that_is_no_word_is_refused_with_its_place(path: Path) -> None:
    assert refusal(path, changed({"train.1": "2"})).startswith(f"{path}: train.1: ")


@pytest.mark.parametrize("value", ["3", "[epochs, 3]", "epochs", ""])
def test_a_section_that_is_no_mapping_is_refused_with_its_name(path: Path, value: str) -> None:
    text = re.sub(r"(?m)^train:\n(  .*\n)+", f"train: {value}\n", changed({}))
    message = refusal(path, text)
    assert message.startswith(f"{path}: train: expected a section with parameters")
    assert len(message.splitlines()) == 1


def test_each_of_several_mistakes_has_its_line(path: Path) -> None:
    mistakes: dict[str, str | None] = {
        "prepare.dataset": "cifar10",
        "model.latent_dim": "0",
        "train.epochs": None,
        "train.epoch": "3",
        "embed.points": "'2000'",
    }
    lines = refusal(path, changed(mistakes)).splitlines()
    assert sorted(line.removeprefix(f"{path}: ").split(": ")[0] for line in lines) == sorted(mistakes)


@pytest.mark.parametrize(
    "content",
    [
        b"train: [1",
        b"train: epochs: 3",
        b"train:\n\tepochs: 3",
        b"train: *epochs",
        b"train: !network 3",
        b"train: 3\n---\ntrain: 4\n",
        b"\xff\xfe\x00\xd8\x00\x00",
        b"\x00\x01\x02",
        b"train: \xe9\n",
        b"train: !!int three\n",
    ],
    ids=[
        "unclosed bracket",
        "two colons",
        "tab",
        "undefined alias",
        "unknown tag",
        "two documents",
        "broken UTF-16",
        "control characters",
        "Latin-1",
        "no number where one is declared",
    ],
)
def test_a_file_that_is_no_yaml_is_refused_with_its_path(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=rf"{re.escape(str(path))}.*: not valid YAML: "):
        load_params(path)


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing yet\n", "- train\n- model\n", "30\n", "null\n"])
def test_a_file_without_sections_is_refused_with_those_it_should_have(path: Path, content: str) -> None:
    message = refusal(path, content)
    assert message.startswith(f"{path}: expected the keys prepare, model, train")
    assert all(section in message for section in Params.model_fields)


def test_a_key_given_twice_is_refused_with_its_line(path: Path) -> None:
    lines = changed({}).splitlines()
    place = lines.index("train:") + 1
    lines.insert(place, "  epochs: 3")
    first = next(number for number, line in enumerate(lines[place + 1 :], place + 2) if "epochs" in line)
    message = refusal(path, "\n".join(lines))
    assert message.startswith(f"{path}, line {first}: ")
    assert 'duplicate key "epochs"' in message


def test_a_section_given_twice_is_refused_with_its_name(path: Path) -> None:
    message = refusal(path, changed({}) + "train:\n  epochs: 3\n")
    assert message.startswith(f"{path}, line ")
    assert 'duplicate key "train"' in message


def test_a_missing_file_is_refused_with_its_path(path: Path) -> None:
    with pytest.raises(ParamsError, match=re.escape(f"{path}: cannot be read: No such file or directory")):
        load_params(path)


def test_a_folder_in_the_place_of_the_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=re.escape(f"{tmp_path}: cannot be read: ")):
        load_params(tmp_path)


@pytest.mark.parametrize("dotted", ["train.epochs", "model.hidden_dims", "train"])
def test_parameters_cannot_be_changed_after_loading(dotted: str) -> None:
    params = load_params(COMMITTED)
    holder: Any = params
    *sections, name = dotted.split(".")
    for section in sections:
        holder = getattr(holder, section)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(holder, name, 3)
    assert params == load_params(COMMITTED)


def test_the_size_of_images_is_a_number_or_height_and_width(path: Path) -> None:
    assert load_changed(path, prepare__image_size="48").prepare.image_shape == (48, 48)
    assert load_changed(path, prepare__image_size="[48, 64]").prepare.image_shape == (48, 64)


def test_a_background_that_is_no_colour_is_refused_where_it_is_used(path: Path) -> None:
    wrong = {"prepare.background": "blurple"}
    message = refusal(path, changed({**wrong, "prepare.dataset": "folder"}))
    assert message.endswith("prepare.background: expected a colour, such as white or #ffffff, got 'blurple'")
    for background in ("black", "'#10ff80'", "rgb(1, 2, 3)"):
        load_changed(path, prepare__dataset="folder", prepare__background=background)
