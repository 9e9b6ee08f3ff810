"""Grids as data: what the files hold, whether the models know it, and how many trainings it means."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core import names
from lmmrec_core.errors import ConfigError
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.seeds import torch_stream
from lmmrec_core.study.search.grids import GRIDS, Grid, ModelGrid, check_names, combinations, grid_sizes, read_grid
from lmmrec_core.training.loop import TrainingSettings, train
from tests.recommenders.toys import random_data, split_for

STUDY_MODELS = {*names.PAPER_MODELS, *names.FLOOR_MODELS, "freedom", "bm3"}
MEMBERS = [
    (name, part, model)
    for name in GRIDS
    for part, models in (("models", read_grid(name).models), ("end_to_end", read_grid(name).end_to_end))
    for model in models
]

# counted by hand in the released files: points and distinct points of the published grids
SPEC_10C = {
    "mmrec": {
        "bpr": (7, 7), "lightgcn": (20, 20), "vbpr": (7, 7), "mmgcn": (30, 5), "slmrec": (320, 80),
        "lattice": (16, 16), "freedom": (8, 8), "bm3": (8, 8),
    },
    "release": {"vbpr": (7, 7), "mmgcn": (6, 2), "mmgcl": (80, 80), "slmrec": (18, 18), "lattice": (16, 16)},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SPEC_10C))
def test_counts_are_those_of_the_specification(name):
    sizes = grid_sizes(name)
    plain = sizes[~sizes["end_to_end"]].set_index("model")
    assert {m: (row["points"], row["distinct"]) for m, row in plain.iterrows()} == SPEC_10C[name]
    assert (sizes["trials"] == sizes["distinct"]).all()


def test_the_release_changes_the_embedding_size_between_models_and_end_to_end():
    sizes = grid_sizes("release").set_index(["end_to_end", "model"])
    assert sizes.loc[(True, "mmgcl"), "distinct"] == 5 and sizes.loc[(True, "lattice"), "distinct"] == 16
    dims = sizes["embedding_dim"]
    assert dims[False].to_dict() == {"vbpr": 128, "mmgcn": 128, "mmgcl": 64, "slmrec": 128, "lattice": 64}
    assert (dims[True] == 128).all()


def test_the_paper_prints_five_rates_and_five_batch_sizes_for_all_five_models():
    sizes = grid_sizes("paper").set_index("model")
    assert sorted(sizes.index) == sorted(names.PAPER_MODELS)
    assert (sizes["distinct"] == 25).all()


def test_every_model_of_our_search_gets_the_same_number_of_trainings():
    sizes = grid_sizes("study").set_index("model")
    assert sizes["trials"].nunique() == 1
    assert sizes["trials"].iloc[0] == read_grid("study").trials
    assert (sizes["points"] == sizes["distinct"]).all()  # no training is spent on a setting without effect


def test_our_search_covers_every_model_that_has_settings():
    assert set(RECOMMENDERS) - {"popularity"} <= set(read_grid("study").models) <= STUDY_MODELS


@pytest.mark.parametrize(("name", "part", "model"), MEMBERS)
def test_every_name_and_value_is_one_the_model_or_its_training_takes(name, part, model):
    assert model in STUDY_MODELS
    if model not in RECOMMENDERS:
        pytest.skip(f"recommender {model} is not in the package yet")
    grid = read_grid(name)
    filled = grid.model_copy(update={"models": getattr(grid, part)}).model(model)
    check_names(filled, model, name)
    values = {**filled.fixed, **combinations(filled.search)[-1]}
    own = {key: value for key, value in values.items() if key in RECOMMENDERS[model].Settings.model_fields}
    built = RECOMMENDERS[model].Settings.build(own)
    assert {key: getattr(built, key) for key in own} == own


@pytest.mark.parametrize(("name", "part", "model"), [member for member in MEMBERS if member[1] == "models"])
def test_settings_without_effect_have_none_and_act_where_the_grid_says_so(name, part, model):
    grid = read_grid(name).models[model]
    if not grid.no_effect or model not in RECOMMENDERS:
        assert grid.live() == grid.search or model not in RECOMMENDERS
        return
    extremes = [{setting: grid.search[setting][place] for setting in grid.no_effect} for place in (0, -1)]
    plain = [scores_after(model, point) for point in extremes]
    assert torch.equal(*plain)
    for switch, value in grid.acts_when.items():
        changed = [scores_after(model, {**point, switch: value}) for point in extremes]
        assert not torch.equal(*changed), f"{switch}={value}"


def scores_after(model: str, settings: dict) -> torch.Tensor:
    """Scores of all users after two epochs on random toy data."""
    data = random_data(seed=3)
    chosen = RECOMMENDERS[model].Settings.build({"embedding_dim": 4, **settings})
    member = RECOMMENDERS[model](data, chosen, torch_stream(1, "init"))
    training = TrainingSettings(epochs=2, batch_size=16, learning_rate=0.01)
    train(member, data, split_for(data), training, seed=1, validate=lambda scorer: 0.0, progress=False)
    return member.scorer()(torch.arange(data.n_users))


def test_a_setting_acts_again_where_the_grid_says_so():
    mmgcn = read_grid("mmrec").models["mmgcn"]
    assert len(mmgcn.distinct()) == len(mmgcn.distinct({"mode": "reference", "trained_ids": None})) == 5
    assert len(mmgcn.distinct({"mode": "described"})) == len(mmgcn.distinct({"trained_ids": True})) == 30


choices = st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True).map(tuple)


@given(st.dictionaries(st.sampled_from("abcd"), choices, min_size=1), st.sets(st.sampled_from("abcd")))
def test_distinct_points_are_those_that_differ_in_a_setting_with_effect(search, idle):
    grid = ModelGrid(search=search, no_effect=tuple(sorted(idle & set(search))))
    everything = [dict(zip(search, values, strict=True)) for values in itertools.product(*search.values())]
    assert grid.points == len(everything)
    seen = {tuple(sorted((k, v) for k, v in point.items() if k not in grid.no_effect)) for point in everything}
    distinct = [tuple(sorted(point.items())) for point in grid.distinct()]
    assert len(distinct) == len(set(distinct)) and set(distinct) == seen


def test_values_keep_their_kind():
    grid = ModelGrid.build({"search": {"k": [2, 0.5, None, "norm", True]}})
    assert [type(value) for value in grid.search["k"]] == [int, float, type(None), str, bool]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"search": {}}, "search"),
        ({"search": {"a": []}}, "a lists no value"),
        ({"search": {"a": [1, 2, 1.0]}}, "a lists a value twice"),
        ({"search": {"a": ["1e-3"]}}, "lists '1e-3' as text"),
        ({"search": {"a": [1]}, "fixed": {"a": 2}}, "'a' is both searched and fixed"),
        ({"search": {"a": [1]}, "no_effect": ["b"]}, "no_effect names 'b', which is not searched"),
        ({"serach": {"a": [1]}}, "unknown setting 'serach'; did you mean 'search'"),
    ],
)
def test_a_grid_that_means_nothing_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        ModelGrid.build(values, "a grid")


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown grid 'mrec'; did you mean 'mmrec'"):
        read_grid("mrec")
    with pytest.raises(ConfigError, match=r"grid 'mmrec': unknown model 'vbrp'; did you mean 'vbpr'"):
        read_grid("mmrec").model("vbrp")
    wrong = ModelGrid(search={"reg_wieght": (1,)})
    with pytest.raises(ConfigError, match="here: unknown setting 'reg_wieght'; did you mean 'reg_weight'"):
        check_names(wrong, "bpr", "here")
    with pytest.raises(ConfigError, match="acts_when: unknown setting 'mood'; did you mean 'mode'"):
        check_names(ModelGrid(search={"reg_weight": (1,)}, acts_when={"mood": 1}), "bpr", "here")
    with pytest.raises(ConfigError, match=r"learning_rate = -1\.0 is not valid"):
        check_names(ModelGrid(search={"learning_rate": (-1.0,)}), "bpr", "here")
    with pytest.raises(ConfigError, match="unknown model 'bprr'; did you mean 'bpr'"):
        check_names(ModelGrid(search={"reg_weight": (1,)}), "bprr", "here")


def test_shared_settings_give_way_to_a_models_own_and_to_searched_ones():
    grid = Grid(
        name="mine", source="a test", fixed={"epochs": 9, "patience": 3},
        models={"bpr": ModelGrid(search={"epochs": (1, 2)}, fixed={"patience": 5})},
    )  # fmt: skip
    assert grid.model("bpr").fixed == {"patience": 5}
