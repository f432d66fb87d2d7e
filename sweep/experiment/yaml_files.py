"""YAML as it is written: every scalar stays the text that stands in the file, and what it is, its field decides.

YAML's own guesses turn `no` into False, `2024_05` into 202405 and `5e-3` into text. Here only an empty value, `~` and
an unquoted `null` mean nothing; quoted they are text, too.
"""

import codecs
import re
from collections.abc import Iterator, Mapping

import yaml

from xpe_core.errors import InputError

Tree = str | None | list["Tree"] | dict[str, "Tree"]
"""What a YAML file holds, with scalars as text."""
TAG = "tag:yaml.org,2002:"
SCALAR_TAGS = tuple(TAG + name for name in ("str", "int", "float", "bool", "timestamp"))
MERGE = TAG + "merge"
ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""By the byte order mark that a file begins with; the longer ones first."""
MAX_VALUES = 100_000
"""Values that a file may hold, those of its aliases counted each time."""
REASONS = {
    "mapping values are not allowed here": "this key stands further in than those above it, or a text with ': ' in it "
    "has no quotes",
    "could not find expected ':'": "a key without its colon, or a text over several lines without quotes",
    "found unexpected end of stream": "quotes that are not closed",
    "expected <block end>, but found '<block mapping start>'": "this key stands further in or out than those above it",
    "expected <block end>, but found '<scalar>'": "text stands behind the end of a value in quotes",
    "expected ',' or '}', but got '<stream end>'": "a bracket { that is not closed",
    "expected ',' or ']', but got '<stream end>'": "a bracket [ that is not closed",
}
"""What PyYAML's words mean to a person; others are passed on."""


class _Loader(yaml.SafeLoader):
    """Resolves nothing but an empty value and a merge key."""

    yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Puts in quotes what _Loader would take for no text, and nothing else."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


