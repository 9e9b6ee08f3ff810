"""How many threads train a recommender."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lmmrec_core.process import threads_for
from lmmrec_core.roles import TrainableRecommender, TrainingData
from lmmrec_core.training.joint.hooks import FeatureTraining

_ROW = 64  # numbers of an embedding


@contextmanager
def threads_in_use(
    asked: int | None, model: TrainableRecommender, data: TrainingData, features: FeatureTraining | None
) -> Iterator[None]:
    """Train with ``asked`` threads, which stay; if None, with those that suit, and afterwards as many as before.

    An encoder that is trained too (``features``) is work for all the threads that torch has.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(asked or (suiting_threads(model, data) if features is None else before))
    try:
        yield
    finally:
        if asked is None:
            torch.set_num_threads(before)


def suiting_threads(model: TrainableRecommender, data: TrainingData) -> int:
    """Threads that suit a model (``process.threads_for``), no more than torch has now.

    The numbers that a step touches are those of its parameters and features, and for each edge of a graph a row of
    about 64.
    """
    buffers = model.buffers() if isinstance(model, nn.Module) else ()
    edges = sum(values.numel() for values in buffers if values.ndim == 1 and values.is_floating_point())
    tables = sum(table.numel() for table in (*model.parameters(), *data.features.values()))
    return threads_for(tables + _ROW * edges, torch.get_num_threads())
