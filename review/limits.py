"""Which way a metric gets better, and by how much it may get worse: ``limits.yaml``."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vae.base.errors import VAEError
from vae.base.yaml12 import YAMLError, parse_yaml

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
        values = parse_yaml(path.read_bytes())
        return TypeAdapter(dict[str, Limit]).validate_python(values)
    except OSError as error:
        raise LimitsError(f"{path}: cannot be read: {error.strerror}; make limits writes it") from error
    except YAMLError as error:
        raise LimitsError(f"{path}: not valid YAML: {error}") from error
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
    found = _ending_with(asked, known)
    if len(found) > 1:
        raise LimitsError(f"{asked}: may be any of {', '.join(found)}; name one of them")
    if not found:
        raise LimitsError(f"{asked}: no such metric; {_suggestion(asked, known)}")
    return found[0]


def short_name(key: str, known: Mapping[str, object]) -> str:
    """The shortest end of a key that ``resolve`` takes for it."""
    parts = key.split(".")
    names = (".".join(parts[-count:]) for count in range(1, len(parts)))
    return next((name for name in names if _ending_with(name, known) == [key]), key)


def _ending_with(asked: str, known: Mapping[str, object]) -> list[str]:
    """The key itself, or else the shortest of those that end with it."""
    if asked in known:
        return [asked]
    fitting = [key for key in known if key.endswith(f".{asked}")]
    fewest = min((key.count(".") for key in fitting), default=0)
    return sorted(key for key in fitting if key.count(".") == fewest)


def _suggestion(asked: str, known: Mapping[str, object]) -> str:
    names = {end: key for key in known for end in (key, short_name(key, known))}
    close = dict.fromkeys(names[name] for name in get_close_matches(asked, names))
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "metrics/*.json and plots/*/measures.csv list those there are"
