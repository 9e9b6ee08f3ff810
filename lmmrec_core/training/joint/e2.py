"""End-to-end training by gradient caching: one encoder step per window of recommender steps."""

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from lmmrec_core.checkpoints import State
from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.flow import Modality
from lmmrec_core.roles import ItemEncoder, TrainableRecommender
from lmmrec_core.seeds import derive, torch_stream
from lmmrec_core.training.joint import policies
from lmmrec_core.training.joint.boundary import CachedBoundary
from lmmrec_core.training.joint.chunks import (
    Chunk,
    ChunkedEncoder,
    chunked,
    flat_gradient,
    relative_change,
    trained_part,
)
from lmmrec_core.training.joint.hooks import FeatureTraining, TrainingStep, content_of, refuse_own_tables
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.joint.updates import MIN_UPDATES, EncoderUpdates


class Window(FeatureTraining):
    """``F = f_theta(X)`` inside the loss: the recommendation gradient reaches the encoder's weights theta.

    Window of n steps: F is filled chunk by chunk without gradient and put into the model as leaves; the n losses
    leave ``G = mean of dL_t/dF`` in the leaves; chunks with a row of G are encoded again with gradient and sent
    ``<Z, G>``. That is exactly d/dtheta of the mean loss of the window, the recommender's own moves held fixed, for
    the memory of one chunk and two feature matrices. The mean is over the steps that read the features: one an epoch
    if they enter once. The last window of an epoch may be shorter; with ``epochs_per_update`` a window spans epochs,
    and features and their gradient stay between them.

    The encoder is in evaluation mode unless ``stochastic``; evaluation always sees evaluation-mode features. A model
    that says ``reads_batch_items_only`` has only those items encoded, one that says ``features_enter_once_per_epoch``
    gets one window an epoch. Raises TrainingError if no gradient reaches the features or the weights.
    """

    def __init__(self, encoder: ItemEncoder, settings: EndToEndSettings) -> None:
        self.source, self.settings = encoder, settings
        self.epoch, self.length, self.draws = 0, 1, 0
        self.reads = 0  # steps of the current window that read the features
        self.kept: int | None = None  # updates before the state that was kept
        self.filled: list[Chunk] = []  # of the current window
        self.measured: list[tuple[int, float, float]] = []  # epoch, cosine, relative error
        self.exact: Tensor | None = None
        self.seconds = 0.0  # spent on the encoder in the current window
        self.update_seconds: float | None = None
        self.differs: dict[str, float] = {}

    def start(self, model: TrainableRecommender, seed: int) -> None:
        self.model = content_of(model, self.settings.reading)
        refuse_own_tables(self.model, self.settings.reading)
        self.once = self.model.features_enter_once_per_epoch
        if self.once and self.settings.policy == "bank":
            raise ConfigError(f"{model.name} reads features once an epoch: policy 'window' is exact at no higher cost")
        self.few = self.settings.policy == "bank" or self.model.reads_batch_items_only
        self.seed, self.sampler = seed, torch_stream(seed, "train/rows")
        self.leaves: dict[Modality, Tensor] = {m: f.detach().clone() for m, f in self.model.features.items()}
        n_items, self.kept_bytes = len(next(iter(self.leaves.values()))), 0
        if self.settings.boundary != "encode":
            self.source.module.to(next(iter(self.leaves.values())).device)
            half = self.settings.boundary == "keep-bf16"
            cut = CachedBoundary(self.source, self.settings.part, n_items, self.settings.chunk, half)
            self.source, self.kept_bytes = cut, cut.size
        self.encoder = ChunkedEncoder(self.source, self.leaves, self.settings.precision)
        self.trained = trained_part(self.source, self.settings.part)
        self.optimiser = EncoderUpdates(
            self.trained, self.settings.encoder_learning_rate, self.settings.encoder_weight_decay,
            self.settings.warm_up_updates,
        )  # fmt: skip
        self.encoder.check(self.settings.chunk, self.settings.stochastic)
        self.all = torch.ones(n_items, dtype=torch.bool)
        self.valid, self.touched = ~self.all, ~self.all  # rows of the current weights; rows of the window's batches
        self._fill(self.all, evaluation=True)
        self.first = {m: leaf.clone() for m, leaf in self.leaves.items()}
        self.differs = {m: relative_change(f, self.model.features[m]) for m, f in self.first.items()}
        if self.settings.stochastic:
            self._close()
        for leaf in self.leaves.values():
            leaf.requires_grad_()
        self.model.features.update(self.leaves)

    def begin_epoch(self, number: int, n_batches: int) -> None:
        per_epoch = self.settings.updates_per_epoch
        self.length = n_batches if self.once else 1 if per_epoch == "every_step" else -(-n_batches // int(per_epoch))
        self.epoch = number
        if not self.few or self.settings.policy == "bank":
            self._fill(self.all)

    def before_batch(self, step: TrainingStep) -> None:
        if self.few or self.settings.policy != "window":  # nobody else asks which rows, and on a GPU the host waits
            for items in (step.batch.positive, step.batch.negative):
                if items is not None:
                    self.touched[items.cpu()] = True
        self._fill(self.touched if self.few else self.all)
        if self.settings.policy == "bank" and self._is_measured(step):
            self.exact = self._exact_now(step)

    def after_step(self, step: TrainingStep) -> None:
        self.reads += step.index == 0 or not self.once
        last = step.index + 1 == step.n_batches
        if self.epoch % self.settings.epochs_per_update or not (last or step.index % self.length + 1 == self.length):
            return
        started = time.perf_counter()
        self._update(self._gradients(self.reads), step)
        self.seconds += time.perf_counter() - started
        if self.update_seconds is None:
            self._guard(-(-step.n_batches // self.length) / self.settings.epochs_per_update)
        self.update_seconds, self.seconds, self.reads = self.seconds, 0.0, 0

    def end_epoch(self, evaluated: bool) -> None:
        if evaluated:
            self._fill(self.all, evaluation=True)
        if self.settings.stochastic:
            self._close()  # rows of evaluation mode are not those of training
        self.filled = []

    def ready(self) -> bool:
        return self.optimiser.done >= MIN_UPDATES

    def weights(self) -> dict[str, Tensor]:
        """Trained parameters (the others never move), feature rows, and the number of updates so far."""
        return self._moving() | {"updates": torch.tensor(self.optimiser.done)}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        self._put(weights)
        self.kept = int(weights["updates"])
        self.source.module.eval()
        self.model.features.update({modality: leaf.detach() for modality, leaf in self.leaves.items()})

    def state(self) -> State:
        return {
            "weights": self._moving(),
            "optimiser": self.optimiser.state(),
            "valid": self.valid,
            "window": (self.reads, self.touched, {m: leaf.grad for m, leaf in self.leaves.items()}),
            "sampler": self.sampler.get_state(),
            "counts": (self.draws, self.encoder.encoded, self.length),
            "measured": self.measured,
        }

    def restore(self, state: State) -> None:
        self._put(state["weights"])
        self.optimiser.restore(state["optimiser"])
        self.valid = state["valid"].clone()
        self.reads, touched, gradients = state["window"]
        self.touched = touched.clone()
        for modality, leaf in self.leaves.items():  # a state is read back onto the CPU
            gradient = gradients[modality]
            leaf.grad = None if gradient is None else gradient.to(leaf.device, copy=True)
        self.sampler.set_state(state["sampler"])
        self.draws, self.encoder.encoded, self.length = state["counts"]
        self.measured = [tuple(entry) for entry in state["measured"]]

    def notes(self) -> dict[str, object]:
        settings = self.settings
        kept = {
            "reading": settings.reading,
            "gradient": policies.WHAT[settings.policy],
            "settings": settings.model_dump(mode="json"),
            "trained_parameters": sum(parameter.numel() for parameter in self.trained.values()),
            "steps_per_update": self.length * self.settings.epochs_per_update,
            "updates": self.optimiser.done,
            "updates_before_kept": self.kept,
            "trained": (self.kept or 0) >= MIN_UPDATES,
            "update_record": self.optimiser.record,
            "items_encoded": self.encoder.encoded,
            "boundary_bytes": self.kept_bytes,
            "start_difference": self.differs,  # of the encoder's rows from the features the model was built with
            "feature_change": {m: relative_change(leaf, self.first[m]) for m, leaf in self.leaves.items()},
        }
        return kept | (policies.agreement_notes(self.measured) if settings.measure_batches else {})

    def _fill(self, needed: Tensor, evaluation: bool = False) -> None:
        """Bring ``needed`` rows of the leaves to the current weights; those that already are stay as they are."""
        started = time.perf_counter()
        if evaluation and self.settings.stochastic:
            self._close()
        for items in (needed & ~self.valid).nonzero().flatten().split(self.settings.chunk):
            if not len(items):
                break
            seed = None
            if self.settings.stochastic and not evaluation:
                self.draws += 1
                seed = derive(self.seed, f"train/encoder/{self.draws}")
            self.filled.append(Chunk(items, seed))
            self.encoder.fill(self.filled[-1], self.leaves)
        self.encoder.require_finite()
        self.valid |= needed
        self.seconds += time.perf_counter() - started

    def _close(self) -> None:
        """No row of the leaves is current any more."""
        self.valid, self.touched, self.filled = ~self.all, ~self.all, []

    def _gradients(self, reads: int) -> dict[Modality, Tensor]:
        """G: the mean of the losses' gradients to the features [item, dim], over the steps that read them."""
        gradients: dict[Modality, Tensor] = {}
        for modality, leaf in self.leaves.items():
            if leaf.grad is None:
                raise TrainingError(
                    f"no gradient reached the {modality} features in epoch {self.epoch}: the recommender does not read "
                    "them inside its loss, so the encoder would not be trained"
                )
            gradients[modality], leaf.grad = leaf.grad.div_(reads), None
        return gradients

    def _update(self, gradients: dict[Modality, Tensor], step: TrainingStep) -> None:
        if self.settings.policy in ("top", "sampled") and self._is_measured(step):
            self.exact = self._into_weights(gradients, self._chunks_of(gradients))
        if self.settings.policy == "window":
            self._into_weights(gradients, self._chunks_of(gradients), flat=False)
        else:
            items, weighted = self._kept(gradients)
            flat = self._into_weights(weighted, chunked(items, self.settings.chunk), flat=self.exact is not None)
            if self.exact is not None:
                self.measured.append((self.epoch, *policies.agreement(self.exact, flat)))
        self.exact = None
        if not self.optimiser.done:
            self._prove(gradients)
        size = float(policies.row_norms(gradients).norm())
        self.optimiser.step(self.epoch, (self.epoch - 1) * step.n_batches + step.index + 1, size)
        self._close()

    def _chunks_of(self, gradients: dict[Modality, Tensor]) -> list[Chunk]:
        """Chunks to encode again: those with a row of G that is not zero, drawn and divided as they were filled."""
        live = (policies.row_norms(gradients) > 0).cpu()
        if self.settings.stochastic:
            chunks = self.filled
        elif self.few:
            chunks = chunked(live.nonzero().flatten(), self.settings.chunk)
        else:
            chunks = chunked(torch.arange(len(live)), self.settings.chunk)
        return [chunk for chunk in chunks if bool(live[chunk.items].any())]

    def _kept(self, gradients: dict[Modality, Tensor]) -> tuple[Tensor, dict[Modality, Tensor]]:
        """Items whose gradient an approximate policy sends on, and the gradients with its weights."""
        norms = policies.row_norms(gradients)
        if self.settings.policy == "bank":
            return self.touched.nonzero().flatten(), gradients
        k = self.settings.kept_rows or int(self.touched.sum())
        if self.settings.policy == "top":
            return policies.largest(norms, k).cpu(), gradients
        items, weight = policies.sampled(norms, k, self.sampler)
        scale = torch.zeros_like(norms).index_copy_(0, items, weight)
        return items.cpu(), {modality: gradient * scale[:, None] for modality, gradient in gradients.items()}

    def _into_weights(self, gradients: dict[Modality, Tensor], chunks: list[Chunk], flat: bool = True) -> Tensor:
        """Set the weights' gradients; with ``flat`` also return them as one vector."""
        self.optimiser.zero_grad()
        for chunk in chunks:
            self.encoder.backward(chunk, gradients)
        self.encoder.require_finite()
        return flat_gradient(self.trained.values()) if flat else torch.empty(0)

    def _exact_now(self, step: TrainingStep) -> Tensor:
        """The exact gradient for the coming batch, all features current; model and generators are left as they were."""
        values = {m: leaf.detach().clone() for m, leaf in self.leaves.items()}
        for chunk in chunked(torch.arange(len(self.all)), self.settings.chunk):
            self.encoder.fill(chunk, values)
        self.encoder.require_finite()
        self.model.features.update({m: value.requires_grad_() for m, value in values.items()})
        with torch.random.fork_rng(devices=[]):
            loss = self.model.loss(step.batch, step.generator.clone_state())
        found = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
        self.model.features.update(self.leaves)
        gradients = {m: torch.zeros_like(values[m]) if g is None else g for m, g in zip(values, found, strict=True)}
        return self._into_weights(gradients, self._chunks_of(gradients))

    def _is_measured(self, step: TrainingStep) -> bool:
        n_windows = -(-step.n_batches // self.length)
        return policies.chosen_window(step.index // self.length, n_windows, self.settings.measure_batches)

    def _prove(self, gradients: Mapping[Modality, Tensor]) -> None:
        """The first window shows that the loss depends on the features, and they on the trained part."""
        if not bool(policies.row_norms(gradients).any()):
            raise TrainingError(
                "the gradient of the loss to the features is zero in the whole first window, so the encoder would not "
                "be trained; is the weight of the recommender's content term zero?"
            )
        if all(parameter.grad is None for parameter in self.trained.values()):
            raise TrainingError(f"no gradient reached part {self.settings.part!r} of the encoder: choose another part")

    def _guard(self, updates: float) -> None:
        minutes, limit = self.seconds * updates / 60, self.settings.max_epoch_minutes
        if limit is not None and minutes > limit:
            raise TrainingError(
                f"one encoder update took {self.seconds:.1f} s, so an epoch with {updates:g} of them takes about "
                f"{minutes:.1f} minutes, above max_epoch_minutes={limit:g}; take fewer updates_per_epoch, part 'heads' "
                "or 'top-K', or a GPU"
            )

    def _moving(self) -> dict[str, Tensor]:
        kept: dict[str, Tensor] = {f"encoder.{name}": value.detach() for name, value in self.trained.items()}
        return kept | {f"features.{modality}": leaf.detach() for modality, leaf in self.leaves.items()}

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, tensor in self._moving().items():
            tensor.copy_(weights[name])
