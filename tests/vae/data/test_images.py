import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from vae.base.runtime import generator
from vae.base.tensor_file import write_tensors
from vae.data.images import (
    METADATA_KEY,
    DatasetError,
    LabelledImages,
    PixelKind,
    at_threshold,
    black_and_white,
    draw_pixels,
    drawn_once,
    hold_out,
    load_images,
    pixels,
    save_images,
    shrunk,
    shrunk_array,
)

ROOT = Path(__file__).parents[3]
CLASSES = ("T-shirt/top", "su", 'the "σ"')


def some_images(count: int = 5, shape: tuple[int, int, int] = (1, 8, 8)) -> LabelledImages:
    """Images with many grey levels and labels in random order."""
    values = torch.arange(count * shape[0] * shape[1] * shape[2]).remainder(251).to(torch.uint8)
    return LabelledImages(values.view(count, *shape), torch.arange(count).mul(2).remainder(3), CLASSES)


def assert_same(one: LabelledImages, other: LabelledImages) -> None:
    assert one.images.dtype == other.images.dtype
    assert one.labels.dtype == other.labels.dtype
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
    assert one.class_names == other.class_names
    assert one.kind == other.kind


def write(path: Path, *left_out: str, tensors: dict[str, Tensor] | None = None, **changes: object) -> None:
    """Write a file of images with some tensors or values changed, and a checksum that fits."""
    described = {"class_names": list(CLASSES), "pixels": "grey", **changes}
    described = {key: value for key, value in described.items() if key not in left_out}
    write_tensors(path, tensors or tensors_of(some_images()), METADATA_KEY, described)


def tensors_of(data: LabelledImages) -> dict[str, Tensor]:
    return {"images": data.images, "labels": data.labels}


def grey_levels(count: int) -> LabelledImages:
    """Images of 256 pixels, one for each grey level from black to white."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    return LabelledImages(levels.expand(count, 1, 16, 16), torch.zeros(count).long(), CLASSES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path for a test's data set."""
    return tmp_path / "train.safetensors"


class TestPixels:
    def test_pixels_maps_0_to_255_evenly_to_intensities_from_zero_to_one(self) -> None:
        intensities = pixels(torch.arange(256, dtype=torch.uint8))
        assert intensities[0] == 0
        assert intensities[255] == 1
        np.testing.assert_allclose(intensities.numpy(), np.linspace(0, 1, 256), atol=1e-7)

    @pytest.mark.parametrize("shape", [(0, 1, 8, 8), (3, 1, 8, 8), (2, 3, 5, 7), (4,)])
    def test_pixels_keeps_the_shape_and_gives_float32(self, shape: tuple[int, ...]) -> None:
        intensities = pixels(torch.full(shape, 51, dtype=torch.uint8))
        assert intensities.shape == shape
        assert intensities.dtype == torch.float32

    def test_pixels_does_not_change_its_input(self) -> None:
        images = some_images().images
        before = images.clone()
        pixels(images)
        assert torch.equal(images, before)


class TestLabelledImages:
    def test_length_and_shape_of_labelled_images_are_those_of_the_images(self) -> None:
        data = some_images(4, (3, 5, 7))
        assert len(data) == 4
        assert data.shape == (3, 5, 7)

    @pytest.mark.parametrize(
        "indices", [torch.tensor([3, 0, 3]), slice(1, 4), slice(0), torch.tensor([1, 0, 1, 1, 0]) > 0]
    )
    def test_indexing_labelled_images_selects_their_labels_too(self, indices: Tensor | slice) -> None:
        data = some_images()
        chosen = np.arange(5)[indices if isinstance(indices, slice) else indices.numpy()]
        expected = LabelledImages(
            torch.stack([data.images[i] for i in chosen]) if len(chosen) else data.images[:0],
            torch.tensor([int(data.labels[i]) for i in chosen], dtype=torch.int64),
            CLASSES,
        )
        assert_same(data[indices], expected)

    @pytest.mark.parametrize("kind", PixelKind)
    def test_indexing_labelled_images_keeps_the_kind_of_pixels(self, kind: PixelKind) -> None:
        data = replace(some_images(), kind=kind)
        assert data[torch.tensor([1])].kind == data[:0].kind == kind


