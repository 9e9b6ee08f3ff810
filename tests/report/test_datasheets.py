"""Cards have the headings of the published templates, and their numbers are those of the stored files."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lmmrec_core.flow import Result
from lmmrec_core.names import TRACKS
from lmmrec_core.report.datasheets import (
    DATASHEET,
    MODEL_CARD,
    card_words,
    data_cards,
    feature_cards,
    model_card,
    model_rows,
)
from lmmrec_core.report.html import Sentence, ShownTable
from lmmrec_core.study import Study
from tests.report.conftest import MakeResult

CARD: dict[str, Any] = {
    "modalities": {
        "visual": {"encoder": "clip-tiny", "dim": 64, "missing": 3},
        "textual": {"encoder": "clip-tiny", "dim": 32, "missing": 0, "cut_texts": 7, "unknown_tokens": 9},
    },
    "spec": {
        "encoders": {"visual": {"weights": {"name": "clip-tiny", "source": "a file", "state_sha256": "ab" * 32}}},
        "missing": {"rule": "mean"},
    },
    "precision": "fp32",
    "device": "cpu",
}  # fmt: skip


def counted(**more: Any) -> pd.DataFrame:
    row = {"dataset": "Null", "users": 600.0, "persons": None, "items": 400.0, "interactions": 4472.0,
           "train": 3272.0, "valid": 600.0, "test": 600.0}  # fmt: skip
    return pd.DataFrame([row | more], index=["null"])


def words_of(table: ShownTable) -> dict[str, str]:
    return dict(zip(table.numbers.iloc[:, 0], table.numbers.iloc[:, 1], strict=True))


@pytest.mark.parametrize("track", TRACKS)
def test_every_collection_of_a_track_is_described_under_every_heading(track: str, tmp_path: Path) -> None:
    for key in Study.open(track, home=tmp_path).collections.values():
        words = card_words()["collections"][key]
        assert list(words) == ["title", *DATASHEET] and all(len(words[part]) > 10 for part in DATASHEET)
    assert tuple(card_words()["model"]) == MODEL_CARD


def test_a_data_card_counts_what_is_stored() -> None:
    (card,) = data_cards(counted(), {"null": "controls"}).tables
    words = words_of(card)
    assert list(words) == list(DATASHEET)
    assert words["Composition"].endswith(
        "Null: 600 users, 400 items, 4,472 interactions (3,272 to train, 600 to validate, 600 to test)."
    )
    (card,) = data_cards(counted(persons=300.0), {"null": "controls"}).tables
    assert "600 users (300 persons)" in words_of(card)["Composition"]


def test_nobody_invents_a_count_or_a_description() -> None:
    (card,) = data_cards(counted(users=float("nan")), {"null": "my-shop"}).tables
    words = words_of(card)
    assert words == {
        "Motivation": card_words()["unknown"]["Motivation"],
        "Composition": "Null was not read on this machine.",
    }
    assert isinstance(feature_cards([]), Sentence) and isinstance(model_rows([]), Sentence)


def test_the_model_card_names_the_data_sets() -> None:
    words = words_of(model_card(counted()))
    assert tuple(words) == MODEL_CARD and words["Evaluation data"].endswith("Data sets: Null.")


def run(make_result: MakeResult, seed: int, digest: str, **case: Any) -> Result:
    made = make_result(0.1, dataset="null", model="vbpr", encoder="clip", paradigm="FT", seed=seed, **case)
    record = {
        "features": {"digest": digest, "card": CARD}, "settings": {"model": {"mode": "reference", "embedding_dim": 64}},
        "cost": {"seconds": 10.0 * seed, "peak_memory_bytes": 2**30},
    }  # fmt: skip
    return Result(made.case, made.per_user, made.overall, record)


def test_a_feature_card_is_read_from_the_record(make_result: MakeResult) -> None:
    runs = [run(make_result, 1, "c" * 64), run(make_result, 2, "d" * 64), run(make_result, 3, "e" * 64, control="zero")]
    table = feature_cards(runs)
    assert isinstance(table, ShownTable)
    (row,) = table.numbers.to_dict("records")
    assert row["digests"] == "cccccccc, dddddddd", "the control is no feature card of its own"
    assert row["visual: encoder"] == "CLIP-tiny (a file, abababab)" and row["textual: encoder"] == "CLIP-tiny"
    widths = [row[f"{modality}: width"] for modality in ("visual", "textual")]
    assert (widths, row["visual: filled in"], row["texts cut"], row["tokens unknown"]) == ([64, 32], 3, 7, 9)


def test_what_models_took_is_counted(make_result: MakeResult) -> None:
    table = model_rows([run(make_result, seed, "c" * 64) for seed in (1, 2)])
    assert isinstance(table, ShownTable)
    (row,) = table.numbers.to_dict("records")
    assert row == {
        "recommender": "VBPR", "reads content": "yes", "follows": "reference", "vector": "64", "runs": 2, "seeds": 2,
        "longest training, s": 20.0, "peak memory, MiB": 1024.0,
    }  # fmt: skip
