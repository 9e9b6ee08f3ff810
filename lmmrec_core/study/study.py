"""The study as a notebook sees it: open a track, read its results, compute what is missing, compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lmmrec_core.audit.anchors import published_bands
from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import MODALITIES, Result
from lmmrec_core.metrics.again import measured_again
from lmmrec_core.names import BASELINE
from lmmrec_core.questions import parse_question
from lmmrec_core.results.store import Record
from lmmrec_core.study.cases import Case, all_cases, reason_not_run, split_runnable
from lmmrec_core.study.comparisons import comparisons
from lmmrec_core.study.datasets import stored_statistics
from lmmrec_core.study.diagnostics import read_diagnostics
from lmmrec_core.study.track import TrackSettings, declared_digest
from lmmrec_core.study.weights.records import read_encoder_records
from lmmrec_core.study.workspace import Workspace

if TYPE_CHECKING:  # needs torch, which readers of results do not
    from lmmrec_core.study.schedule import Outcome


@dataclass(frozen=True)
class Study:
    """One track with the seeds asked for. Reading needs neither torch nor the data sets."""

    workspace: Workspace
    seeds: tuple[int, ...]

    @classmethod
    def open(
        cls, track: str, seeds: Sequence[int] | None = None, data: str | None = None, home: Path | None = None
    ) -> "Study":
        """Open a track by name or file, see ``track.read_track``; ``seeds`` None takes the track's own.

        ``home`` holds results and cache (default: ``home.default_home``). Raises ConfigError for an unknown track
        or for seeds that are not distinct whole numbers, DataError for a data folder that does not exist.
        """
        workspace = Workspace.open(track, data, home)
        chosen = workspace.track.seeds if seeds is None or len(seeds) == 0 else tuple(seeds)
        for seed in chosen:
            if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
                raise ConfigError(f"seed {seed!r} is not a whole number from 0; write for instance seeds = [1, 2, 3]")
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

    def cases(self, question: str | int | None = None) -> tuple[Case, ...]:
        """The grid of the track, or the part a research question reads. Raises ConfigError for an unknown one."""
        asked = parse_question(question)
        cases = all_cases(self.track, self.seeds)
        return cases if asked is None else tuple(case for case in cases if asked in case.questions())

    def results(self, question: str | int | None = None) -> list[Result]:
        """Stored results that belong to today's track file, one per case, per-user values included.

        If data or code made several results of one case, the newest counts. Damaged results are
        named in a warning and left out. A metric that was not stored is measured again when it is asked for.
        """
        found = (self.workspace.store.load_record(record) for record in self._records(question))
        return [replace(result, again=measured_again) for result in found]

    def _records(self, question: str | int | None) -> list[Record]:
        cases = [case.model_dump() for case in self.cases(question)]
        wanted = {tuple(case.items()): declared_digest(self.track, case) for case in cases}
        newest: dict[tuple[Any, ...], Record] = {}
        for record in self.workspace.store.find_records(track=self.track.name, on_damage="warn"):
            case = tuple(Case.build(record.case, "stored run").model_dump().items())
            if wanted.get(case) != record.data.get("declared"):
                continue
            if case not in newest or record.created > newest[case].created:
                newest[case] = record
        return [newest[case] for case in wanted if case in newest]

    def run_missing(self, question: str | int | None = None, jobs: int = 2, progress: bool = True) -> "Outcome":
        """Compute the runnable cases of a question that are not stored yet; returns the Outcome.

        Raises ConfigError or DataError for data that is not there, and whatever stops a whole track.
        """
        from lmmrec_core.study.schedule import run_cases

        runnable, _ = split_runnable(self.cases(question), self.track)
        return run_cases(runnable, self.workspace if progress else self.workspace.quiet(), jobs)

    def not_run(self, question: str | int | None = None) -> pd.DataFrame:
        """Cases of a question without a result, and why: one row per case and reason."""
        done = {tuple(Case.build(r.case, "stored run").model_dump().items()) for r in self._records(question)}
        rows = [
            {**case.model_dump(), "reason": reason_not_run(case, self.track) or f"not computed yet: {self.track.where}"}
            for case in self.cases(question)
            if tuple(case.model_dump().items()) not in done
        ]
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
        for record in self._records(None):
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

    def diagnostics(self) -> pd.DataFrame:
        """What the track's features know by themselves, one row each, see ``study/diagnostics.py``."""
        return read_diagnostics(self.track, self.workspace.results)

    def encoder_records(self) -> list[dict[str, Any]]:
        """How the track's encoders were trained: the newest record of each, see ``study/weights/records.py``."""
        return read_encoder_records(self.track, self.workspace.results)

    def receipt(self) -> pd.DataFrame:
        """One row per stored run of the track: what ran, with which settings, when, on what, at what cost."""
        rows = []
        for record in self._records(None):
            data, made = record.data, record.data["provenance"]
            rows.append(
                {
                    **{name: record.case[name] for name in Case.model_fields if name != "track"},
                    "recall@20": data["metrics"]["test"]["recall@20"],
                    "ndcg@20": data["metrics"]["test"]["ndcg@20"],
                    "epochs": (data.get("training") or {}).get("epochs", 0),
                    "seconds": data["cost"]["seconds"],
                    "peak MiB": data["cost"]["peak_memory_bytes"] / 2**20,
                    "settings": digest(data["settings"], 8),
                    "split": data["data"]["split"][:8],
                    "commit": str(made.get("commit"))[:8] + ("+" if made.get("dirty") else ""),
                    "torch": made.get("versions", {}).get("torch"),
                    "key": record.key,
                }
            )
        return pd.DataFrame(rows)

    def describe(self) -> str:
        """One Markdown paragraph: the track, what it is, where it runs, and how much of it is measured."""
        cases = self.cases()
        done = len(self._records(None))
        return (
            f"Track: **{self.track.title}**. {self.track.description.strip()} "
            f"Results stored: {done} of {len(cases)} cases of the grid, seeds {', '.join(map(str, self.seeds))}."
        )
