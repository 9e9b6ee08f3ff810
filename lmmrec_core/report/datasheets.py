"""Data cards, feature cards and model cards: words from ``report/datasheets.yaml``, numbers from stored files.

Headings are those of datasheets for data sets (Gebru et al., Communications of the ACM 64(12), 2021) and of model cards
(Mitchell et al., FAT* 2019).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from lmmrec_core.flow import MODALITIES, Result
from lmmrec_core.names import MEMBER_TITLES
from lmmrec_core.questions import Variant
from lmmrec_core.report.html import Sentence, ShownTable, listing_or_words, plain_table
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, model_name
from lmmrec_core.report.slices import TablePerDataset

DATASHEET = (
    "Motivation", "Composition", "Collection process", "Preprocessing, cleaning, labeling", "Uses", "Distribution",
    "Maintenance",
)  # fmt: skip
MODEL_CARD = (
    "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data", "Quantitative analyses",
    "Ethical considerations", "Caveats and recommendations",
)  # fmt: skip
_NOTHING = "Nothing of this track has been run yet: **not run**."
_SHOWN = 8  # digits of a digest


@cache
def card_words() -> Mapping[str, Any]:
    """The content of ``datasheets.yaml``."""
    text = (files("lmmrec_core.report") / "datasheets.yaml").read_text(encoding="utf-8")
    words: Mapping[str, Any] = yaml.safe_load(text)
    return words


def data_cards(statistics: pd.DataFrame, collections: Mapping[str, str]) -> TablePerDataset:
    """One datasheet for each collection that the data sets come from.

    ``statistics``: ``Study.statistics``, one row per data set. ``collections``: data set → key of ``collections`` in
    ``datasheets.yaml``; one that is not there is called *not described*.
    """
    tables = []
    for key in dict.fromkeys(collections.values()):
        words = card_words()["collections"].get(key, card_words()["unknown"])
        mine = statistics.loc[[name for name in statistics.index if collections[str(name)] == key]]
        counted = " ".join(_counted(row) for _, row in mine.iterrows())
        told = [f"{words.get(part, '')} {counted if part == 'Composition' else ''}".strip() for part in DATASHEET]
        tables.append(_card(f"data-card-{key}", str(words["title"]), DATASHEET, told))
    return TablePerDataset(tuple(tables))


def _counted(row: "pd.Series[Any]") -> str:
    """A data set in numbers, as a sentence."""
    if math.isnan(float(row.get("users", math.nan))):
        return f"{row['dataset']} was not read on this machine."
    persons = row.get("persons")
    who = "" if persons is None or math.isnan(float(persons)) else f" ({persons:,.0f} persons)"
    return (
        f"{row['dataset']}: {row['users']:,.0f} users{who}, {row['items']:,.0f} items, {row['interactions']:,.0f} "
        f"interactions ({row['train']:,.0f} to train, {row['valid']:,.0f} to validate, {row['test']:,.0f} to test)."
    )


def model_card(statistics: pd.DataFrame) -> ShownTable:
    """What holds for every recommender of a track."""
    words = card_words()["model"]
    names = ", ".join(statistics["dataset"].astype(str))
    told = [f"{words[part]}{f' Data sets: {names}.' if part == 'Evaluation data' else ''}" for part in MODEL_CARD]
    return _card("model-card", "Recommenders", MODEL_CARD, told)


def _card(name: str, title: str, parts: Sequence[str], told: Sequence[str]) -> ShownTable:
    kept = [(part, words) for part, words in zip(parts, told, strict=True) if words]
    return plain_table(pd.DataFrame(kept, columns=["", title]), name, prose=True)


def feature_cards(results: Iterable[Result], labels: Labels = PAPER_LABELS) -> ShownTable | Sentence:
    """One row per data set, encoder and paradigm whose features whole runs read, from the card inside their records.

    Features that differ from seed to seed share a row: the card is that of the first, the digests are those of all.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    digests: dict[tuple[str, str], dict[str, None]] = {}
    for result in results:
        entry, variant = result.record.get("features"), Variant.of(result.case)
        if not entry or not variant.whole or variant.paradigm not in ("none", "PT", "FT"):
            continue
        key = (dataset_name(str(result.case["dataset"])), labels.variant(variant))
        rows.setdefault(key, _features_row(", ".join(key), entry["card"]))
        digests.setdefault(key, {})[str(entry["digest"])[:_SHOWN]] = None
        rows[key]["digests"] = ", ".join(digests[key])
    return listing_or_words(pd.DataFrame(list(rows.values())), "feature-cards", _NOTHING)


def _features_row(name: str, card: Mapping[str, Any]) -> dict[str, Any]:
    spec, made = card.get("spec", {}), card.get("modalities", {})
    encoders = spec.get("encoders", {})
    row: dict[str, Any] = {"features": name, "digests": ""}
    for modality in MODALITIES:
        noted, encoder = made.get(modality, {}), encoders.get(modality, {})
        row[f"{modality}: encoder"] = _encoder(noted, encoder)
        row[f"{modality}: width"] = noted.get("dim", "")
        row[f"{modality}: filled in"] = noted.get("missing", "")
    text = made.get("textual", {})
    row["texts cut"] = text.get("cut_texts", "")
    row["tokens unknown"] = text.get("unknown_tokens", "")
    row["where missing"] = (spec.get("missing") or {}).get("rule", "")
    row["precision"] = card.get("precision", "")
    row["device"] = card.get("device", "")
    return row


def _encoder(noted: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Name, source and digest of the weights; those that were trained from random ones were made here."""
    found = spec.get("weights")
    weights: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    name = str(noted.get("encoder", weights.get("name", "")))
    digest = str(weights.get("state_sha256", ""))[:_SHOWN]
    source = "made here" if weights.get("training") else str(weights.get("source", ""))
    told = ", ".join(part for part in (source, digest) if part)
    return f"{MEMBER_TITLES.get(name, name)}{f' ({told})' if told else ''}"


def model_rows(results: Iterable[Result]) -> ShownTable | Sentence:
    """One row per recommender: what it reads, its mode and width, and what its runs took."""
    runs: dict[str, list[Result]] = {}
    for result in results:
        runs.setdefault(str(result.case["model"]), []).append(result)
    rows = [
        {
            "recommender": model_name(model),
            "reads content": "yes" if any(r.record.get("features") for r in found) else "no",
            "follows": ", ".join(sorted({str(_setting(r, "mode")) for r in found} - {"None"})),
            "vector": ", ".join(sorted({str(_setting(r, "embedding_dim")) for r in found} - {"None"})),
            "runs": len(found),
            "seeds": len({r.case["seed"] for r in found}),
            "longest training, s": max(float(_cost(r).get("seconds", 0.0)) for r in found),
            "peak memory, MiB": max(float(_cost(r).get("peak_memory_bytes", 0)) for r in found) / 2**20,
        }
        for model, found in runs.items()
    ]
    return listing_or_words(pd.DataFrame(rows), "model-cost", _NOTHING, digits=0)


def _setting(result: Result, name: str) -> object:
    settings = (result.record.get("settings") or {}).get("model") or {}
    return settings.get(name)


def _cost(result: Result) -> Mapping[str, Any]:
    return result.record.get("cost") or {}
