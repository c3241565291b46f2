import json
import os
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tests.settings import architecture
from vae.base.artifacts import ArtifactError
from vae.base.module_file import ModuleFileError
from vae.base.runtime import seeded
from vae.base.tensor_file import write_tensors
from vae.data.images import ImageShape
from vae.data.preparation import Preparation
from vae.model.model_file import FORMAT, MODEL_FILE, Origin, load_model, read_model, save_model
from vae.model.vae import VAE

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
DIGITS: ImageShape = (1, 8, 8)


def small_model(**changes: Any) -> VAE:
    """A model that is always the same."""
    with seeded(0, "tests of model files"):
        return VAE(architecture(**{"image_shape": DIGITS, "hidden_dims": (6,), "latent_dim": 3, **changes}))


def outputs(model: VAE) -> tuple[Tensor, Tensor, Tensor]:
    """Posterior and log-likelihood of a few images and codes."""
    random = torch.Generator().manual_seed(1)
    x = torch.rand(4, *model.architecture.image_shape, generator=random)
    z = torch.randn(4, model.latent_dim, generator=random)
    with torch.no_grad():
        return *model.posterior(x), model.log_likelihood(x, z)


def description(*left_out: str, **changes: object) -> dict[str, object]:
    """The small model's architecture, or another, as stored in a file."""
    values = {**small_model().architecture.model_dump(), **changes}
    return {key: value for key, value in values.items() if key not in left_out}


def write(path: Path, weights: dict[str, Tensor], **changes: object) -> None:
    """Write a model file with the small model's architecture, or another, and a checksum that fits."""
    write_tensors(path, weights, MODEL_FILE.key, description(**changes))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path for a test's model."""
    return tmp_path / "models" / "vae.safetensors"


@pytest.fixture
def saved(path: Path) -> Path:
    """The small model's file."""
    save_model(path, small_model())
    return path


class TestSavedModels:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"image_shape": (1, 28, 28), "hidden_dims": (9, 5), "latent_dim": 1},
            {"image_shape": (3, 4, 6), "hidden_dims": (), "latent_dim": 7},
            {"activation": "gelu"},
            {"network": "conv", "channels": 5},
            {"network": "conv", "image_shape": (3, 8, 4), "hidden_dims": ()},
            {"network": "autoregressive", "masked_layers": 3},
            {"network": "conv", "residual_blocks": 2},
            {"network": "autoregressive", "image_shape": (3, 8, 4), "hidden_dims": ()},
        ],
        ids=[
            "one hidden layer",
            "two hidden layers",
            "linear, with colours",
            "another activation",
            "convolutions",
            "convolutions alone, with colours",
            "autoregressive",
            "residual blocks",
            "autoregressive, with colours",
        ],
    )
    @pytest.mark.parametrize(
        "likelihood",
        [
            {"likelihood": "bernoulli"},
            {"likelihood": "continuous_bernoulli"},
            {"likelihood": "gaussian"},
            {"likelihood": "gaussian", "scale": 0.1},
            {"likelihood": "laplace"},
            {"likelihood": "laplace", "scale": 2.0},
        ],
        ids=lambda changes: " ".join(str(value) for value in changes.values()),
    )
    def test_a_loaded_model_has_the_architecture_parameters_and_outputs_of_the_saved_one(
        self, path: Path, changes: dict[str, Any], likelihood: dict[str, Any]
    ) -> None:
        model = small_model(**changes, **likelihood)
        save_model(path, model)
        loaded = load_model(path, CPU, model.architecture.image_shape)
        assert loaded.architecture == model.architecture
        assert all(map(torch.equal, outputs(loaded), outputs(model)))
        assert {name for name, _ in loaded.named_parameters()} == {name for name, _ in model.named_parameters()}

    def test_a_learned_scale_of_the_likelihood_is_saved_and_loaded(self, path: Path) -> None:
        model = small_model(likelihood="gaussian")
        model.likelihood.log_scale = nn.Parameter(torch.tensor(-2.5))
        save_model(path, model)
        loaded = load_model(path, CPU, DIGITS)
        assert dict(loaded.named_parameters())["likelihood.log_scale"].item() == -2.5

    @pytest.mark.parametrize("network", ["mlp", "conv", "autoregressive"])
    def test_every_parameter_of_a_loaded_model_gets_a_gradient(self, path: Path, network: str) -> None:
        save_model(path, small_model(network=network, likelihood="gaussian"))
        loaded = load_model(path, CPU, DIGITS)
        x = torch.ones(1, *DIGITS)
        mean, log_variance = loaded.posterior(x)
        loaded.log_likelihood(x, mean + log_variance).sum().backward()
        gradients = [weight.grad for weight in loaded.parameters()]
        assert all(gradient is not None for gradient in gradients)

    def test_a_loaded_model_does_not_change_when_its_file_is_overwritten(self, saved: Path) -> None:
        loaded = load_model(saved, CPU, DIGITS)
        before = outputs(loaded)
        save_model(saved, small_model(latent_dim=5))
        assert all(map(torch.equal, outputs(loaded), before))

    def test_loading_a_model_leaves_the_global_random_generator_alone(self, saved: Path) -> None:
        before = torch.get_rng_state()
        load_model(saved, CPU, DIGITS)
        assert torch.equal(torch.get_rng_state(), before)

    def test_saving_a_loaded_model_gives_the_same_bytes(self, saved: Path) -> None:
        before = saved.read_bytes()
        save_model(saved, load_model(saved, CPU, DIGITS))
        assert saved.read_bytes() == before

    @pytest.mark.slow
    def test_a_process_with_another_hash_seed_saves_a_model_to_the_same_bytes(
        self, saved: Path, tmp_path: Path
    ) -> None:
        script = (
            "import sys; from pathlib import Path; from tests.vae.model.test_model_file import *; "
            "save_model(Path(sys.argv[1]), small_model())"
        )
        there = tmp_path / "there.safetensors"
        hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        subprocess.run(
            [sys.executable, "-c", script, there],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
        )
        assert there.read_bytes() == saved.read_bytes()

    @pytest.mark.skipif(not torch.accelerator.is_available(), reason="this machine has no accelerator")
    def test_a_model_on_an_accelerator_is_saved_to_the_same_bytes_and_stays_there(
        self, saved: Path, tmp_path: Path
    ) -> None:
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        model = small_model().to(accelerator)
        save_model(tmp_path / "there.safetensors", model)
        assert (tmp_path / "there.safetensors").read_bytes() == saved.read_bytes()
        assert model.device.type == accelerator.type
        assert load_model(saved, accelerator, DIGITS).device.type == accelerator.type

    def test_saving_a_model_where_the_parent_is_a_file_is_refused_with_the_path(self, path: Path) -> None:
        path.parent.write_text("a file where a folder belongs")
        with pytest.raises(ArtifactError, match=re.escape(f"{path}: cannot be written: ")):
            save_model(path, small_model())


