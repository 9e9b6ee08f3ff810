"""The abstract on trial as one table and one figure, which the front page of the book shows.

Both are HTML, so that they take the colours of the page, light or dark. Their words stay when colours go: marks differ
in shape, and the figure's description is made from the numbers that it draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from lmmrec_core.report.abstract import ABSTRACT, NOT_PLANTED, AbstractClaim, DrawnLine, Printed, Weighed
from lmmrec_core.report.export import csv_of
from lmmrec_core.report.forest_svg import Row, panel
from lmmrec_core.report.html import TABLES_KEPT, MimeBundle, signed_percent

#: Where the pages of the book lie, from its root; the book makes such links relative to the page that shows them.
GENERATED = "/book/_generated"
AUDIT_PAGE = f"{GENERATED}/shared/06_audit.html"
ABSENT_WORD = "not run"
NAME = "abstract"


@dataclass(frozen=True)
class TrialTrack:
    """A track as a head of the table: its name, its title, what it needs."""

    name: str
    title: str
    where: str


@dataclass(frozen=True)
class AbstractTrial:
    """Everything that the table and the figure show, claim by claim."""

    tracks: tuple[TrialTrack, ...]
    weighed: Mapping[str, Sequence[Weighed]]  # name of a claim → one entry for each place, in the order of the tracks
    printed: Mapping[str, Printed]
    audited: Mapping[str, str]  # name of a claim → the audit's word on its printed tables
    metric: str  # as readers know it

    def at(self, claim: AbstractClaim, track: TrialTrack) -> list[Weighed]:
        """What one track says of a claim."""
        return [found for found in self.weighed[claim.name] if found.track == track.name]

    def places(self, track: TrialTrack) -> list[str]:
        """The titles of a track's places: columns of the table."""
        return [found.place for found in self.at(ABSTRACT[0], track)]


@dataclass(frozen=True)
class TrialTable:
    """The table of the front page. Shown in a notebook as HTML; the book offers its words as CSV."""

    trial: AbstractTrial

    def to_html(self) -> str:
        """One row per claim, one column per place; a track whose places all say *not run* shares one cell."""
        heads, below = [_head("The abstract says", rows=2), _head("Its tables, recounted", rows=2)], []
        for track in self.trial.tracks:
            places = self.trial.places(track)
            link = f'<a href="{GENERATED}/{track.name}/00_data.html">{escape(track.title)}</a>'
            if len(places) == 1:
                heads.append(_head(link, rows=2, edge=True))
            else:
                heads.append(_head(link, columns=len(places), edge=True))
                below += [_head(escape(place), edge=not i) for i, place in enumerate(places)]
        head = f"<tr>{''.join(heads)}</tr><tr>{''.join(below)}</tr>"
        body = "".join(self._row(claim) for claim in ABSTRACT)
        open_tag = f'<table id="T_{NAME}" class="dataframe results prose trial">'
        return f"{open_tag}<thead>{head}</thead><tbody>{body}</tbody></table>{self._reasons()}"

    def _row(self, claim: AbstractClaim) -> str:
        printed = self.trial.printed[claim.name]
        sizes = f"median {signed_percent(printed.median)}, {printed.comparisons} comparisons"
        cells = [
            f'<th class="row_heading" scope="row">{escape(claim.words)}{_small(claim.measured)}</th>',
            f"<td>{_word(self.trial.audited[claim.name], AUDIT_PAGE)}{_small(sizes)}</td>",
        ]
        for track in self.trial.tracks:
            page = f"{GENERATED}/{track.name}/{claim.page}.html"
            found = self.trial.at(claim, track)
            if len(found) > 1 and all(one.word == ABSENT_WORD and not one.run for one in found):
                several = f"{', '.join(dict.fromkeys(one.short for one in found))} on each"
                cells.append(
                    f'<td class="edge" colspan="{len(found)}">{_word(ABSENT_WORD, page)}{_small(several)}</td>'
                )
            else:
                cells += [
                    f"<td{_edge(not i)}>{_word(one.word, page)}{_small(one.short)}</td>" for i, one in enumerate(found)
                ]
        return f"<tr>{''.join(cells)}</tr>"

    def _reasons(self) -> str:
        """Why something is *not run* or *not found*: a line for each track."""
        lines = []
        for track in self.trial.tracks:
            found = [one for claim in ABSTRACT for one in self.trial.at(claim, track)]
            if any(one.word == ABSENT_WORD for one in found):
                needs = f"not run yet, in full or in part; needs {track.where}"
                lines.append(f"<b>{escape(track.title)}</b>: {escape(needs)}.")
            for one in found:
                if ": " in one.basis and "not found" in one.basis:
                    lines.append(
                        f"<b>{escape(track.title)}</b>, <i>{escape(one.claim.short)}</i>: {escape(one.basis)}."
                    )
        return f'<p class="why">{" ".join(lines)}</p>' if lines else ""

    @property
    def numbers(self) -> pd.DataFrame:
        """The words of the table, one line per claim and place."""
        rows = [
            (claim.words, track.title, one.place, one.word, one.basis)
            for claim in ABSTRACT
            for track in self.trial.tracks
            for one in self.trial.at(claim, track)
        ]
        return pd.DataFrame(rows, columns=["claim", "track", "data", "verdict", "what it rests on"])

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> MimeBundle:
        return {"text/html": self.to_html()}, {TABLES_KEPT: {f"T_{NAME}": {"csv": csv_of(self.numbers)}}}


