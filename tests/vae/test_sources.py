import gc
import gzip
import hashlib
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from vae import sources
from vae.artifacts import ArtifactError
from vae.datasets import DatasetError, LabelledImages
from vae.sources import Splits, data_home, load_source

UNREACHABLE = "http://127.0.0.1:9/"  # the discard service, which no machine runs any more

SHARED_DATASETS = Path(__file__).parents[2].parent / "shared" / "datasets"
REAL_ARCHIVES = SHARED_DATASETS / "MNIST" / "raw"
needs_real_archives = pytest.mark.skipif(
    not REAL_ARCHIVES.is_dir(), reason="the archives of MNIST lie not beside the repository, in ../shared/datasets"
)

# torchvision drops the answers of mirrors that have no such file, instead of closing them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Archives = dict[str, bytes]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Mirror:
    """A web server on this machine: where it is, and the files that were asked of it."""

    url: str
    requested: set[str]


Serve = Callable[..., Mirror]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download folder; no test reads or fills the user's own, and none is sent to a proxy."""
    home = tmp_path / "downloads"
    monkeypatch.setenv("VAE_DATA_HOME", str(home))
    monkeypatch.setenv("no_proxy", "*")
    return home


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, empty at first."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return scratch


@pytest.fixture(scope="module", autouse=True)
def dropped_answers() -> Iterator[None]:
    """Let what torchvision dropped be closed here, and not during another module's tests."""
    yield
    gc.collect()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start web servers for files by their names, each with an optional length that it declares of every file."""
    with ExitStack() as running:

        def start(files: Mapping[str, bytes], declared_length: int | None = None, speaks_http: bool = True) -> Mirror:
            requested: set[str] = set()

            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    name = self.path.lstrip("/")
                    requested.add(name)
                    if not speaks_http:
                        self.wfile.write(b"what do you want?\r\n\r\n")
                    elif name not in files:
                        self.send_error(404)
                    else:
                        self.send_response(200)
                        self.send_header("Content-Length", str(declared_length or len(files[name])))
                        self.end_headers()
                        self.wfile.write(files[name])

                def log_message(self, *_: Any) -> None:
                    pass

            class Server(ThreadingHTTPServer):
                def handle_error(self, *_: Any) -> None:
                    """torchvision first looks for redirections, and hangs up once the answer begins."""

            server = running.enter_context(Server(("127.0.0.1", 0), Handler))
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
            return Mirror(f"http://127.0.0.1:{server.server_port}/", requested)

        yield start


def idx(values: Pixels) -> bytes:
    """An array in the format of MNIST's archives: a magic number, the size of each dimension, the values."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


def small_images(count: int) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)


def small_labels(count: int) -> Pixels:
    return (np.arange(count) * 7 % 10).astype(np.uint8)


SMALL: Archives = {
    "train-images-idx3-ubyte.gz": idx(small_images(20)),
    "train-labels-idx1-ubyte.gz": idx(small_labels(20)),
    "t10k-images-idx3-ubyte.gz": idx(small_images(10)),
    "t10k-labels-idx1-ubyte.gz": idx(small_labels(10)),
}
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = SMALL


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def use_small(monkeypatch: pytest.MonkeyPatch, *mirrors: str, name: str = "MNIST") -> None:
    """Let torchvision expect the small archives, and look for them on these mirrors."""
    checksums = [(archive, md5(content)) for archive, content in SMALL.items()]
    source = getattr(torchvision.datasets, name)
    monkeypatch.setattr(source, "resources", checksums)
    monkeypatch.setattr(source, "mirrors", list(mirrors))