_Loader.add_implicit_resolver(TAG + "null", re.compile("^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(MERGE, re.compile("^<<$"), ["<"])


def read_mapping(content: bytes, where: str, holds: str) -> tuple[dict[str, Tree], dict[str, int]]:
    """Return what a YAML file holds, keys and scalars as they are written, and the line of each key and list's value.

    Lines are found by their paths (`space.learning_rate.choice[1]`). `where` names the file in an InputError, and
    `holds` says what keys are meant. InputError, with the line, for what is no YAML, a key that stands twice, a tag,
    and anything but one mapping.
    """
    nodes = [node for node in _compose(_decode(content, where), where) if node.tag != TAG + "null"]
    if not nodes:
        raise InputError(f"{where} is empty: it must hold keys such as {holds}")
    if len(nodes) > 1:
        raise InputError(f"{where}: line {_line(nodes[1])} begins a second document; a file holds one")
    if not isinstance(nodes[0], yaml.MappingNode):
        what = "a list" if isinstance(nodes[0], yaml.SequenceNode) else "text"
        raise InputError(f"{where}: line {_line(nodes[0])}: must hold keys such as {holds}, not {what}")
    builder = _Builder(where)
    tree = builder.build(nodes[0], "")
    assert isinstance(tree, dict)
    return tree, builder.lines


def read_flow(text: str, where: str) -> Tree:
    """Return a list `[a, b]` or a mapping `{a: b}` out of one line, with scalars as they are written."""
    nodes = list(_compose(text, where))
    return _Builder(where).build(nodes[0], "") if nodes else None


def check_keys(text: str, where: str) -> None:
    """Raise InputError where a key stands twice in a mapping of a YAML file; what is no YAML is left to its reader."""
    try:
        nodes = list(_compose(text, where))
    except InputError:
        return
    for node in nodes:
        _check_keys(node, where, "", set())


class _Builder:
    """Makes nodes into values, aliases anew each time."""

    def __init__(self, where: str) -> None:
        self.lines: dict[str, int] = {}
        self._where = where
        self._open: list[yaml.Node] = []
        self._count = 0

    def build(self, node: yaml.Node, path: str) -> Tree:
        """Return a node's value; `path` is the keys down to it."""
        self._count += 1
        if self._count > MAX_VALUES:
            raise InputError(f"{self._where}: holds more than {MAX_VALUES:,} values, those of its aliases included")
        if node in self._open:
            raise InputError(f"{self._where}: line {_line(node)}: {path or 'the file'} holds itself, by an alias")
        self._open.append(node)
        self.lines[path] = _line(node)
        try:
            return self._build(node, path)
        finally:
            self._open.pop()

    def _build(self, node: yaml.Node, path: str) -> Tree:
        if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
            values = self._merged(node, path)
            for key, value in _own_keys(node, self._where, path).items():
                values[key] = self.build(value, f"{path}.{key}" if path else key)
            return values
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            return [self.build(one, f"{path}[{place}]") for place, one in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag == TAG + "null":
            return None
        if isinstance(node, yaml.ScalarNode) and node.tag in SCALAR_TAGS:
            return str(node.value)
        tag = node.tag.replace(TAG, "!!")
        raise InputError(f"{self._where}: line {_line(node)}: {path} has the tag {tag}: leave it out")

    def _merged(self, node: yaml.MappingNode, path: str) -> dict[str, Tree]:
        """Return what the merge keys of a mapping bring, of several the first one's values before the others'."""
        values: dict[str, Tree] = {}
        for key, value in node.value:
            if key.tag != MERGE:
                continue
            for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                brought = self.build(one, path)
                if not isinstance(brought, dict):
                    raise InputError(f"{self._where}: line {_line(key)}: << takes an alias of keys, such as <<: *name")
                values = {**brought, **values}
        return values


def _own_keys(node: yaml.MappingNode, where: str, path: str) -> dict[str, yaml.Node]:
    """Return a mapping's keys with their nodes, without merge keys; InputError for one that stands twice."""
    lines: dict[str, int] = {}
    nodes: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if key.tag == MERGE:
            continue
        if not isinstance(key, yaml.ScalarNode) or (key.tag == TAG + "null" and not key.value):
            raise InputError(f"{where}: line {_line(key)}: a key must be one word, not a list, keys, or nothing")
        name = str(key.value)
        if key.style is None and name != name.strip():
            raise InputError(f"{where}: line {_line(key)} begins with {name[0]!r}: indent with ordinary spaces")
        if name in nodes:
            full, places = f"{path}.{name}" if path else name, f"{lines[name]} and {_line(key)}"
            same = lines[name] == _line(key)
            raise InputError(
                f"{where}: {full} stands twice, in line{f' {_line(key)}' if same else f's {places}'}: leave one out"
            )
        nodes[name], lines[name] = value, _line(key)
    return nodes


def _check_keys(node: yaml.Node, where: str, path: str, seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in _own_keys(node, where, path).items():
            _check_keys(value, where, f"{path}.{key}" if path else key, seen)
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            _check_keys(value, where, f"{path}[{place}]", seen)


def _decode(content: bytes, where: str) -> str:
    """Return a file's text: UTF-8, or what its byte order mark says."""
    encoding = next((name for mark, name in ENCODINGS.items() if content.startswith(mark)), "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise InputError(f"{where} begins as {encoding.upper()} and is none: save it as UTF-8") from None
        line = content[: error.start].count(b"\n") + 1
        byte = f"0x{content[error.start]:02X}"
        raise InputError(f"{where}: line {line} is not UTF-8 (byte {byte}): save the file as UTF-8") from None


def _compose(text: str, where: str) -> Iterator[yaml.Node]:
    """Yield a text's documents; InputError, with the line, where it is no YAML."""
    try:
        loader = _Loader(text)
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                yield node
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise InputError(f"{where}: line {line} holds a character that no text has (U+{error.character:04X})") from None
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{where} is not YAML: {_explain(error, text)}") from None
    except RecursionError:
        raise InputError(f"{where} is not YAML: its brackets lie too deep in one another") from None


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines() or [""]
    number = min(mark.line, len(lines) - 1) if mark else 0
    if "\t" in lines[number][: len(lines[number]) - len(lines[number].lstrip())]:
        return f"line {number + 1} begins with a tab: indent with spaces"
    problem = " ".join((error.problem or str(error)).split())
    return f"line {number + 1}: {REASONS.get(problem, problem)}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def text_of(values: Mapping[str, object]) -> str:
    """Return YAML that `read_mapping` reads back as the same texts."""
    return str(yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True))
