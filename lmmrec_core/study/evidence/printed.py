"""The paper's printed tables, audited: what the notebook of the audit shows."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from lmmrec_core.audit.anchors import against_published, published_bands
from lmmrec_core.audit.cells import effects, encoder_gaps, paper_cells, where, without_each_model
from lmmrec_core.audit.claim import Claim, claims_frame, verdicts_frame, verdicts_in_words
from lmmrec_core.audit.claims import paper_claims
from lmmrec_core.audit.counts import counts_frame
from lmmrec_core.audit.quadruples import HIGH, LAST_DIGIT, LOW, impossible_systems, quadruples
from lmmrec_core.audit.relations import slope_limits
from lmmrec_core.audit.stars import odd_stars, overlap_needed, starred_falls
from lmmrec_core.names import PARADIGMS
from lmmrec_core.questions import MODALITY_SPECIFIC
from lmmrec_core.report.bands import band_listing
from lmmrec_core.report.published import DATASETS, NUMBERS, printed_count, printed_statistics, read_results


@dataclass(frozen=True)
class PrintedAudit:
    """Everything that the printed tables say about themselves; ``held_out`` items of a user: one, few or any."""

    held_out: str = "few"

    @cached_property
    def claims(self) -> list[Claim]:
        """The paper's quantitative claims with their readings."""
        return paper_claims({number: read_results(number) for number in NUMBERS}, printed_statistics())

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Tables 3 and 4 as comparable cells, see ``audit.cells.paper_cells``."""
        return paper_cells(read_results(3), read_results(4))

    @cached_property
    def quadruples(self) -> pd.DataFrame:
        """The four numbers of each printed system, see ``audit.quadruples.quadruples``."""
        return quadruples(read_results(3), read_results(4), self.held_out)

    @property
    def systems(self) -> pd.DataFrame:
        """The same without those that Table 4 repeats from Table 3."""
        return self.quadruples.drop_duplicates(["system", "dataset"])

    @property
    def slopes(self) -> tuple[float, float, float]:
        """Least and greatest growth of NDCG per growth of Recall, and by how much rounding may move a growth."""
        return (*slope_limits(LOW, HIGH), 2 * LAST_DIGIT)

    def verdicts(self) -> pd.DataFrame:
        """One row per claim."""
        return verdicts_frame(self.claims)

    def readings(self) -> pd.DataFrame:
        """One row per reading of a claim."""
        return claims_frame(self.claims)

    def impossible(self) -> pd.DataFrame:
        """The systems whose four numbers no ranking gives."""
        return impossible_systems(self.quadruples)

    def falls(self) -> pd.DataFrame:
        """Runs that fell from the baseline, and how many of their cells are starred."""
        return starred_falls(self.cells)

    def contradictions(self) -> pd.DataFrame:
        """Stars of Table 4 that another value of their group contradicts."""
        return odd_stars(self.cells)

    def overlaps(self) -> pd.DataFrame:
        """The hits that a starred Recall of Table 3 must share with its baseline."""
        return overlap_needed(self.cells, {name: int(printed_count("Users", name)) for name in DATASETS})

    def gaps(self) -> dict[str, pd.DataFrame]:
        """How far apart the two encoders are, per paradigm and model."""
        return {paradigm: encoder_gaps(self.cells, paradigm) for paradigm in PARADIGMS}

    def effects(self, by: str) -> pd.DataFrame:
        """Mean relative changes by a column of the cells, see ``audit.cells.effects``."""
        return effects(self.cells, by)

    def carriers(self, new: str, old: str, **wanted: str) -> pd.DataFrame:
        """What is left of a change when each model is left out, see ``audit.cells.without_each_model``."""
        return without_each_model(where(self.cells, **wanted), new, old)

    def counts(self) -> pd.DataFrame:
        """Table 2 against its own counts and the public files."""
        return counts_frame(printed_statistics())

    def baselines(self) -> pd.DataFrame:
        """Table 3's baselines. Columns: dataset, model, metric, value."""
        table = read_results(3)
        return table[table["variant"] == MODALITY_SPECIFIC][["dataset", "model", "metric", "value"]]

    def banded(self) -> pd.DataFrame:
        """The baselines that others have published too, each with its band, see ``report.bands.band_listing``."""
        return band_listing(self.baselines(), published_bands())

    def outside(self) -> pd.DataFrame:
        """The same for those outside their band."""
        listing = self.banded()
        return listing[listing["where"] != "inside"].reset_index(drop=True)

    def against_toolbox(self) -> pd.DataFrame:
        """Mean relative difference of the baselines from the toolbox's figures. Rows: models; columns: data sets."""
        return against_published(self.baselines()).unstack("dataset")

    @property
    def in_words(self) -> str:
        """How many claims have which verdict."""
        return verdicts_in_words(self.claims)

    def verdict(self) -> str:
        """The whole audit in one Markdown sentence."""
        impossible = self.quadruples["impossible"]
        falls = self.falls()
        return (
            f"**{self.in_words}.** {impossible.sum()} of {len(impossible)} printed quadruples of Recall "
            f"and NDCG cannot come from one ranking, and {falls['starred'].sum()} of {falls['fell'].sum()} cells "
            "that got worse carry a star."
        )
