"""What the score of an item without training rows is made of: each sentence of the book's section, for every model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lmmrec_core.names import MODEL_TITLES
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.roles import Batch, TrainingData
from tests.recommenders.toys import random_batch, random_data

CHAPTER = Path(__file__).resolve().parents[2] / "book" / "chapters" / "recommenders.md"
USERS = torch.arange(12)
KEYS = {title: key for key, title in MODEL_TITLES.items()}
SMALL = {"embedding_dim": 8, "visual_width": 8, "feature_dim": 8, "k": 3}


def stated() -> dict[str, str]:
    """Model → yes or no, from the table of the section."""
    section = CHAPTER.read_text(encoding="utf-8").partition("(cold-items)=")[2].partition("\n## Same results")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    return {KEYS[name.strip()]: reads.strip() for names, reads, *_ in rows for name in names.split(",")}


STATED = stated()


def cold(seed: int = 1, content: int = 0) -> TrainingData:
    """Random data and one item more, the last, without rows; ``content`` chooses its features."""
    data = random_data(seed)
    draw = torch.Generator().manual_seed(100 + content)
    features = {
        m: torch.cat([rows, torch.randn(1, rows.shape[1], generator=draw)]) for m, rows in data.features.items()
    }
    return TrainingData(data.n_users, data.n_items + 1, data.user, data.item, features)


def build(name: str, data: TrainingData, **settings):
    cls = RECOMMENDERS[name]
    small = {key: value for key, value in SMALL.items() if key in cls.Settings.model_fields}
    if "stale_eval" in cls.Settings.model_fields:
        small |= {"stale_eval": False}
    given = data if cls.uses_features else replace(data, features={})
    return cls(given, cls.Settings.build({**_needed(cls), **small, **settings}), torch.Generator().manual_seed(3))


def _needed(cls) -> dict[str, float]:
    needed = {name for name, field in cls.Settings.model_fields.items() if field.is_required()}
    return dict.fromkeys(needed, 0.1)


def scores(model) -> torch.Tensor:
    """Of all users for the cold item."""
    return model.scorer()(USERS)[:, -1]


def test_the_table_has_every_model() -> None:
    assert set(STATED) == set(RECOMMENDERS.own) == set(MODEL_TITLES)


@pytest.mark.parametrize("name", list(STATED))
def test_its_score_depends_on_its_content_as_the_table_says(name: str) -> None:
    ours, other = scores(build(name, cold(content=0))), scores(build(name, cold(content=1)))
    assert torch.equal(ours, other) == (STATED[name] == "no")


@pytest.mark.parametrize("name", ["popularity", "itemknn", "ease"])
def test_in_closed_form_it_scores_zero(name: str) -> None:
    assert not scores(build(name, cold())).any()


def test_ease_may_rank_it_above_others() -> None:
    all_scores = build("ease", cold()).scorer()(USERS)
    assert (all_scores[:, :-1] < all_scores[:, -1:]).any()


def gradient(name: str, drawn_as_negative: bool, **settings) -> torch.Tensor:
    """Of the cold item's id row, in a batch that has it as a negative or not."""
    data = cold()
    model, batch = build(name, data, **settings), random_batch(random_data(1), 4)
    negative = batch.negative.clone()
    if drawn_as_negative:
        negative[0] = data.n_items - 1
    model.loss(Batch(batch.user, batch.positive, negative, True), torch.Generator().manual_seed(1)).backward()
    row: torch.Tensor = model.item.grad[-1]
    return row


@pytest.mark.parametrize("name", ["bpr", "lightgcn", "vbpr"])
def test_its_free_vector_moves_only_as_a_negative(name: str) -> None:
    settings = {"reg_weight": 0.0}
    assert not gradient(name, False, **settings).any() and gradient(name, True, **settings).any()


def test_bm3_never_teaches_it_anything() -> None:
    assert not gradient("bm3", True, reg_weight=0.0).any()
    data = cold()
    model = build("bm3", data, reg_weight=0.5)
    pulled = gradient("bm3", False, reg_weight=0.5)
    born = model.item.detach()[-1]
    assert torch.cosine_similarity(pulled, born, dim=0) == pytest.approx(1.0, abs=1e-5)  # a step against it shrinks


@pytest.mark.parametrize("name", ["mmgcl", "slmrec"])
def test_channel_models_read_layer_0(name: str) -> None:
    model = build(name, cold(), rank_by="score", n_layers=2)
    with torch.no_grad():
        rows = [channel[-1] for channel in model.channels()]
        item = torch.cat(rows) @ model.read_item.weight.T / 3 + model.read_item.bias
        expected = model.representations()[0] @ item
    torch.testing.assert_close(scores(model), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lattice", "freedom"])
def test_models_with_an_item_graph_pass_on_the_ids_of_its_neighbours(name: str) -> None:
    model = build(name, cold())
    before = scores(model)
    changed = []
    for item in range(model.n_items):
        kept = model.item.detach()[item].clone()
        with torch.no_grad():
            model.item[item] += 1.0
            moved = not torch.allclose(scores_given_users(model, before), before, atol=1e-6)
            model.item[item] = kept
        changed.append(moved)
    assert changed[-1]  # its own
    assert 0 < sum(changed[:-1]) < model.n_items - 1  # and those that its content chose


def scores_given_users(model, before: torch.Tensor) -> torch.Tensor:
    """The cold item's scores with the users' vectors of the unchanged model."""
    users = build(model.name, cold()).representations()[0]
    return users.detach() @ model.representations()[1][-1].detach()
