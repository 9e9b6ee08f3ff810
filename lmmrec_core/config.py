"""Settings: YAML or command-line values → frozen, checked values.

All settings classes derive from :class:`Settings` (pydantic). An unknown key, a missing key or a value of the wrong
kind is refused with the place, the value seen and the nearest valid name.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from lmmrec_core.disk import read_regular
from lmmrec_core.errors import ConfigError, nearest, unknown
from lmmrec_core.names import LONGEST_NAME, PLAIN_NAME

_LARGEST = 2**63 - 1  # whole numbers beyond do not fit a tensor or a file
YAML_LIMIT = 100_000  # values in one file, all aliases followed; the largest track has some hundreds
_DEEPEST = 40  # levels of lists and mappings
_LONGEST_FILE = 1 << 20  # bytes
_SHOWN = 80  # characters of a value in a message


def _plain(value: str) -> str:
    if not re.fullmatch(PLAIN_NAME, value) or len(value) > LONGEST_NAME:
        raise ValueError(
            "it becomes part of a folder's name; begin with a letter or digit, and use letters, digits and . _ + -, "
            f"{LONGEST_NAME} at most"
        )
    return value


PlainName = Annotated[str, AfterValidator(_plain)]  # names a folder


class Settings(BaseModel):
    """Frozen settings; unknown keys are errors, defaults are checked like given values."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """True is 1 to pydantic, which nobody means."""
        within = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(one, bool) for one in within) and not _takes_truth(cls.model_fields[str(info.field_name)]):
            raise ValueError("true and false are no numbers or texts; write one")
        return value

    @classmethod
    def build(cls, values: Mapping[str, Any], where: str = "settings") -> Self:
        """Check ``values`` against this class.

        Raises ConfigError naming ``where``, the key, the value seen and what is allowed.
        """
        for key in values:
            if key not in cls.model_fields:
                raise unknown("setting", key, cls.model_fields, where)
        if fault := _fault(values):
            raise ConfigError(f"{where}: {fault}")
        try:
            return cls(**dict(values))
        except ValidationError as error:
            raise ConfigError(_explain(error, where, cls)) from None


_MAPPING = "write settings by name, as {name: value}"
#: What pydantic calls by Python's words, in those of a settings file.
_IN_YAML = {
    "tuple_type": "write a list, as [a, b]", "list_type": "write a list, as [a, b]", "dict_type": _MAPPING,
    "model_type": _MAPPING, "string_type": "write a text",
}  # fmt: skip


def _takes_truth(field: FieldInfo) -> bool:
    """Whether a truth value may be among the values of a setting."""
    kinds: list[Any] = [field.annotation]
    for kind in kinds:  # grows: what stands in the brackets of each
        kinds += get_args(kind)
    return any(kind in (bool, Any) or isinstance(kind, bool) for kind in kinds)


def _explain(error: ValidationError, where: str, cls: type[Settings]) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "(whole)"
        if problem["type"] == "missing":
            lines.append(f"{where}: setting {key!r} is missing; add it")
        elif problem["type"] == "extra_forbidden":
            *within, last = problem["loc"]
            place = ": ".join([where, ".".join(map(str, within))] if within else [where])
            lines.append(str(unknown("setting", last, _settings_at(cls, within).model_fields, place)))
        else:
            told = _IN_YAML.get(problem["type"], problem["msg"])
            told = told.removeprefix("Value error, ")  # pydantic's words before those of a check of ours
            if problem["type"] == "literal_error":
                told = _one_of(problem["input"], str(problem["ctx"]["expected"]))
            if problem["type"] == "value_error" and isinstance(problem["input"], Mapping):  # whole, it tells little
                lines.append(f"{where}: {key}: {told}" if problem["loc"] else f"{where}: {told}")
            else:
                lines.append(f"{where}: {key} = {_shown(problem['input'])} is not valid: {told}")
    return "\n".join(lines)


def _one_of(seen: object, expected: str) -> str:
    """What may be written in the place of ``seen``; ``expected`` as pydantic lists it, ``'PT', 'FT' or 'ETE'``."""
    close = nearest(str(seen), re.findall(r"'([^']*)'", expected))
    return (f"did you mean {close!r}? " if close else "") + f"write one of {expected.replace(' or ', ', ')}"


def _settings_at(cls: type[Settings], place: Sequence[object]) -> type[Settings]:
    """The class of the settings at a place below those of ``cls``, given by names of settings, keys and positions."""
    for part in place:
        kinds: list[Any] = [cls.model_fields[part].annotation] if part in cls.model_fields else []
        for kind in kinds:  # grows: what stands in the brackets of each
            kinds += get_args(kind)
        cls = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)), cls)
    return cls


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """``["reg_weight=0.1", "mode=reference"]`` as a mapping, values read as by :func:`parse_yaml`.

    Raises ConfigError for an entry without ``=``, with a value that cannot be read, or of a key that was given before.
    """
    values: dict[str, Any] = {}
    for entry in assignments:
        key, separator, text = entry.partition("=")
        key = key.strip()
        if not separator or not key:
            raise ConfigError(f"--set {_shown(entry)} is not key=value; write for instance --set embedding_dim=32")
        if key in values:
            raise ConfigError(f"--set {key} is given twice; leave one out")
        values[key] = parse_yaml(text, f"--set {_shown(entry)}")
    return values


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, read as by :func:`parse_yaml`.

    Raises ConfigError with the file, and the line if it is not YAML.
    """
    try:
        content = read_regular(path, _LONGEST_FILE + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ConfigError(f"{path}: no such settings file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise ConfigError(f"{_shown(str(path))}: cannot be read ({getattr(error, 'strerror', error)})") from None
    if len(content) > _LONGEST_FILE:
        raise ConfigError(f"{path}: more than {_LONGEST_FILE:,} bytes are no settings file; give a smaller one")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, saw {type(values).__name__}")
    return values


def parse_yaml(text: str, where: str) -> Any:
    """A value written in YAML: text, number, truth value, null, or lists and mappings of these.

    Numbers are those of YAML 1.2: 1e-3 is a number, 010 is ten, and dates and 1:30 stay texts. Raises ConfigError
    naming ``where`` for what is not YAML, a key that is given twice, and values that no setting can have: other types,
    numbers that are not finite or do not fit 64 bits, texts that UTF-8 cannot hold, and what is too much or contains
    itself.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})  # a few lines of aliases can stand for billions of values: before any is made
        value = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{where}: not valid YAML: brackets too deep") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # the library's, for a tag that does not fit
        raise ConfigError(f"{where}: not valid YAML: {_shown(error)}") from None
    if fault := _fault(value, written=True):
        raise ConfigError(f"{where}: {fault}")
    return value


class _Loader(yaml.SafeLoader):
    """YAML with the numbers of version 1.2, without dates, and without keys that are given twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        known: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in known:
                    told = f"key {_shown(key.value)} is given twice; leave one out"
                    raise yaml.constructor.ConstructorError(None, None, told, key.start_mark)
                known.add((key.tag, key.value))
        return node

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """A whole number, decimal unless it begins with 0x or 0o. Raises ValueError."""
        text = str(self.construct_scalar(node)).replace("_", "")
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_REPLACED = (_INT, _FLOAT, "tag:yaml.org,2002:timestamp")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in _REPLACED]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"([-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)
_Loader.add_constructor(_INT, _Loader.whole_number)


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


def _fault(value: object, written: bool = False) -> str:
    """What keeps a value from being a setting, with the cure; "" if nothing does.

    ``written``: in a file or on the command line, where only the types of YAML are known; code may give others.
    """
    left, around = YAML_LIMIT, set[int]()

    def search(value: object, place: str, depth: int) -> str:
        nonlocal left
        left -= 1
        if left < 0 or depth > _DEEPEST:
            return f"more than {YAML_LIMIT:,} values, or {_DEEPEST} levels: these are no settings"
        named = f"{place.removeprefix('.')}: " if place else ""
        if isinstance(value, str):
            return f"{named}{_shown(value)} is no text that UTF-8 can hold" if _has_surrogate(value) else ""
        if isinstance(value, int) and abs(value) > _LARGEST:
            return f"{named}a number of {value.bit_length()} bits; whole numbers have 63 at most"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{named}{value} is not a finite number; give one, or null if the setting allows it"
        if isinstance(value, Mapping | list | tuple):
            if id(value) in around:
                return f"{named}contains itself"
            around.add(id(value))
            inner = value.items() if isinstance(value, Mapping) else enumerate(value)
            faults = (search(key, place, depth + 1) or search(one, f"{place}.{key}", depth + 1) for key, one in inner)
            found = next(filter(None, faults), "")
            around.discard(id(value))
            return found
        if written and not (value is None or isinstance(value, int | float)):
            return f"{named}a {type(value).__name__} is no setting; write a text, number, list or mapping"
        return ""

    return search(value, "", 0)


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)
