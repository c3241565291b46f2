"""YAML 1.2, compared with ruamel.yaml, with which DVC reads ``params.yaml``."""

import math
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from vae.base.yaml12 import YAMLError, parse_yaml

ROOT = Path(__file__).parents[3]

# Plain scalars, and what they are by the core schema of YAML 1.2. PyYAML alone reads many of them differently.
SCALARS: dict[str, object] = {
    "1e-3": 0.001,
    "1e-05": 0.00001,
    "1e5": 100000.0,
    "1E5": 100000.0,
    "+1e3": 1000.0,
    "1.5e3": 1500.0,
    "1.e3": 1000.0,
    "1e+3": 1000.0,
    ".5": 0.5,
    "-.5": -0.5,
    ".5e-3": 0.0005,
    "5.": 5.0,
    "1e999": math.inf,
    ".inf": math.inf,
    "-.inf": -math.inf,
    "+.Inf": math.inf,
    ".nan": math.nan,
    ".NaN": math.nan,
    "0": 0,
    "-0": 0,
    "+12": 12,
    "012": 12,
    "089": 89,
    "0o17": 15,
    "0x1F": 31,
    "true": True,
    "True": True,
    "FALSE": False,
    "null": None,
    "~": None,
    "": None,
    "yes": "yes",
    "no": "no",
    "on": "on",
    "off": "off",
    "y": "y",
    "1:30": "1:30",
    "1:30.5": "1:30.5",
    "1e": "1e",
    ".e3": ".e3",
    "0x": "0x",
    "1.2.3": "1.2.3",
    "_1": "_1",
    "nan": "nan",
    "inf": "inf",
    "tRUE": "tRUE",
    "1 000": "1 000",
    "'1e3'": "1e3",
    '"null"': "null",
}
# What ruamel.yaml still reads by YAML 1.1. As strings, they are refused where a number is expected.
NOT_IN_THE_CORE_SCHEMA = ["1_000", "1_0.5", "0b11", "+0x1F", "2024-01-01", "2024-01-01T10:30:00Z"]


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalars_have_the_types_of_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    expected = repr({"key": value})  # tells 1 from True and 1.0, and NaN equals itself
    assert repr(parse_yaml(f"key: {text}\n")) == expected
    assert repr(YAML(typ="safe").load(f"key: {text}\n")) == expected, "DVC reads it differently"


@pytest.mark.parametrize("text", NOT_IN_THE_CORE_SCHEMA)
def test_scalars_outside_the_core_schema_are_strings(text: str) -> None:
    assert parse_yaml(f"key: {text}\n") == {"key": text}


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "limits.yaml", ".github/workflows/pull-request.yml"])
def test_the_files_of_the_project_are_read_as_dvc_reads_them(name: str) -> None:
    content = (ROOT / name).read_bytes()
    assert parse_yaml(content) == YAML(typ="safe").load(content)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, two, {b: 3e-1}]",
        "a:\n- 1\n-\n  - x\n",
        "a: &common {b: 1, c: 2}\nd: {<<: *common, c: 3}\n",
        "outer: {inner: &a {<<: &b {x: 1}, x: 2}}\nother: {<<: *a}\n",
        "a: |\n  1\n  2\n",
        "",
    ],
)
def test_collections_merges_and_blocks_are_read_as_dvc_reads_them(text: str) -> None:
    assert parse_yaml(text) == YAML(typ="safe").load(text)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a"),
        ("a:\n  b: 1\n  'b': 1\n", 3, "b"),
        ("a: {b: 1, b: 2}\n", 1, "b"),
        ("1: x\n1: y\n", 2, "1"),
    ],
)
def test_a_key_given_twice_is_an_error_with_its_line(text: str, line: int, key: str) -> None:
    with pytest.raises(YAMLError) as caught:
        parse_yaml(text)
    assert (caught.value.line, caught.value.problem) == (line, f'duplicate key "{key}"')
    assert str(caught.value) == f'line {line}: duplicate key "{key}"'


def nested_aliases(form: str) -> str:
    """Eleven anchors, each of which repeats the one before it ten times."""
    lines = (form.format(n=n, repeated=", ".join([f"*a{n - 1}"] * 10)) for n in range(1, 12))
    return "\n".join(["a0: &a0 {k: 1}", *lines])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (nested_aliases("a{n}: &a{n} [{repeated}]"), "more than 100,000 values, counting aliases"),
        (nested_aliases("a{n}: &a{n} {{<<: [{repeated}]}}"), "more than 100,000 values, counting aliases"),
        ("a: &a [*a]", "alias a is part of what it stands for"),
        ("[" * 100_000, "nested too deeply"),
        ("{a: " * 100_000, "nested too deeply"),
        ("a: " + "9" * 10_000, "Exceeds the limit"),
    ],
    ids=["aliases", "merge keys", "itself", "lists", "mappings", "digits"],
)
def test_a_text_that_stands_for_more_than_memory_holds_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(YAMLError, match=problem):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: 1\nb: [2\n", 3),
        ("a: 1\nb: c: 2\n", 2),
        ("a: *b\n", 1),
        ("a: !network 3\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("? [1]\n: 2\n", 1),
        ("a: !!int three\n", None),
        (b"a: \xe9\n", None),
        (b"\x00", None),
    ],
)
def test_what_is_no_yaml_is_an_error_of_one_line(content: str | bytes, line: int | None) -> None:
    with pytest.raises(YAMLError, match=re.compile(r"\A[^\n]+\Z")) as caught:
        parse_yaml(content)
    assert caught.value.line == line
