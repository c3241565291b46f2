"""Revisions for tests with only the values that matter."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from review.revisions import Judgement, Revision, Value


class NoFiles:
    """The files of a revision without any files."""

    @staticmethod
    def read_bytes(path: str) -> bytes:
        raise FileNotFoundError(path)

    @staticmethod
    def find(path: str) -> list[str]:  # noqa: ARG004
        return []


class Files(NamedTuple):
    """The files of a revision, by path."""

    contents: Mapping[str, str]

    def read_bytes(self, path: str) -> bytes:
        if path not in self.contents:
            raise FileNotFoundError(path)
        return self.contents[path].encode()

    def find(self, path: str) -> list[str]:
        return [name for name in self.contents if name == path or name.startswith(f"{path}/")]


def revision(
    name: str = "main",
    parameters: dict[str, Value] | None = None,
    metrics: dict[str, Value] | None = None,
    verdicts: dict[str, str] | None = None,
    errors: dict[str, float] | None = None,
    files: Mapping[str, str] | None = None,
) -> Revision:
    """A revision with values, and with the contents of files if they matter."""
    judged = {key: Judgement(level) for key, level in (verdicts or {}).items()}
    return Revision(name, parameters or {}, metrics or {}, judged, Files(files) if files else NoFiles(), errors or {})


def with_groups(
    name: str, metrics: dict[str, Value], means: Sequence[float], images: int = 10, test_images: str = "1a2b"
) -> Revision:
    """A revision with group means of ``evaluate.test.negative_elbo``, and standard errors of 0.5.

    Args:
        name: name of the revision.
        metrics: its metrics.
        means: mean of each group.
        images: number of images in each group.
        test_images: hash of the test images.
    """
    rows = [f"{group},{images},{mean}" for group, mean in enumerate(means)]
    output = f"{{path: data/prepared/test.safetensors, hash: md5, md5: {test_images}}}"
    files = {
        "data/group_means/evaluate.csv": "\n".join(["group,images,test.negative_elbo", *rows, ""]),
        "dvc.lock": f"stages: {{prepare: {{cmd: python, outs: [{output}]}}}}",
    }
    return revision(name, metrics=metrics, errors=dict.fromkeys(metrics, 0.5), files=files)
