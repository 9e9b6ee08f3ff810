"""The training loop: epochs over shuffled training rows, early stopping on validation, exact resume."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from tqdm import tqdm

from lmmrec_core.checkpoints import CheckpointedLoop, State
from lmmrec_core.config import Settings
from lmmrec_core.errors import TrainingError
from lmmrec_core.flow import Epoch, Split
from lmmrec_core.process import host_waits
from lmmrec_core.roles import Batch, Recommender, Scorer, TrainableRecommender, TrainingData, lacking
from lmmrec_core.seeds import derive, torch_stream, true_fp32
from lmmrec_core.training.joint.hooks import FeatureTraining, TrainingStep
from lmmrec_core.training.optimiser import Optimiser
from lmmrec_core.training.pace import PACE_UNITS, Pace, pace_of
from lmmrec_core.training.sampling import NegativeSampler
from lmmrec_core.training.threads import threads_in_use

_STREAMS = ("shuffle", "negatives", "model")


class TrainingSettings(Settings):
    """How a recommender is trained; the defaults are MMRec's (enoche/MMRec ``src/configs/overall.yaml``).

    The pace is given in epochs and validations (``epochs``, at most; ``evaluate_every``; ``patience``) or in optimiser
    steps (``steps``, ``evaluate_steps``, ``patience_steps``), see :func:`~lmmrec_core.training.pace.pace_of`.
    """

    epochs: int | None = Field(default=None, ge=1)  # 1000 unless steps are given
    steps: int | None = Field(default=None, ge=1)
    evaluate_every: int | None = Field(default=None, ge=1)  # epochs; 1 unless evaluate_steps are given
    evaluate_steps: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=None, ge=0)  # stops at validation patience + 1 without improvement; 20
    patience_steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=2048, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)  # coupled: added to the gradient
    lr_decay: float = Field(default=1.0, gt=0)  # learning rate of epoch e (from 0): lr * lr_decay^(e / lr_decay_epochs)
    lr_decay_epochs: float = Field(default=50, gt=0)
    stop_rounding: int | None = None  # decimals of the compared validation score; 4 in MMRec
    checkpoint_seconds: float = Field(default=60, ge=0)
    # CPU threads; None: by the size of the work and the load of the machine, see ``process.threads_for``
    threads: int | None = Field(default=None, ge=1, le=1024)
    device: str = "cpu"

    @model_validator(mode="after")
    def _one_unit(self) -> "TrainingSettings":
        for one, other in PACE_UNITS.items():
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one} and {other} say the same in two units; give one of them")
        return self

    def pace(self, rows: int) -> Pace:
        """The pace on ``rows`` training rows."""
        units = {name: getattr(self, name) for pair in PACE_UNITS.items() for name in pair}
        return pace_of(rows, self.batch_size, **units)


@dataclass(frozen=True, eq=False)
class Training:
    """How a training went; the model holds the weights of ``best_epoch`` afterwards."""

    history: tuple[Epoch, ...]
    best_epoch: int  # from 1; 0 for recommenders without epochs
    stopped: str  # "patience", "cap" (the last epoch or step was reached) or "nothing to train"
    seconds: float  # over all sittings when resumed
    steps_per_epoch: int = 0
    threads: int = 1
    notes: Mapping[str, object] = field(default_factory=dict)  # of the training of the features, if there was one

    @property
    def best_step(self) -> int:
        """The optimiser step whose weights are kept, from 1."""
        return self.best_epoch * self.steps_per_epoch


def train(
    model: Recommender,
    data: TrainingData,
    split: Split,
    settings: TrainingSettings,
    *,
    seed: int,
    validate: Callable[[Scorer], float],
    checkpoint: Path | None = None,
    identity: str = "",
    progress: bool = True,
    features: FeatureTraining | None = None,
) -> Training:
    """Train ``model`` in place and leave it with the weights of its best epoch.

    With ``features`` (see ``end_to_end.end_to_end``) the item features are trained too: the best epoch's recommender,
    encoder and features belong together and are left together, and so does everything in the checkpoint.

    ``validate`` returns the validation score of a frozen scorer (Recall@20 in the study); higher is better, and only a
    strictly higher one counts as better. Each epoch visits every training row once, in random order, the short last
    batch included, with one negative per row. ``split`` is only compared with ``data``: both must hold the same
    training rows.

    With ``checkpoint``, the state is saved between epochs, at most every ``checkpoint_seconds``, and when the process
    is asked to stop (interrupt or terminate signal; a second signal stops at once). A later call with the same
    ``identity`` goes on from there and ends with bit-identical weights. The caller deletes the file when the result
    is safe.

    Raises TrainingError for a loss or validation score that is not finite, for rows that are not the training part,
    for a checkpoint of another run, and for a module that is not a ``roles.TrainableRecommender``.
    """
    _check_rows(data, split)
    if not isinstance(model, TrainableRecommender):
        if isinstance(model, nn.Module):
            absent = ", ".join(lacking(model, TrainableRecommender))
            raise TrainingError(
                f"{type(model).__name__} cannot be trained because it has no {absent}; "
                "add them (roles.TrainableRecommender says what they are) or derive from "
                "recommenders.base.GradientRecommender"
            )
        return Training((), 0, "nothing to train", 0.0)
    model.to(settings.device)
    # layers that draw from the global generator stay reproducible
    with threads_in_use(settings.threads, model, data, features), true_fp32(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "global"))
        features = features or FeatureTraining()
        features.start(model, seed)
        return _Loop(model, data, settings, seed, validate, checkpoint, identity, progress, features).run()


class _Loop(CheckpointedLoop):
    """State of one training; everything that changes is in ``state`` and goes into the checkpoint."""

    def __init__(
        self,
        model: TrainableRecommender,
        data: TrainingData,
        settings: TrainingSettings,
        seed: int,
        validate: Callable[[Scorer], float],
        path: Path | None,
        identity: str,
        progress: bool,
        features: FeatureTraining,
    ) -> None:
        super().__init__(path, identity, settings.checkpoint_seconds)
        self.model, self.data, self.settings, self.validate = model, data, settings, validate
        self.progress, self.features = progress, features
        self.optimiser = Optimiser(model, settings.learning_rate, settings.weight_decay, features.free_parameters())
        self.user, self.item = data.user.to(settings.device), data.item.to(settings.device)
        self.sampler = NegativeSampler(self.user, self.item, data.n_items) if model.needs_negatives else None
        self.generators = {
            stream: torch_stream(seed, f"train/{stream}", "cpu" if stream == "model" else settings.device)
            for stream in _STREAMS
        }
        self.history: list[Epoch] = []
        self.pace = settings.pace(len(data.user))
        self.best, self.best_epoch = -np.inf, 0
        self.best_weights: dict[str, Tensor] = {}
        self.best_features: dict[str, Tensor] = {}

    def run(self) -> Training:
        self.resume()
        self.run_epochs()
        if self.best_weights:
            self.model.load_state_dict(self.best_weights)
            self.features.load_weights(self.best_features)
        return Training(
            tuple(self.history), self.best_epoch, self.stopped, self.seconds, self.pace.n_batches,
            torch.get_num_threads(), self.features.notes(),
        )  # fmt: skip

    @property
    def epochs_done(self) -> int:
        return len(self.history)

    def bar(self) -> tqdm:
        total, name = self.pace.epochs, self.model.name
        return tqdm(total=total, initial=self.epochs_done, desc=name, unit="epoch", disable=not self.progress)

    def epoch(self, number: int, bar: tqdm) -> None:
        start = time.perf_counter()
        self.model.train()
        self.optimiser.set_learning_rate(
            self.settings.learning_rate * self.settings.lr_decay ** ((number - 1) / self.settings.lr_decay_epochs)
        )
        loss = self._batches(number)
        valid = None
        evaluated = self.pace.evaluates(number)
        self.features.end_epoch(evaluated)
        if evaluated:
            self.model.eval()
            valid = float(self.validate(self.model.scorer()))
            self._compare(number, valid)
        if not self.stopped and number >= self.pace.epochs:
            self.stopped = "cap"
        seconds = time.perf_counter() - start
        self.seconds += seconds
        self.history.append(Epoch(number, loss, valid, seconds))
        bar.update()
        bar.set_postfix(loss=f"{loss:.4f}", best=f"{self.best:.4f}", refresh=False)

    def _batches(self, number: int) -> float:
        """One pass over the training rows; the mean loss per row.

        On a GPU the host does not wait for it: losses are looked at once, after the last batch.
        """
        rows, size = len(self.user), self.settings.batch_size
        order = torch.randperm(rows, generator=self.generators["shuffle"], device=self.user.device)
        user, item = self.user[order], self.item[order]
        negative = self.sampler.sample(user, self.generators["negatives"]) if self.sampler else None
        generator, n_batches = self.generators["model"], self.pace.n_batches
        self.features.begin_epoch(number, n_batches)
        self.model.begin_epoch(number, generator)
        losses: list[Tensor] = []
        total, waits = 0.0, host_waits(self.settings.device)
        for index in range(n_batches):
            part = slice(index * size, (index + 1) * size)
            chosen = None if negative is None else negative[part]
            batch = Batch(user[part], item[part], chosen, first_of_epoch=index == 0)
            step = TrainingStep(batch, index, n_batches, generator)
            self.features.before_batch(step)
            loss = self.model.loss(batch, generator)
            losses.append(loss.detach())
            if not waits or step.index + 1 == n_batches:
                for place, value in enumerate(self._finite(losses, number, index), start=index + 1 - len(losses)):
                    total += value * min(size, rows - place * size)
                losses = []
            self.optimiser.step(loss)
            self.features.after_step(step)
        self.optimiser.settle()
        return total / rows

    def _finite(self, losses: list[Tensor], number: int, last: int) -> list[float]:
        """The losses of consecutive batches up to ``last``. Raises TrainingError for the first that is not finite."""
        values: list[float] = torch.stack(losses).tolist()
        for index, value in enumerate(values, start=last + 1 - len(values)):
            if not np.isfinite(value):
                raise TrainingError(
                    f"{self.model.name}: the loss is {value} at epoch {number}, batch {index + 1}; lower "
                    f"learning_rate (now {self.settings.learning_rate:g}) or check "
                    "that the features are finite and not huge"
                )
        return values

    def _compare(self, number: int, valid: float) -> None:
        if not np.isfinite(valid):
            raise TrainingError(
                f"{self.model.name}: the validation score is {valid} at epoch {number}; "
                "check that the validation part has users"
            )
        if not self.features.ready() and number < self.pace.epochs:  # the last epoch is kept rather than nothing
            return
        rounding = self.settings.stop_rounding
        compared = valid if rounding is None else round(valid, rounding)
        if compared > self.best:
            self.best, self.best_epoch = compared, number
            _keep(self.best_weights, self.model.state_dict())
            _keep(self.best_features, self.features.weights())
            return
        if number - self.best_epoch >= self.pace.patience:
            self.stopped = "patience"

    def state(self) -> State:
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "global_generator": torch.get_rng_state(),
            "device": torch.device(self.settings.device).type,
            "history": [(epoch.number, epoch.loss, epoch.valid, epoch.seconds) for epoch in self.history],
            "best": (float(self.best), self.best_epoch),
            "best_weights": self.best_weights,
            "features": self.features.state(),
            "best_features": self.best_features,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "threads": torch.get_num_threads(),
        }

    def restore(self, saved: State) -> None:
        kind, made_on = torch.device(self.settings.device).type, saved.get("device", "cpu")
        if kind != made_on:  # the random streams of one cannot go on on the other
            raise TrainingError(
                f"{self.path}: this training was begun on device {made_on} and cannot go on on {kind}; set "
                f"device={made_on}, or delete the file to begin again"
            )
        if self.settings.threads is None:  # sums of as many threads have the same last bits, however busy it is now
            torch.set_num_threads(saved.get("threads", torch.get_num_threads()))
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        for name, state in saved["generators"].items():
            self.generators[name].set_state(state)
        torch.set_rng_state(saved["global_generator"])
        self.history = [Epoch(*entry) for entry in saved["history"]]
        self.best, self.best_epoch = saved["best"]
        self.features.restore(saved["features"])
        device = self.settings.device
        self.best_weights = {key: weight.to(device) for key, weight in saved["best_weights"].items()}
        self.best_features = {key: weight.to(device) for key, weight in saved["best_features"].items()}
        self.stopped, self.seconds = saved["stopped"], saved["seconds"]


def _keep(kept: dict[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Copy ``weights`` into ``kept``, in place if it holds them already."""
    for key, weight in weights.items():
        if key in kept:
            kept[key].copy_(weight)
        else:
            kept[key] = weight.detach().clone()


def _check_rows(data: TrainingData, split: Split) -> None:
    keys = np.sort(data.user.cpu().numpy() * split.n_items + data.item.cpu().numpy())
    if (data.n_users, data.n_items) != (split.n_users, split.n_items) or not np.array_equal(keys, split.train_keys):
        raise TrainingError(
            "the training data is not the train part of the split; build TrainingData from split.train and nothing else"
        )
