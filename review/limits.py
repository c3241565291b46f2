"""Read ``limits.yaml``: the better direction of each metric, and by how much it may get worse."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vae.base.errors import VAEError
from vae.base.yaml12 import YAMLError, parse_yaml

LIMITS = Path("limits.yaml")
LIST_METRICS = "make metrics lists all of them"
SUGGESTIONS = 4  # metrics that an error message names, at most


class LimitsError(VAEError):
    """``limits.yaml`` cannot be read, or no revision has a metric."""


class Limit(BaseModel):
    """The limit of a metric.

    Attributes:
        better: the direction in which the metric gets better.
        max_worse: the largest worsening that passes, in the unit of the metric.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    better: Literal["lower", "higher"]
    max_worse: Annotated[float, Field(ge=0)]

    def worsening(self, before: float, after: float) -> float:
        """By how much the metric got worse; negative if it got better."""
        return after - before if self.better == "lower" else before - after


def load_limits(path: Path = LIMITS) -> dict[str, Limit]:
    """Load the limits by metric, e.g. ``evaluate.test.negative_elbo``.

    Raises:
        LimitsError: the file is missing, or is not a mapping of metrics to limits.
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
        raise LimitsError(
            f"{problems}\nExpected lines of the form METRIC: {{better: lower, max_worse: 0.5}}"
        ) from error


def resolve(asked: str, known: Mapping[str, object], where_to_look: str = LIST_METRICS) -> str:
    """The full key of a metric, given the end of it: ``evaluate.test.negative_elbo`` for ``negative_elbo``.

    If several keys end like this, the shortest is meant: ``recall`` is not ``generate.real.recall``.

    Args:
        asked: the end of a key, or all of it.
        known: the metrics to choose from.
        where_to_look: where a user finds the metrics to choose from, for the error message.

    Raises:
        LimitsError: no metric matches, or more than one does.
    """
    found = _ending_with(asked, known)
    if len(found) > 1:
        raise LimitsError(f"{asked}: matches {' and '.join(found)}; name one of them")
    if not found:
        suggestions = _similar(asked, known)
        question = f"did you mean {' or '.join(suggestions)}? " if suggestions else ""
        raise LimitsError(f"{asked}: no such metric; {question}{where_to_look}")
    return found[0]


def short_name(key: str, known: Mapping[str, object]) -> str:
    """The shortest end of a key that ``resolve`` maps back to the key."""
    parts = key.split(".")
    names = (".".join(parts[-count:]) for count in range(1, len(parts)))
    return next((name for name in names if _ending_with(name, known) == [key]), key)


def _ending_with(asked: str, known: Mapping[str, object]) -> list[str]:
    """The key itself if it is known, else the shortest keys that end with it."""
    if asked in known:
        return [asked]
    fitting = [key for key in known if key.endswith(f".{asked}")]
    fewest = min((key.count(".") for key in fitting), default=0)
    return sorted(key for key in fitting if key.count(".") == fewest)


def _similar(asked: str, known: Mapping[str, object]) -> list[str]:
    """A few keys that resemble a misspelt name, or contain it."""
    names = {end: key for key in known for end in (key, short_name(key, known))}
    close = [names[name] for name in get_close_matches(asked, names)]
    return list(dict.fromkeys([*close, *(key for key in known if asked in key)]))[:SUGGESTIONS]
