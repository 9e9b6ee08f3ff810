"""The members of a role: ours by name, and those that other installed packages bring through an entry point.

A package of its own adds a member without a change to this one. In its ``pyproject.toml``::

    [project.entry-points."lmmrec.recommenders"]
    mymodel = "mypackage.mymodel:MyModel"

The groups are ``lmmrec.recommenders``, ``lmmrec.encoders``, ``lmmrec.metrics`` and ``lmmrec.sources``. Names are known
without importing anything, so that ``lmmrec --help`` can list them; a member is imported when it is first asked for.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from lmmrec_core.errors import ConfigError, unknown

Member = TypeVar("Member")


class Registry(Mapping[str, Member], Generic[Member]):
    """Name → member, ours first in the order given, then those of other packages by name.

    ``own`` maps a name to ``"package.module:attribute"``. Raises ConfigError for a name that is not known (with the
    nearest), for one that two packages bring, and for a guest that cannot be imported. A member of ours whose library
    is not installed raises ModuleNotFoundError.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, str]) -> None:
        self.kind, self.group, self.own = kind, group, dict(own)
        self._loaded: dict[str, Member] = {}

    @cached_property
    def _places(self) -> dict[str, str]:
        """Name → where it is defined."""
        places, bringers = dict(self.own), dict.fromkeys(self.own, "lmmrec")
        for point in sorted(entry_points(group=self.group), key=lambda point: point.name):
            bringer = _package(point)
            if point.name in places and places[point.name] != point.value:
                raise ConfigError(
                    f"{self.kind} {point.name!r} comes from {bringers[point.name]} and from {bringer}; "
                    "uninstall one of them, or give it another name"
                )
            places[point.name], bringers[point.name] = point.value, bringer
        return places

    @property
    def guests(self) -> tuple[str, ...]:
        """Names that other packages bring."""
        return tuple(name for name in self._places if name not in self.own)

    def __getitem__(self, name: str) -> Member:
        if name not in self._places:
            raise unknown(self.kind, name, self._places)
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _load(self, name: str) -> Any:
        module, _, attribute = self._places[name].partition(":")
        if name in self.own:
            return getattr(import_module(module), attribute)
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:  # whatever a stranger's module does when it is imported
            raise ConfigError(
                f"{self.kind} {name!r} cannot be imported from {self._places[name]!r} "
                f"({type(error).__name__}: {error}); install what it needs, or uninstall the package that brings it"
            ) from None


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name!r}" if point.dist is not None else repr(point.value)
