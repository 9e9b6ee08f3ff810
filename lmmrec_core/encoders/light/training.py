"""Training of the light encoders: a network learns to name the factor levels that its modality shows.

For the controls it takes the place of training on ImageNet (pictures) and on a corpus of sentences (texts). Each
network sees one modality of items that are in no catalogue, and the labels of that modality alone.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from lmmrec_core.encoders.light.networks import DIM, Standardise
from lmmrec_core.errors import DataError, TrainingError
from lmmrec_core.flow import Modality
from lmmrec_core.seeds import derive, torch_stream

_TEXT_FIELDS = ("title", "brand", "categories", "description")  # the order in which catalogues join them
_BATCH = 50
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class OutsideItems:
    """What ``write_outside_items`` wrote, read back."""

    item_ids: tuple[str, ...]
    texts: tuple[str, ...]
    images: tuple[Path, ...]
    levels: dict[Modality, Tensor]  # int64 [item, factor]
    factors: dict[Modality, tuple[str, ...]]


def read_outside(folder: Path) -> OutsideItems:
    """The items of a folder of outside items: texts, paths of pictures, and labels.

    Raises DataError naming file and line for an absent file or column, for a label that is no level, and for labels
    of other items.
    """
    items = _read_rows(folder / "items.csv", ("item_id", "image", *_TEXT_FIELDS))
    labels = _read_rows(folder / "labels.csv", ("item_id",))
    item_ids = tuple(row["item_id"] for row in items)
    if item_ids != tuple(row["item_id"] for row in labels):
        raise DataError(f"{folder / 'labels.csv'}: its items are not those of items.csv in order; write both again")
    levels: dict[Modality, Tensor] = {}
    factors: dict[Modality, tuple[str, ...]] = {}
    modalities: tuple[Modality, ...] = ("visual", "textual")
    for modality in modalities:
        columns = [name for name in labels[0] if name.startswith(f"{modality}_")]
        if not columns:
            raise DataError(f"{folder / 'labels.csv'}: no column {modality}_…; write the outside items again")
        factors[modality] = tuple(name.removeprefix(f"{modality}_") for name in columns)
        levels[modality] = torch.tensor([
            [_level(row[name], folder / "labels.csv", line, name) for name in columns]
            for line, row in enumerate(labels, start=2)
        ])  # fmt: skip
    texts = tuple(". ".join(row[field] for field in _TEXT_FIELDS if row[field]) for row in items)
    return OutsideItems(item_ids, texts, tuple(folder / row["image"] for row in items), levels, factors)


def _read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; write the outside items first (write_outside_items)")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        for column in columns:
            if column not in (reader.fieldnames or ()):
                raise DataError(f"{path}: no column {column!r}; write the outside items again")
        rows = list(reader)
    if not rows:
        raise DataError(f"{path}: no rows; write at least one outside item")
    return rows


def _level(text: str, path: Path, line: int, column: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{path} line {line}: {column} = {text!r} is no level; give a whole number from 0")
    return int(text)


def _seeded(build: Callable[[], Network], seed: int, name: str) -> Network:
    """A module whose initial weights come from the stream ``name`` alone; the global generator does not move."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, name))
        return build()


def train_network(
    build: Callable[[], Network], inputs: Tensor, levels: Tensor, *, epochs: int, learning_rate: float, seed: int,
    name: str, change: Callable[[Tensor, torch.Generator], Tensor], progress: bool,
) -> tuple[Network, float]:  # fmt: skip
    """Build a network and train it to tell ``levels`` [item, factor] of ``inputs``, through a linear head per factor.

    Levels are ordered, so a head answers "above level k?" for every k (thermometer code, mean binary cross-entropy).
    Close levels then get close vectors, which words named as separate classes need not. AdamW with a one-cycle rate;
    ``change`` varies a batch (mirrored pictures, dropped words).
    Returns the network, in evaluation mode and with its standardisation fitted, and the last epoch's mean loss; the
    heads are thrown away. Raises TrainingError if the loss is not finite.
    """
    n_items = len(levels)
    steps_up = torch.arange(max(1, int(levels.max())))
    targets = (levels.unsqueeze(-1) > steps_up).float().flatten(1)  # [item, factor × (level - 1)]
    network = _seeded(build, seed, f"light/{name}/network")
    heads = _seeded(lambda: nn.Linear(DIM, targets.shape[1]), seed, f"light/{name}/heads")
    stream = torch_stream(seed, f"light/{name}/batches")
    weights = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.01)
    steps = -(-n_items // _BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * steps)
    network.train()
    mean = 0.0
    for _ in tqdm(range(epochs), desc=f"light encoder, {name}", disable=not progress, leave=False):
        total = 0.0
        for rows in torch.randperm(n_items, generator=stream).split(_BATCH):
            guesses = heads(network(change(inputs[rows], stream)))
            loss = functional.binary_cross_entropy_with_logits(guesses, targets[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            rate.step()
            total += float(loss.detach()) * len(rows)
        mean = total / n_items
        if not mean < float("inf"):
            raise TrainingError(f"light encoder, {name}: the loss is {mean}; check the outside items' content")
    network.eval()
    with torch.no_grad():
        vectors = torch.cat([network(part) for part in inputs.split(256)])
        last = network.standardise
        assert isinstance(last, Standardise)  # both networks end in it
        last.fit(vectors)
    return network, mean
