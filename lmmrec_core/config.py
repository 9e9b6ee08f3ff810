"""Settings: YAML or command-line values → frozen, checked values.

All settings classes derive from :class:`Settings` (pydantic). An unknown key, a missing key or a value of the wrong
kind is refused with the place, the value seen and the nearest valid name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lmmrec_core.errors import ConfigError, unknown

YAML_LIMIT = 100_000  # values in one file; the largest track has some hundreds


class Settings(BaseModel):
    """Frozen settings; unknown keys are errors, defaults are checked like given values."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def build(cls, values: Mapping[str, Any], where: str = "settings") -> Self:
        """Check ``values`` against this class.

        Raises ConfigError naming ``where``, the key, the value seen and what is allowed.
        """
        for key in values:
            if key not in cls.model_fields:
                raise unknown("setting", key, cls.model_fields, where)
        try:
            return cls(**dict(values))
        except ValidationError as error:
            raise ConfigError(_explain(error, where)) from None


def _explain(error: ValidationError, where: str) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "(whole)"
        if problem["type"] == "missing":
            lines.append(f"{where}: setting {key!r} is missing; add it")
        elif problem["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown setting {key!r}; remove it")
        else:
            lines.append(f"{where}: {key} = {problem['input']!r} is not valid: {problem['msg']}")
    return "\n".join(lines)


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """``["reg_weight=0.1", "mode=reference"]`` as a mapping, values read as YAML.

    Raises ConfigError for an entry without ``=`` or with a value that YAML cannot read.
    """
    values: dict[str, Any] = {}
    for entry in assignments:
        key, separator, text = entry.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {entry!r} is not key=value; write for instance --set embedding_dim=32")
        try:
            values[key.strip()] = _number(parse_yaml(text))
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {entry!r}: the value is not YAML ({error})") from None
    return values


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, of plain kinds only.

    Aliases are followed, so a few lines can stand for billions of values. They are counted before any is made: raises
    YAMLError for more than ``YAML_LIMIT``, and for an alias that contains itself.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Values that a node stands for, itself included; ``known`` has those of nodes seen, 0 while they are counted."""
    if id(node) not in known:
        known[id(node)] = 0
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        known[id(node)] = 1 + sum(_count(child, known) for child in children)
    elif not known[id(node)]:
        raise yaml.YAMLError(f"line {node.start_mark.line + 1}: an alias contains itself; write it out")
    if known[id(node)] > YAML_LIMIT:
        raise yaml.YAMLError(f"its aliases stand for more than {YAML_LIMIT:,} values; write them out")
    return known[id(node)]


def _number(value: object) -> object:
    """A text such as 1e-3 as the number that people mean: YAML 1.1 leaves it a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError with the file, and the line if it is not YAML."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such settings file")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, saw {type(content).__name__}")
    return content
