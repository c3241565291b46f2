"""Which way a metric gets better, and by how much it may get worse: ``limits.yaml``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml.error import YAMLError

from review.revisions import read_yaml
from vae.errors import VAEError

LIMITS = Path("limits.yaml")


class LimitsError(VAEError):
    """``limits.yaml`` cannot be read, or a metric is in none of the revisions."""


class Limit(BaseModel):
    """What is asked of a metric.

    Attributes:
        better: which way it gets better.
        max_worse: the largest change for the worse that is let through, in the metric's own unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    better: Literal["lower", "higher"]
    max_worse: Annotated[float, Field(ge=0)]

    def worsening(self, before: float, after: float) -> float:
        """By how much the metric got worse; below zero where it got better."""
        return after - before if self.better == "lower" else before - after


def load_limits(path: Path = LIMITS) -> dict[str, Limit]:
    """The limits by the metrics' keys, e.g. ``evaluate.test.negative_elbo``.

    Raises:
        LimitsError: the file is missing, or no mapping of metrics to limits.
    """
    try:
        values = read_yaml(path.read_text())
        return TypeAdapter(dict[str, Limit]).validate_python(values)
    except OSError as error:
        raise LimitsError(f"{path}: cannot be read: {error.strerror}; make limits writes it") from error
    except YAMLError as error:
        raise LimitsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "\n".join(
            f"{path}: {'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise LimitsError(f"{problems}\nA line looks like this: METRIC: {{better: lower, max_worse: 0.5}}") from error


def resolve(asked: str, known: Mapping[str, object]) -> str:
    """The full key of a metric by the end of it: ``negative_elbo`` for ``evaluate.test.negative_elbo``.

    Of several keys with that end the shortest is meant: ``recall`` is not ``generate.ceiling.recall``.

    Raises:
        LimitsError: no metric, or more than one, is called so.
    """
    if asked in known:
        return asked
    fitting = sorted((key for key in known if key.endswith(f".{asked}")), key=lambda key: key.count("."))
    nearest = [key for key in fitting if key.count(".") == fitting[0].count(".")]
    match nearest:
        case [key]:
            return key
        case []:
            raise LimitsError(f"METRIC={asked}: no such metric; known are {', '.join(sorted(known))}")
        case _:
            raise LimitsError(f"METRIC={asked}: may be any of {', '.join(nearest)}; name one of them")
