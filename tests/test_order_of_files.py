"""The order in which files of tests are run."""

from tests.conftest import LONGEST_FILES
from tests.imports import ROOT


def test_the_files_that_take_longest_exist_and_are_named_once() -> None:
    assert [name for name in LONGEST_FILES if not (ROOT / name).is_file()] == []
    assert len(set(LONGEST_FILES)) == len(LONGEST_FILES)