ORIGIN = Origin(
    preparation=Preparation(dataset="folder", fit="crop", background="#ff0000", binarize="static"),
    training_images="0123abcd",
)


class TestOrigins:
    def test_a_model_is_read_with_the_origin_that_it_was_saved_with(self, path: Path) -> None:
        save_model(path, small_model(), ORIGIN)
        model, origin = read_model(path, CPU)
        assert origin == ORIGIN
        assert all(map(torch.equal, outputs(model), outputs(small_model())))

    def test_a_model_that_was_saved_without_an_origin_has_none(self, saved: Path) -> None:
        assert read_model(saved, CPU)[1] is None

    def test_a_file_from_before_there_were_formats_is_read_and_has_no_origin(self, saved: Path) -> None:
        write(saved, load_file(saved))
        model, origin = read_model(saved, CPU)
        assert origin is None
        assert all(map(torch.equal, outputs(model), outputs(small_model())))

    @pytest.mark.parametrize(
        "changes",
        [{"fit": "squeeze"}, {"background": "no colour"}, {"binarize": None}, {"dataset": 3}, {"size": 8}],
        ids=lambda changes: next(iter(changes)),
    )
    def test_a_model_file_with_an_invalid_preparation_is_refused_with_its_path(
        self, saved: Path, changes: dict[str, object]
    ) -> None:
        origin = ORIGIN.model_dump()
        write(saved, load_file(saved), format=FORMAT, origin={**origin, "preparation": origin["preparation"] | changes})
        with pytest.raises(ModuleFileError, match=refusal(saved)):
            read_model(saved, CPU)


