"""The ledger of the public code: where it differs from the paper or from this study, as checked data."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml
from pydantic import Field, model_validator

from lmmrec_core.config import Settings

NOT_MEASURED = "not measured yet"
NO_SWITCH = "none"


class Place(Settings):
    """A file of a public repository, and where in it."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name")
    file: str
    at: str = Field("", description="function, setting or line of that commit")


class Switch(Settings):
    """The settings of this study that take either side.

    ``of`` names whose settings: recommenders, or training, evaluation, split, end_to_end. ``public`` repeats the public
    code, ``other`` is the other side. ``models`` are those whose training it is about; none means all of the paper's.
    """

    of: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = ()
    public: dict[str, Any] = Field(min_length=1)
    other: dict[str, Any] = Field(min_length=1)

    @model_validator(mode="after")
    def _differ(self) -> "Switch":
        if self.public == self.other:
            raise ValueError("the two sides of a switch are the same")
        return self


class Difference(Settings):
    """One verified difference between the paper, the public code and this study."""

    name: str
    part: str
    paper: str = Field("", description="what the paper says; empty if it says nothing")
    public: str
    study: str
    where: tuple[Place, ...] = Field(min_length=1)
    switch: Switch | None = None
    run: str = Field(description="what was executed besides reading: a name of the ledger's ``runs``")


class Ledger(Settings):
    """All differences, with the commit that each repository was read at and the kinds of runs in words."""

    commits: dict[str, str]
    runs: dict[str, str]
    differences: tuple[Difference, ...]

    @model_validator(mode="after")
    def _complete(self) -> "Ledger":
        for difference in self.differences:
            if difference.run not in self.runs:
                raise ValueError(f"{difference.name}: run {difference.run!r} is not one of {', '.join(self.runs)}")
            for place in difference.where:
                if place.repository not in self.commits:
                    raise ValueError(f"{difference.name}: no commit is given for {place.repository}")
        return self

    def address(self, place: Place) -> str:
        """``"enoche/MMRec at e775373: src/models/mmgcn.py (line 33)"``."""
        found = f"{place.repository} at {self.commits[place.repository]}: {place.file}"
        return f"{found} ({place.at})" if place.at else found


@cache
def read_ledger() -> Ledger:
    """The ledger of this package. Raises ConfigError if the file does not fit."""
    text = (files("lmmrec_core.audit") / "ledger.yaml").read_text(encoding="utf-8")
    return Ledger.build(yaml.safe_load(text), "ledger.yaml")


def parts_of(differences: Sequence[Difference]) -> list[str]:
    """The parts, in the order of the ledger."""
    return list(dict.fromkeys(difference.part for difference in differences))


def differences_frame(differences: Sequence[Difference], effects: Mapping[str, str]) -> pd.DataFrame:
    """What differs, one row each. Columns: difference, paper, public code, this study, effect.

    ``effects``: name of a difference → what stored results give, in words.
    """
    rows = [
        (one.name, one.paper or "not said", one.public, one.study, effects.get(one.name, NOT_MEASURED))
        for one in differences
    ]
    return pd.DataFrame(rows, columns=["difference", "paper", "public code", "this study", "effect"])


def evidence_frame(ledger: Ledger, differences: Sequence[Difference], used: Mapping[str, str]) -> pd.DataFrame:
    """Where it was read, what was run, and the settings of either side.

    ``used`` maps a difference to what the tracks of this study have for its switch. Columns: difference, read in, run
    (a key of the ledger's ``runs``), as the public code, otherwise, tracks.
    """
    rows = []
    for one in differences:
        switch = one.switch
        sides = (
            [_in_words(switch.of, side) for side in (switch.public, switch.other)] if switch else [NO_SWITCH, NO_SWITCH]
        )
        read = "; ".join(ledger.address(place) for place in one.where)
        rows.append((one.name, read, one.run, *sides, used.get(one.name, "")))
    return pd.DataFrame(rows, columns=["difference", "read in", "run", "as the public code", "otherwise", "tracks"])


def _in_words(owners: Sequence[str], values: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{name}={_plain(value)}" for name, value in values.items())
    return f"{', '.join(owners)}: {settings}"


def _plain(value: object) -> str:
    """As YAML writes it, which is how a track file does."""
    return yaml.safe_dump(value).strip().removesuffix("...").strip()