class TestBlackAndWhite:
    COUNT = 20_000

    def test_drawn_pixels_are_white_with_the_probability_of_their_grey_level(self) -> None:
        drawn = draw_pixels(grey_levels(self.COUNT).images, generator(0, "test"))
        assert drawn.dtype == torch.uint8
        assert set(drawn.unique().tolist()) == {0, 255}
        p = torch.arange(256).double() / 255
        share = (drawn == 255).double().mean(0).flatten()
        assert ((share - p).abs() <= 4 * (p * (1 - p) / self.COUNT).sqrt()).all()

    @pytest.mark.parametrize("level", [0, 255])
    def test_drawn_pixels_of_black_are_black_and_of_white_are_white(self, level: int) -> None:
        """Even for the lowest and the highest possible uniform number, which this seed draws."""
        numbers = torch.rand(1_000_000, generator=torch.Generator().manual_seed(391))
        assert (numbers.min().item(), numbers.max().item()) == (0, 1 - 2**-24)
        images = torch.full((1_000_000,), level, dtype=torch.uint8)
        assert torch.equal(draw_pixels(images, torch.Generator().manual_seed(391)), images)

    def test_drawn_pixels_are_independent_of_one_another(self) -> None:
        grey = torch.full((self.COUNT, 2), 51, dtype=torch.uint8)
        white = (draw_pixels(grey, generator(0, "test")) == 255).double()
        both = white.prod(1).mean().item()
        assert both == pytest.approx(0.04, abs=4 * (0.04 * 0.96 / self.COUNT) ** 0.5)

    def test_two_draws_from_one_generator_differ(self) -> None:
        random = generator(0, "test")
        first, second = (draw_pixels(grey_levels(3).images, random) for _ in range(2))
        assert not torch.equal(first, second)

    def test_black_and_white_repeats_with_its_seed_and_purpose_only(self) -> None:
        data = grey_levels(3)
        first, again, other_seed, other_purpose = (
            black_and_white(data, *ways) for ways in [(0, "a"), (0, "a"), (1, "a"), (0, "b")]
        )
        assert first.kind == PixelKind.BINARY
        assert_same(first, again)
        assert not torch.equal(first.images, other_seed.images)
        assert not torch.equal(first.images, other_purpose.images)
        assert torch.equal(first.images, draw_pixels(data.images, generator(0, "a")))

    def test_black_and_white_and_at_threshold_keep_the_labels_and_do_not_change_their_input(self) -> None:
        data = some_images()
        before = data.images.clone()
        for drawn in (black_and_white(data, 0, "test"), at_threshold(data)):
            assert torch.equal(drawn.labels, data.labels)
            assert drawn.class_names == data.class_names
        assert torch.equal(data.images, before)
        assert data.kind == PixelKind.GREY

    def test_black_and_white_returns_a_binary_data_set_as_it_is(self) -> None:
        data = black_and_white(grey_levels(3), 0, "once")
        assert black_and_white(data, 1, "twice") is data

    def test_black_and_white_draws_from_probabilities_as_from_grey_levels(self) -> None:
        data = grey_levels(3)
        probabilities = replace(data, kind=PixelKind.PROBABILITIES)
        assert_same(black_and_white(probabilities, 0, "test"), black_and_white(data, 0, "test"))

    def test_at_threshold_makes_intensities_from_one_half_on_white(self) -> None:
        data = at_threshold(grey_levels(1))
        assert data.kind == PixelKind.BINARY
        assert data.images.dtype == torch.uint8
        expected = [255 if level / 255 >= 0.5 else 0 for level in range(256)]
        assert data.images.flatten().tolist() == expected


class TestSavedImages:
    @pytest.mark.parametrize("count", [0, 1, 5])
    @pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 5, 7)])
    def test_saved_images_are_loaded_unchanged(self, path: Path, count: int, shape: tuple[int, int, int]) -> None:
        data = some_images(count, shape)
        save_images(path, data)
        loaded = load_images(path)
        assert_same(loaded, data)
        assert loaded.shape == shape

    @pytest.mark.parametrize("kind", PixelKind)
    def test_the_kind_of_pixels_is_saved_and_loaded(self, path: Path, kind: PixelKind) -> None:
        data = replace(some_images(), kind=kind)
        save_images(path, data)
        assert_same(load_images(path), data)

    @pytest.mark.parametrize("indices", [slice(1, 4), slice(None, None, 2), torch.tensor([4, 0])])
    def test_images_selected_by_indexing_are_saved_and_loaded(self, path: Path, indices: Tensor | slice) -> None:
        chosen = some_images()[indices]
        save_images(path, chosen)
        assert_same(load_images(path), chosen)

    @pytest.mark.slow
    def test_a_process_with_another_hash_seed_saves_images_to_the_same_bytes(self, path: Path) -> None:
        script = (
            "import sys; from pathlib import Path; from tests.vae.data.test_images import save_images, some_images; "
            "save_images(Path(sys.argv[1]), some_images())"
        )
        hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        subprocess.run(
            [sys.executable, "-c", script, path],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
        )
        here = path.with_name("here.safetensors")
        save_images(here, some_images())
        assert path.read_bytes() == here.read_bytes()

    def test_images_that_differ_in_one_pixel_are_saved_to_different_bytes(self, path: Path) -> None:
        data = some_images()
        save_images(path, data)
        before = path.read_bytes()
        data.images[4, 0, 7, 7] += 1
        save_images(path, data)
        assert path.read_bytes() != before


