import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scoring import worth
from scoring.scorer import Scorer
from scoring.worth import SCORES, Area, area_under_curve, measure, of_size, other_images, picture, table
from tests.scoring.material import SIDE, some_images, trained, training_images
from tests.vae.data.picture_files import numbered, write_pictures


def test_the_area_is_the_share_of_pairs_in_which_the_other_image_has_the_higher_score() -> None:
    random = torch.Generator().manual_seed(0)
    usual, other = torch.randn(30, generator=random), torch.randn(20, generator=random) + 0.5
    expected = float((other[:, None] > usual[None]).double().mean())
    assert area_under_curve(usual, other).area == pytest.approx(expected)


@pytest.mark.parametrize(("shift", "expected"), [(100.0, 1.0), (-100.0, 0.0)])
def test_scores_that_do_not_overlap_have_an_area_of_one_or_zero_without_an_error(shift: float, expected: float) -> None:
    assert area_under_curve(torch.arange(30.0), torch.arange(20.0) + shift) == Area(expected, 0.0)


def test_equal_scores_have_an_area_of_a_half() -> None:
    assert area_under_curve(torch.ones(30), torch.ones(20)).area == 0.5


def test_the_standard_error_of_exponential_scores_is_their_spread_over_samples() -> None:
    """The formula is exact for exponential distributions."""
    random = torch.Generator().manual_seed(0)

    def sample() -> Area:
        usual = torch.empty(60).exponential_(generator=random)
        return area_under_curve(usual, torch.empty(40).exponential_(generator=random) * 3)

    found = [sample() for _ in range(400)]
    assert np.std([each.area for each in found]) == pytest.approx(
        np.mean([each.standard_error for each in found]), rel=0.1
    )


def test_other_kinds_have_the_size_of_the_models_images_and_those_of_a_folder_are_among_them(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", *numbered("#.png", 12), size=20)
    usual = some_images(12, channels=3)
    model = trained(training_images(images=usual))
    kinds = dict(other_images(model, usual, mnist=False, folders=[tmp_path / "pictures"]))
    assert list(kinds) == [
        "rotated by 90°",
        "upside down",
        "inverted",
        "of one colour",
        "noise",
        "digits of scikit-learn",
        "pictures",
    ]
    assert all(images.shape[1:] == (3, SIDE, SIDE) and images.dtype == torch.uint8 for images in kinds.values())
    assert torch.equal(kinds["inverted"], 255 - usual)
    assert torch.equal(kinds["rotated by 90°"].rot90(3, (2, 3)), usual)
    assert kinds["of one colour"].flatten(2).float().std(2).max() == 0
    assert len(kinds["pictures"]) == 12


def test_small_images_keep_their_intensities_when_they_are_stretched() -> None:
    small = torch.arange(4, dtype=torch.uint8).view(1, 1, 2, 2) * 80
    stretched = of_size(trained(), small)
    assert stretched.shape == (1, 1, SIDE, SIDE)
    assert abs(float(stretched.float().mean()) - 120) < 2
    corners = stretched[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]].int()
    assert (corners - small.flatten()).abs().max() < 16


def test_noise_is_told_from_training_images_and_training_images_from_themselves_by_no_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worth, "IMAGES", 30)
    data = training_images()
    scorer = Scorer(trained(data), data, 0)

    def others() -> Iterator[tuple[str, Tensor]]:
        yield "themselves", data.images
        random = torch.Generator().manual_seed(0)
        yield "noise", torch.randint(0, 256, data.images.shape, generator=random, dtype=torch.uint8)

    found = measure(scorer, data.images, others())
    assert set(found["noise"]) == set(SCORES)
    assert found["noise"]["likelihood_path"].area > 0.9
    for area, error in found["themselves"].values():
        assert abs(area - 0.5) < 4 * error


FOUND = {
    "noise": {name: Area(1.0, 0.0) for name in SCORES},
    "digits": {"negative_elbo": Area(0.25, 0.0123)},
}


def test_the_table_has_a_row_for_each_kind_and_a_dash_where_there_is_no_score() -> None:
    lines = table(FOUND).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[2:-1]] == list(SCORES.values())
    assert lines[2] == "| noise | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 |"
    assert lines[3] == "| digits | 0.250 | – | – | – | – |"
    assert re.fullmatch(r"Standard errors are at most 0\.012\.", lines[-1])


def test_the_bars_reach_from_chance_to_the_area() -> None:
    (axes,) = picture(FOUND, "What scores are worth").axes
    ends = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches)  # type: ignore[attr-defined]
    assert ends == [(0.5, 0.25), *[(0.5, 1.0)] * 5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise", "digits"]
