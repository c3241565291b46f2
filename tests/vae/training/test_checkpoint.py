"""Saved training states are complete, used only by the run that saved them, and never make a run fail."""

import errno
import logging
import os
import random
import re
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

import vae
from vae.training.checkpoint import SHARE_OF_TIME, VALUES, Checkpoint, identity, loaded_code

NAME = "0123456789abcdef"
CHECKSUM_BYTES = 4
TENSORS = {
    "weights": torch.tensor([[0.1, -0.0, 1e-45], [3.4e38, 1 / 3, torch.inf]]),
    "generator": torch.arange(256, dtype=torch.uint8),
    "steps": torch.tensor(7.0),
    "half": torch.tensor([0.1, -3.0], dtype=torch.bfloat16),
    "count": torch.tensor(2**62 + 1),
    "nothing": torch.empty(0),
}
SAVED_VALUES = {
    "history": [[1, [0.1 + 0.2, 1 / 3, 5e-324], None], [2, [-0.0, 1.7976931348623157e308, 1e16 + 2], [1.0]]],
    "best": 2,
}
EARLIER: dict[str, Any] = {"best": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for saved states, which does not exist yet."""
    return tmp_path / "tmp" / "states"


@pytest.fixture
def saved(folder: Path) -> Checkpoint:
    """A checkpoint to which a run has saved its state."""
    checkpoint = Checkpoint(folder, NAME)
    checkpoint.save(TENSORS, SAVED_VALUES)
    return checkpoint


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("vae.training.checkpoint.perf_counter", clock)
    return clock


@pytest.fixture
def writing_takes(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set how many seconds it takes to write a state."""
    write_bytes = Path.write_bytes

    def set_duration(seconds: float) -> None:
        def write(path: Path, content: bytes) -> int:
            clock.now += seconds
            return write_bytes(path, content)

        monkeypatch.setattr(Path, "write_bytes", write)

    return set_duration


def bits(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size, list[int]]]:
    return {
        name: (tensor.dtype, tensor.shape, tensor.reshape(-1).view(torch.uint8).tolist())
        for name, tensor in tensors.items()
    }


