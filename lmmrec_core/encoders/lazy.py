"""A class that is imported when it is first called: naming an encoder must not load its libraries."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lmmrec_core.flow import Modality


@dataclass(frozen=True)
class Lazy:
    """``Lazy("package.module", "Class", modalities)(...)`` is ``Class(...)``; ``modalities`` is known before that."""

    module: str
    attribute: str
    modalities: tuple[Modality, ...]

    def load(self) -> Any:
        """The class itself; imports its module."""
        return getattr(import_module(self.module), self.attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.load()(*args, **kwargs)
