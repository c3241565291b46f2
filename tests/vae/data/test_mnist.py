import gc
import gzip
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets

from tests.vae.data.archives import SMALL, Archives, contents, fill, in_raw, md5, small_images, small_labels
from vae.base.artifacts import ArtifactError
from vae.data import mnist
from vae.data.images import DatasetError, Splits
from vae.data.mnist import data_home

UNREACHABLE = "http://127.0.0.1:9/"  # the discard service, which no machine runs any more

SHARED_DATASETS = Path(__file__).parents[3].parent / "shared" / "datasets"
REAL_ARCHIVES = SHARED_DATASETS / "MNIST" / "raw"
needs_real_archives = pytest.mark.skipif(
    not REAL_ARCHIVES.is_dir(), reason="there are no MNIST archives in ../shared/datasets, beside the repository"
)

# torchvision does not close the connections to mirrors that lack a file.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = SMALL


@dataclass(frozen=True)
class Mirror:
    """A local web server: its address, and the files that were requested from it."""

    url: str
    requested: set[str]


Serve = Callable[..., Mirror]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download folder, so that no test touches the user's own; and no proxy."""
    home = tmp_path / "downloads"
    monkeypatch.setenv("VAE_DATA_HOME", str(home))
    monkeypatch.setenv("no_proxy", "*")
    return home


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return scratch