def fill(folder: Path, archives: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in archives.items():
        (folder / name).write_bytes(content)


def contents(folder: Path) -> Archives:
    """All files below a folder by their paths in it."""
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def in_raw(archives: Mapping[str, bytes], name: str = "MNIST") -> Archives:
    """Archives by their paths in the download folder."""
    return {f"{name}/raw/{archive}": content for archive, content in archives.items()}


def assert_small(splits: Splits) -> None:
    for data, count in ((splits.train, 20), (splits.test, 10)):
        assert data.images.dtype == torch.uint8
        assert data.labels.dtype == torch.int64
        assert np.array_equal(data.images.numpy(), small_images(count)[:, np.newaxis])
        assert np.array_equal(data.labels.numpy(), small_labels(count))


def rows(data: LabelledImages) -> list[tuple[int, ...]]:
    """Every image with its label, in a form to sort and compare."""
    flat = torch.cat([data.images.flatten(1).long(), data.labels.unsqueeze(1)], dim=1)
    return [tuple(row) for row in flat.tolist()]


def set_or_unset(monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(variable, raising=False)
    else:
        monkeypatch.setenv(variable, value)


class TestDataHome:
    def test_it_is_where_the_environment_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAE_DATA_HOME", "/mnt/images")
        monkeypatch.setenv("XDG_CACHE_HOME", "/mnt/cache")
        assert data_home() == Path("/mnt/images")

    @pytest.mark.parametrize("unset", [None, ""])
    def test_else_it_lies_in_the_cache_folder_that_the_environment_names(
        self, monkeypatch: pytest.MonkeyPatch, unset: str | None
    ) -> None:
        set_or_unset(monkeypatch, "VAE_DATA_HOME", unset)
        monkeypatch.setenv("XDG_CACHE_HOME", "/mnt/cache")
        assert data_home() == Path("/mnt/cache/vae")

    @pytest.mark.parametrize("unset", [None, ""])
    def test_else_it_lies_in_the_users_cache_folder(self, monkeypatch: pytest.MonkeyPatch, unset: str | None) -> None:
        monkeypatch.delenv("VAE_DATA_HOME")
        monkeypatch.setenv("HOME", "/mnt/user")
        set_or_unset(monkeypatch, "XDG_CACHE_HOME", unset)
        assert data_home() == Path("/mnt/user/.cache/vae")

    def test_a_tilde_is_the_users_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/mnt/user")
        monkeypatch.setenv("VAE_DATA_HOME", "~/images")
        assert data_home() == Path("/mnt/user/images")


class TestDigits:
    def test_training_and_test_images_are_all_digits_each_once(self) -> None:
        digits = load_digits()
        brightness = np.round(digits.data * 255 / 16)
        expected = [tuple(map(int, row)) for row in np.column_stack([brightness, digits.target])]
        splits = load_source("digits", 0)
        assert len(expected) == 1797
        assert sorted(rows(splits.train) + rows(splits.test)) == sorted(expected)

    def test_a_fifth_is_for_testing_and_shares_no_image_with_the_rest(self) -> None:
        splits = load_source("digits", 0)
        assert (len(splits.train), len(splits.test)) == (1438, 359)
        assert not set(rows(splits.train)) & set(rows(splits.test))

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_each_part_has_images_of_all_ten_classes(self, seed: int) -> None:
        for data in load_source("digits", seed):
            assert data.shape == (1, 8, 8)
            assert data.images.dtype == torch.uint8
            assert data.labels.dtype == torch.int64
            assert data.labels.unique().tolist() == list(range(10))
            assert data.class_names == tuple("0123456789")

    def test_its_17_grey_levels_spread_evenly_over_all_of_0_to_255(self) -> None:
        levels = load_source("digits", 0).train.images.unique().tolist()
        assert (len(levels), levels[0], levels[-1]) == (17, 0, 255)
        assert {above - below for below, above in pairwise(levels)} <= {15, 16}

    def test_the_split_repeats_for_its_seed_only(self) -> None:
        first, again, other = (load_source("digits", seed).test for seed in (3, 3, 4))
        assert rows(first) == rows(again)
        assert set(rows(first)) != set(rows(other))

    def test_the_split_is_no_piece_of_the_original_order(self) -> None:
        original = [tuple(row) for row in np.round(load_digits().data * 255 / 16).astype(int).tolist()]
        places = [original.index(row[:-1]) for row in rows(load_source("digits", 0).test)]
        assert max(places) - min(places) > 1500
        assert places != sorted(places)

    def test_nothing_is_downloaded_or_written(self, home: Path, scratch: Path) -> None:
        load_source("digits", 0)
        assert not home.exists()
        assert contents(scratch) == {}


class TestArchivesAtHand:
    @pytest.mark.parametrize(
        ("dataset", "name", "class_names"),
        [
            ("mnist", "MNIST", tuple("0123456789")),
            (
                "fashion_mnist",
                "FashionMNIST",
                (
                    "T-shirt/top",
                    "Trouser",
                    "Pullover",
                    "Dress",
                    "Coat",
                    "Sandal",
                    "Shirt",
                    "Sneaker",
                    "Bag",
                    "Ankle boot",
                ),
            ),
            ("kmnist", "KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
        ],
    )
    def test_they_are_read_without_a_network(
        self, monkeypatch: pytest.MonkeyPatch, home: Path, dataset: str, name: str, class_names: tuple[str, ...]
    ) -> None:
        use_small(monkeypatch, UNREACHABLE, name=name)
        fill(home / name / "raw", SMALL)
        splits = load_source(dataset, 0)
        assert_small(splits)
        assert splits.train.class_names == splits.test.class_names == class_names

    def test_nothing_is_written_beside_them_so_the_folder_may_be_read_only(
        self, monkeypatch: pytest.MonkeyPatch, home: Path, scratch: Path
    ) -> None:
        use_small(monkeypatch, UNREACHABLE)
        folder = home / "MNIST" / "raw"
        fill(folder, SMALL)
        for read_only in (home, folder.parent, folder):
            read_only.chmod(0o555)
        assert_small(load_source("mnist", 0))
        assert contents(home) == in_raw(SMALL)
        assert contents(scratch) == {}

    def test_the_folder_may_be_a_link_to_another(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        use_small(monkeypatch, UNREACHABLE)
        other = home.with_name("other")
        fill(other / "MNIST" / "raw", SMALL)
        home.symlink_to("other")
        assert_small(load_source("mnist", 0))
        assert contents(other) == in_raw(SMALL)

    def test_the_seed_changes_nothing_since_they_come_split(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        use_small(monkeypatch, UNREACHABLE)
        fill(home / "MNIST" / "raw", SMALL)
        assert_small(load_source("mnist", 1))


class TestDownloads:
    def test_missing_archives_are_downloaded_and_kept_and_nothing_else_is(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, scratch: Path
    ) -> None:
        use_small(monkeypatch, serve(SMALL).url)
        assert_small(load_source("mnist", 0))
        assert contents(home) == in_raw(SMALL)
        assert contents(scratch) == {}

    def test_what_was_downloaded_once_is_not_downloaded_again(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve
    ) -> None:
        mirror = serve(SMALL)
        use_small(monkeypatch, mirror.url)
        load_source("mnist", 0)
        mirror.requested.clear()
        assert_small(load_source("mnist", 0))
        assert not mirror.requested

    def test_only_what_is_missing_is_downloaded(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        mirror = serve(SMALL)
        use_small(monkeypatch, mirror.url)
        fill(home / "MNIST" / "raw", {name: SMALL[name] for name in (TRAIN_IMAGES, TEST_IMAGES)})
        assert_small(load_source("mnist", 0))
        assert mirror.requested == {TRAIN_LABELS, TEST_LABELS}
        assert contents(home) == in_raw(SMALL)

    def test_a_damaged_archive_is_replaced(self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path) -> None:
        mirror = serve(SMALL)
        use_small(monkeypatch, mirror.url)
        fill(home / "MNIST" / "raw", {**SMALL, TEST_LABELS: SMALL[TEST_LABELS][:-1]})
        assert_small(load_source("mnist", 0))
        assert mirror.requested == {TEST_LABELS}
        assert contents(home) == in_raw(SMALL)

    def test_a_folder_given_relative_to_the_current_one_will_do(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path
    ) -> None:
        use_small(monkeypatch, serve({TRAIN_IMAGES: SMALL[TRAIN_IMAGES]}).url, serve(SMALL).url)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("VAE_DATA_HOME", "relative")
        assert_small(load_source("mnist", 0))
        assert contents(tmp_path / "relative") == in_raw(SMALL)

    def test_a_folder_that_cannot_be_written_to_is_refused_with_its_path(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        use_small(monkeypatch, serve(SMALL).url)
        home.write_text("a file where a folder belongs")
        with pytest.raises(ArtifactError, match=re.escape(f"{home / 'MNIST' / 'raw' / TRAIN_IMAGES}: ")):
            load_source("mnist", 0)


def unreachable(_serve: Serve) -> Mirror:
    return Mirror(UNREACHABLE, set())


def empty(serve: Serve) -> Mirror:
    return serve({})


def garbage(serve: Serve) -> Mirror:
    return serve(dict.fromkeys(SMALL, b"<html>Please log in to this network.</html>"))


def swapped(serve: Serve) -> Mirror:
    return serve({**SMALL, TRAIN_IMAGES: SMALL[TEST_IMAGES]})


def broken_off(serve: Serve) -> Mirror:
    """Every file is said to be of full length, and half of it comes."""
    images = SMALL[TRAIN_IMAGES]
    return serve({**SMALL, TRAIN_IMAGES: images[: len(images) // 2]}, declared_length=len(images))


def foreign(serve: Serve) -> Mirror:
    return serve({}, speaks_http=False)


BAD_MIRRORS = [unreachable, empty, garbage, swapped, broken_off, foreign]


class TestBadMirrors:
    @pytest.mark.parametrize("bad", BAD_MIRRORS)
    def test_the_next_mirror_is_used(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, bad: Callable[[Serve], Mirror]
    ) -> None:
        use_small(monkeypatch, bad(serve).url, serve(SMALL).url)
        assert_small(load_source("mnist", 0))
        assert contents(home) == in_raw(SMALL)

    @pytest.mark.parametrize("bad", BAD_MIRRORS)
    def test_without_another_the_failure_is_told_and_nothing_is_left(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, scratch: Path, bad: Callable[[Serve], Mirror]
    ) -> None:
        url = bad(serve).url
        use_small(monkeypatch, url)
        with pytest.raises(DatasetError, match=re.escape(f"{url}: ")):
            load_source("mnist", 0)
        assert contents(home) == {}
        assert contents(scratch) == {}

    def test_a_mirror_that_stays_silent_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sources, "NETWORK_TIMEOUT_SECONDS", 0.05)
        before = socket.getdefaulttimeout()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            use_small(monkeypatch, url)
            start = monotonic()
            with pytest.raises(DatasetError, match=re.escape(f"{url}: ") + ".*timed out"):
                load_source("mnist", 0)
        assert monotonic() - start < 10
        assert socket.getdefaulttimeout() == before

    def test_whole_archives_of_a_mirror_that_fails_later_are_kept_for_the_next(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        first = {name: content for name, content in SMALL.items() if name != TEST_LABELS}
        second = serve(SMALL)
        use_small(monkeypatch, serve(first).url, second.url)
        assert_small(load_source("mnist", 0))
        assert second.requested == {TEST_LABELS}
        assert contents(home) == in_raw(SMALL)

    def test_whole_archives_are_kept_when_no_mirror_has_the_rest(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        some = {TRAIN_IMAGES: SMALL[TRAIN_IMAGES], TRAIN_LABELS: SMALL[TRAIN_LABELS]}
        use_small(monkeypatch, serve(some).url)
        with pytest.raises(DatasetError):
            load_source("mnist", 0)
        assert contents(home) == in_raw(some)

    def test_an_interruption_keeps_whole_archives_and_leaves_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, scratch: Path
    ) -> None:
        download = torchvision.datasets.utils.download_url

        def interrupted(url: str, *args: Any, **kwargs: Any) -> None:
            if url.endswith(TEST_IMAGES):
                raise KeyboardInterrupt
            download(url, *args, **kwargs)

        monkeypatch.setattr(torchvision.datasets.utils, "download_url", interrupted)
        use_small(monkeypatch, serve(SMALL).url, UNREACHABLE)
        with pytest.raises(KeyboardInterrupt):
            load_source("mnist", 0)
        assert contents(home) == in_raw({name: SMALL[name] for name in (TRAIN_IMAGES, TRAIN_LABELS)})
        assert contents(scratch) == {}


class TestWayOut:
    @pytest.fixture
    def message(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> str:
        """What is said about one damaged archive and three missing ones when no mirror answers."""
        use_small(monkeypatch, UNREACHABLE, "http://127.0.0.1:9/second/")
        fill(home / "MNIST" / "raw", {TEST_LABELS: b"damaged"})
        with pytest.raises(DatasetError) as caught:
            load_source("mnist", 0)
        return str(caught.value)

    def test_it_says_which_parameter_asked(self, message: str) -> None:
        assert message.startswith("prepare.dataset=mnist: ")

    def test_it_says_which_archive_is_damaged(self, message: str, home: Path) -> None:
        damaged = [line.strip() for line in message.splitlines() if "damaged" in line]
        assert damaged == [f"{home / 'MNIST' / 'raw' / TEST_LABELS}: damaged, its checksum is wrong"]

    @pytest.mark.parametrize("mirror", [UNREACHABLE, "http://127.0.0.1:9/second/"])
    def test_it_says_why_each_mirror_failed(self, message: str, mirror: str) -> None:
        assert re.search(rf"{re.escape(mirror)}: [\s\S]*Connection refused", message)

    def test_it_says_which_files_to_put_where(self, message: str, home: Path) -> None:
        assert f"put these files into {home / 'MNIST' / 'raw'} " in message
        for name, content in SMALL.items():
            assert f"{name}, MD5 {md5(content)}" in message

    def test_it_names_the_data_set_that_needs_no_download(self, message: str) -> None:
        assert "prepare.dataset=digits" in message


@needs_real_archives
class TestRealMnist:
    # Of the 10,000 test images, by digit; counted in the archive by zcat, od, sort and uniq.
    TEST_COUNTS = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)

    @staticmethod
    def archives() -> Archives:
        return {name: (REAL_ARCHIVES / name).read_bytes() for name in SMALL}

    def assert_complete(self, splits: Splits) -> None:
        assert splits.train.images.shape == (60_000, 1, 28, 28)
        assert splits.test.images.shape == (10_000, 1, 28, 28)
        assert splits.train.labels.shape == (60_000,)
        assert tuple(splits.test.labels.bincount().tolist()) == self.TEST_COUNTS

    def test_it_is_read_from_its_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [UNREACHABLE])
        monkeypatch.setenv("VAE_DATA_HOME", str(SHARED_DATASETS))
        before = sorted(SHARED_DATASETS.rglob("*"))
        self.assert_complete(load_source("mnist", 0))
        assert sorted(SHARED_DATASETS.rglob("*")) == before

    def test_it_is_downloaded(self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path) -> None:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [serve(self.archives()).url])
        self.assert_complete(load_source("mnist", 0))
        assert contents(home) == in_raw(self.archives())

    @pytest.mark.parametrize("place", [0, 1000, -1])
    def test_a_byte_that_changed_on_the_way_is_noticed(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, place: int
    ) -> None:
        images = bytearray(self.archives()[TRAIN_IMAGES])
        images[place] ^= 1
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [serve({TRAIN_IMAGES: bytes(images)}).url])
        with pytest.raises(DatasetError, match="corrupted"):
            load_source("mnist", 0)
        assert contents(home) == {}
