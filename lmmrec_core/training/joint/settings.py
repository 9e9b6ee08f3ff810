"""Settings of end-to-end training: which reading of Algorithm 1, for whom, how often, how exactly."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from lmmrec_core.config import Settings
from lmmrec_core.names import Precision

_ENCODER = {"encoder_learning_rate", "encoder_weight_decay", "warm_up_updates", "max_epoch_minutes"}
#: Settings that came later, as they were before there were any: runs of then are known without them.
_LATER = {"weights": "PT", "warm_up_updates": 0}
_WINDOW = {"updates_per_epoch", "epochs_per_update", "policy", "kept_rows", "measure_batches"}
_GRADIENT = {"part", "boundary", *_WINDOW, *_ENCODER}
_IGNORED = {"e0": {*_GRADIENT, "start"}, "e1": {*_GRADIENT, "chunk", "stochastic", "precision"}}


def with_later_settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a record of end-to-end training, with those that came later as it had them."""
    return {**_LATER, **recorded}


class EndToEndSettings(Settings):
    """``reading`` of the paper's Algorithm 1: e2 trains the whole encoder, e3 a part of it, e1 the features, e0 nobody.

    ``updates_per_epoch`` encoder steps share an epoch's batches: each takes the exact mean gradient of its window.
    "every_step" is one per batch. A model that reads features once an epoch (LATTICE) gets one in any case. If an
    update costs minutes, ``updates_per_epoch=1`` with ``epochs_per_update`` makes windows of whole epochs. ``policy``
    other than "window" changes the gradient and says so in the notes; ``benchmarks/policies.json`` shows by how much.
    ``start`` "warm": the recommender is first trained on the features that ``weights`` give, until it stops. ``arm`` is
    for e0: the letter of the algorithm, or the release's side effects. Settings that a reading ignores are refused.
    """

    reading: Literal["e2", "e0", "e1", "e3"] = "e2"
    weights: Literal["PT", "FT"] = (
        "PT"  # with which the encoder starts; FT: those that were fine-tuned by the run's seed
    )
    start: Literal["scratch", "warm"] = "scratch"  # of the recommender; the paper's Algorithm 1 starts both together
    arm: Literal["letter", "released"] = "letter"
    part: str = Field(default="all", pattern=r"^(all|heads|lora|top-[1-9]\d*)$")
    updates_per_epoch: int | Literal["every_step"] = 8
    epochs_per_update: int = Field(default=1, ge=1)
    policy: Literal["window", "bank", "top", "sampled"] = "window"
    kept_rows: int | None = Field(default=None, ge=1)  # top, sampled; None: as many as the window's batches touch
    measure_batches: int = Field(default=0, ge=0)  # windows an epoch in which an approximation is held against exact
    chunk: int = Field(default=64, ge=1)  # items encoded at once: bounds the memory
    stochastic: bool = False  # dropout and drop path on while training; draws are repeated for the gradient
    encoder_learning_rate: float = Field(default=1e-5, gt=0)
    warm_up_updates: int = Field(default=0, ge=0)  # the encoder's rate rises over so many, in equal steps, then stays
    encoder_weight_decay: float = Field(default=0.0, ge=0)  # decoupled; vectors, positions and scales are exempt
    boundary: Literal["encode", "keep", "keep-bf16"] = "encode"  # keep what enters a "heads" or "top-K" part, once
    precision: Precision = "fp32"  # of the encoder's forward; features and gradients stay fp32
    max_epoch_minutes: float | None = Field(default=None, gt=0)  # stop when the first update forecasts more

    def identity(self) -> dict[str, object]:
        """What a run is known by."""
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if name not in _LATER or value != _LATER[name]}

    @property
    def trains_encoder(self) -> bool:
        """Whether a gradient reaches the encoder."""
        return self.reading in ("e2", "e3")

    def features_from(self, paradigm: str) -> str:
        """The paradigm whose features a run of ``paradigm`` starts from, and whose weights its encoder has then."""
        return "FT" if self.weights == "FT" else paradigm

    @model_validator(mode="after")
    def _fits(self) -> "EndToEndSettings":
        ignored = [
            name
            for name in sorted(_IGNORED.get(self.reading, set()) | ({"arm"} if self.reading != "e0" else set()))
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if ignored:
            raise ValueError(f"reading {self.reading} does not use {', '.join(ignored)}; leave it out")
        if isinstance(self.updates_per_epoch, int) and self.updates_per_epoch < 1:
            raise ValueError("updates_per_epoch is at least 1, or 'every_step'")
        if self.epochs_per_update > 1 and (self.updates_per_epoch != 1 or self.stochastic or self.policy == "bank"):
            raise ValueError("epochs_per_update above 1 needs updates_per_epoch=1, and neither stochastic nor bank")
        if self.trains_encoder and (self.part == "all") != (self.reading == "e2"):
            raise ValueError("reading e2 trains part 'all', reading e3 'heads', 'top-K' or 'lora'")
        if self.boundary != "encode" and (self.stochastic or not self.part.startswith(("heads", "top-"))):
            raise ValueError("boundary states can be kept for part 'heads' or 'top-K', and not with stochastic")
        if self.policy == "bank" and self.updates_per_epoch != "every_step":
            raise ValueError("policy bank re-encodes the items of each batch: set updates_per_epoch='every_step'")
        if self.policy != "window" and self.stochastic:
            raise ValueError("draws can be repeated for whole chunks only: stochastic needs policy 'window'")
        if self.policy not in ("top", "sampled") and self.kept_rows is not None:
            raise ValueError("kept_rows is for the policies 'top' and 'sampled'")
        if self.policy == "window" and self.measure_batches:
            raise ValueError("policy 'window' is exact: measure_batches is for the other policies")
        return self
