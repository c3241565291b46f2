"""Split images at random, so that adding images moves none of the others."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence

from vae.data.listing import ImageFile

log = logging.getLogger(__name__)

TEST_FRACTION = 0.2


def assign_splits(
    files: Sequence[ImageFile], digests: Sequence[str], validation_fraction: float, seed: int
) -> list[str]:
    """The split of each image: the one that its folder or its metadata give, else one at random.

    Images with the same content or the same group are in the same split. A random split of such a set depends only on
    the seed and on the set's group, or on its content if it has no group. Where the given splits of a set differ, it
    belongs to test if one of them is test, else to validation: a model must not be tested on its training images. Where
    nothing is given as test, or as validation, a share of the other images is drawn.

    Args:
        files: the images that are used.
        digests: of their contents.
        validation_fraction: of the images that are not test images.
        seed: of the random split.

    Returns:
        train, validation or test for each image.
    """
    sets = _Sets()
    for file, digest in zip(files, digests, strict=True):
        sets.unite(f"content {digest}", f"group {file.group}" if file.group is not None else f"content {digest}")
    keys = [sets.representative(f"content {digest}") for digest in digests]
    given: dict[str, set[str | None]] = {}
    for key, file in zip(keys, files, strict=True):
        given.setdefault(key, set()).add(file.split)
    named = set().union(*given.values())

    def split(key: str) -> str:
        for kind in ("test", "validation"):
            if kind in given[key]:
                return kind
        if "train" in given[key] and None in named:  # then test and validation images are drawn from the others
            return "train"
        if "test" not in named and position(key, seed, "test split") < TEST_FRACTION:
            return "test"
        if "validation" not in named and position(key, seed, "validation split") < validation_fraction:
            return "validation"
        return "train"

    splits = [split(key) for key in keys]
    moved = Counter(
        (file.split, found)
        for file, key, found in zip(files, keys, splits, strict=True)
        if file.split not in (None, found) and found in given[key]
    )
    for (before, after), count in sorted(moved.items()):
        log.warning(
            "%s images given as %s are in %s, because images with the same content or group are", count, before, after
        )
    return splits


def position(key: str, seed: int, purpose: str) -> float:
    """A number in [0, 1) that depends on nothing but the arguments."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{key}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / 2**64


class _Sets:
    """Disjoint sets of names. The last of a set in alphabetical order represents it: a group, if there is one."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def representative(self, name: str) -> str:
        """The name that represents a name's set."""
        parents = self._parents
        parents.setdefault(name, name)
        while parents[name] != name:
            parents[name] = parents[parents[name]]  # shortens the way for the next search
            name = parents[name]
        return name

    def unite(self, one: str, other: str) -> None:
        """Unite the sets of two names."""
        first, last = sorted((self.representative(one), self.representative(other)))
        self._parents[first] = last
