"""Published VLMo weights → a network, with every key accounted for.

The official code (microsoft/unilm, vlmo) loads what fits and prints the rest. Here anything that does not fit is
refused: a network loaded by halves is the likeliest way to a wrong result.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from lmmrec_core.digests import file_sha256
from lmmrec_core.encoders.vlmo.model import VLMoNetwork
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from lmmrec_core.encoders.weights import check_sha256
from lmmrec_core.errors import ConfigError, FeatureError

WRAPPERS = ("state_dict", "module", "model")
TEXT_POSITIONS = "text_embeddings.position_embeddings.weight"
IMAGE_POSITIONS = "transformer.pos_embed"
HEADS = ("itc_text_proj", "itc_image_proj", "itc_vl_text_proj", "itc_vl_image_proj", "itm_score", "mlm_score")
_SCALES = ("logit_scale", "logit_vl_scale")
OPTIONAL = frozenset({
    "text_embeddings.position_ids",
    "text_embeddings.token_type_ids",
    "relative_position_index",
    "text_relative_position_index",
    "text_imag_relative_position_index",
    "temp",
})  # fmt: skip
_NAMED = 5  # keys listed in an error before "and n more"


@dataclass(frozen=True)
class Loaded:
    """What was read from a checkpoint, for the spec of the features."""

    sha256: str
    wrapper: str  # the key that held the weights, "" if none did
    dropped: tuple[str, ...]
    resized: tuple[str, ...]
    absent: tuple[str, ...]  # heads that the file lacks; their weights are random

    def spec(self) -> dict[str, Any]:
        """The same in plain JSON values."""
        return {
            "file_sha256": self.sha256, "wrapper": self.wrapper, "dropped": list(self.dropped),
            "resized": list(self.resized), "absent_heads": list(self.absent),
        }  # fmt: skip


@dataclass
class _Fitting:
    """A state on its way into a network, with a record of the changes made to it."""

    path: Path
    state: dict[str, Tensor]
    dropped: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)


def load_checkpoint(
    network: VLMoNetwork, settings: VLMoSettings, path: Path, *, trust_pickle: bool = False, sha256: str | None = None
) -> Loaded:
    """Copy the weights in ``path`` (safetensors, or a torch file) into ``network`` as float32.

    ``sha256`` pins the file. A torch file that holds more than tensors and plain containers is read only with
    ``trust_pickle`` and ``sha256``; even then none of its code runs, and foreign objects become empty mappings.
    Heads that the file lacks keep the weights they have and are named in ``Loaded.absent``.

    Raises ConfigError for ``trust_pickle`` without ``sha256``; FeatureError naming the file and the keys that are
    missing, unknown, misshapen or not finite.
    """
    if trust_pickle and sha256 is None:
        raise ConfigError("VLMo: trust_pickle needs sha256, the SHA-256 of the file you trust; add it")
    digest = check_sha256(path, sha256.lower()) if sha256 is not None else file_sha256(path, FeatureError)
    state, wrapper = unwrap(_read(path, trust_pickle), path)
    fitting = _Fitting(path, state)
    _drop(fitting)
    _fit_text_positions(fitting, settings.max_text_length)
    _fit_image_positions(fitting, settings.grid)
    expected = network.state_dict()
    absent = _compare(fitting, expected)
    network.load_state_dict({**expected, **fitting.state}, strict=True)
    return Loaded(digest, wrapper, tuple(sorted(fitting.dropped)), tuple(fitting.resized), absent)


def unwrap(content: object, path: Path) -> tuple[dict[str, Tensor], str]:
    """The named tensors in a checkpoint's content, as float32, and the key that held them ("" if none did).

    Every leading ``module.`` is removed from key names. Raises FeatureError if there are no named tensors.
    """
    cure = "give a file that holds the state dict"
    if not isinstance(content, Mapping):
        raise FeatureError(f"{path}: holds a {type(content).__name__}, expected a mapping of names; {cure}")
    wrapper = next((key for key in WRAPPERS if key in content), "")
    inner = content[wrapper] if wrapper else content
    if not isinstance(inner, Mapping) or not inner:
        raise FeatureError(f"{path}: {wrapper or 'the file'!s} holds no named weights; {cure}")
    state: dict[str, Tensor] = {}
    for key, value in inner.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise FeatureError(f"{path}: {key!r} is a {type(value).__name__}, not a tensor; {cure}")
        name = key
        while name.startswith("module."):
            name = name.removeprefix("module.")
        if name in state:
            raise FeatureError(f"{path}: two entries are named {name!r} once 'module.' is removed; {cure}")
        state[name] = value.detach().to("cpu", torch.float32) if value.is_floating_point() else value
    return state, wrapper


def _read(path: Path, trust_pickle: bool) -> object:
    """The content of a file, read without running any of it."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except Exception as error:  # the reader raises several classes for a damaged file
            raise FeatureError(f"{path}: not a safetensors file ({_reason(error)}); fetch it again") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a dozen classes for a damaged file
        reason = _reason(error)
    try:
        foreign = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a torch archive at all
        foreign = []
    if not foreign:
        raise FeatureError(f"{path}: not a file of weights ({reason}); fetch it again, or convert it to safetensors")
    if not trust_pickle:
        raise FeatureError(
            f"{path}: holds objects other than tensors ({_listed(sorted(foreign))}); set trust_pickle and sha256 if "
            "you know where the file comes from, or convert it to safetensors"
        )
    try:
        with safe_globals([(_Placeholder, name) for name in foreign]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above
        raise FeatureError(
            f"{path}: cannot be read without running its code ({_reason(error)}); convert it to safetensors"
        ) from None


class _Placeholder:
    """Stands for any class or function that a file names: calling it makes an empty mapping and runs nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        return OrderedDict()  # the kind that torch's restricted reader may fill with entries and attributes


def _drop(fitting: _Fitting) -> None:
    for key in sorted(OPTIONAL & fitting.state.keys()):
        del fitting.state[key]
        fitting.dropped.append(key)
    relative = [key for key in fitting.state if key == "relative_position_bias_table" or ".gamma_" in key]
    if relative:
        raise FeatureError(
            f"{fitting.path}: holds {_listed(relative)}: weights of VLMo Base or Large, which have relative position "
            "bias and layer scale; only Base Plus is implemented, give its file"
        )


def _fit_text_positions(fitting: _Fitting, length: int) -> None:
    """Keep the first ``length`` rows, as the official code does; a shorter table is never extended."""
    table = fitting.state.get(TEXT_POSITIONS)
    if table is None or table.ndim != 2 or len(table) == length:
        return
    if len(table) < length:
        raise FeatureError(
            f"{fitting.path}: {TEXT_POSITIONS!r} has {len(table)} positions, fewer than max_text_length {length}; "
            "lower max_text_length"
        )
    fitting.state[TEXT_POSITIONS] = table[:length].clone()
    fitting.resized.append(f"{TEXT_POSITIONS}: {len(table)} -> {length}, first rows")


def _fit_image_positions(fitting: _Fitting, grid: int) -> None:
    """For another patch grid interpolate the grid's rows (bicubic, corners not aligned); the class row stays."""
    table = fitting.state.get(IMAGE_POSITIONS)
    if table is None or table.ndim != 3 or table.shape[1] == grid**2 + 1:
        return
    old = round((table.shape[1] - 1) ** 0.5)
    if old < 1 or old**2 != table.shape[1] - 1:
        raise FeatureError(
            f"{fitting.path}: {IMAGE_POSITIONS!r} has {table.shape[1]} rows, not a square grid and a class row; "
            "give weights of a square image"
        )
    cells = table[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    cells = functional.interpolate(cells, size=(grid, grid), mode="bicubic", align_corners=False)
    fitting.state[IMAGE_POSITIONS] = torch.cat([table[:, :1], cells.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
    fitting.resized.append(f"{IMAGE_POSITIONS}: {old} x {old} -> {grid} x {grid}, bicubic")


def is_head(key: str) -> bool:
    """Whether a weight belongs to a task head or is a logit scale: those a published file may lack."""
    return key.partition(".")[0] in (*HEADS, *_SCALES)


def _compare(fitting: _Fitting, expected: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the heads that the file lacks entirely. Raises FeatureError for anything else that does not fit."""
    state = fitting.state
    lacking = [key for key in expected if key not in state]
    held = {key.partition(".")[0] for key in state}
    missing = [key for key in lacking if not is_head(key) or key.partition(".")[0] in held]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    problems = [
        ("missing", missing),
        ("unknown", [key for key in state if key not in expected]),
        ("misshapen", shapes),
        ("not finite", [] if shapes else [key for key, value in state.items() if not bool(value.isfinite().all())]),
    ]
    found = [f"{kind}: {_listed(keys)}" for kind, keys in problems if keys]
    if found:
        raise FeatureError(
            f"{fitting.path}: the weights do not fit ({'; '.join(found)}); give the file of the architecture set"
        )
    return tuple(sorted({key.partition(".")[0] for key in lacking}))


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
