import pytest

from review.labels import LONGEST, labels

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["main", "workspace"], ["main", "this change"]),
        (["main", "topic", "workspace"], ["main", "topic", "workspace"]),
        (["workspace", "main"], ["workspace", "main"]),
        (["origin/main", COMMIT], ["origin/main", "01234567"]),
        ([COMMIT, f"{COMMIT[:-1]}8"], ["01234567 (1)", "01234567 (2)"]),
    ],
)
def test_the_only_head_is_this_change_if_it_is_the_workspace_and_commits_are_short(
    names: list[str], expected: list[str]
) -> None:
    assert labels(names) == expected


def test_a_long_name_loses_its_middle_and_names_that_are_cut_alike_are_numbered() -> None:
    first, second = labels([f"{'beginning' * 9}-{middle}-{'end' * 9}" for middle in "ab"])
    assert first.startswith("beginning")
    assert first.endswith("end (1)")
    assert "…" in first
    assert first != second
    assert max(map(len, (first, second))) <= LONGEST + 4