@pytest.fixture(scope="module", autouse=True)
def dropped_answers() -> Iterator[None]:
    """Close the connections that torchvision left open here, instead of during another module's tests."""
    yield
    gc.collect()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start web servers for files by name, each with an optional length to declare for every file."""
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
                    """torchvision first checks for redirects, and closes the connection when the answer begins."""

            server = running.enter_context(Server(("127.0.0.1", 0), Handler))
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
            return Mirror(f"http://127.0.0.1:{server.server_port}/", requested)

        yield start


def use_small(monkeypatch: pytest.MonkeyPatch, *mirrors: str, name: str = "MNIST") -> None:
    """Make torchvision expect the small archives, and look for them on these mirrors."""
    checksums = [(archive, md5(content)) for archive, content in SMALL.items()]
    source = getattr(torchvision.datasets, name)
    monkeypatch.setattr(source, "resources", checksums)
    monkeypatch.setattr(source, "mirrors", list(mirrors))


def assert_small(splits: Splits) -> None:
    for data, count in ((splits.train, 20), (splits.test, 10)):
        assert data.images.dtype == torch.uint8
        assert data.labels.dtype == torch.int64
        assert np.array_equal(data.images.numpy(), small_images(count)[:, np.newaxis])
        assert np.array_equal(data.labels.numpy(), small_labels(count))


def set_or_unset(monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(variable, raising=False)
    else:
        monkeypatch.setenv(variable, value)


class TestDataHome:
    def test_data_home_is_the_folder_that_vae_data_home_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAE_DATA_HOME", "/mnt/images")
        monkeypatch.setenv("XDG_CACHE_HOME", "/mnt/cache")
        assert data_home() == Path("/mnt/images")

    @pytest.mark.parametrize("unset", [None, ""])
    def test_data_home_without_vae_data_home_lies_in_xdg_cache_home(
        self, monkeypatch: pytest.MonkeyPatch, unset: str | None
    ) -> None:
        set_or_unset(monkeypatch, "VAE_DATA_HOME", unset)
        monkeypatch.setenv("XDG_CACHE_HOME", "/mnt/cache")
        assert data_home() == Path("/mnt/cache/vae")

    @pytest.mark.parametrize("unset", [None, ""])
    def test_data_home_without_any_variable_lies_in_the_users_cache_folder(
        self, monkeypatch: pytest.MonkeyPatch, unset: str | None
    ) -> None:
        monkeypatch.delenv("VAE_DATA_HOME")
        monkeypatch.setenv("HOME", "/mnt/user")
        set_or_unset(monkeypatch, "XDG_CACHE_HOME", unset)
        assert data_home() == Path("/mnt/user/.cache/vae")

    def test_data_home_expands_a_tilde_to_the_users_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/mnt/user")
        monkeypatch.setenv("VAE_DATA_HOME", "~/images")
        assert data_home() == Path("/mnt/user/images")


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
    def test_archives_in_the_download_folder_are_read_without_a_network(
        self, monkeypatch: pytest.MonkeyPatch, home: Path, dataset: str, name: str, class_names: tuple[str, ...]
    ) -> None:
        use_small(monkeypatch, UNREACHABLE, name=name)
        fill(home / name / "raw", SMALL)
        splits = mnist.load(dataset)
        assert_small(splits)
        assert splits.train.class_names == splits.test.class_names == class_names

    def test_a_read_only_download_folder_with_all_archives_is_read_and_nothing_is_written(
        self, monkeypatch: pytest.MonkeyPatch, home: Path, scratch: Path
    ) -> None:
        use_small(monkeypatch, UNREACHABLE)
        folder = home / "MNIST" / "raw"
        fill(folder, SMALL)
        for read_only in (home, folder.parent, folder):
            read_only.chmod(0o555)
        assert_small(mnist.load("mnist"))
        assert contents(home) == in_raw(SMALL)
        assert contents(scratch) == {}

    def test_the_download_folder_may_be_a_symbolic_link(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        use_small(monkeypatch, UNREACHABLE)
        other = home.with_name("other")
        fill(other / "MNIST" / "raw", SMALL)
        home.symlink_to("other")
        assert_small(mnist.load("mnist"))
        assert contents(other) == in_raw(SMALL)


class TestDownloads:
    def test_missing_archives_are_downloaded_and_nothing_else_is_kept(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, scratch: Path
    ) -> None:
        use_small(monkeypatch, serve(SMALL).url)
        assert_small(mnist.load("mnist"))
        assert contents(home) == in_raw(SMALL)
        assert contents(scratch) == {}

    def test_downloaded_archives_are_not_downloaded_again(self, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
        mirror = serve(SMALL)
        use_small(monkeypatch, mirror.url)
        mnist.load("mnist")
        mirror.requested.clear()
        assert_small(mnist.load("mnist"))
        assert not mirror.requested

    def test_only_missing_archives_are_downloaded(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        mirror = serve(SMALL)
        use_small(monkeypatch, mirror.url)
        fill(home / "MNIST" / "raw", {name: SMALL[name] for name in (TRAIN_IMAGES, TEST_IMAGES)})
        assert_small(mnist.load("mnist"))
        assert mirror.requested == {TRAIN_LABELS, TEST_LABELS}
        assert contents(home) == in_raw(SMALL)

    def test_a_damaged_archive_is_downloaded_again_and_replaced(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        mirror = serve(SMALL)
        use_small(monkeypatch, mirror.url)
        fill(home / "MNIST" / "raw", {**SMALL, TEST_LABELS: SMALL[TEST_LABELS][:-1]})
        assert_small(mnist.load("mnist"))
        assert mirror.requested == {TEST_LABELS}
        assert contents(home) == in_raw(SMALL)

    def test_a_relative_download_folder_is_resolved_against_the_current_folder(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path
    ) -> None:
        use_small(monkeypatch, serve({TRAIN_IMAGES: SMALL[TRAIN_IMAGES]}).url, serve(SMALL).url)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("VAE_DATA_HOME", "relative")
        assert_small(mnist.load("mnist"))
        assert contents(tmp_path / "relative") == in_raw(SMALL)

    def test_a_download_folder_that_cannot_be_written_is_refused_with_the_path(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        use_small(monkeypatch, serve(SMALL).url)
        home.write_text("a file where a folder belongs")
        with pytest.raises(ArtifactError, match=re.escape(f"{home / 'MNIST' / 'raw' / TRAIN_IMAGES}: ")):
            mnist.load("mnist")


def unreachable(_serve: Serve) -> Mirror:
    return Mirror(UNREACHABLE, set())


def empty(serve: Serve) -> Mirror:
    return serve({})


def garbage(serve: Serve) -> Mirror:
    return serve(dict.fromkeys(SMALL, b"<html>Please log in to this network.</html>"))


def swapped(serve: Serve) -> Mirror:
    return serve({**SMALL, TRAIN_IMAGES: SMALL[TEST_IMAGES]})


def broken_off(serve: Serve) -> Mirror:
    """A mirror that declares the full length of the images and sends half of them."""
    images = SMALL[TRAIN_IMAGES]
    return serve({**SMALL, TRAIN_IMAGES: images[: len(images) // 2]}, declared_length=len(images))


def foreign(serve: Serve) -> Mirror:
    return serve({}, speaks_http=False)


BAD_MIRRORS = [unreachable, empty, garbage, swapped, broken_off, foreign]


class TestBadMirrors:
    @pytest.mark.parametrize("bad", BAD_MIRRORS)
    def test_the_next_mirror_is_used_where_one_fails(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, bad: Callable[[Serve], Mirror]
    ) -> None:
        use_small(monkeypatch, bad(serve).url, serve(SMALL).url)
        assert_small(mnist.load("mnist"))
        assert contents(home) == in_raw(SMALL)

    @pytest.mark.parametrize("bad", BAD_MIRRORS)
    def test_a_failing_last_mirror_is_an_error_with_its_address_and_leaves_no_file(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, scratch: Path, bad: Callable[[Serve], Mirror]
    ) -> None:
        url = bad(serve).url
        use_small(monkeypatch, url)
        with pytest.raises(DatasetError, match=re.escape(f"{url}: ")):
            mnist.load("mnist")
        assert contents(home) == {}
        assert contents(scratch) == {}

    def test_a_mirror_that_never_answers_times_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mnist, "NETWORK_TIMEOUT_SECONDS", 0.05)
        before = socket.getdefaulttimeout()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            use_small(monkeypatch, url)
            start = monotonic()
            with pytest.raises(DatasetError, match=re.escape(f"{url}: ") + ".*timed out"):
                mnist.load("mnist")
        assert monotonic() - start < 10
        assert socket.getdefaulttimeout() == before

    def test_complete_archives_of_a_mirror_that_fails_later_are_not_downloaded_again_from_the_next(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        first = {name: content for name, content in SMALL.items() if name != TEST_LABELS}
        second = serve(SMALL)
        use_small(monkeypatch, serve(first).url, second.url)
        assert_small(mnist.load("mnist"))
        assert second.requested == {TEST_LABELS}
        assert contents(home) == in_raw(SMALL)

    def test_complete_archives_are_kept_where_no_mirror_has_the_rest(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        some = {TRAIN_IMAGES: SMALL[TRAIN_IMAGES], TRAIN_LABELS: SMALL[TRAIN_LABELS]}
        use_small(monkeypatch, serve(some).url)
        with pytest.raises(DatasetError):
            mnist.load("mnist")
        assert contents(home) == in_raw(some)

    def test_an_interrupted_download_keeps_complete_archives_and_leaves_no_other_file(
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
            mnist.load("mnist")
        assert contents(home) == in_raw({name: SMALL[name] for name in (TRAIN_IMAGES, TRAIN_LABELS)})
        assert contents(scratch) == {}

    def test_an_archive_with_another_checksum_is_never_decompressed_whatever_it_contains(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        """A bomb in the download folder, and one on the mirror: a header of terabytes, and zeros."""
        header = bytes([0, 0, 8, 3]) + b"\xff" * 12
        bomb = gzip.compress(header + bytes(2**26), compresslevel=1)
        openers: dict[str, Callable[..., Any]] = torchvision.datasets.utils._COMPRESSED_FILE_OPENERS
        opened = []

        def noted(path: str, mode: str) -> Any:
            opened.append(Path(path).name)
            return gzip.open(path, mode)

        monkeypatch.setitem(openers, ".gz", noted)
        use_small(monkeypatch, serve({**SMALL, TEST_IMAGES: bomb}).url)
        fill(home / "MNIST" / "raw", {TRAIN_IMAGES: bomb})
        with pytest.raises(DatasetError, match=f"{TRAIN_IMAGES}: damaged, its checksum is wrong"):
            mnist.load("mnist")
        assert opened == [TRAIN_IMAGES, TRAIN_LABELS]  # those that the mirror had in order


class TestErrorMessage:
    @pytest.fixture
    def message(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> str:
        """The error for one damaged archive and three missing ones where no mirror answers."""
        use_small(monkeypatch, UNREACHABLE, "http://127.0.0.1:9/second/")
        fill(home / "MNIST" / "raw", {TEST_LABELS: b"damaged"})
        with pytest.raises(DatasetError) as caught:
            mnist.load("mnist")
        return str(caught.value)

    def test_the_error_starts_with_the_parameter_that_names_the_data_set(self, message: str) -> None:
        assert message.startswith("prepare.dataset=mnist: ")

    def test_the_error_names_the_damaged_archive(self, message: str, home: Path) -> None:
        damaged = [line.strip() for line in message.splitlines() if "damaged" in line]
        assert damaged == [f"{home / 'MNIST' / 'raw' / TEST_LABELS}: damaged, its checksum is wrong"]

    @pytest.mark.parametrize("mirror", [UNREACHABLE, "http://127.0.0.1:9/second/"])
    def test_the_error_says_why_each_mirror_failed(self, message: str, mirror: str) -> None:
        assert re.search(rf"{re.escape(mirror)}: [\s\S]*Connection refused", message)

    def test_the_error_says_which_files_to_put_where_with_their_checksums(self, message: str, home: Path) -> None:
        assert f"put these files into {home / 'MNIST' / 'raw'} " in message
        for name, content in SMALL.items():
            assert f"{name}, MD5 {md5(content)}" in message

    def test_the_error_names_the_data_set_that_needs_no_download(self, message: str) -> None:
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

    def test_real_mnist_is_read_from_its_folder_without_changing_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [UNREACHABLE])
        monkeypatch.setenv("VAE_DATA_HOME", str(SHARED_DATASETS))
        before = sorted(SHARED_DATASETS.rglob("*"))
        self.assert_complete(mnist.load("mnist"))
        assert sorted(SHARED_DATASETS.rglob("*")) == before

    def test_real_mnist_is_downloaded_from_a_mirror(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path
    ) -> None:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [serve(self.archives()).url])
        self.assert_complete(mnist.load("mnist"))
        assert contents(home) == in_raw(self.archives())

    @pytest.mark.parametrize("place", [0, 1000, -1])
    def test_a_single_changed_bit_of_real_mnist_is_detected(
        self, monkeypatch: pytest.MonkeyPatch, serve: Serve, home: Path, place: int
    ) -> None:
        images = bytearray(self.archives()[TRAIN_IMAGES])
        images[place] ^= 1
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [serve({TRAIN_IMAGES: bytes(images)}).url])
        with pytest.raises(DatasetError, match="corrupted"):
            mnist.load("mnist")
        assert contents(home) == {}
