"""The study as a notebook sees it: open a track, read its results, compute what is missing, compare."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lmmrec_core.audit.anchors import published_bands
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import MODALITIES, Result, Results
from lmmrec_core.metrics.again import measured_again
from lmmrec_core.names import BASELINE, ENCODER_TITLES
from lmmrec_core.questions import parse_question
from lmmrec_core.report.labels import Labels
from lmmrec_core.results.provenance import ALLOW, allows_uncommitted, code_state
from lmmrec_core.results.store import Record
from lmmrec_core.study.cases import (
    Case,
    all_cases,
    declared_digest,
    identity_of,
    left_out,
    reason_not_now,
    split_runnable,
)
from lmmrec_core.study.comparisons import comparisons
from lmmrec_core.study.datasets import stored_statistics
from lmmrec_core.study.declared.searched import awaits_search
from lmmrec_core.study.diagnostics import read_diagnostics
from lmmrec_core.study.shown.receipt import receipt_rows, source_rows, status_counts
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.weights.records import judged_by_weights, read_encoder_records, suspect_weights
from lmmrec_core.study.workspace import Workspace

if TYPE_CHECKING:  # needs torch, which readers of results do not
    from lmmrec_core.study.schedule import Outcome


_SEEDS = 2**63  # numbers that seeds may be
COMMIT_CURE = f"commit the code and run `make reproduce` again, or set {ALLOW}=1 to see them"
BY_UNCOMMITTED_CODE = f"run by uncommitted code, or with encoder weights of such code: {COMMIT_CURE}"


@dataclass(frozen=True)
class Study:
    """One track with the seeds asked for. Reading needs neither torch nor the data sets."""

    workspace: Workspace
    seeds: tuple[int, ...]
    # whether results of code that differs from its commit count
    allow_uncommitted: bool = field(default_factory=allows_uncommitted)

    @classmethod
    def open(
        cls, track: str, seeds: Sequence[int] | None = None, data: str | None = None, home: Path | None = None
    ) -> "Study":
        """Open a track by name or file, see ``track_file.read_track``; ``seeds`` None takes the track's own.

        ``home`` holds results and cache (default: ``home.default_home``). Results of uncommitted code count where the
        environment variable ``LMMREC_ALLOW_UNCOMMITTED`` is 1. Raises ConfigError for an unknown track or for seeds
        that are not distinct whole numbers, DataError for a data folder that does not exist.
        """
        workspace = Workspace.open(track, data, home)
        if seeds is not None and (isinstance(seeds, str) or not isinstance(seeds, Sequence)):
            raise ConfigError(f"seeds = {seeds!r} is no list; write for instance seeds = [1]")
        chosen = workspace.track.seeds if seeds is None else tuple(seeds)
        if not chosen:
            raise ConfigError(
                "seeds = [] names no seed; write for instance seeds = [1], or None for those of the track"
            )
        for seed in chosen:
            if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < _SEEDS:
                told = f"of {seed.bit_length()} bits" if isinstance(seed, int) and seed >= _SEEDS else repr(seed)
                raise ConfigError(f"seed {told} is not a whole number from 0; write for instance seeds = [1, 2, 3]")
        if len(set(chosen)) < len(chosen):
            raise ConfigError(f"seeds {list(chosen)} must be distinct; write for instance seeds = [1, 2, 3]")
        return cls(workspace, chosen)

    @property
    def track(self) -> TrackSettings:
        """The settings of the track."""
        return self.workspace.track

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the track's data sets, in the order of the tables."""
        return tuple(self.track.datasets)

    @property
    def titles(self) -> dict[str, str]:
        """Data set name → the title tables show."""
        return {name: dataset.title for name, dataset in self.track.datasets.items()}

    @property
    def drawn(self) -> dict[str, str]:
        """Data sets drawn at random here → the kind whose answers were planted in it ("" for none)."""
        return {name: dataset.planted for name, dataset in self.track.datasets.items() if dataset.is_drawn}

    @property
    def collections(self) -> dict[str, str]:
        """Data set name → what it is a part or a version of, as the data cards call it."""
        return {name: dataset.collection for name, dataset in self.track.datasets.items()}

    @property
    def labels(self) -> Labels:
        """What tables and figures call the track's encoders."""
        return Labels(self.track.encoder_titles)

    def cases(self, question: str | int | None = None) -> tuple[Case, ...]:
        """The grid of the track, or the part a research question reads. Raises ConfigError for an unknown one."""
        asked = parse_question(question)
        return self._grid if asked is None else tuple(case for case in self._grid if asked in case.questions())

    @cached_property
    def _grid(self) -> tuple[Case, ...]:
        return all_cases(self.track, self.seeds)

    def results(self, question: str | int | None = None) -> Results:
        """Stored results that belong to today's track file, one per case, per-user values included.

        Of cells that the track leaves out, none counts, so that all copies of a study show the same. If data or code
        made several results of one case, the newest counts. Those of uncommitted code are withheld, unless they are
        allowed; so are those of encoder weights that such code made. Damaged results are named in a warning and left
        out. A metric that was not stored is measured again when it is asked for.
        """
        counted, withheld = self.sorted_records(question)
        return Results(map(self._load, counted), map(self._load, withheld))

    def _load(self, record: Record) -> Result:
        return replace(self.workspace.store.load_record(record), again=measured_again)

    def sorted_records(self, question: str | int | None = None) -> tuple[list[Record], list[Record]]:
        """The newest records of the cases: (those that count, those of uncommitted code where there is no other)."""
        found = self._records(question)
        if self.allow_uncommitted:
            return [max(records, key=_created) for records in found], []
        good = [[r for r in records if code_state(r.data["provenance"]) != "uncommitted"] for records in found]
        counted = [max(records, key=_created) for records in good if records]
        withheld = [max(all_of, key=_created) for all_of, records in zip(found, good, strict=True) if not records]
        return counted, withheld

    def _runs(self) -> tuple[list[Record], list[Record]]:
        """All of :meth:`sorted_records`, each run once."""
        counted, withheld = self.sorted_records(None)
        return [r for r in counted if not r.shared], [r for r in withheld if not r.shared]

    def _records(self, question: str | int | None) -> list[list[Record]]:
        """The stored records of each case that has any, in the order of the grid; none of what the track leaves out, or
        runs only when it is searched.
        """
        run = [case.model_dump() for case in self.cases(question) if left_out(case, self.track) is None]
        cases = [fields for fields in run if not awaits_search(self.track.searched, fields)]
        repeated = [{**fields, "arm": "none"} for fields in cases if fields["arm"] != "none"]
        wanted = {tuple(fields.items()): declared_digest(self.track, fields) for fields in [*cases, *repeated]}
        suspect = suspect_weights(self.track, self.workspace.results)
        found: dict[tuple[Any, ...], list[Record]] = {}
        for record in self.workspace.store.find_records(track=self.track.name, on_damage="warn"):
            case = identity_of(record.case)
            if wanted.get(case) != record.data.get("declared"):
                continue
            found.setdefault(case, []).append(judged_by_weights(record, suspect))
        for fields in cases:
            cell = found.get(tuple({**fields, "arm": "none"}.items()), []) if fields["arm"] != "none" else []
            if cell and self.track.arms[fields["arm"]].changes_nothing(max(cell, key=_created).data):
                found[tuple(fields.items())] = [record.as_arm(fields["arm"]) for record in cell]
        asked = (tuple(fields.items()) for fields in cases)
        return [found[case] for case in asked if case in found]

    def run_missing(
        self,
        question: str | int | None = None,
        jobs: int = 2,
        progress: bool = True,
        cases: Sequence[Case] | None = None,
    ) -> "Outcome":
        """Compute the runnable cases of a question, or those of ``cases``, that are not stored yet.

        Returns the Outcome, in which cases whose data are not there are failures. Raises ConfigError for ``jobs``
        below 1, and whatever stops a whole track.
        """
        from lmmrec_core.study.schedule import run_cases

        runnable, _ = split_runnable(self.cases(question) if cases is None else cases, self.track)
        return run_cases(runnable, self.workspace if progress else self.workspace.quiet(), jobs)

    def not_run(self, question: str | int | None = None) -> pd.DataFrame:
        """Cases of a question without a result that counts, and why: one row per case and reason."""
        done, withheld = (
            {tuple(Case.build(r.case, "stored run").model_dump().items()) for r in records}
            for records in self.sorted_records(question)
        )
        rows = []
        for case in self.cases(question):
            if (identity := tuple(case.model_dump().items())) not in done:
                late = BY_UNCOMMITTED_CODE if identity in withheld else f"not computed yet: {self.track.where}"
                rows.append({**case.model_dump(), "reason": reason_not_now(case, self.track) or late})
        return pd.DataFrame(rows, columns=[*Case.model_fields, "reason"])

    def published_bands(self) -> pd.DataFrame:
        """What published results make likely on the track's data sets, see ``audit.anchors``; no rows for others."""
        bands = published_bands()
        return bands[bands.index.get_level_values("dataset").isin(self.datasets)]

    def statistics(self) -> pd.DataFrame:
        """One row per data set: counts, density, split sizes, drops, feature widths; NaN if never prepared."""
        known = stored_statistics(self.track, self.workspace.results)
        frame = known.reindex(list(self.datasets))
        frame.insert(0, "dataset", [self.titles[name] for name in frame.index])
        widths = self._feature_widths()
        for modality in MODALITIES:
            frame[f"{modality}_dim"] = [widths.get((name, modality)) for name in frame.index]
        return frame

    def _feature_widths(self) -> dict[tuple[str, str], int]:
        """(data set, modality) → width of the baseline encoder's features, from the cards of stored runs."""
        widths: dict[tuple[str, str], int] = {}
        for record in self.sorted_records(None)[0]:
            if record.case["encoder"] == BASELINE and record.data["features"]:
                for modality, entry in record.data["features"]["card"].get("modalities", {}).items():
                    widths[record.case["dataset"], modality] = int(entry["dim"])
        return widths

    def comparisons(
        self, question: str, metrics: Sequence[str] | None = None, results: Sequence[Result] | None = None
    ) -> pd.DataFrame:
        """The planned comparisons of a question with both sides measured (see ``study/comparisons.py``).

        ``results``: the question's, if they were read already.
        """
        asked = parse_question(question) or ""
        found = self.results(asked) if results is None else results
        if metrics is None:
            return comparisons(asked, found, self.datasets)
        return comparisons(asked, found, self.datasets, metrics)

    def trained_encoder(self, result: Result) -> Any:
        """The encoder that an end-to-end run of the track ended with, for pictures and texts of new items.

        It lies in the cache (``.cache/encoders``), not in version control. Raises ConfigError for a run that trained no
        encoder, FeatureError with the cure if the file is not there or is not that of the run.
        """
        from lmmrec_core.study.joint.attach import trained_encoder_of

        return trained_encoder_of(self.workspace, result)

    def diagnostics(self) -> pd.DataFrame:
        """What the track's features know by themselves, one row each, see ``study/diagnostics.py``."""
        return read_diagnostics(self.track, self.workspace.results)

    def encoder_records(self) -> list[dict[str, Any]]:
        """How the track's encoders were trained: the newest record of each, see ``study/weights/records.py``.

        Those of encoders that only a side track of its name has are left out. Records of uncommitted code have the key
        ``withheld``, unless they are allowed: listings show no number of them.
        """
        entries = self.track.encoders
        mine = {*entries, *(str(value) for entry in entries.values() for value in entry.values())}
        records = [r for r in read_encoder_records(self.track, self.workspace.results) if r["encoder"] in mine]
        if self.allow_uncommitted:
            return records
        return [{**r, "withheld": True} if code_state(r["provenance"]) == "uncommitted" else r for r in records]

    def receipt(self) -> pd.DataFrame:
        """One row per stored run of the track: what it was made from, by which code, at what cost."""
        return receipt_rows(*self._runs())

    def status(self) -> dict[str, Any]:
        """How much of the track is measured, by data set: counts of cases, training hours, commits. Plain values."""
        counted, withheld = self.sorted_records()
        return {"seeds": list(self.seeds), **status_counts(self.cases(), counted, withheld, self.track)}

    def sources(self) -> pd.DataFrame:
        """What the track's runs were made from: each distinct catalogue, split, features and weights, by digest."""
        counted, withheld = self._runs()
        return source_rows([*counted, *withheld], self.encoder_records(), self.track, self.labels)

    def deviations(self) -> pd.DataFrame:
        """Settings of the track's models that are not those of the released code, see ``study/deviations.py``."""
        from lmmrec_core.study.deviations import deviations

        return deviations(self.workspace)

    def searched(self, grid: str = "study") -> pd.DataFrame:
        """What was searched for the track's cells, one row each, see ``search/listing.py``."""
        from lmmrec_core.study.search.grids import read_grid
        from lmmrec_core.study.search.listing import search_rows

        return search_rows(self.track, read_grid(grid), self.workspace.results)

    def uncommitted(self) -> str:
        """One Markdown sentence on results of uncommitted code, with the cure; "" if there are none."""
        counted, withheld = self._runs()
        if withheld:
            mine = sum(bool(record.data["provenance"].get("dirty")) for record in withheld)
            kinds = {"are of uncommitted code": mine, "read encoder weights of uncommitted code": len(withheld) - mine}
            told = " and ".join(f"**{number} results {kind}**" for kind, number in kinds.items() if number)
            return f"{told} and stand in no table: {COMMIT_CURE}."
        allowed = sum(code_state(record.data["provenance"]) == "uncommitted" for record in counted)
        return f"**{allowed} of these results are of uncommitted code**, allowed by {ALLOW}." if allowed else ""

    def _encoders_in_words(self) -> str:
        """Which encoders are not the paper's, as a sentence with a blank at its end; "" if all are."""
        others = [
            f"**{title}** in the place of {ENCODER_TITLES[key]}"
            for key, title in self.track.encoder_titles.items()
            if title != ENCODER_TITLES.get(key, title)
        ]
        return f"Its encoders are not the paper's: {', '.join(others)}. " if others else ""

    def describe(self) -> str:
        """One Markdown paragraph: the track, what it is, where it runs, and how much of it is measured.

        Raises ConfigError for a track without data sets, of which pages have nothing to show.
        """
        if not self.datasets:
            raise ConfigError(
                f"track {self.track.name!r} names no data sets, so its pages are empty; write a file that extends it "
                "and names yours under datasets, as book/chapters/own_catalogue.md shows, and give its path"
            )
        cases = self.cases()
        done = len(self.sorted_records(None)[0])
        note = self.uncommitted()
        told = f" {note}" if note else ""
        if not done:
            told += " **This track has no results yet**: its tables say *not run*, and no verdict rests on them."
        return (
            f"Track: **{self.track.title}**. {self.track.description.strip()} {self._encoders_in_words()}"
            f"Results stored: {done} of {len(cases)} cases of the grid, seeds {', '.join(map(str, self.seeds))}.{told}"
        )


def _created(record: Record) -> str:
    return record.created
