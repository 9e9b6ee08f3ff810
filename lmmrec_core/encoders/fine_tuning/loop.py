"""The fine-tuning loop: epochs over shuffled pairs, a stop on held-out retrieval, exact resume."""

import math
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmmrec_core.checkpoints import CheckpointedLoop, State
from lmmrec_core.digests import digest
from lmmrec_core.encoders.fine_tuning.augment import random_crop
from lmmrec_core.encoders.fine_tuning.evaluation import Standing, standing_of
from lmmrec_core.encoders.fine_tuning.gradients import (
    Passes,
    first_logits,
    itc_backward,
    itm_backward,
    mlm_backward,
)
from lmmrec_core.encoders.fine_tuning.pairs import PairBatch, TrainingPairs
from lmmrec_core.encoders.fine_tuning.preparation import check, prepared, training_mode
from lmmrec_core.encoders.fine_tuning.processes import Processes
from lmmrec_core.encoders.fine_tuning.record import FineTuneEpoch, FineTuning
from lmmrec_core.encoders.fine_tuning.roles import FusingEncoder
from lmmrec_core.encoders.fine_tuning.schedule import Stepper, trainable
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import ConfigError, FeatureError, TrainingError
from lmmrec_core.flow import IntArray
from lmmrec_core.roles import TrainableEncoder
from lmmrec_core.seeds import derive, torch_stream

_STREAMS = ("shuffle", "crops", "negatives", "masks")


def fine_tune(
    encoder: TrainableEncoder,
    pairs: TrainingPairs,
    settings: FineTuneSettings,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    progress: bool = True,
) -> FineTuning:
    """Train ``encoder`` in place on the pairs that are not held out; it ends with the weights of its best epoch.

    Best is the highest held-out retrieval (mean R@10 of both directions, against all pairs), the lower held-out
    contrast among equals; with ``keep_start`` the weights it came with compete as epoch 0. Each epoch visits every
    training pair once, in random order. What is outside ``settings.part`` stays bit-equal. The module comes back in
    evaluation mode, on its old device, with its old ``requires_grad``.

    With ``checkpoint``, the state is saved between epochs, at most every ``checkpoint_seconds``, and when the process
    is asked to stop. A later call with the same ``identity``, encoder, pairs and settings goes on from there and ends
    with bit-identical weights (on a GPU as far as its kernels repeat themselves). The caller deletes the file when the
    result is safe.

    Where torch's default process group has several processes, all of them call this and tune the one encoder together
    (``processes.py``): losses and weights are those of one process up to rounding, without dropout. Only the first
    evaluates, and writes ``checkpoint``; all must be able to read it.

    Raises ConfigError for settings that do not fit the encoder or the pairs, TrainingError for a loss or gradient that
    is not finite and for a checkpoint of another tuning.
    """
    check(encoder, pairs, settings)
    whole = {"identity": identity, "encoder": dict(encoder.spec()), "pairs": pairs.fingerprint}
    name = f"{identity or encoder.name} {digest(whole | {'settings': settings.model_dump(mode='json')})}"
    with prepared(encoder, settings):
        return _Loop(encoder, pairs, settings, checkpoint, name, progress).run()


