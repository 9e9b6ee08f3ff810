"""The recommendations of stored runs for one user, and the neighbours of one item: read, not computed.

Lists are those that a run stored (``top50.parquet``). A score is taken apart with the model that the track keeps beside
its result, and with the features of the run, from the store. Whatever is not on this machine is said in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.errors import ConfigError, nearest
from lmmrec_core.flow import PARTS, Features, IntArray
from lmmrec_core.metrics.neighbours import nearest_items
from lmmrec_core.names import BASELINE, MODEL_TITLES
from lmmrec_core.questions import Variant
from lmmrec_core.report.gallery import Card, Gallery
from lmmrec_core.report.html import Sentence, ShownTable, plain_table
from lmmrec_core.results.store import Record
from lmmrec_core.study.cases import Case, identity_of, reads_content
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.own.kept import MODEL, KeptModel, read_kept
from lmmrec_core.study.shown.cards import card_of, title_of
from lmmrec_core.study.shown.score_parts import BY_ID, above_average, parts_frame, score_parts
from lmmrec_core.study.study import Study

PART_TITLES = {BY_ID: "id", "visual": "picture", "textual": "text", "score": "score"}
_NEIGHBOURS = 5
_FIXED = ("none", "PT", "FT")  # paradigms whose features do not change with the recommender
_CURE = "set `run = True`, or run `lmmrec reproduce`"


@dataclass(frozen=True, eq=False)
class RecommendationsPage:
    """One user and one item of a data set, and the models whose lists are shown, with the first of the seeds."""

    study: Study
    dataset: Dataset
    user: int
    item: int
    cases: tuple[Case, ...]
    k: int

    @classmethod
    def open(
        cls,
        study: Study,
        dataset: str,
        user: str,
        item: str,
        models: Sequence[str],
        encoder: str,
        paradigm: str,
        k: int,
    ) -> "RecommendationsPage":
        """Read the catalogue. Raises ConfigError for a value that names nothing, with the nearest that does."""
        found = study.workspace.dataset(dataset)
        if not models:
            raise ConfigError("models = [] names no model; write for instance models = ['vbpr', 'bpr']")
        longest = study.track.evaluation.k
        if not 1 <= k <= longest:
            raise ConfigError(f"k = {k}: runs store the first {longest} items of a list; choose within 1..{longest}")
        study.track.encoder(encoder)
        cell = {"track": study.track.name, "dataset": dataset, "seed": study.seeds[0]}
        content = {"encoder": encoder, "paradigm": paradigm, "modalities": "V&T"}
        cases = [Case.build({**cell, "model": m, **(content if reads_content(m) else {})}, "page") for m in models]
        ids = found.catalogue
        return cls(
            study, found, _place("user", user, ids.user_ids, dataset), _place("item", item, ids.item_ids, dataset),
            tuple(cases), k,
        )  # fmt: skip

    def run_missing(self) -> None:
        """Run what is shown and not stored: a result with its lists, and the model where it can be taken apart."""
        from lmmrec_core.recommenders import RECOMMENDERS
        from lmmrec_core.study.run import plan, run_case

        for case in self.cases:
            run_case(
                plan(case, self.study.workspace), self.study.workspace, hasattr(RECOMMENDERS[case.model], "vectors")
            )

    def history(self) -> Gallery:
        """What the user took, by the part of the split that it is in."""
        split, rows = self.dataset.split, []
        for part, words in zip(PARTS, ("learnt from", "held out for validation", "held out for the test"), strict=True):
            indptr, items = split.rows(part)
            mine = items[indptr[self.user] : indptr[self.user + 1]]
            rows.append((f"{words}: {len(mine)}", [card_of(self.dataset.catalogue, item) for item in mine]))
        return Gallery(tuple(rows))

    def lists(self) -> Gallery | Sentence:
        """The ``k`` best of each model; a line beside what is held out for the test, and what several lists have."""
        found = [(case, self._list(case)) for case in self.cases]
        listed = [items for _, items in found if items is not None]
        if not listed:
            return Sentence(f"The lists of these runs are not on this machine: {_CURE}.")
        times = np.bincount(np.concatenate(listed), minlength=self.dataset.catalogue.n_items)
        rows: list[tuple[str, list[Card]]] = []
        for case, items in found:
            title = self.title(case)
            if items is None:
                rows.append((f"{title}: its lists are not on this machine", []))
                continue
            cards = [self._card(item, rank, int(times[item]) > 1) for rank, item in enumerate(items, start=1)]
            hits = sum(card.marked for card in cards)
            rows.append((f"{title}: finds {hits} of {len(self._held_out)} held-out items", cards))
        return Gallery(tuple(rows))

    def parts(self) -> ShownTable | Sentence:
        """What id, picture and text add to the scores of the list of the first model that has a map of content."""
        opened = self._opened
        if isinstance(opened, str):
            return Sentence(opened)
        case, kept, features = opened
        items = self._list(case)
        if items is None:
            return Sentence(f"The list of {self.title(case)} is not on this machine: {_CURE}.")
        lifted = above_average(score_parts(kept, features, np.array([self.user])))
        frame = parts_frame(lifted, 0, items).rename(columns=PART_TITLES)
        frame.insert(0, "item", [self._titled(item) for item in items])
        return plain_table(frame, "score-parts", digits=2)

    def parts_in_words(self) -> str:
        """The same on average over all users, one Markdown sentence; "" where the model is not here."""
        opened = self._opened
        if isinstance(opened, str) or (lists := self._lists(opened[0])) is None:
            return ""
        case, kept, features = opened
        users, items = lists
        lifted = above_average(score_parts(kept, features, users))
        rows = np.arange(len(users))[:, None]
        means = {name: float(part[rows, items[:, : self.k]].mean()) for name, part in lifted.items()}
        total = sum(means.values())
        told = ", ".join(f"{PART_TITLES[name]} {value:+.2f}" for name, value in means.items()).replace("-", "−")
        return (
            f"Over all {len(users)} users, the first {self.k} items of {self.title(case)} score {total:+.2f} above the "
            f"average item: {told}."
        )

    def neighbours(self) -> Gallery | Sentence:
        """The nearest items by cosine, under every encoder and paradigm whose features are on this machine."""
        catalogue = self.dataset.catalogue
        rows: list[tuple[str, Sequence[Card]]] = [("the item itself", [card_of(catalogue, self.item)])]
        k = min(_NEIGHBOURS, catalogue.n_items - 1)
        for variant, features in self._features().items():
            for modality, matrix in features.matrices.items():
                near = nearest_items(matrix, k)
                pairs = zip(near.columns[self.item], near.cosines[self.item], strict=True)
                cards = [card_of(catalogue, item, [f"cosine {cosine:.2f}"]) for item, cosine in pairs]
                rows.append((f"{self.study.labels.variant(variant)}, {PART_TITLES[modality]}s", cards))
        return Gallery(tuple(rows)) if len(rows) > 1 else Sentence(f"No features are on this machine: {_CURE}.")

    def title(self, case: Case) -> str:
        """What a heading calls a model: its name, and the encoder whose features it reads."""
        name = MODEL_TITLES.get(case.model, case.model)
        if case.encoder == "none":
            return f"{name} (reads no content)"
        return f"{name} with {self.study.labels.variant(Variant.of(case.model_dump()))}"

    @cached_property
    def _records(self) -> dict[tuple[tuple[str, object], ...], Record]:
        """The runs that count, by case."""
        return {identity_of(record.case): record for record in self.study.sorted_records()[0]}

    def _lists(self, case: Case) -> tuple[IntArray, IntArray] | None:
        record = self._records.get(identity_of(case.model_dump()))
        return None if record is None else self.study.workspace.store.top_items(record)

    def _list(self, case: Case) -> IntArray | None:
        """The user's list; None if it was not stored, or the user has nothing held out, so that none was made."""
        lists = self._lists(case)
        if lists is None or not (lists[0] == self.user).any():
            return None
        return np.asarray(lists[1][int(np.flatnonzero(lists[0] == self.user)[0])][: self.k])

    @cached_property
    def _opened(self) -> tuple[Case, KeptModel, Features] | str:
        """A kept model with its features, or in words why there is none."""
        for case in self.cases:
            record = self._records.get(identity_of(case.model_dump()))
            if record is None or case.encoder == "none" or not (record.path / MODEL).is_file():
                continue
            kept, features = read_kept(record.path / MODEL), self._store.with_digest(record.data["features"]["digest"])
            if kept.note["content"]["no_new_items"]:
                continue
            if features is None:
                return f"The features that {self.title(case)} read are not on this machine: {_CURE}."
            return case, kept, features
        return f"No model that can be taken apart is on this machine: {_CURE}."

    @property
    def _store(self) -> FeatureStore:
        return FeatureStore(self.study.workspace.features)

    def _features(self) -> dict[Variant, Features]:
        """The features that stored runs read and that are here, baseline first."""
        digests: dict[Variant, str] = {}
        for record in self._records.values():
            case, read = record.case, record.data["features"]
            variant = Variant.of(case)
            mine = bool(read) and case["dataset"] == self.dataset.name
            if mine and variant.whole and variant.paradigm in _FIXED:
                digests.setdefault(variant, str(read["digest"]))
        found = {variant: self._store.with_digest(digest) for variant, digest in digests.items()}
        ordered = sorted(
            found, key=lambda variant: (variant.encoder != BASELINE, variant.encoder, _FIXED.index(variant.paradigm))
        )
        return {variant: features for variant in ordered if (features := found[variant]) is not None}

    @cached_property
    def _held_out(self) -> frozenset[int]:
        indptr, items = self.dataset.split.rows("test")
        return frozenset(map(int, items[indptr[self.user] : indptr[self.user + 1]]))

    def _card(self, item: int, rank: int, shared: bool) -> Card:
        hit = int(item) in self._held_out
        notes = [f"rank {rank}", *(["held out"] if hit else []), *(["in both lists"] if shared else [])]
        return card_of(self.dataset.catalogue, item, notes, hit)

    def _titled(self, item: int) -> str:
        catalogue = self.dataset.catalogue
        return f"{title_of(catalogue.texts[item])} ({catalogue.item_ids[item]})".lstrip()


def _place(kind: str, name: str, known: Sequence[str], dataset: str) -> int:
    """The position of an id. Raises ConfigError with the nearest one."""
    if name in known:
        return known.index(name)
    close = nearest(str(name), known[:20_000]) or known[0]
    raise ConfigError(
        f"{kind} = {name!r} is none of the {len(known)} {kind}s of data set {dataset!r}; write for instance "
        f"{kind} = {close!r}"
    )
