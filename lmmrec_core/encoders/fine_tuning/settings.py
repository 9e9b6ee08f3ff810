"""How an encoder is fine-tuned on pairs.

The paper states the optimiser, Adam, and grids of learning rates (1e-5 to 1e-3) and batch sizes (32 to 1024), but not
what was chosen. The defaults follow the encoders' own training: AdamW with the betas and eps of CLIP's, and the weight
decay, warm-up and loss weights of VLMo's (microsoft/unilm, vlmo).
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, PositiveFloat, field_validator

from lmmrec_core.config import Settings
from lmmrec_core.encoders.fine_tuning.pairs import ItemChoice
from lmmrec_core.names import Precision

Objective = Literal["itc", "itm", "mlm"]


class FineTuneSettings(Settings):
    """Objectives, schedule and extent of fine-tuning."""

    objectives: tuple[Objective, ...] = Field(("itc",), description="CLIP: itc; VLMo: itc, itm, mlm")
    itm_weight: float = Field(1.0, gt=0)
    mlm_weight: float = Field(0.25, gt=0, description="as in VLMo's source")
    epochs: int = Field(10, ge=1)
    patience: int = Field(2, ge=0, description="training stops at epoch patience + 1 without better held-out retrieval")
    keep_start: bool = Field(
        True, description="the initial weights compete as epoch 0; false for pre-training from random weights"
    )
    batch_size: int = Field(
        256, ge=2, description="each other's negatives; a single pair left over joins the last batch"
    )
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="pairs with activations in memory at a time; same gradient, one more forward pass",
    )
    learning_rate: float = Field(1e-5, gt=0, description="of every part that has no rate of its own")
    part_learning_rates: Mapping[str, PositiveFloat] = Field(
        default_factory=dict,
        description='part, or pattern of parameter names ("*.blocks.*"), to its rate; the '
        "smallest one that contains a parameter counts",
    )
    optimiser: Literal["adamw", "adam"] = Field("adamw", description="adam: decay added to the gradient")
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(1e-6, gt=0)
    weight_decay: float = Field(0.01, ge=0, description="none on vectors, scalars, positions, class and type rows")
    warm_up: float = Field(0.1, ge=0, lt=1, description="share of the steps; then linear to 0")
    clip: float = Field(1.0, gt=0, description="global norm of the gradient")
    part: str = Field(
        "all", description='what is trained: "all", "top-K", "heads", another part that the encoder names, or a pattern'
    )
    frozen: tuple[str, ...] = Field((), description="parts, or patterns of parameter names, that are not trained")
    items: ItemChoice = Field("all", description="the items whose pairs are used")
    augment: Literal["none", "crop"] = Field("none", description="crop: random window of 90 to 100 % of the area")
    stochastic: bool = Field(
        True, description="dropout and drop path of the encoder act while training; batch-norm never learns statistics"
    )
    precision: Precision = Field("fp32", description="of the towers; losses are always fp32")
    gradient_checkpointing: bool = Field(False, description="recompute activations block by block: memory for time")
    checkpoint_seconds: float = Field(300, ge=0)
    seed: int = 0
    device: str = "cpu"

    @field_validator("objectives")
    @classmethod
    def _some_and_distinct(cls, value: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("name at least one objective, each once")
        return value