class TestRefusedFiles:
    def test_a_missing_file_of_images_is_refused_with_its_path_and_how_to_get_it(self, path: Path) -> None:
        with pytest.raises(DatasetError, match=re.escape(f"{path}: no such file") + ".*dvc repro"):
            load_images(path)

    def test_a_folder_in_place_of_a_file_of_images_is_refused_with_its_path(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=re.escape(f"{tmp_path}: ")):
            load_images(tmp_path)

    @pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.99])
    def test_a_truncated_file_of_images_is_refused_with_its_path(self, path: Path, share: float) -> None:
        save_images(path, some_images())
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DatasetError, match=re.escape(f"{path}: damaged")):
            load_images(path)

    @pytest.mark.parametrize("length", [1, 8, 1000])
    def test_a_file_of_random_bytes_is_refused_with_its_path(self, path: Path, length: int) -> None:
        path.write_bytes(np.random.default_rng(0).bytes(length))
        with pytest.raises(DatasetError, match=re.escape(f"{path}: damaged")):
            load_images(path)

    @pytest.mark.parametrize(
        "metadata",
        [
            None,
            {"classes": "[]"},
            {METADATA_KEY: "su, tsu"},
            {METADATA_KEY: "[3]"},
            {METADATA_KEY: "[" * 100_000},
            {METADATA_KEY: json.dumps({"class_names": CLASSES, "pixels": "grey"})},
        ],
        ids=["none", "other", "no JSON", "no mapping", "nested too deeply", "no checksum"],
    )
    def test_a_file_without_a_description_or_checksum_is_refused_with_its_path_and_what_to_do(
        self, path: Path, metadata: dict[str, str] | None
    ) -> None:
        path.write_bytes(save(tensors_of(some_images()), metadata))
        with pytest.raises(DatasetError, match=re.escape(f"{path}: damaged") + ".*; delete it and run dvc repro$"):
            load_images(path)

    @pytest.mark.parametrize(
        ("left_out", "changes"),
        [
            ("", {"tensors": {"weight": torch.zeros(3)}}),
            ("", {"tensors": {"images": some_images().images}}),
            ("", {"class_names": 3}),
            ("class_names", {}),
            ("", {"pixels": "colourful"}),
            ("pixels", {}),
        ],
        ids=["weights", "no labels", "a number of names", "no names", "an unknown kind of pixels", "no kind of pixels"],
    )
    def test_a_file_with_other_tensors_or_description_is_refused_with_its_path_and_what_to_do(
        self, path: Path, left_out: str, changes: dict[str, Any]
    ) -> None:
        write(path, left_out, **changes)
        with pytest.raises(DatasetError, match=re.escape(f"{path}: damaged") + ".*; delete it and run dvc repro$"):
            load_images(path)

    def test_a_file_with_one_flipped_bit_anywhere_is_refused_with_its_path(self, path: Path) -> None:
        save_images(path, some_images())
        content = path.read_bytes()
        random = np.random.default_rng(0)
        for place in random.integers(len(content), size=200):
            damaged = bytearray(content)
            damaged[place] ^= 1 << random.integers(8)
            path.write_bytes(damaged)
            with pytest.raises(DatasetError, match=re.escape(f"{path}: damaged")):
                load_images(path)

    @pytest.mark.parametrize(
        "name",
        ["", " ", "\n", "a\nb", "\x1b[31mred", "a\x00b", "safe\u202egnp", "\u2028", "\x85", "x" * 101, 7, None, ["a"]],
        ids=ascii,
    )
    def test_a_class_name_that_cannot_be_shown_is_refused_when_a_file_is_read_and_when_it_is_written(
        self, path: Path, name: object
    ) -> None:
        message = re.escape(f"{path}: class name ") + ".*; rename the class$"
        with pytest.raises(DatasetError, match=message):
            save_images(path, replace(some_images(), class_names=("su", "tsu", name)))  # type: ignore[arg-type]
        write(path, class_names=["su", "tsu", name])
        with pytest.raises(DatasetError, match=message) as error:
            load_images(path)
        assert str(error.value).isprintable()

    def test_two_classes_of_one_name_are_refused(self, path: Path) -> None:
        write(path, class_names=["su", "tsu", "su"])
        with pytest.raises(DatasetError, match=r"class name 'su': two classes have this name"):
            load_images(path)

    def test_class_names_of_any_language_and_with_any_sign_are_saved_and_loaded(self, path: Path) -> None:
        data = replace(some_images(), class_names=("می\u200cخواهم", "</script>|`$x$`", "../=1+1 🙂"))
        save_images(path, data)
        assert load_images(path).class_names == data.class_names

    @pytest.mark.parametrize(
        ("images", "labels"),
        [
            (some_images().images.float(), some_images().labels),
            (some_images().images.to(torch.int8), some_images().labels),
            (some_images().images[:, 0], some_images().labels),
            (some_images().images, some_images().labels[:4]),
            (some_images().images, some_images().labels.unsqueeze(1)),
            (some_images().images, some_images().labels.float()),
            (some_images().images, some_images().labels + 1),
            (some_images().images, some_images().labels - 1),
        ],
        ids=[
            "float images",
            "signed images",
            "no channels",
            "a label too few",
            "labels of two dimensions",
            "float labels",
            "a label beyond the classes",
            "a label below zero",
        ],
    )
    def test_a_file_with_images_or_labels_of_another_shape_or_type_is_refused_with_its_path(
        self, path: Path, images: Tensor, labels: Tensor
    ) -> None:
        write(path, tensors={"images": images, "labels": labels})
        with pytest.raises(DatasetError, match=re.escape(f"{path}: expected")):
            load_images(path)


