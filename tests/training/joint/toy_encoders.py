"""Item encoders small enough to compare with the whole computation graph, and what the gradient tests share."""

import torch
from torch import Tensor, nn

from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.roles import Batch, TrainingData
from lmmrec_core.training.joint.e2 import Window
from lmmrec_core.training.joint.hooks import TrainingStep
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.optimiser import Optimiser
from tests.recommenders.toys import random_data

WIDTHS = {"visual": 5, "textual": 4}
INPUTS = 6


class Towers(nn.Module):
    """Two perceptrons: per modality a "tower" and a "head"."""

    def __init__(self, generator: torch.Generator, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.towers, self.heads = nn.ModuleDict(), nn.ModuleDict()
        for modality, width in WIDTHS.items():
            norm = [nn.BatchNorm1d(8)] if batch_norm else []
            self.towers[modality] = nn.Sequential(nn.Linear(INPUTS, 8), *norm, nn.Tanh(), nn.Dropout(dropout))
            self.heads[modality] = nn.Linear(8, width)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(std=0.7, generator=generator)


class ToyEncoder:
    """Rows of items from fixed inputs [item, 6]; a ``roles.ItemEncoder``."""

    def __init__(self, n_items: int, dropout: float = 0.0, batch_norm: bool = False, double: bool = False) -> None:
        generator = torch.Generator().manual_seed(11)
        self.inputs = torch.randn(n_items, INPUTS, generator=generator)
        self.module = Towers(generator, dropout, batch_norm)
        if double:
            self.inputs, self.module = self.inputs.double(), self.module.double()

    def rows(self, items: Tensor) -> dict[str, Tensor]:
        inputs = self.inputs[items]
        return {m: self.module.heads[m](tower(inputs)) for m, tower in self.module.towers.items()}

    def part(self, name: str) -> frozenset[str]:
        names = [key for key, _ in self.module.named_parameters()]
        return frozenset(names if name == "all" else (key for key in names if key.startswith("heads.")))

    @torch.no_grad()
    def features(self) -> dict[str, Tensor]:
        """All rows in evaluation mode, as a feature store would hold them."""
        self.module.eval()
        return {m: rows.clone() for m, rows in self.rows(torch.arange(len(self.inputs))).items()}


def data_of(encoder: ToyEncoder, n_items: int = 45, n_users: int = 30, edges: int = 200) -> TrainingData:
    data = random_data(3, n_users, n_items, edges)
    return TrainingData(n_users, n_items, data.user, data.item, encoder.features())


def build(name: str, data: TrainingData, double: bool = False, **settings):
    member = RECOMMENDERS[name]
    settings = {"embedding_dim": 4, **settings}
    if "trainable_features" in member.Settings.model_fields:
        settings.setdefault("trainable_features", False)
    model = member(data, member.Settings.build(settings), torch.Generator().manual_seed(0)).train()
    if double:
        model.double()
        for parts in model.modules():
            for key, value in vars(parts).items():
                if isinstance(value, Tensor) and value.dtype == torch.float32:
                    setattr(parts, key, value.double())
    return model


def batches_of(data: TrainingData, count: int, size: int = 24, negatives: bool = True) -> list[Batch]:
    generator = torch.Generator().manual_seed(5)
    batches = []
    for index in range(count):
        rows = torch.randint(len(data.user), (size,), generator=generator)
        negative = torch.randint(data.n_items, (size,), generator=generator) if negatives else None
        batches.append(Batch(data.user[rows], data.item[rows], negative, index == 0))
    return batches


class Captured(Window):
    """Keeps the gradient of every encoder update and stands still, so that updates can be compared."""

    frozen = True

    def start(self, model, seed):
        super().start(model, seed)
        self.gradients: list[Tensor] = []
        self.feature_gradients: list[dict[str, Tensor]] = []
        move = self.optimiser.step

        def step(*place):
            self.gradients.append(flat(self.trained.values()))
            if self.frozen:
                self.optimiser.done += 1
            else:
                move(*place)

        self.optimiser.step = step

    def _gradients(self, reads):
        found = super()._gradients(reads)
        self.feature_gradients.append({m: gradient.clone() for m, gradient in found.items()})
        return found


class Moving(Captured):
    """The same, and the encoder moves."""

    frozen = False


def flat(parameters) -> Tensor:
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).detach().flatten() for p in parameters])


def settings(**values) -> EndToEndSettings:
    return EndToEndSettings.build(values)


def windowed(model, encoder, batches, kind=Captured, learning_rate=0.01, epochs=1, **values):
    """``epochs`` of ``batches`` with the recommender moving; the Window, its gradients captured."""
    window = kind(encoder, settings(**values))
    window.start(model, seed=1)
    optimiser, generator = Optimiser(model, learning_rate, 0.0), torch.Generator().manual_seed(9)
    for number in range(1, epochs + 1):
        window.begin_epoch(number, len(batches))
        model.begin_epoch(number, generator)
        for index, batch in enumerate(batches):
            step = TrainingStep(batch, index, len(batches), generator)
            window.before_batch(step)
            optimiser.step(model.loss(batch, generator))
            window.after_step(step)
        if number < epochs:
            window.end_epoch(evaluated=True)
    return window


def whole_graph(model, encoder, batches, learning_rate=0.01, epochs=1) -> Tensor:
    """The slow, obvious gradient: every loss of the window through the encoder of all items.

    Averaged over the steps that read the features: one an epoch if they enter once.
    """
    encoder.module.eval().zero_grad(set_to_none=True)
    optimiser, generator = Optimiser(model, learning_rate, 0.0), torch.Generator().manual_seed(9)
    everything = torch.arange(model.n_items)
    model.features.update({m: encoder.rows(everything)[m] for m in model.features})
    for number in range(1, epochs + 1):
        model.begin_epoch(number, generator)
        for batch in batches:
            rows = encoder.rows(everything)
            model.features.update({m: rows[m] for m in model.features})
            optimiser.step(model.loss(batch, generator))
    return flat(encoder.module.parameters()) / (epochs * (1 if model.features_enter_once_per_epoch else len(batches)))


def error(found: Tensor, expected: Tensor) -> float:
    """Relative, in the Euclidean norm."""
    return float((found.detach() - expected.detach()).norm() / expected.detach().norm())
