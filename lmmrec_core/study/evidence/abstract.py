"""The abstract on trial, fed with the stored runs of every track and the audit of the printed tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import PAPER_METRICS, TRACKS
from lmmrec_core.report.abstract import ABSTRACT, AbstractClaim, Weighed, printed_of, weigh
from lmmrec_core.report.abstract_shown import AbstractTrial, TrialFigure, TrialTable, TrialTrack
from lmmrec_core.report.html import ShownTable, plain_table
from lmmrec_core.report.labels import metric_name
from lmmrec_core.report.published import DATASETS
from lmmrec_core.study.evidence.printed import PrintedAudit
from lmmrec_core.study.study import Study


@dataclass(frozen=True)
class AbstractPage:
    """What the printed tables and the tracks' runs say of each claim of the abstract, on one metric."""

    studies: tuple[Study, ...]
    metric: str

    @classmethod
    def open(cls, tracks: Sequence[str] = TRACKS, metric: str = "ndcg@20", home: Path | None = None) -> "AbstractPage":
        """The tracks by name or file, results below ``home``.

        Raises ConfigError for an unknown track or metric, without any track, and for one that is named twice.
        """
        if not tracks or len(set(map(str, tracks))) < len(tracks):
            raise ConfigError(f"tracks = {list(tracks)}: name at least one, each once, for instance {list(TRACKS)}")
        if metric not in PAPER_METRICS:
            raise unknown("metric", metric, PAPER_METRICS)
        return cls(tuple(Study.open(track, home=home) for track in tracks), metric)

    @cached_property
    def trial(self) -> AbstractTrial:
        """The whole: every claim in every place."""
        found: dict[str, list[Weighed]] = {claim.name: [] for claim in ABSTRACT}
        for study in self.studies:
            compared = {name: study.comparisons(name, [self.metric]) for name in {claim.question for claim in ABSTRACT}}
            for claim in ABSTRACT:
                tests = self._bearing_on(claim, compared)
                title, labels = study.track.title, study.labels
                found[claim.name] += weigh(
                    claim, study.track.name, tests, study.datasets, study.drawn, title, self.metric, labels
                )
        tracks = tuple(TrialTrack(study.track.name, self._head(study), study.track.where) for study in self.studies)
        words = {claim.name: claim.verdict for claim in PrintedAudit().claims}
        return AbstractTrial(
            tracks,
            found,
            {claim.name: printed_of(claim, self.metric) for claim in ABSTRACT},
            {claim.name: words[claim.audited] for claim in ABSTRACT},
            metric_name(self.metric),
        )

    def _head(self, study: Study) -> str:
        """What a track's columns are called: its title, or whose data it has."""
        return "Paper's data" if set(study.datasets) <= set(DATASETS) else study.track.title

    def _bearing_on(self, claim: AbstractClaim, compared: dict[str, pd.DataFrame]) -> pd.DataFrame:
        """The comparisons of a claim; planted answers may be of pairs of another question."""
        needed = {expected.pair for expected in claim.planted} | set(claim.pairs)
        frames = [frame[frame["pair"].isin(needed)] for frame in compared.values() if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else compared[claim.question]

    def table(self) -> TrialTable:
        """One row per claim, one column per place."""
        return TrialTable(self.trial)

    def figure(self) -> TrialFigure:
        """Printed and measured changes."""
        return TrialFigure(self.trial)

    def details(self) -> ShownTable:
        """Every word with what it rests on."""
        rows = [
            (claim.short, found.place, found.word, found.basis)
            for claim in ABSTRACT
            for found in self.trial.weighed[claim.name]
        ]
        heads = ["claim", "data", "verdict", "what it rests on"]
        return plain_table(pd.DataFrame(rows, columns=heads), "abstract-words", prose=True)

    def in_words(self) -> str:
        """How often each word was given in a track, in one Markdown sentence."""
        told = []
        for track, part in self.table().numbers.groupby("track", sort=False):
            counts = part["verdict"].value_counts(sort=False)
            told.append(f"{track}: " + ", ".join(f"{count} *{word}*" for word, count in counts.items()))
        return f"{len(ABSTRACT)} claims, each judged by itself in every place. Words by track: {'; '.join(told)}."