class TestHoldOut:
    @pytest.mark.parametrize(("fraction", "held_out"), [(0, 0), (0.1, 2), (0.49, 10), (0.999, 20)])
    def test_hold_out_puts_every_image_with_its_label_in_exactly_one_part(self, fraction: float, held_out: int) -> None:
        data = LabelledImages(
            torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1), torch.arange(20) % 3, ("a", "b", "c")
        )
        rest, held = hold_out(data, fraction, seed=0, purpose="test")
        places = [*rest.images.flatten().tolist(), *held.images.flatten().tolist()]
        assert len(held) == held_out
        assert sorted(places) == list(range(20))
        assert [*rest.labels.tolist(), *held.labels.tolist()] == [place % 3 for place in places]

    def test_hold_out_repeats_with_its_seed_and_purpose_only(self) -> None:
        data = LabelledImages(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.zeros(50).long(), ("a",))
        splits = [hold_out(data, 0.5, *ways)[1].images.flatten() for ways in [(0, "a"), (0, "a"), (1, "a"), (0, "b")]]
        assert torch.equal(splits[0], splits[1])
        assert not torch.equal(splits[0], splits[2])
        assert not torch.equal(splits[0], splits[3])


def test_drawn_once_draws_pixels_that_are_probabilities_and_returns_other_data_sets_as_they_are() -> None:
    images = torch.full((50, 1, 4, 4), 100, dtype=torch.uint8)
    for kind in PixelKind:
        data = LabelledImages(images, torch.zeros(50, dtype=torch.int64), ("one",), kind)
        drawn = drawn_once(data, 0, "pixels")
        if kind == PixelKind.PROBABILITIES:
            assert drawn.kind == PixelKind.BINARY
            assert torch.equal(drawn.images, black_and_white(data, 0, "pixels").images)
        else:
            assert drawn is data


def test_shrunk_images_are_averages_of_squares_within_the_image() -> None:
    image = torch.tensor([[0.0, 2, 9], [4, 6, 7]]).view(1, 1, 2, 3)
    assert shrunk(image, 2).tolist() == [[[[3, 8]]]]
    assert shrunk(image.repeat(1, 3, 1, 1), 3).shape == (1, 3, 1, 1)
    assert shrunk(image, 1) is image
    assert shrunk_array(image.numpy(), 2).tolist() == [[[[3, 8]]]]
