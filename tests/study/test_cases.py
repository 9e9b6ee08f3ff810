import re
from collections import Counter
from math import comb

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import MODEL_TITLES, PAPER_MODELS, TRACKS
from lmmrec_core.questions import Variant, parse_question
from lmmrec_core.study.cases import Case, all_cases, declared_digest, left_out, reason_not_run
from lmmrec_core.study.declared.track_file import read_track

GRID = all_cases(read_track("paper"), [1])


def test_grid_holds_every_printed_cell():
    """Table 3: 5 models × 3 encoders; Table 4: 5 × 2 × 3; Tables 1 and 5: 2 models × 3 modality sets; × 3 data sets."""
    cells = {
        tuple(c.model_dump(exclude={"track", "arm", "split", "seed"}).values()) for c in GRID if c.control == "none"
    }
    for dataset in ("sports", "clothing", "baby"):
        for model in PAPER_MODELS:
            assert (dataset, model, "baseline", "none", "V&T", "none") in cells
            for encoder in ("clip", "vlmo"):
                for paradigm in ("PT", "FT", "ETE"):
                    assert (dataset, model, encoder, paradigm, "V&T", "none") in cells
        for model in ("mmgcl", "lattice"):
            for modalities in ("V", "T"):
                assert (dataset, model, "baseline", "none", modalities, "none") in cells
                assert (dataset, model, "clip", "ETE", modalities, "none") in cells


def test_no_case_twice():
    assert len(set(map(str, GRID))) == len(GRID)
    assert len({(c.dataset, c.slug) for c in GRID}) == len(GRID)


def test_closed_form_models_run_once_whatever_the_seeds():
    many = [case for case in all_cases(read_track("controls"), [1, 2, 3]) if case.dataset == "null"]
    assert sum(c.model == "popularity" for c in many) == 1
    assert sum(c.model == "bpr" for c in many) == 3


@pytest.mark.parametrize(
    ("text", "name"), [("2", "rq2"), (2, "rq2"), ("RQ3", "rq3"), ("motivation", "motivation"), ("", None), (None, None)]
)
def test_question_is_read_as_people_write_it(text, name):
    assert parse_question(text) == name


@pytest.mark.parametrize("text", ["4", "rq9", "tables"])
def test_unknown_question_is_refused(text):
    with pytest.raises(ConfigError, match="unknown research question"):
        parse_question(text)


def test_question_one_needs_no_ablation_and_question_two_no_control():
    assert {c.modalities for c in GRID if "rq1" in c.questions()} == {"none", "V&T"}
    assert {c.control for c in GRID if "rq2" in c.questions()} == {"none"}
    assert {c.paradigm for c in GRID if "rq1" in c.questions()} == {"none", "PT"}


def test_every_case_answers_something_or_extends_the_ablation():
    for case in GRID:
        assert case.questions(), case


def test_every_encoder_has_its_controls_of_equal_size():
    """All six where features are fixed; the shuffled ones where an encoder is trained with the recommender."""
    found = {}
    for case in GRID:
        if case.model == "vbpr" and case.dataset == "baby" and case.control != "none":
            assert case.modalities == "V&T"
            found.setdefault((case.encoder, case.paradigm), set()).add(case.control)
    shuffled = {"shuffled", "shuffled-V", "shuffled-T"}
    everything = shuffled | {"noise", "zero", "projected"}
    assert found == {("baseline", "none"): everything} | {
        (encoder, paradigm): everything if paradigm == "PT" else shuffled
        for encoder in ("clip", "vlmo")
        for paradigm in ("PT", "FT", "ETE")
    }


def test_what_a_track_leaves_out_stays_in_the_grid_with_its_reason():
    track = read_track("paper")
    values = track.model_dump() | {
        "seeds": (5, 6, 7),
        "left_out": [
            {"models": ["mmgcn"], "datasets": ["baby"], "why": "too slow"},
            {"models": ["vbpr"], "encoders": ["clip"], "paradigms": ["FT"], "seeds": 2, "why": "two seeds do"},
        ],
    }
    thin = type(track).build(values, "a test")
    cases = all_cases(thin, thin.seeds)
    assert cases == all_cases(track, (5, 6, 7))
    reasons = {case: reason_not_run(case, thin) for case in cases}
    out = {case: reason for case, reason in reasons.items() if reason}
    assert {case for case in out if case.model == "mmgcn"} == {
        case for case in cases if case.model == "mmgcn" and case.dataset == "baby"
    }
    assert {case.seed for case in out if case.model == "vbpr"} == {7}
    assert set(out.values()) == {"left out by track paper: too slow", "left out by track paper: two seeds do"}
    other = Case(
        track="paper", dataset="sports", model="vbpr", encoder="clip", paradigm="FT", modalities="V&T", seed=99
    )
    assert reason_not_run(other, thin) is None  # a seed that was asked for by hand


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_be_distinct(seeds):
    with pytest.raises(ConfigError, match="distinct"):
        all_cases(read_track("controls"), seeds)


def test_case_refuses_a_modality_that_does_not_exist():
    with pytest.raises(ConfigError, match="modalities"):
        Case.build({"track": "controls", "dataset": "null", "model": "vbpr", "modalities": "A"}, "case")


@pytest.mark.parametrize("name", [*TRACKS, "user"])
def test_track_files_are_valid(name):
    assert read_track(name).name == name


def test_unknown_track_and_dataset_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'films'"):
        read_track("filmes")
    with pytest.raises(ConfigError, match="did you mean 'redundant'"):
        read_track("controls").dataset("redundent")


