"""The weights that the estimate counts are those of built recommenders, number by number."""

import pytest
import torch

from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.recommenders.weights import Weights, weights_of
from lmmrec_core.roles import TrainingData
from lmmrec_core.seeds import torch_stream
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.memory.demand import GIB, demand_of_run
from lmmrec_core.study.preview.costs import Size
from lmmrec_core.study.workspace import Workspace

BOTH = {"visual": 5, "textual": 4}
SIZES = ((7, 9, BOTH), (13, 6, {"visual": 3, "textual": 11}))
OTHER = {  # settings that change what there is
    "mmgcn": ({"trained_ids": True}, {"visual_width": None}, {"textual_width": 6}, {"concat": False}, {"n_layers": 1}),
    "mmgcl": ({"stale_eval": True},),
    "slmrec": ({"fusion": "mean"}, {"ssl_task": "FD"}, {"stale_eval": False}),
    "lattice": ({"feature_dim": 3}, {"trainable_features": False}),
    "freedom": ({"trainable_features": True},),
    "bm3": ({"trainable_features": False},),
}
CASES = [
    (model, {"mode": mode, **more} if RECOMMENDERS[model].uses_features or mode == "described" else more)
    for model in RECOMMENDERS
    for mode in ("reference", "described")
    for more in ({}, *OTHER.get(model, ()))
    if mode == "reference" or "mode" in RECOMMENDERS[model].Settings.model_fields
]


def built(model, settings, users, items, widths):
    """Numbers in what is trained and in what is only kept, counted in a built model."""
    generator = torch.Generator().manual_seed(1)
    keys = torch.randperm(users * items, generator=generator)[: users * 2].sort().values
    features = {m: torch.rand(items, width, generator=generator) for m, width in widths.items()}
    member = RECOMMENDERS[model]
    data = TrainingData(users, items, keys // items, keys % items, features if member.uses_features else {})
    module = member(data, settings, torch_stream(1, "init"))
    if not isinstance(module, torch.nn.Module):
        return 0, 0
    trained = sum(value.numel() for value in module.parameters() if value.requires_grad)
    return trained, sum(value.numel() for value in module.state_dict().values()) - trained


@pytest.mark.parametrize("dim", [4, 7])
@pytest.mark.parametrize(("model", "more"), CASES, ids=str)
def test_weights_are_counted_as_they_are_built(model, more, dim):
    fields = RECOMMENDERS[model].Settings.model_fields
    asked = {**more, **({"embedding_dim": dim} if "embedding_dim" in fields else {})}
    settings, _ = resolve(Workspace.open("user"), model, asked)
    for users, items, widths in SIZES:
        for given in (widths, {"visual": widths["visual"]}, {"textual": widths["textual"]}):
            read = given if RECOMMENDERS[model].uses_features else {}
            copies = items * sum(read.values()) if getattr(settings, "trains_features", False) else 0
            found = weights_of(RECOMMENDERS[model], settings, users, items, read)
            assert (found.trained + copies, found.fixed) == built(model, settings, users, items, given)


def test_a_wide_model_of_a_small_catalogue_is_not_small():
    """MMGCN with 4096 columns took 5.7 GiB, on a catalogue of no size."""
    needs = {}
    for dim in (64, 4096):
        settings, training = resolve(Workspace.open("user"), "mmgcn", {"embedding_dim": dim, "device": "cpu"})
        needs[dim] = demand_of_run("x", "mmgcn", settings, training, Size(30, 20, 150), BOTH)
    assert needs[64].host_bytes < 0.9 * GIB
    assert 5.7 * GIB < needs[4096].host_bytes < 9 * GIB and "weights" in needs[4096].told()


def test_links_to_many_neighbours_are_counted():
    """LATTICE with 3000 items and 1000 neighbours took 2.9 GiB more than with 10."""

    def needed(k):
        settings, training = resolve(Workspace.open("user"), "lattice", {"k": k, "device": "cpu"})
        return demand_of_run("x", "lattice", settings, training, Size(3000, 3000, 9000), {"visual": 64, "textual": 32})

    assert 2.7 * GIB < needed(1000).host_bytes - needed(10).host_bytes < 5 * GIB
    assert needed(10**6).host_bytes == needed(3000).host_bytes  # an item has no more than all others


def test_a_recommender_of_another_package_is_guessed_large():
    class Theirs:
        loss = None

    wide, _ = resolve(Workspace.open("user"), "bpr", {"embedding_dim": 1000})
    guess = weights_of(Theirs, wide, 50, 50, BOTH)
    for model in RECOMMENDERS:
        fields = RECOMMENDERS[model].Settings.model_fields
        settings, _ = resolve(
            Workspace.open("user"), model, {"embedding_dim": 1000} if "embedding_dim" in fields else {}
        )
        assert guess.trained >= weights_of(RECOMMENDERS[model], settings, 50, 50, BOTH).maps, model
    assert Weights(1, 2, 3) + Weights(4) == Weights(5, 2, 3)
