"""YAML as a tree of values that know where they stand, so that an error can say it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, final

from tvbank.errors import UsageError, name_some

#: A recipe of more values is refused: aliases of aliases can make a few lines endless.
_MOST = 100_000
_DEEPEST = 40


@final
@dataclass(frozen=True)
class Node:
    """A value of a recipe.

    Attributes:
        value: a scalar, a list of nodes, or a mapping of names to nodes.
        source: what the recipe is called, for messages.
        path: keys that lead to it, as in ``models[0].parameters.weight``; empty at the top.
        line: of the source, from 1; 0 if it came from Python.
    """

    value: Any
    source: str
    path: str
    line: int

    @property
    def where(self) -> str:
        """For messages: source, line and path."""
        place = f"{self.source}, line {self.line}" if self.line else self.source
        return f"{place}: {self.path}" if self.path else place

    def error(self, problem: str) -> UsageError:
        """An error that says where the problem is."""
        return UsageError(f"{self.where}: {problem}")

    def members(self, known: Collection[str] | None = None) -> Mapping[str, Node]:
        """The nodes of a mapping by name.

        Raises:
            UsageError: it is none, or has a key that is not known.
        """
        if not isinstance(self.value, dict):
            raise self.error(f"must be a mapping of names to values, not {self.shown}")
        for key, node in self.value.items():
            if known is not None and key not in known:
                raise node.error(f"unknown key {key!r}; there are {', '.join(known)}")
        return self.value

    def items(self) -> list[Node]:
        """The nodes of a list.

        Raises:
            UsageError: it is no list, or empty.
        """
        if not isinstance(self.value, list):
            raise self.error(f"must be a list, not {self.shown}")
        if not self.value:
            raise self.error("the list is empty; leave the key out, or put something in")
        items: list[Node] = self.value
        return items

    def text(self) -> str:
        """A text that is not empty.

        Raises:
            UsageError: it is something else.
        """
        if not isinstance(self.value, str) or not self.value:
            raise self.error(f"must be a text, not {self.shown}")
        return self.value

    @property
    def shown(self) -> str:
        """The value for messages: what it is, if it is more than a scalar."""
        if isinstance(self.value, dict):
            return "a mapping"
        return "a list" if isinstance(self.value, list) else repr(self.value)


def from_yaml(text: str, source: str) -> Node:
    """Parse one YAML document with PyYAML's safe loader.

    Args:
        text: of the document.
        source: what it is called, for messages.

    Raises:
        UsageError: PyYAML is not installed; the text is no YAML; a key stands twice.
    """
    try:
        import yaml
    except ImportError as error:
        raise UsageError(
            "recipes are YAML, which needs PyYAML: pip install 'tvbank[yaml]'"
        ) from error
    loader = yaml.SafeLoader(text)
    try:
        tree = loader.get_single_node()
        if tree is None:
            raise UsageError(f"{source}: it is empty; a recipe has at least a merge_method")
        return _Builder(source, loader.construct_object, yaml).build(tree, "", 0)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{source}, line {mark.line + 1}" if mark else source
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{place}: not valid YAML ({problem}); correct it there") from error
    except (RecursionError, ValueError) as error:  # ValueError: dates that no calendar has
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{source}: not a recipe ({type(error).__name__}: {error})") from error
    finally:
        loader.dispose()


def from_python(value: Any, source: str, path: str = "", depth: int = 0) -> Node:
    """A tree of plain Python values: mappings, lists, scalars.

    Raises:
        UsageError: it is nested without end, or a key is no text.
    """
    node = Node(value, source, path, 0)
    if depth > _DEEPEST:
        raise node.error("nested too deep for a recipe")
    if isinstance(value, Mapping):
        if bad := [key for key in value if not isinstance(key, str)]:
            raise node.error(f"keys are texts, not {name_some(bad)}")
        members = {
            key: from_python(each, source, _joined(path, key), depth + 1)
            for key, each in value.items()
        }
        return Node(members, source, path, 0)
    if isinstance(value, list | tuple):
        items = [
            from_python(each, source, f"{path}[{n}]", depth + 1) for n, each in enumerate(value)
        ]
        return Node(items, source, path, 0)
    return node


class _Builder:
    """Makes nodes of PyYAML's, which know their lines; aliases are written out, within bounds."""

    def __init__(self, source: str, scalar: Any, yaml: Any) -> None:
        self._source, self._scalar, self._yaml = source, scalar, yaml
        self._left = _MOST

    def build(self, tree: Any, path: str, depth: int) -> Node:
        line = tree.start_mark.line + 1
        here = Node(None, self._source, path, line)
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise here.error("too many values, or nested too deep, for a recipe; see its aliases")
        if isinstance(tree, self._yaml.MappingNode):
            return Node(self._members(tree, path, depth), self._source, path, line)
        if isinstance(tree, self._yaml.SequenceNode):
            items = [self.build(t, f"{path}[{n}]", depth + 1) for n, t in enumerate(tree.value)]
            return Node(items, self._source, path, line)
        return Node(self._scalar(tree), self._source, path, line)

    def _members(self, tree: Any, path: str, depth: int) -> dict[str, Node]:
        members: dict[str, Node] = {}
        for key_tree, value_tree in tree.value:
            if key_tree.tag == "tag:yaml.org,2002:merge":
                here = Node(None, self._source, path, key_tree.start_mark.line + 1)
                raise here.error("'<<' is not supported; write the keys out")
            key = self.build(key_tree, path, depth + 1)
            if not isinstance(key.value, str):
                raise key.error(f"keys are texts, not {key.shown}")
            if key.value in members:
                first = members[key.value].line
                raise key.error(f"key {key.value!r} stands twice, first in line {first}; keep one")
            value = self.build(value_tree, _joined(path, key.value), depth + 1)
            members[key.value] = Node(value.value, self._source, value.path, key.line)
        return members


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
