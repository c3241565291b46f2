"""Explain in plain words which parameters are invalid, and why."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vae.base.errors import VAEError, shortened
from vae.base.yaml12 import YAMLError, parse_yaml

M = TypeVar("M", bound=BaseModel)


def validated_file(path: Path, model: type[M], failure: type[VAEError]) -> M:
    """Read a YAML file and validate it.

    Raises:
        failure: the file is missing or not YAML, or something in it is unknown, missing, mistyped or out of range; the
            message has one line for each.
    """
    try:
        values = parse_yaml(path.read_bytes())
    except OSError as error:
        raise failure(f"{path}: cannot be read: {error.strerror}") from error
    except YAMLError as error:
        line = f", line {error.line}" if error.line else ""
        raise failure(f"{path}{line}: not valid YAML: {error.problem}") from error
    if not isinstance(values, dict):
        raise failure(f"{path}: expected the keys {', '.join(model.model_fields)}, found none")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise failure("\n".join(f"{path}: {line}" for line in explanations(error, model))) from error


def explanations(error: ValidationError, sections: type[BaseModel]) -> list[str]:
    """One line for each parameter. Where it allows several types, the errors for each type are merged into one line."""
    first: dict[str, str] = {}
    for detail in error.errors():
        alternative = len(detail["loc"]) > 2 and not isinstance(detail["loc"][2], int)  # a type's name, no list index
        key = ".".join(str(part) for part in detail["loc"][: 2 if alternative else None])
        words = _explain(key, detail, sections)
        if key in first:
            expected = words.removeprefix(f"{key}: expected ").split(", got ")[0]
            words = first[key].replace(", got ", f", or {expected}, got ")
        first[key] = words
    return list(first.values())


_PLAIN_WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid tuple": "a list",
    "a valid string": "a text",
    "String should have at least 1 character": "a text",
    "greater than": "a number greater than",
    "less than": "a number less than",
}


def _explain(key: str, error: ErrorDetails, sections: type[BaseModel]) -> str:
    """One line about one parameter: its key, what is wrong, and how to fix it."""
    match error["type"]:
        case "missing":
            return f"{key}: missing; add it"
        case "extra_forbidden":
            return f"{key}: unknown key; {_suggest(error['loc'], sections)}"
        case "invalid_key":
            return f"{key}: names must be strings, not {error['input']!r}"
        case "model_type":
            return f"{key}: expected a section with parameters, got {described(error['input'])}"
        case "value_error":  # incompatible parameters; the message names them
            return str(error["ctx"]["error"])
        case _:
            expected = error["msg"].removeprefix("Input should be ")
            for pydantic_words, plain_words in _PLAIN_WORDS.items():
                expected = expected.replace(pydantic_words, plain_words)
            return f"{key}: expected {expected}, got {described(error['input'])}"


def _suggest(location: tuple[int | str, ...], section: type[BaseModel]) -> str:
    """The name that was meant, or all that a section has."""
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation  # type: ignore[assignment]  # sections nest sections only
    close = get_close_matches(str(location[-1]), section.model_fields, n=1)
    return f"did you mean {close[0]}?" if close else f"valid names: {', '.join(section.model_fields)}"


def described(value: Any) -> str:
    """A value in words, for a message."""
    text = shortened(repr(value))
    return f"the string {text}" if isinstance(value, str) else "nothing" if value is None else text
