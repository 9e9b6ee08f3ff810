"""Every pair by its words, every claimed change by two numbers of the paper: a pair that is turned round fails here."""

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.questions import (
    MODALITY_SPECIFIC,
    QUESTIONS,
    TWIN,
    Pair,
    Question,
    Variant,
    controlled,
    single,
    trained,
)
from lmmrec_core.report.changes import printed_change
from lmmrec_core.report.planted import PLANTED_CONTENT, PLANTED_TRAINING

PLANNED = {
    "data": [],
    "motivation": [
        "baseline V&T / V", "baseline V&T / T", "baseline real / T shuffled", "baseline real / V shuffled",
    ],
    "rq1": ["baseline / twin", "baseline real / zero", "VLMo-PT / baseline", "CLIP-PT / baseline"],
    "rq2": [
        "VLMo-FT / VLMo-PT", "VLMo-ETE / VLMo-FT", "VLMo-ETE / baseline",
        "CLIP-FT / CLIP-PT", "CLIP-ETE / CLIP-FT", "CLIP-ETE / baseline",
    ],
    "rq3": [
        "baseline real / shuffled", "baseline real / noise", "baseline real / projected",
        "CLIP-ETE V&T / V", "CLIP-ETE V&T / T", "CLIP-ETE real / T shuffled", "CLIP-ETE real / V shuffled",
    ],
}  # fmt: skip
#: LATTICE on Sports, read off Tables 1, 3, 4 and 5 of the paper: metric, the value of a, the value of b
PRINTED = {
    "baseline V&T / V": ("ndcg@20", 0.0424, 0.0420),
    "baseline V&T / T": ("ndcg@20", 0.0424, 0.0441),
    "VLMo-PT / baseline": ("ndcg@20", 0.0312, 0.0424),
    "CLIP-PT / baseline": ("ndcg@20", 0.0332, 0.0424),
    "VLMo-FT / VLMo-PT": ("ndcg@20", 0.0307, 0.0312),
    "VLMo-ETE / VLMo-FT": ("ndcg@20", 0.0451, 0.0307),
    "VLMo-ETE / baseline": ("ndcg@20", 0.0451, 0.0424),
    "CLIP-FT / CLIP-PT": ("ndcg@10", 0.0257, 0.0259),
    "CLIP-ETE / CLIP-FT": ("ndcg@20", 0.0451, 0.0332),
    "CLIP-ETE / baseline": ("ndcg@20", 0.0451, 0.0424),
    "CLIP-ETE V&T / V": ("ndcg@20", 0.0451, 0.0440),
    "CLIP-ETE V&T / T": ("ndcg@20", 0.0451, 0.0449),
}
CLAIMED = [(name, pair) for name, question in QUESTIONS.items() for pair in question.claimed]


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_planned_pairs_are_these_in_this_direction(name: str) -> None:
    assert [str(pair) for pair in QUESTIONS[name].planned] == PLANNED[name]


def test_a_pair_belongs_to_one_family() -> None:
    """Two families would give one pair two adjusted p-values."""
    planned = [pair for question in QUESTIONS.values() for pair in question.planned]
    turned = [Pair(pair.b, pair.a) for pair in planned if not pair.rival]
    assert len(set(planned)) == len(planned) and not set(turned) & set(planned)


@pytest.mark.parametrize(("name", "pair"), CLAIMED, ids=[f"{name}: {pair}" for name, pair in CLAIMED])
def test_the_printed_change_of_a_pair_is_a_over_b_of_the_page(name: str, pair: Pair) -> None:
    metric, a, b = PRINTED[str(pair)]
    assert printed_change("sports", "lattice", pair, metric) == pytest.approx(a / b - 1)


def test_every_claim_is_held_against_the_page() -> None:
    assert {str(pair) for _, pair in CLAIMED} == set(PRINTED)


def test_what_is_planted_is_planned() -> None:
    content = {*QUESTIONS["rq3"].planned, *QUESTIONS["motivation"].planned}
    assert {expected.pair for expected in PLANTED_CONTENT} <= content
    assert {expected.pair for expected in PLANTED_TRAINING} <= set(QUESTIONS["rq2"].planned)


def test_changes_are_shown_against_the_baseline_where_there_is_one() -> None:
    assert [str(pair) for pair in QUESTIONS["rq2"].shown] == [
        f"{encoder}-{paradigm} / baseline" for encoder in ("VLMo", "CLIP") for paradigm in ("PT", "FT", "ETE")
    ]
    assert all(QUESTIONS[name].shown == QUESTIONS[name].claimed for name in ("motivation", "rq1", "rq3"))


@pytest.mark.parametrize(
    ("case", "label"),
    [
        (("none", "none", "none", "none"), "none"),
        (("baseline", "none", "V&T", "none"), "baseline"),
        (("clip", "ETE", "V", "none"), "CLIP-ETE (V)"),
        (("vlmo", "PT", "V&T", "none"), "VLMo-PT"),
        (("mine", "FT", "V&T", "none"), "mine-FT"),
        (("baseline", "none", "V&T", "shuffled"), "baseline (shuffled)"),
        (("baseline", "none", "T", "noise"), "baseline (T, noise)"),
    ],
)
def test_a_variant_is_named_by_what_is_not_normal(case: tuple[str, ...], label: str) -> None:
    fields = dict(zip(("encoder", "paradigm", "modalities", "control"), case, strict=True))
    assert Variant.of({**fields, "model": "vbpr", "seed": 1}) == Variant(*case)
    assert Variant(*case).label == label


def test_a_pair_says_what_differs() -> None:
    assert str(Pair(trained("clip", "PT"), MODALITY_SPECIFIC)) == "CLIP-PT / baseline"
    assert str(single(trained("clip", "ETE"), "T")) == "CLIP-ETE V&T / T"
    assert str(controlled(MODALITY_SPECIFIC, "shuffled")) == "baseline real / shuffled"
    assert str(controlled(MODALITY_SPECIFIC, "shuffled-T")) == "baseline real / T shuffled"
    twin = Pair(MODALITY_SPECIFIC, Variant(), rival=TWIN)
    assert [twin.sides(model)[1][0] for model in ("vbpr", "lattice", "mmgcn")] == ["bpr", "lightgcn", "lightgcn"]
    rival = Pair(MODALITY_SPECIFIC, Variant(), rival="lightgcn")
    assert str(rival) == "baseline / LightGCN"
    assert rival.sides("vbpr") == (("vbpr", MODALITY_SPECIFIC), ("lightgcn", Variant()))


def test_a_claim_that_is_not_planned_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"claims .*CLIP-PT / baseline.* does not plan"):
        Question("rq9", "Anything", lambda variant: True, claimed=(Pair(trained("clip", "PT"), MODALITY_SPECIFIC),))
