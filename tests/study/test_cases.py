import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import PAPER_MODELS, TRACKS
from lmmrec_core.questions import parse_question
from lmmrec_core.study.cases import Case, all_cases
from lmmrec_core.study.track import read_track

GRID = all_cases(read_track("paper"), [1])


def test_grid_holds_every_printed_cell():
    """Table 3: 5 models × 3 encoders; Table 4: 5 × 2 × 3; Tables 1 and 5: 2 models × 3 modality sets; × 3 data sets."""
    cells = {tuple(c.model_dump(exclude={"track", "seed"}).values()) for c in GRID if c.control == "none"}
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
    with pytest.raises(ConfigError, match="did you mean 'movielens'"):
        read_track("movilens")
    with pytest.raises(ConfigError, match="did you mean 'redundant'"):
        read_track("controls").dataset("redundent")
