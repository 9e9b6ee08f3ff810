"""Towers of tiny encoders learn to name what they see or read, before any common space: the controls' pre-training.

It stands for the photographs and corpora that real towers are trained on. The labels are those of items in no
catalogue, and each tower gets those of its own modality, as the light encoders do (``training.py``).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from lmmrec_core.encoders.fine_tuning.pairs import TrainingPairs
from lmmrec_core.encoders.light.training import OutsideItems
from lmmrec_core.errors import DataError, TrainingError
from lmmrec_core.flow import MODALITIES, Modality
from lmmrec_core.roles import CutEncoder
from lmmrec_core.seeds import derive, torch_stream

_BATCH, _RATE, _DECAY, _CLIP = 50, 0.003, 0.02, 1.0


def learn_levels(
    encoder: CutEncoder, pairs: TrainingPairs, outside: OutsideItems, epochs: int, seed: int, progress: bool = True
) -> dict[str, Any]:
    """Train the towers below the heads; returns how well they name the levels of held-out pairs, per factor.

    Linear maps, thrown away afterwards, lead from a tower's vector to the factors' levels; cross-entropy; AdamW with a
    one-cycle rate. The heads do not move, since nothing here compares a picture with a text.
    Raises DataError for labels of other items, TrainingError for a loss that is not finite.
    """
    places = {item: place for place, item in enumerate(outside.item_ids)}
    if not set(pairs.item_ids) <= places.keys():
        raise DataError("the labels belong to other items than those to pre-train on; write the outside items again")
    order = torch.tensor([places[item] for item in pairs.item_ids])
    levels = {m: outside.levels[m][order] for m in MODALITIES}
    heads = encoder.part("heads")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "levels"))
        probes = _probes(encoder, pairs, levels)
    towers = [p for name, p in encoder.module.named_parameters() if name not in heads]
    weights = [*towers, *probes.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=_RATE, weight_decay=_DECAY)
    rows, shuffle = torch.from_numpy(pairs.train_rows), torch_stream(seed, "levels/shuffle")
    batches = max(1, len(rows) // _BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=epochs * batches, pct_start=0.15)
    encoder.module.train()
    for _ in tqdm(range(epochs), desc=f"{encoder.name}: levels", unit="epoch", disable=not progress):
        shuffled = rows[torch.randperm(len(rows), generator=shuffle)]
        for chosen in shuffled[: batches * _BATCH].split(_BATCH):
            loss = torch.stack([_loss(probes[m], _vectors(encoder, pairs, m, chosen), levels[m][chosen])
                                for m in MODALITIES]).sum()  # fmt: skip
            if not bool(torch.isfinite(loss)):
                raise TrainingError(f"{encoder.name}: the loss of naming levels is {loss.item()}; lower the rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(weights, _CLIP)
            optimiser.step()
            rate.step()
    encoder.module.eval()
    return {"epochs": epochs, "accuracy": _accuracy(encoder, pairs, probes, levels, outside)}


def _vectors(encoder: CutEncoder, pairs: TrainingPairs, modality: Modality, rows: Tensor) -> Tensor:
    """What enters the heads [pair, width]."""
    if modality == "visual":
        states = encoder.below(modality, torch.from_numpy(np.asarray(pairs.pixels[rows.numpy()])), "heads")
    else:
        states = encoder.below(modality, {name: value[rows] for name, value in pairs.tokens.items()}, "heads")
    return next(iter(states.values()))


def _probes(encoder: CutEncoder, pairs: TrainingPairs, levels: dict[Modality, Tensor]) -> nn.ModuleDict:
    with torch.no_grad():
        widths = {m: _vectors(encoder, pairs, m, torch.arange(2)).shape[1] for m in MODALITIES}
    return nn.ModuleDict({m: nn.Linear(widths[m], levels[m].shape[1] * _count(levels[m])) for m in MODALITIES})


def _count(levels: Tensor) -> int:
    return int(levels.max()) + 1


def _loss(probe: nn.Module, vectors: Tensor, levels: Tensor) -> Tensor:
    logits = probe(vectors).view(len(levels) * levels.shape[1], -1)
    return functional.cross_entropy(logits, levels.flatten())


def _accuracy(
    encoder: CutEncoder,
    pairs: TrainingPairs,
    probes: nn.ModuleDict,
    levels: dict[Modality, Tensor],
    outside: OutsideItems,
) -> dict[str, float]:
    found: dict[str, float] = {}
    rows = torch.from_numpy(pairs.held_out_rows)
    with torch.no_grad():
        for m in MODALITIES:
            truth = levels[m][rows]
            named = probes[m](_vectors(encoder, pairs, m, rows)).view(*truth.shape, -1).argmax(dim=2)
            right = (named == truth).float().mean(dim=0).tolist()
            found |= {f"{m}_{factor}": round(share, 3) for factor, share in zip(outside.factors[m], right, strict=True)}
    return found
