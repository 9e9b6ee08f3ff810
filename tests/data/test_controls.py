import csv
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from lmmrec_core.data.controls import (
    ANSWERS,
    KINDS,
    Controls,
    ControlSettings,
    ControlSize,
    write_controls,
    write_outside_items,
)
from lmmrec_core.data.drawing import VISUAL_FACTORS, draw
from lmmrec_core.data.folder import FolderSettings, read_folder
from lmmrec_core.data.preferences import draw_activity, draw_interactions, make_preferences
from lmmrec_core.data.wording import TEXTUAL_FACTORS, WORDS, draw_entries
from lmmrec_core.errors import ConfigError, DataError

TINY = ControlSize(users=80, items=40)  # a fraction of a second
MEDIUM = ControlSize(users=300, items=150)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One medium catalogue per kind: folder, pairs as positions, and the truth."""
    root = tmp_path_factory.mktemp("controls")
    worlds = {}
    for kind in KINDS:
        write_controls(kind, root / kind, 3, MEDIUM)
        truth = dict(np.load(root / kind / "planted.npz", allow_pickle=False))
        users = {name: position for position, name in enumerate(truth["user_ids"])}
        items = {name: position for position, name in enumerate(truth["item_ids"])}
        taken = np.zeros((len(users), len(items)), dtype=bool)
        for row in rows(root / kind / "interactions.csv"):
            taken[users[row["user_id"]], items[row["item_id"]]] = True
        worlds[kind] = (root / kind, taken, truth)
    return worlds


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_bytes_and_another_seed_others(kind, tmp_path):
    for name, seed in (("first", 5), ("again", 5), ("other", 6)):
        write_controls(kind, tmp_path / name, seed, TINY)
    first, other = digests(tmp_path / "first"), digests(tmp_path / "other")
    assert first == digests(tmp_path / "again")
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_outside_items_are_reproducible_and_outside_every_catalogue(tmp_path, made):
    for name, seed in (("first", 5), ("again", 5), ("other", 6)):
        write_outside_items(tmp_path / name, seed, 20)
    assert digests(tmp_path / "first") == digests(tmp_path / "again")
    assert digests(tmp_path / "first") != digests(tmp_path / "other")
    outside = {row["item_id"] for row in rows(tmp_path / "first" / "items.csv")}
    pictures = set(digests(tmp_path / "first" / "images").values())
    for folder, _, truth in made.values():
        assert outside.isdisjoint(truth["item_ids"].tolist())
        assert pictures.isdisjoint(digests(folder / "images").values())


def test_outside_labels_name_the_words_used_and_share_two_factors(tmp_path):
    write_outside_items(tmp_path / "outside", 1, 200)
    items, labels = rows(tmp_path / "outside" / "items.csv"), rows(tmp_path / "outside" / "labels.csv")
    for item, label in zip(items, labels, strict=True):
        text = f"{item['title']} {item['categories']} {item['description']}".lower()
        for factor in TEXTUAL_FACTORS:
            assert any(word in text for word in WORDS[factor][int(label[f"textual_{factor}"])])
    columns = {name: np.array([int(label[name]) for label in labels]) for name in labels[0] if name != "item_id"}
    for position, (seen, told) in enumerate(zip(VISUAL_FACTORS, TEXTUAL_FACTORS, strict=True)):
        agreement = np.corrcoef(columns[f"visual_{seen}"], columns[f"textual_{told}"])[0, 1]
        assert agreement == pytest.approx(1.0) if position < 2 else abs(agreement) < 0.25
    assert set(columns["visual_hue"]) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_is_an_ordinary_catalogue_that_a_five_core_leaves_alone(kind, made):
    folder, taken, _ = made[kind]
    catalogue = read_folder(folder, FolderSettings())
    assert (catalogue.n_users, catalogue.n_items) == (MEDIUM.users, MEDIUM.items)
    assert len(catalogue.user) == taken.sum()
    assert all(path is not None and path.is_file() for path in catalogue.images)
    assert all(catalogue.texts)
    activity, popularity = taken.sum(axis=1), taken.sum(axis=0)
    assert activity.min() >= MEDIUM.fewest and activity.max() <= MEDIUM.most
    assert popularity.min() >= 5
    assert popularity.max() > 2 * np.median(popularity)  # the skew


def test_default_activity_is_about_nine():
    size = ControlSize()
    activity = draw_activity(5000, size.fewest, size.most, np.random.default_rng(0))
    assert (activity.min(), activity.max()) == (6, 15)
    assert 8.5 < activity.mean() < 9.8


def lift_correlation(taken: np.ndarray, latent: np.ndarray) -> float:
    """Correlation over item pairs of co-occurrence lift with closeness of latents."""
    together = (taken.T.astype(float) @ taken) * len(taken) / np.outer(taken.sum(0), taken.sum(0))
    closeness = -np.linalg.norm(latent[:, None] - latent[None], axis=2)
    pairs = np.triu_indices(len(latent), 1)
    return float(np.corrcoef(together[pairs], closeness[pairs])[0, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_content_tells_of_interactions_only_where_planted(kind, made):
    _, taken, truth = made[kind]
    for modality in ("visual", "textual"):
        seen = lift_correlation(taken, truth[modality])
        if kind == "null":
            assert abs(seen) < 0.05
        else:
            assert seen > 0.12
    assert lift_correlation(taken, truth["latent"]) > 0.15  # the driving latent does, also in null


def test_latents_shown_are_those_promised(made):
    shown = {kind: made[kind][2] for kind in KINDS}
    assert np.array_equal(shown["redundant"]["visual"], shown["redundant"]["textual"])
    assert np.array_equal(shown["redundant"]["visual"], shown["redundant"]["latent"])
    both = np.concatenate([shown["complementary"]["visual"], shown["complementary"]["textual"]], axis=1)
    assert np.array_equal(both, shown["complementary"]["latent"])
    for left, right in (("visual", "textual"), ("visual", "latent"), ("textual", "latent")):
        cross = np.corrcoef(shown["null"][left].T, shown["null"][right].T)[:4, 4:]
        assert np.abs(cross).max() < 4 / math.sqrt(MEDIUM.items)


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_utility_beats_popularity_on_held_out_interactions(kind, made):
    _, taken, truth = made[kind]
    stream = np.random.default_rng(0)
    held = taken & (stream.uniform(size=taken.shape) < 0.2)
    train = taken & ~held
    utility = float(truth["sharpness"]) * truth["taste"] @ truth["latent"].T + truth["bias"]
    popularity = np.tile(train.sum(axis=0).astype(float), (len(taken), 1))

    def recall(scores):
        best = np.argsort(-np.where(train, -np.inf, scores), axis=1, kind="stable")[:, :20]
        users = held.any(axis=1)
        return (np.take_along_axis(held, best, axis=1).sum(axis=1)[users] / held.sum(axis=1)[users]).mean()

    assert recall(utility) > 2 * recall(popularity)


def test_popularity_says_nothing_about_the_latent():
    latent = np.random.default_rng(1).normal(size=(120, 4))
    preferences = make_preferences(latent, (4,), 400, 3.0, 0.8, np.random.default_rng(2))
    choice = np.exp(preferences.utility())
    expected = (choice / choice.sum(axis=1, keepdims=True)).mean(axis=0)
    target = np.sort(1 / (np.arange(120) + 1 + 120 / 35) ** 0.8)
    assert np.sort(expected) == pytest.approx(target / target.sum(), rel=0.02)  # the skew asked for, by any latent
    assert np.linalg.norm(preferences.taste, axis=1) == pytest.approx(np.ones(400))


def test_rare_items_are_lifted_without_changing_activities():
    latent = np.random.default_rng(1).normal(size=(60, 4))
    preferences = make_preferences(latent, (4,), 70, 8.0, 1.5, np.random.default_rng(2))
    activity = np.full(70, 8)
    user, item = draw_interactions(preferences, activity, np.random.default_rng(3))
    assert np.bincount(user).tolist() == activity.tolist()
    assert np.bincount(item, minlength=60).min() == 5
    assert len(set(zip(user.tolist(), item.tolist(), strict=True))) == len(user)


def test_each_visual_factor_changes_the_picture_steadily():
    for column in range(4):
        factors = np.full((5, 4), 0.5)
        factors[:, column] = np.linspace(0, 1, 5)
        # one nuisance for all: draw each alone from the same stream
        pictures = [draw(row[None], np.random.default_rng(0))[0].astype(float) for row in factors]
        near, far = np.abs(pictures[0] - pictures[1]).mean(), np.abs(pictures[0] - pictures[4]).mean()
        assert 1.0 < near <= far


def test_equal_levels_give_different_sentences_and_no_word_serves_two_levels():
    entries = draw_entries(np.tile([2, 0, 4, 1], (30, 1)), np.random.default_rng(0))
    assert len({entry.description for entry in entries}) > 25
    words = [word for levels in WORDS.values() for level in levels for word in level]
    assert len(words) == len(set(words)) == 4 * 5 * 4


def test_brands_are_independent_of_the_factors():
    levels = np.random.default_rng(0).integers(0, 5, size=(2000, 4))
    brands = np.array([entry.brand.split()[0] for entry in draw_entries(levels, np.random.default_rng(1))])
    for column in range(4):
        table = np.array([[np.sum((brands == b) & (levels[:, column] == n)) for n in range(5)] for b in set(brands)])
        expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
        assert ((table - expected) ** 2 / expected).sum() < 72  # chi-squared, 36 degrees: p = 0.0003


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_recorded(kind, made):
    answer = json.loads((made[kind][0] / "planted.json").read_text(encoding="utf-8"))
    assert (answer["kind"], answer["seed"], answer["sentence"]) == (kind, 3, ANSWERS[kind])
    assert ControlSize.build(answer["size"]) == MEDIUM
    relations = {row["relation"] for row in answer["expected"]}
    assert (
        relations
        == {"complementary": {">"}, "redundant": {">", "≈", "> by less than on complementary"}, "null": {"≈"}}[kind]
    )


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"users": 0}, "users"),
        ({"items": 20}, "too few"),
        ({"users": 100, "items": 400}, "enough interactions"),
        ({"fewest": 10, "most": 8}, "raise most"),
        ({"fewest": 4}, "fewest"),
        ({"sharpness": -1}, "sharpness"),
        ({"itmes": 300}, "items"),
    ],
)
def test_impossible_sizes_are_refused(values, word):
    with pytest.raises(ConfigError, match=word):
        ControlSize.build(values)


def test_unknown_kinds_full_folders_and_no_items_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'redundant'"):
        write_controls("redundnat", tmp_path / "new", 1, TINY)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        write_controls("null", tmp_path, 1, TINY)
    assert digests(tmp_path).keys() == {"note.txt"}
    with pytest.raises(ConfigError, match="at least 1"):
        write_outside_items(tmp_path / "new", 1, 0)


def test_the_planted_effect_is_a_share_of_what_users_care_for(tmp_path):
    for name, content in (("whole", 1.0), ("none", 0.0), ("some", 0.3)):
        write_controls("complementary", tmp_path / name, 3, MEDIUM, content)
        truth = dict(np.load(tmp_path / name / "planted.npz", allow_pickle=False))
        shown = truth["taste"][:, :8] @ truth["latent"][:, :8].T
        hidden = truth["taste"][:, 8:] @ truth["latent"][:, 8:].T
        assert shown.var() / (shown.var() + hidden.var()) == pytest.approx(content, abs=0.05)
        assert np.linalg.norm(truth["taste"], axis=1) == pytest.approx(1.0)
        answer = json.loads((tmp_path / name / "planted.json").read_text())
        assert answer.get("content", 1.0) == content and ("hidden" in answer["preferred"]) == (content < 1)


def test_without_a_share_the_bytes_are_what_they_were(tmp_path):
    write_controls("redundant", tmp_path / "before", 5, TINY)
    write_controls("redundant", tmp_path / "now", 5, TINY, content=1.0)
    assert digests(tmp_path / "before") == digests(tmp_path / "now")
    values = {"kind": "redundant", "seed": 5}
    names = {Controls.folder_name(ControlSettings.build(more | values, "x")) for more in ({}, {"content": 1.0})}
    assert len(names) == 1
    assert Controls.folder_name(ControlSettings.build({**values, "content": 0.5}, "x")) not in names


def test_null_takes_no_share():
    with pytest.raises(ConfigError, match="leave content out"):
        ControlSettings.build({"kind": "null", "seed": 1, "content": 0.5}, "x")
