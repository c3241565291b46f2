"""Parse YAML by the core schema of YAML 1.2, as DVC does.

PyYAML follows YAML 1.1, where ``1e-3`` is a string, ``no`` is false, ``012`` is ten and ``1:30`` is ninety. DVC reads
``params.yaml`` as YAML 1.2, and so does this module. As in DVC, a duplicate key is an error.
"""

import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.nodes import MappingNode, ScalarNode

from vae.base.errors import VAEError

# https://yaml.org/spec/1.2.2/#103-core-schema: each type, its values, and the characters that they start with.
_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),  # not in the schema, but DVC supports merge keys
)


MOST_NODES = 100_000  # in a document, each counted as often as aliases repeat it


class YAMLError(VAEError):
    """A text is not YAML, or a mapping has a duplicate key.

    Attributes:
        problem: what is wrong.
        line: the line number, from 1; None if unknown.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(f"line {line}: {problem}" if line else problem)
        self.problem = problem
        self.line = line


class _Loader(yaml.SafeLoader):
    """PyYAML's loader with the scalars of the core schema, and a limit on what aliases expand to."""

    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self._count = 0
        self._sizes: dict[int, int] = {}  # the number of nodes that an anchor stands for

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # not in the stubs
        before = self._count
        node = super().compose_node(parent, index)
        assert node is not None
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise ComposerError(None, None, f"alias {event.anchor} is part of what it stands for", node.start_mark)
            self._count += self._sizes[id(node)]
        else:
            self._count += 1
            self._sizes[id(node)] = self._count - before
        if self._count > MOST_NODES:
            raise ComposerError(None, None, f"more than {MOST_NODES:,} values, counting aliases", node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        found = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                if (key.tag, key.value) in found:
                    raise ComposerError(None, None, f'duplicate key "{key.value}"', key.start_mark)
                found.add((key.tag, key.value))
        return node

    def construct_yaml_int(self, node: ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Loader.yaml_implicit_resolvers = {}  # in place of those of YAML 1.1
for _name, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def parse_yaml(content: str | bytes) -> Any:
    """Parse a YAML document into mappings, lists, strings, numbers, booleans and None.

    Raises:
        YAMLError: the content is not YAML, a mapping has a duplicate key, or the document is too large or too deep.
    """
    try:
        return yaml.load(content, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise YAMLError(str(error.problem or error.context), mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError) as error:
        raise YAMLError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise YAMLError("nested too deeply") from error