@dataclass(frozen=True)
class TrialFigure:
    """Printed and measured changes of each claim, a panel for each track. Shown in a notebook as HTML."""

    trial: AbstractTrial

    @property
    def description(self) -> str:
        """What the figure shows, in words, for those who do not see it."""
        told = []
        for claim in ABSTRACT:
            printed = self.trial.printed[claim.name]
            spans = f"{signed_percent(printed.low)} and {signed_percent(printed.high)}"
            said = [f"printed {signed_percent(printed.median)}, half of them between {spans}"]
            for track in self.trial.tracks:
                said += [f"{track.title}, {line.label}: {line.words}" for line in self._lines(claim, track)]
            told.append(f"{claim.short}: {'; '.join(said)}.")
        return f"Relative changes of {self.trial.metric}, by claim of the abstract. {' '.join(told)}"

    def _lines(self, claim: AbstractClaim, track: TrialTrack) -> list[DrawnLine]:
        found = self.trial.at(claim, track)
        lines = [line for one in found for line in one.lines]
        if not lines:
            return [DrawnLine(NOT_PLANTED)]
        if len(lines) > 1 and not any(one.run for one in found):
            return [DrawnLine(f"{len(found)} data sets" if len(found) > 1 else "planted answers")]
        return lines

    def to_html(self) -> str:
        """One drawing per track, side by side where there is room, with one description for all."""
        panels = []
        for track in self.trial.tracks:
            made = any(line.mark != "measured" for claim in ABSTRACT for line in self._lines(claim, track))
            rows = [
                Row(claim.short, self._lines(claim, track), None if made else self.trial.printed[claim.name])
                for claim in ABSTRACT
            ]
            panels.append(panel(track.title, rows))
        told = escape(self.description, quote=True)
        return f'<div class="forest" role="img" aria-label="{told}">{"".join(panels)}</div>'

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"text/html": self.to_html()}, {}


def _head(words: str, rows: int = 1, columns: int = 1, edge: bool = False) -> str:
    span = (f' rowspan="{rows}"' if rows > 1 else "") + (f' colspan="{columns}"' if columns > 1 else "")
    return f'<th scope="col{"group" if columns > 1 else ""}"{span}{_edge(edge)}>{words}</th>'


def _edge(first: bool) -> str:
    return ' class="edge"' if first else ""


def _word(word: str, page: str) -> str:
    return f'<a class="word" href="{page}">{escape(word)}</a>'


def _small(words: str) -> str:
    return f'<span class="sure">{escape(words)}</span>'