class _Loop(CheckpointedLoop):
    """State of one tuning; everything that changes goes into the checkpoint."""

    def __init__(
        self,
        encoder: TrainableEncoder,
        pairs: TrainingPairs,
        settings: FineTuneSettings,
        path: Path | None,
        identity: str,
        progress: bool,
    ) -> None:
        super().__init__(path, identity, settings.checkpoint_seconds)
        self.processes = Processes.here()
        self.encoder, self.pairs, self.settings = encoder, pairs, settings
        self.progress = progress and self.processes.first
        self.settled = pairs.settle(settings.device)  # pictures stay on a GPU as long as this does
        self.passes = Passes(settings.device, settings.precision, settings.micro_batch, self.processes)
        self.per_epoch = len(batches(pairs.train_rows, settings.batch_size))
        steps = settings.epochs * self.per_epoch
        self.stepper = Stepper(encoder, trainable(encoder, settings), settings, steps)
        self.generators = {stream: torch_stream(settings.seed, f"tune/{stream}") for stream in _STREAMS}
        self.history: list[FineTuneEpoch] = []
        self.before: Standing | None = None
        self.best: Standing | None = None
        self.best_epoch, self.bad = 0, 0
        self.best_weights: dict[str, Tensor] = {}

    def run(self) -> FineTuning:
        self.resume()
        self._agree()
        if self.before is None:
            start = time.perf_counter()
            self.before = self._standing()
            if self.settings.keep_start:
                self._keep(0, self.before)
            self.seconds += time.perf_counter() - start
        self.run_epochs()
        return self._result()

    def _agree(self) -> None:
        """Several processes start from one state, and one of them writes it."""
        if self.processes.count == 1:
            return
        self.processes.require_same("encoder, pairs or settings", self.identity)
        self.processes.require_same("state of the training", f"{self.epochs_done} {state_digest(self.encoder.module)}")
        if not self.processes.first:
            self.path = None

    def agreed(self, asked: int) -> int:
        return self.processes.any_of(asked)

    @property
    def epochs_done(self) -> int:
        return len(self.history)

    def bar(self) -> tqdm:
        return tqdm(
            total=self.stepper.steps, initial=self.stepper.done, desc=self.encoder.name, unit="step",
            disable=not self.progress,
        )  # fmt: skip

    def _result(self) -> FineTuning:
        assert self.before is not None and self.best is not None
        self.encoder.module.load_state_dict(self.best_weights)
        self.encoder.module.eval()
        return FineTuning(
            history=tuple(self.history),
            before=self.before,
            after=self.best,
            best_epoch=self.best_epoch,
            steps=self.stepper.done,
            stopped=self.stopped,
            seconds=self.seconds,
            weights=state_digest(self.encoder.module),
            settings=self.settings,
            processes=self.processes.count,
            pairs={**self.pairs.counts, "items_choice": self.pairs.items, "fingerprint": self.pairs.fingerprint},
        )

    def epoch(self, number: int, bar: tqdm) -> None:
        start = time.perf_counter()
        training_mode(self.encoder.module, self.settings.stochastic)
        order = torch.randperm(len(self.pairs.train_rows), generator=self.generators["shuffle"]).numpy()
        totals: dict[str, float] = dict.fromkeys(self.settings.objectives, 0.0)
        for place, rows in enumerate(batches(self.pairs.train_rows[order], self.settings.batch_size), start=1):
            losses = self._step(self._batch(rows), f"epoch {number}, batch {place}")
            for objective, loss in losses.items():
                totals[objective] += loss * len(rows)
            bar.update()
            shown = {name: f"{loss:.3f}" for name, loss in losses.items()}
            bar.set_postfix(shown | {"best R@10": f"{self._best_score():.3f}"}, refresh=False)
        means = {name: total / len(order) for name, total in totals.items()}
        standing = self._stand(number)
        self._compare(number, standing)
        if not self.stopped and number >= self.settings.epochs:
            self.stopped = "epochs"
        seconds = time.perf_counter() - start
        self.seconds += seconds
        total = sum(self._weight(name) * mean for name, mean in means.items())
        self.history.append(
            FineTuneEpoch(number, self.stepper.done, total, means, standing, self.stepper.scale, seconds)
        )

    def _stand(self, number: int) -> Standing:
        try:
            return self._standing()
        except FeatureError:
            self._check(math.nan, "size of some vector", f"the end of epoch {number}")
            raise

    def _standing(self) -> Standing:
        """Where the encoder stands, by the first process."""
        found = standing_of(self.encoder, self.pairs, self.passes) if self.processes.first else None
        told = self.processes.told(found)
        assert told is not None
        return told

    def _batch(self, rows: IntArray) -> PairBatch:
        batch = self.pairs.batch(rows)
        if self.settings.augment == "none":
            return batch
        pixels = random_crop(batch.pixels.to("cpu"), self.generators["crops"])
        return PairBatch(pixels, batch.tokens, batch.image_group, batch.text_group)

    def _step(self, batch: PairBatch, place: str) -> dict[str, float]:
        """Gradients of every objective, one update; the losses without their weights."""
        self.stepper.zero()
        if self.processes.count > 1:  # dropout differs between processes, and needs no state of its own to go on from
            torch.manual_seed(derive(self.settings.seed, f"tune/global/{self.processes.rank}/{self.stepper.done}"))
        losses: dict[str, float] = {}
        wanted, encoder, passes = self.settings.objectives, self.encoder, self.passes
        fusing = cast(FusingEncoder, encoder)  # ``check`` refuses itm and mlm for any other
        logits: Tensor | None = None
        if "itc" in wanted:
            losses["itc"], logits = itc_backward(encoder, batch, passes)
            self._check(losses["itc"], "itc loss", place)
        if "itm" in wanted:
            logits = first_logits(encoder, batch, passes) if logits is None else logits
            generator = self.generators["negatives"]
            losses["itm"] = itm_backward(fusing, batch, logits, self._weight("itm"), generator, passes)
            self._check(losses["itm"], "itm loss", place)
        if "mlm" in wanted:
            losses["mlm"] = mlm_backward(fusing, batch, self._weight("mlm"), self.generators["masks"], passes)
            self._check(losses["mlm"], "mlm loss", place)
        self.processes.sum_gradients(self.stepper.parameters)
        if not self.stepper.has_gradient:
            raise ConfigError(
                f"{encoder.name}: part {self.settings.part!r} has no say in {', '.join(wanted)}: nothing to learn; "
                "choose another part, or other objectives"
            )
        self._check(self.stepper.step(), "norm of the gradient", place)
        return losses

    def _check(self, value: float, what: str, place: str) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"{self.encoder.name}: the {what} is {value} at {place}; lower learning_rate "
                f"(now {self.settings.learning_rate:g}) or check the weights and the pictures"
            )

    def _weight(self, objective: str) -> float:
        return {"itc": 1.0, "itm": self.settings.itm_weight, "mlm": self.settings.mlm_weight}[objective]

    def _best_score(self) -> float:
        return self.best.held_out.score if self.best else 0.0

    def _compare(self, number: int, standing: Standing) -> None:
        if self.best is None or standing.rank > self.best.rank:
            self._keep(number, standing)
            return
        self.bad += 1
        if self.bad > self.settings.patience:
            self.stopped = "patience"

    def _keep(self, number: int, standing: Standing) -> None:
        self.best, self.best_epoch, self.bad = standing, number, 0
        for key, value in self.encoder.module.state_dict().items():
            if key in self.best_weights:
                self.best_weights[key].copy_(value)
            else:
                self.best_weights[key] = value.detach().to("cpu", copy=True)

    def state(self) -> State:
        assert self.before is not None and self.best is not None
        cuda = torch.device(self.settings.device).type == "cuda"
        return {
            "module": self.encoder.module.state_dict(),
            "stepper": self.stepper.state(),
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "global_generator": torch.get_rng_state(),
            "device_generator": torch.cuda.get_rng_state(self.settings.device) if cuda else None,
            "history": [epoch.plain() for epoch in self.history],
            "before": self.before.plain(),
            "best": (self.best.plain(), self.best_epoch, self.bad),
            "best_weights": self.best_weights,
            "stopped": self.stopped,
            "seconds": self.seconds,
        }

    def restore(self, saved: State) -> None:
        self.encoder.module.load_state_dict(saved["module"])
        self.stepper.restore(saved["stepper"])
        for name, state in saved["generators"].items():
            self.generators[name].set_state(state)
        torch.set_rng_state(saved["global_generator"])
        if saved["device_generator"] is not None:
            torch.cuda.set_rng_state(saved["device_generator"], self.settings.device)
        self.history = [FineTuneEpoch.of(entry) for entry in saved["history"]]
        self.before = Standing.of(saved["before"])
        best, self.best_epoch, self.bad = saved["best"]
        self.best, self.best_weights = Standing.of(best), saved["best_weights"]
        self.stopped, self.seconds = saved["stopped"], saved["seconds"]


def batches(rows: IntArray, size: int) -> list[IntArray]:
    """``rows`` in batches of ``size``, the last one shorter; a single one left over joins the batch before it."""
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts
