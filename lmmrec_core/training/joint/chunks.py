"""An item encoder run chunk by chunk: rows without gradient, and gradients by encoding the same chunk again."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from lmmrec_core.errors import ConfigError, FeatureError, TrainingError
from lmmrec_core.flow import Modality
from lmmrec_core.roles import ItemEncoder

_UNDECAYED = ("pos_embed", "position", "cls_token", "class_embed", "token_type", "scale")


@dataclass(frozen=True)
class Chunk:
    """Items encoded together, and the seed of what the encoder draws; None is evaluation mode, which draws nothing."""

    items: Int[Tensor, "chunk"]  # on the CPU
    seed: int | None = None


def chunked(items: Int[Tensor, "item"], size: int) -> list[Chunk]:
    """``items`` in evaluation mode, ``size`` at a time."""
    return [Chunk(part) for part in items.split(size) if len(part)]


class ChunkedEncoder:
    """Gradient caching (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021).

    ``fill`` writes rows of the current weights without keeping activations; ``backward`` encodes a chunk again and
    sends given gradients of its rows into the weights. Both see the same values: a stochastic chunk draws from the
    global generators of the CPU and the device, seeded alike both times and left as they were. Whether rows are finite
    is noted on the device and asked once for many chunks: :meth:`require_finite`, before anything is made of them.

    Raises TrainingError if batch normalisation would use the statistics of a chunk or evaluation mode is not
    deterministic; FeatureError for rows of another shape than the features they replace.
    """

    def __init__(self, encoder: ItemEncoder, features: Mapping[Modality, Tensor], precision: str) -> None:
        self.encoder, self.module = encoder, encoder.module
        self.features = features  # shapes, value type and device of what the encoder must compute
        first = next(iter(features.values()))
        self.device, self.precision = first.device, precision
        self.module.to(self.device)
        self.encoded = 0  # items, gradient or not: the cost
        self.layers = list(self.module.modules())
        self.mode: bool | None = None  # train mode or not, once checked
        self._noted: list[tuple[str, Tensor]] = []  # which rows, and whether they are finite

    def check(self, chunk: int, stochastic: bool) -> None:
        """Encode the first chunk twice and compare; also in train mode when that is what is asked for."""
        self._mode(stochastic)
        items = torch.arange(min(chunk, len(next(iter(self.features.values())))))
        with torch.no_grad():
            once, twice = self._rows(Chunk(items)), self._rows(Chunk(items))
        self.require_finite()
        for modality, rows in once.items():
            if not torch.allclose(rows, twice[modality], rtol=1e-3, atol=1e-6):
                raise TrainingError(
                    f"the encoder's {modality} rows differ from call to call in evaluation mode, so gradients cannot "
                    "be computed by encoding again; remove what draws outside of train mode"
                )

    @torch.no_grad()
    def fill(self, chunk: Chunk, features: Mapping[Modality, Tensor]) -> None:
        """Overwrite the chunk's rows of ``features`` in place."""
        places = chunk.items.to(self.device)
        for modality, rows in self._rows(chunk).items():
            features[modality].index_copy_(0, places, rows)

    def backward(self, chunk: Chunk, gradients: Mapping[Modality, Tensor]) -> None:
        """Add d<rows, gradients of the rows>/d weights to the weights' gradients; ``gradients`` [item, dim]."""
        places = chunk.items.to(self.device)
        pairs = [
            (rows, gradients[modality].index_select(0, places))
            for modality, rows in self._rows(chunk).items()
            if rows.requires_grad
        ]
        if pairs:
            torch.autograd.backward([rows for rows, _ in pairs], [gradient for _, gradient in pairs])

    def _rows(self, chunk: Chunk) -> dict[Modality, Tensor]:
        self._mode(chunk.seed is not None)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with generators(chunk.seed, self.device), autocast:
            given = self.encoder.rows(chunk.items)
        self.encoded += len(chunk.items)
        rows: dict[Modality, Tensor] = {}
        for modality, matrix in self.features.items():
            if modality not in given:
                raise FeatureError(
                    f"the recommender reads {modality} features but the encoder computes {', '.join(given) or 'none'}; "
                    "choose other modalities or another encoder"
                )
            expected = (len(chunk.items), matrix.shape[1])
            if tuple(given[modality].shape) != expected:
                raise FeatureError(
                    f"the encoder computes {modality} rows of shape {tuple(given[modality].shape)}, not {expected}: "
                    "the recommender must be built from the features of this encoder"
                )
            rows[modality] = given[modality].to(matrix.device, matrix.dtype)
            which = f"{modality} rows are not finite (items {int(chunk.items[0])} to {int(chunk.items[-1])})"
            self._noted.append((which, torch.isfinite(rows[modality].detach()).all()))
        return rows

    def require_finite(self) -> None:
        """Raises TrainingError naming the first chunk, since this was last asked, with a row that is not finite."""
        noted, self._noted = self._noted, []
        if not noted or all(torch.stack([finite for _, finite in noted]).tolist()):
            return
        which = next(which for which, finite in noted if not finite)
        raise TrainingError(f"the encoder's {which}; lower encoder_learning_rate")

    def _mode(self, train: bool) -> None:
        """Nothing to do for most chunks: setting the mode layer by layer costs more than a small chunk itself."""
        if self.mode is train and all(layer.training is train for layer in self.layers):
            return
        self.module.train(train)
        refuse_batch_statistics(self.module)
        self.mode = train


@contextmanager
def generators(seed: int | None, device: torch.device) -> Iterator[None]:
    """The global generators of the CPU and ``device`` at ``seed``, restored afterwards; None leaves them alone."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def refuse_batch_statistics(module: nn.Module) -> None:
    """Raises TrainingError naming the first batch normalisation that would use the rows of a chunk."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
            raise TrainingError(
                f"encoder module {name or type(layer).__name__!r}: batch normalisation in train mode mixes the items "
                "of a chunk, so chunked gradients would be wrong; set stochastic=false, which keeps its statistics"
            )


def trained_part(encoder: ItemEncoder, part: str) -> dict[str, nn.Parameter]:
    """Parameters of ``part`` by name, made to require gradient; all others are frozen.

    Raises ConfigError for a part the encoder does not know (see ``roles.ItemEncoder.part``) or an empty one.
    """
    names, known = encoder.part(part), dict(encoder.module.named_parameters())
    if not names or not names <= known.keys():
        strange = ", ".join(sorted(names - known.keys())[:3])
        raise ConfigError(f"part {part!r} of the encoder {f'names no parameter: {strange}' if strange else 'is empty'}")
    for name, parameter in known.items():
        parameter.requires_grad_(name in names)
    return {name: parameter for name, parameter in known.items() if name in names}


def decay_groups(parameters: Mapping[str, nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Parameter groups: no decay for vectors, scalars, positions, class and type tokens."""
    exempt = {name for name, p in parameters.items() if p.ndim <= 1 or any(word in name for word in _UNDECAYED)}
    return [
        {"params": [p for name, p in parameters.items() if (name in exempt) == out], "weight_decay": decay}
        for out, decay in ((False, weight_decay), (True, 0.0))
    ]


def flat_gradient(parameters: Iterable[nn.Parameter]) -> Tensor:
    """All gradients as one vector; zeros for a parameter that has none."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


def relative_change(now: Tensor, then: Tensor) -> float:
    """``|now - then| / |then|`` (Frobenius)."""
    return float((now.detach() - then.detach()).norm() / then.detach().norm().clamp(min=1e-12))