def values(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The values of a state that can be loaded."""
    state = checkpoint.load()
    assert state is not None
    return state.values


def checksummed(content: bytes) -> bytes:
    """A state file with any content and the matching checksum."""
    return zlib.crc32(NAME.encode() + content).to_bytes(4, "little") + content


def json_tensor(text: bytes) -> Tensor:
    return torch.tensor(list(text), dtype=torch.uint8)


def assert_ignored(checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Check that loading gives no state, and one warning that names the file."""
    caplog.clear()
    assert checkpoint.load() is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{checkpoint.path}: ")
    assert record.getMessage().endswith("starting from the beginning")
    assert "\n" not in record.getMessage()


class TestState:
    def test_saved_tensors_load_bit_for_bit_with_their_dtypes_and_shapes(self, saved: Checkpoint, folder: Path) -> None:
        state = Checkpoint(folder, NAME).load()
        assert state is not None
        assert bits(state.tensors) == bits(TENSORS)
        assert saved.path.parent == folder

    def test_saved_values_load_with_floats_to_the_last_bit(self, saved: Checkpoint, folder: Path) -> None:
        assert repr(values(Checkpoint(folder, NAME))) == repr(SAVED_VALUES)  # which tells -0.0 from 0.0
        assert list(folder.iterdir()) == [saved.path]

    def test_writing_to_loaded_tensors_does_not_change_the_saved_state(self, saved: Checkpoint) -> None:
        state = saved.load()
        assert state is not None
        state.tensors["weights"].zero_()
        again = saved.load()
        assert again is not None
        assert bits(again.tensors) == bits(TENSORS)

    def test_saving_replaces_the_state_saved_before(self, folder: Path, writing_takes: Callable[[float], None]) -> None:
        writing_takes(0)
        checkpoint = Checkpoint(folder, NAME)
        for best in (1, 2, 3):
            checkpoint.save(TENSORS, {"best": best})
        assert values(checkpoint) == {"best": 3}
        assert list(folder.iterdir()) == [checkpoint.path]

    def test_loading_where_nothing_was_saved_gives_none_without_a_warning(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        assert Checkpoint(folder, NAME).load() is None
        folder.mkdir(parents=True)
        assert Checkpoint(folder, NAME).load() is None
        assert caplog.records == []
        assert list(folder.iterdir()) == []

    def test_runs_of_different_identities_have_separate_states(self, saved: Checkpoint, folder: Path) -> None:
        other = Checkpoint(folder, "fedcba9876543210")
        assert other.load() is None
        other.save({}, EARLIER)
        assert values(other) == EARLIER
        assert repr(values(saved)) == repr(SAVED_VALUES)


class TestDamage:
    def test_a_truncated_state_is_ignored_with_a_warning_wherever_it_ends(
        self, saved: Checkpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        content = saved.path.read_bytes()
        header_end = CHECKSUM_BYTES + 8 + int.from_bytes(content[CHECKSUM_BYTES:][:8], "little")
        ends = {0, 1, 31, 32, 33, 39, 40, 41, header_end - 1, header_end, header_end + 1, len(content) - 1}
        for end in sorted(ends | set(range(0, len(content), 13))):
            saved.path.write_bytes(content[:end])
            assert_ignored(saved, caplog)

    def test_a_state_with_one_changed_byte_is_ignored_with_a_warning_wherever_it_is(
        self, saved: Checkpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        content = saved.path.read_bytes()
        for position in sorted({0, 31, 32, 39, 40, len(content) - 1} | set(range(5, len(content), 17))):
            for flipped in (1, 255):
                damaged = bytearray(content)
                damaged[position] ^= flipped
                saved.path.write_bytes(damaged)
                assert_ignored(saved, caplog)

    @pytest.mark.parametrize(
        "change",
        [
            lambda content: content + b"\0",
            lambda content: bytes(len(content)),
            lambda content: content[:-100] + bytes(100),
            lambda content: content[CHECKSUM_BYTES:],
            lambda content: zlib.crc32(content[CHECKSUM_BYTES:]).to_bytes(4, "little") + content[CHECKSUM_BYTES:],
        ],
        ids=["a byte more", "zeros", "zeros at the end", "no checksum", "a checksum without the name"],
    )
    def test_a_state_changed_in_any_other_way_is_ignored_with_a_warning(
        self, change: Callable[[bytes], bytes], saved: Checkpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        saved.path.write_bytes(change(saved.path.read_bytes()))
        assert_ignored(saved, caplog)

    def test_a_state_renamed_to_that_of_another_run_is_ignored_with_a_warning(
        self, saved: Checkpoint, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        other = Checkpoint(folder, NAME.replace("0", "1"))
        saved.path.rename(other.path)
        assert_ignored(other, caplog)
        other.path.rename(saved.path)
        assert repr(values(saved)) == repr(SAVED_VALUES)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            bytes(8),
            b"no safetensors",
            b"\xff" * 100,
            save({"weights": torch.zeros(2)}),
            save({"weights": torch.zeros(2)}, {VALUES: "{}"}),
            save({VALUES: json_tensor(b"")}),
            save({VALUES: json_tensor(b'{"best": ')}),
            save({VALUES: json_tensor(b'{"best": 1}\xff')}),
            save({VALUES: torch.zeros(3)}),
            save({VALUES: torch.zeros(3, dtype=torch.bfloat16)}),
            save({VALUES: json_tensor(b"{}"), "weights": torch.zeros(2)})[:-1],
        ],
    )
    def test_a_complete_file_of_another_form_is_ignored_with_a_warning(
        self, content: bytes, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder.mkdir(parents=True)
        checkpoint = Checkpoint(folder, NAME)
        checkpoint.path.write_bytes(checksummed(content))
        assert_ignored(checkpoint, caplog)

    def test_a_damaged_header_with_a_valid_checksum_is_either_read_or_ignored_with_one_warning(
        self, saved: Checkpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        content = saved.path.read_bytes()[CHECKSUM_BYTES:]
        header_end = 8 + int.from_bytes(content[:8], "little")
        noise = random.Random(3)
        outcomes = set()
        for _ in range(500):
            damaged = bytearray(content)
            damaged[noise.randrange(header_end)] = noise.randrange(256)
            saved.path.write_bytes(checksummed(bytes(damaged)))
            caplog.clear()
            outcomes.add((saved.load() is None, len(caplog.records)))
        assert outcomes == {(True, 1), (False, 0)}

    def test_the_checksum_covers_the_runs_identity_and_the_content(self, saved: Checkpoint) -> None:
        """So that the tests above fail for the reason they name."""
        content = saved.path.read_bytes()
        assert content == checksummed(content[CHECKSUM_BYTES:])

    def test_a_folder_in_place_of_the_state_is_ignored_with_a_warning_and_left_alone(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        checkpoint = Checkpoint(folder, NAME)
        (checkpoint.path / "something").mkdir(parents=True)
        assert_ignored(checkpoint, caplog)
        checkpoint.save(TENSORS, SAVED_VALUES)
        checkpoint.discard()
        assert [path.name for path in folder.rglob("*")] == [checkpoint.path.name, "something"]

    def test_a_file_in_place_of_the_folder_costs_one_warning_and_is_left_alone(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder.parent.mkdir(parents=True)
        folder.write_text("of somebody else")
        checkpoint = Checkpoint(folder, NAME)
        assert checkpoint.load() is None
        assert not caplog.records
        for _ in range(2):
            checkpoint.save(TENSORS, SAVED_VALUES)
        (record,) = caplog.records
        assert f"{checkpoint.path}: cannot be written" in record.getMessage()
        checkpoint.discard()
        assert folder.read_text() == "of somebody else"

    def test_a_state_without_permission_to_read_is_ignored_with_a_warning(
        self, saved: Checkpoint, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_path: Path) -> bytes:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(Path, "read_bytes", refuse)
        assert_ignored(saved, caplog)
        assert "Permission denied" in caplog.text

    def test_saving_replaces_a_damaged_state(
        self, saved: Checkpoint, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        saved.path.write_bytes(saved.path.read_bytes()[:-1])
        again = Checkpoint(folder, NAME)
        assert_ignored(again, caplog)
        again.save(TENSORS, EARLIER)
        assert values(again) == EARLIER


class TestUnwritable:
    @pytest.fixture(params=[errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO], ids=lambda code: errno.errorcode[code])
    def mishap(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        """From now on, writing any file fails part way, with this error of the operating system."""

        def fail(path: Path, content: bytes) -> int:
            with path.open("wb") as file:
                file.write(content[:100])
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(Path, "write_bytes", fail)
        return os.strerror(request.param)

    def test_a_state_that_cannot_be_written_costs_one_warning_and_leaves_no_file(
        self, folder: Path, mishap: str, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        checkpoint = Checkpoint(folder, NAME)
        for _ in range(3):
            clock.now += 60
            checkpoint.save(TENSORS, SAVED_VALUES)
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert f"{checkpoint.path}: cannot be written: {mishap}" in record.getMessage()
        assert "start from the beginning" in record.getMessage()
        assert list(folder.iterdir()) == []
        checkpoint.discard()
        assert not folder.exists()

    def test_a_state_that_cannot_be_written_leaves_the_one_saved_before_unchanged(
        self, saved: Checkpoint, folder: Path, mishap: str
    ) -> None:
        content = saved.path.read_bytes()
        Checkpoint(folder, NAME).save(TENSORS, {"not written": mishap})
        assert saved.path.read_bytes() == content
        assert list(folder.iterdir()) == [saved.path]


class TestShareOfTime:
    def test_the_first_state_is_saved_however_early_and_however_long_it_takes(
        self, folder: Path, writing_takes: Callable[[float], None]
    ) -> None:
        writing_takes(1000)
        checkpoint = Checkpoint(folder, NAME)
        checkpoint.save(TENSORS, SAVED_VALUES)
        assert repr(values(checkpoint)) == repr(SAVED_VALUES)

    def test_the_next_state_is_saved_once_the_earlier_ones_have_taken_no_more_than_their_share_of_time(
        self, folder: Path, clock: Clock, writing_takes: Callable[[float], None]
    ) -> None:
        writing_takes(3)
        started = clock.now
        checkpoint = Checkpoint(folder, NAME)
        checkpoint.save(TENSORS, {"best": 1})
        clock.now = started + 0.99 * 3 / SHARE_OF_TIME
        checkpoint.save(TENSORS, {"best": 2})
        assert values(checkpoint) == {"best": 1}
        clock.now = started + 1.01 * 3 / SHARE_OF_TIME
        checkpoint.save(TENSORS, {"best": 3})
        assert values(checkpoint) == {"best": 3}
        checkpoint.save(TENSORS, {"best": 4})
        assert values(checkpoint) == {"best": 3}
        clock.now = started + 1.01 * 6 / SHARE_OF_TIME
        checkpoint.save(TENSORS, {"best": 5})
        assert values(checkpoint) == {"best": 5}

    @pytest.mark.parametrize("epoch", [0.01, 0.1, 1.0])
    def test_of_short_epochs_as_many_are_saved_as_the_share_of_time_allows(
        self, epoch: float, folder: Path, clock: Clock, writing_takes: Callable[[float], None]
    ) -> None:
        writing_takes(0.05)
        started = clock.now
        checkpoint = Checkpoint(folder, NAME)
        last = 0
        longest_wait = 0
        for number in range(1, 2001):
            clock.now += epoch
            before = clock.now
            checkpoint.save({}, {"best": number})
            if clock.now > before:
                longest_wait, last = max(longest_wait, number - last), number
        epochs_a_state = 0.05 / SHARE_OF_TIME / epoch
        assert clock.now - started - 2000 * epoch <= SHARE_OF_TIME * (clock.now - started) + 0.05
        assert longest_wait <= 2 + 2 * epochs_a_state
        assert values(checkpoint) == {"best": last}

    def test_every_long_epoch_is_saved(
        self, folder: Path, clock: Clock, writing_takes: Callable[[float], None]
    ) -> None:
        writing_takes(0.01)
        checkpoint = Checkpoint(folder, NAME)
        for number in range(1, 20):
            clock.now += 1
            checkpoint.save({}, {"best": number})
            assert values(checkpoint) == {"best": number}


class TestDiscard:
    def test_discarding_removes_the_state_and_the_folder_that_it_leaves_empty(
        self, saved: Checkpoint, folder: Path
    ) -> None:
        saved.discard()
        assert not folder.exists()
        assert folder.parent.exists()

    def test_discarding_leaves_the_state_of_another_run(self, saved: Checkpoint, folder: Path) -> None:
        other = Checkpoint(folder, "fedcba9876543210")
        other.save(TENSORS, SAVED_VALUES)
        saved.discard()
        assert list(folder.iterdir()) == [other.path]
        assert repr(values(other)) == repr(SAVED_VALUES)

    def test_discarding_where_nothing_was_saved_does_nothing_without_a_warning(
        self, saved: Checkpoint, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        saved.discard()
        saved.discard()
        Checkpoint(folder / "deeper", NAME).discard()
        assert caplog.records == []

    def test_discarding_removes_a_folder_that_another_run_left_empty(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        Checkpoint(folder, NAME).discard()
        assert not folder.exists()

    def test_a_state_can_be_saved_after_another_was_discarded(self, saved: Checkpoint, folder: Path) -> None:
        """As after the first of two simultaneous runs has ended."""
        Checkpoint(folder, NAME).discard()
        Checkpoint(folder, NAME).save(TENSORS, SAVED_VALUES)
        assert repr(values(saved)) == repr(SAVED_VALUES)


SETTINGS: dict[str, Any] = {
    "model": {"hidden_dims": [400], "latent_dim": 20},
    "train": {"epochs": 30, "learning_rate": 0.001, "precision": "float32"},
    "threads": 2,
}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    contents = {"b.py": b"b = 1\n", "a.py": b"a = 1\n", "data/train": bytes(3_000_000), "empty.py": b""}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in contents]


class TestIdentity:
    def test_the_identity_can_be_part_of_a_file_name(self, files: list[Path]) -> None:
        assert re.fullmatch("[0-9a-f]{32}", identity(SETTINGS, files))

    @pytest.mark.parametrize(
        "change",
        [
            {"model": {"hidden_dims": [400, 400], "latent_dim": 20}},
            {"model": {"hidden_dims": [], "latent_dim": 20}},
            {"model": {"hidden_dims": [400], "latent_dim": 21}},
            {"model": {"hidden_dims": [400], "latent_dim": 20, "scale": "learned"}},
            {"model": {"hidden_dims": [400], "latent_dim": 20, "scale": 1.0}},
            {"train": {"epochs": 31, "learning_rate": 0.001, "precision": "float32"}},
            {"train": {"epochs": 30, "learning_rate": 0.0010000000000000002, "precision": "float32"}},
            {"train": {"epochs": 30, "learning_rate": 0.001, "precision": "bfloat16"}},
            {"threads": 1},
            {"threads": "2"},
            {"threads": None},
            {"another": 1},
        ],
        ids=str,
    )
    def test_the_identity_changes_with_each_setting(self, change: dict[str, Any], files: list[Path]) -> None:
        assert identity({**SETTINGS, **change}, files) != identity(SETTINGS, files)

    def test_the_identity_changes_with_one_byte_of_any_file(self, files: list[Path]) -> None:
        seen = {identity(SETTINGS, files)}
        for path in files:
            content = path.read_bytes()
            changes = [content + b"\n"]
            for position in {0, len(content) // 2, len(content) - 1} if content else set():
                changes.append(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            for changed in changes:
                path.write_bytes(changed)
                assert identity(SETTINGS, files) not in seen
                seen.add(identity(SETTINGS, files))
            path.write_bytes(content)
        assert len(seen) == 1 + 3 * 4 + 1
        assert identity(SETTINGS, files) in seen

    def test_the_identity_changes_when_files_swap_contents_or_the_border_between_contents_moves(
        self, tmp_path: Path
    ) -> None:
        files = [tmp_path / "first", tmp_path / "second"]
        seen = set()
        for contents in ((b"ab", b"c"), (b"c", b"ab"), (b"a", b"bc"), (b"abc", b""), (b"", b"abc")):
            for path, content in zip(files, contents, strict=True):
                path.write_bytes(content)
            seen.add(identity(SETTINGS, files))
        assert len(seen) == 5
        assert identity(SETTINGS, files[:1]) not in seen

    def test_the_identity_does_not_depend_on_the_order_of_settings_and_files(self, files: list[Path]) -> None:
        settings = {key: SETTINGS[key] for key in reversed(SETTINGS)}
        settings["model"] = {"latent_dim": 20, "hidden_dims": [400]}
        assert list(settings) != list(SETTINGS)
        assert identity(settings, reversed(files)) == identity(SETTINGS, iter(files))

    def test_the_identity_does_not_depend_on_the_folder_and_the_age_of_files(
        self, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A temporary experiment runs in a copy in another folder."""
        copies = []
        for path in files:
            copy = tmp_path / "elsewhere" / path.relative_to(tmp_path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            os.utime(copy, (1, 1))
            copies.append(copy)
        assert identity(SETTINGS, copies) == identity(SETTINGS, files)
        mixed = [Path("data/train") if path.name == "train" else path for path in files]
        monkeypatch.chdir(tmp_path)
        in_first_folder = identity(SETTINGS, mixed)
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert identity(SETTINGS, [Path("data/train") if path.name == "train" else path for path in copies]) == (
            in_first_folder
        )


class TestLoadedCode:
    def test_loaded_code_is_the_files_of_the_imported_modules_of_the_given_packages(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        modules = {
            "orchard.pears": "/orchard/pears.py",
            "orchard": "/orchard/__init__.py",
            "orchard.old.plums": "/orchard/old/plums.py",
            "orchard.old": None,  # a namespace package
            "orchards": "/orchards.py",
            "my.orchard": "/my/orchard.py",
            "garden": "/garden.py",
        }
        for name, file in modules.items():
            module = ModuleType(name)
            module.__file__ = file
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, "orchard.built_in", object())
        own = [Path("/orchard/__init__.py"), Path("/orchard/old/plums.py"), Path("/orchard/pears.py")]
        assert loaded_code("orchard") == own
        assert loaded_code("orchard", "garden") == [Path("/garden.py"), *own]
        assert loaded_code("meadow") == []
        assert loaded_code() == []

    def test_loaded_code_of_this_library_is_the_modules_imported_so_far(self) -> None:
        library = Path(vae.__file__).parent
        code = loaded_code("vae")
        assert {library / "__init__.py", library / "training/checkpoint.py", library / "base/artifacts.py"} <= set(code)
        assert all(path.is_relative_to(library) and path.is_file() for path in code)
        assert len(set(code)) == len(code)