def test_an_arm_repeats_whole_cells_under_its_settings():
    raw = {"settings": {"normalise_features": False}, "models": ["vbpr"], "paradigms": ["none", "PT"], "why": "a test"}
    datasets = {"baby": read_track("paper").dataset("baby").model_dump()}
    values = read_track("paper").model_dump() | {"arms": {"raw": raw}, "datasets": datasets}
    track = type(read_track("paper")).build(values, "a test")
    arms = [case for case in all_cases(track, [1]) if case.arm != "none"]
    assert [(c.model, c.encoder, c.paradigm, c.modalities, c.control) for c in arms] == [
        ("vbpr", "baseline", "none", "V&T", "none"), ("vbpr", "clip", "PT", "V&T", "none"),
        ("vbpr", "vlmo", "PT", "V&T", "none"),
    ]  # fmt: skip
    assert arms[1].slug == "vbpr-clip-PT-VT-raw-s1" and arms[1].questions() == {"rq1"}
    assert declared_digest(track, arms[1].model_dump()) != declared_digest(
        track, arms[1].model_copy(update={"arm": "none"}).model_dump()
    )
    unknown = reason_not_run(arms[1].model_copy(update={"arm": "cooked"}), track)
    assert unknown == "track paper declares no arm cooked"


def test_an_arm_needs_a_name_and_a_reason():
    values = read_track("paper").model_dump()
    for arms, text in [
        ({"none": {"settings": {"k": 1}, "why": "x"}}, "arm 'none' is the cell itself"),
        ({"a/b": {"settings": {"k": 1}, "why": "x"}}, "arms.a/b.*becomes part"),
        ({"a": {"settings": {}, "why": "x"}}, "arms.a.settings"),
        ({"a": {"settings": {"k": 1}}}, "arms.a.why' is missing"),
    ]:
        with pytest.raises(ConfigError, match=text):
            type(read_track("paper")).build(values | {"arms": arms}, "a test")


def test_what_the_controls_leave_out_because_it_is_shown_elsewhere_is_run_there() -> None:
    track = read_track("controls")
    models = {title: name for name, title in MODEL_TITLES.items()}
    datasets = {settings.title: name for name, settings in track.datasets.items()}
    cases = all_cases(track, track.seeds)
    run = {tuple(case.model_dump().items()) for case in cases if reason_not_run(case, track) is None}
    applied = Counter(rule.why for case in cases if (rule := left_out(case, track)) is not None)
    assert applied.keys() == {rule.why for rule in track.left_out}, "a rule leaves nothing out"
    for case in cases:
        rule = left_out(case, track)
        if rule is not None and (told := re.fullmatch(r"shown with (\w+) on (\w+)", rule.why)):
            there = {"model": models[told[1]], "dataset": datasets[told[2]], "seed": 1}
            assert tuple({**case.model_dump(), **there}.items()) in run, (case, rule.why)


def test_the_controls_give_enough_pairs_of_seeds_to_test_the_tests() -> None:
    """At least 200, of models with so many cells that each can learn from three others how seeds vary."""
    track = read_track("controls")
    run = [case for case in all_cases(track, track.seeds) if reason_not_run(case, track) is None]
    seeds = Counter((case.dataset, case.model, Variant.of(case.model_dump())) for case in run)
    several = {cell: number for cell, number in seeds.items() if number > 1}
    cells = Counter(cell[:2] for cell in several)
    assert sum(comb(number, 2) for cell, number in several.items() if cells[cell[:2]] > 3) >= 200


def test_the_digest_of_a_case_that_starts_fine_tuned_counts_how_that_was_done():
    read = read_track("controls")
    arms = {"tuned": {"settings": {"end_to_end.weights": "FT"}, "why": "a test"}}
    entry, joint = read.encoders["clip"], {"reading": "e2", "weights": "FT"}

    def moves(paradigm, end_to_end, arm="none"):
        """Whether another setting of fine-tuning gives another digest."""
        case = {"track": "controls", "dataset": "null", "model": "vbpr", "encoder": "clip", "modalities": "V&T"}
        fields = Case.build({**case, "paradigm": paradigm, "arm": arm}, "case").model_dump()
        entries = [{**entry, "end_to_end": end_to_end, "fine_tune": {"epochs": epochs}} for epochs in (7, 8)]
        tracks = [read.model_copy(update={"encoders": {"clip": each}}) for each in entries]
        armed = [type(read).build(track.model_dump() | {"arms": arms}, "a test") for track in tracks]
        return len({declared_digest(track, fields) for track in armed}) == 2

    assert moves("ETE", joint) and moves("ETE-warm", joint) and moves("FT", {})
    assert moves("ETE", {"reading": "e2"}, "tuned")
    assert not moves("PT", joint) and not moves("ETE", {"reading": "e2"})
    assert not moves("ETE", None)  # which is told where the settings are built


@pytest.mark.parametrize(("modality", "alone", "things"), [("visual", "V", "texts"), ("textual", "T", "pictures")])
def test_an_entry_of_one_modality_runs_its_own_cases_alone(modality, alone, things):
    track = read_track("controls")
    entry = {modality: track.encoders["baseline"][modality], "outside_items": 60, "seed": 7}
    track = track.model_copy(update={"encoders": {"baseline": entry}, "left_out": ()})
    cases = [case for case in all_cases(track, [1]) if case.encoder == "baseline" and case.model == "vbpr"]
    told = {(case.modalities, reason_not_run(case, track)) for case in cases}
    lacks = f"encoder baseline of track controls names none for {things}"
    assert {reason for modalities, reason in told if modalities == alone} == {None}
    assert {reason for modalities, reason in told if modalities != alone} == {lacks}