class TestFormats:
    @pytest.mark.parametrize("likelihood", ["discretized_logistic", "discretized_logistic_mixture"])
    def test_an_autoregressive_model_of_8_bit_pixels_of_format_1_is_refused_since_its_weights_changed_their_meaning(
        self, path: Path, likelihood: str
    ) -> None:
        model = small_model(network="autoregressive", likelihood=likelihood)
        save_model(path, model)
        write_tensors(path, load_file(path), MODEL_FILE.key, model.architecture.model_dump())
        expected = re.escape(f"{path}: of format 1; since format 2 the weights of an autoregressive decoder with")
        with pytest.raises(ModuleFileError, match=expected + f" {likelihood} have another meaning; run dvc repro"):
            load_model(path, CPU, DIGITS)

    def test_an_autoregressive_model_of_black_and_white_pixels_of_format_1_is_read(self, path: Path) -> None:
        model = small_model(network="autoregressive")
        save_model(path, model)
        write_tensors(path, load_file(path), MODEL_FILE.key, model.architecture.model_dump())
        assert all(map(torch.equal, outputs(load_model(path, CPU, DIGITS)), outputs(model)))

    def test_a_model_file_of_a_newer_format_is_refused_with_what_to_do(self, saved: Path) -> None:
        write(saved, load_file(saved), format=FORMAT + 1)
        expected = (
            re.escape(f"{saved}: of format {FORMAT + 1}, which a newer version of the code wrote") + ".*update it"
        )
        with pytest.raises(ModuleFileError, match=expected):
            load_model(saved, CPU, DIGITS)

    @pytest.mark.parametrize("number", [0, "2", True, None, 2.0])
    def test_a_model_file_whose_format_is_no_number_of_a_format_is_refused_as_damaged(
        self, saved: Path, number: object
    ) -> None:
        write(saved, load_file(saved), format=number)
        with pytest.raises(ModuleFileError, match=refusal(saved)):
            load_model(saved, CPU, DIGITS)


def refusal(path: Path) -> str:
    """The pattern of the message about an invalid file."""
    return re.escape(f"{path}: damaged, or not a model of this version") + ".*; delete it and run dvc repro train$"


class TestRefusedModelFiles:
    def test_a_missing_model_file_is_refused_with_its_path_and_how_to_get_it(self, path: Path) -> None:
        with pytest.raises(ModuleFileError, match=re.escape(f"{path}: no such file") + ".*dvc repro"):
            load_model(path, CPU, DIGITS)

    def test_a_folder_in_place_of_a_model_file_is_refused_with_its_path(self, tmp_path: Path) -> None:
        with pytest.raises(ModuleFileError, match=re.escape(f"{tmp_path}: ")):
            load_model(tmp_path, CPU, DIGITS)

    @pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.99])
    def test_a_truncated_model_file_is_refused_with_its_path(self, saved: Path, share: float) -> None:
        content = saved.read_bytes()
        saved.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ModuleFileError, match=re.escape(f"{saved}: damaged")):
            load_model(saved, CPU, DIGITS)

    @pytest.mark.parametrize("length", [1, 8, 1000])
    def test_a_model_file_of_random_bytes_is_refused_with_its_path(self, tmp_path: Path, length: int) -> None:
        path = tmp_path / "vae.safetensors"
        path.write_bytes(np.random.default_rng(0).bytes(length))
        with pytest.raises(ModuleFileError, match=re.escape(f"{path}: damaged")):
            load_model(path, CPU, DIGITS)

    @pytest.mark.parametrize(
        "metadata",
        [
            None,
            {"format": "pt"},
            {MODEL_FILE.key: "MLP"},
            {MODEL_FILE.key: "[1, 8, 8]"},
            {MODEL_FILE.key: "[" * 100_000},
            {MODEL_FILE.key: json.dumps(small_model().architecture.model_dump())},
        ],
        ids=["none", "another framework's", "no JSON", "no mapping", "nested too deeply", "no checksum"],
    )
    def test_a_model_file_without_a_description_is_refused_with_its_path_and_what_to_do(
        self, saved: Path, metadata: dict[str, str] | None
    ) -> None:
        saved.write_bytes(save(load_file(saved), metadata))
        with pytest.raises(ModuleFileError, match=refusal(saved)):
            load_model(saved, CPU, DIGITS)

    @pytest.mark.parametrize(
        "invalid",
        [
            description("latent_dim"),
            description(latent_dim="3"),
            description(latent_dim=0),
            description(image_shape=[8, 8]),
            description(beta=4),
            description(network="transformer"),
            description(likelihood="bernoulli", scale=0.1),
            description("network", "activation", "channels", "masked_layers", "likelihood", "scale"),
        ],
        ids=[
            "a key too few",
            "a string for a number",
            "out of range",
            "no channels",
            "a key too many",
            "an unknown network",
            "parameters that do not go together",
            "the first version's",
        ],
    )
    def test_a_model_file_without_a_valid_architecture_is_refused_with_its_path_and_what_to_do(
        self, saved: Path, invalid: dict[str, object]
    ) -> None:
        write_tensors(saved, load_file(saved), MODEL_FILE.key, invalid)
        with pytest.raises(ModuleFileError, match=refusal(saved)):
            load_model(saved, CPU, DIGITS)

    def test_a_model_file_with_one_flipped_bit_anywhere_is_refused_with_its_path(self, saved: Path) -> None:
        content = saved.read_bytes()
        random = np.random.default_rng(0)
        for place in random.integers(len(content), size=200):
            damaged = bytearray(content)
            damaged[place] ^= 1 << random.integers(8)
            saved.write_bytes(damaged)
            with pytest.raises(ModuleFileError, match=re.escape(f"{saved}: damaged")):
                load_model(saved, CPU, DIGITS)

    @pytest.mark.parametrize(
        "changes",
        [
            {"hidden_dims": [1] * 10**6},
            {"network": "autoregressive", "masked_layers": 10**12},
            {"network": "conv", "residual_blocks": 10**12},
        ],
        ids=["dense layers", "masked layers", "residual blocks"],
    )
    def test_a_model_file_that_claims_more_layers_than_it_has_weights_is_refused_before_any_is_built(
        self, saved: Path, changes: dict[str, object]
    ) -> None:
        write(saved, load_file(saved), **changes)
        start = perf_counter()
        with pytest.raises(ModuleFileError, match=re.escape(f"{saved}: damaged") + r".*weights for 1,000,"):
            load_model(saved, CPU, DIGITS)
        assert perf_counter() - start < 10

    @pytest.mark.parametrize(
        "changes",
        [
            {"latent_dim": 4},
            {"hidden_dims": [5]},
            {"hidden_dims": [6, 6]},
            {"hidden_dims": []},
            {"latent_dim": 10**30},
            {"network": "conv"},
            {"network": "autoregressive"},
            {"likelihood": "gaussian"},
        ],
        ids=[
            "latent space",
            "width",
            "a layer more",
            "a layer less",
            "beyond any memory",
            "convolutions",
            "autoregressive",
            "a scale",
        ],
    )
    def test_a_model_file_with_weights_of_another_architecture_is_refused_with_its_path(
        self, saved: Path, changes: dict[str, object]
    ) -> None:
        write(saved, load_file(saved), **changes)
        with pytest.raises(ModuleFileError, match=re.escape(f"{saved}: damaged, or not a model of this version")):
            load_model(saved, CPU, DIGITS)

    def test_a_model_file_with_an_architecture_that_cannot_be_built_is_refused_with_its_path(self, saved: Path) -> None:
        write(saved, load_file(saved), network="conv", image_shape=(1, 6, 6))
        with pytest.raises(
            ModuleFileError, match=rf"{re.escape(str(saved))}: damaged.*; delete it and run dvc repro train"
        ):
            load_model(saved, CPU, (1, 6, 6))

    @pytest.mark.parametrize("lost", ["encoder.posterior_params.weight", "decoder.output.bias"])
    def test_a_model_file_that_lacks_a_weight_is_refused_with_its_path_and_the_weights_name(
        self, saved: Path, lost: str
    ) -> None:
        weights = load_file(saved)
        del weights[lost]
        write(saved, weights)
        with pytest.raises(ModuleFileError, match=re.escape(f"{saved}: damaged") + f".*{re.escape(lost)}"):
            load_model(saved, CPU, DIGITS)

    def test_a_model_file_with_an_unknown_weight_is_refused_with_its_path_and_the_weights_name(
        self, saved: Path
    ) -> None:
        write(saved, {**load_file(saved), "prior.mean": torch.zeros(3)})
        with pytest.raises(ModuleFileError, match=re.escape(f"{saved}: damaged") + r".*prior\.mean"):
            load_model(saved, CPU, DIGITS)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
    def test_a_model_file_with_weights_that_are_not_float32_is_refused_with_its_path(
        self, saved: Path, dtype: torch.dtype
    ) -> None:
        write(saved, {name: weight.to(dtype) for name, weight in load_file(saved).items()})
        with pytest.raises(ModuleFileError, match=re.escape(f"{saved}: damaged")):
            load_model(saved, CPU, DIGITS)

    @pytest.mark.parametrize(
        ("trained", "given", "shown_trained", "shown_given"),
        [
            ((1, 28, 28), (1, 8, 8), "1×28×28", "1×8×8"),
            ((1, 8, 8), (1, 28, 28), "1×8×8", "1×28×28"),
            ((1, 8, 8), (3, 8, 8), "1×8×8", "3×8×8"),
        ],
    )
    def test_a_model_of_images_of_another_shape_than_the_data_is_refused_with_both_shapes(
        self, path: Path, trained: ImageShape, given: ImageShape, shown_trained: str, shown_given: str
    ) -> None:
        save_model(path, small_model(image_shape=trained))
        message = re.escape(f"{path}: a model for {shown_trained} images") + f".* {shown_given} images"
        with pytest.raises(ModuleFileError, match=message):
            load_model(path, CPU, given)
