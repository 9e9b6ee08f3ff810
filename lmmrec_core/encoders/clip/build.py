"""Builds a CLIP with open_clip: its architecture, a check of its activation, weights that must fit to the last key."""

import json
import logging
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

import open_clip
import torch
from huggingface_hub import try_to_load_from_cache
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.factory import convert_state_dict, convert_to_custom_text_state_dict
from open_clip.model import resize_pos_embed
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from lmmrec_core.digests import digest
from lmmrec_core.encoders.clip.transformers_names import has_transformers_names, renamed
from lmmrec_core.encoders.weights import load_strictly, read_tensors
from lmmrec_core.errors import ConfigError, FeatureError, unknown
from lmmrec_core.home import named_path
from lmmrec_core.seeds import derive

SCRIPT_KEYS = ("input_resolution", "context_length", "vocab_size")


def architecture(name: str) -> dict[str, Any]:
    """open_clip's configuration of a model name. Raises ConfigError for an unknown name."""
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        raise unknown("open_clip model", name, open_clip.list_models())
    return dict(config)


def build_module(
    config: Mapping[str, Any], *, image_size: int | None = None, seed: int = 0, device: str = "cpu"
) -> nn.Module:
    """A model in evaluation mode whose random weights depend on ``seed`` alone.

    ``config`` has the form of open_clip's JSON files: ``embed_dim``, ``vision_cfg``, ``text_cfg``. With
    ``device="meta"`` nothing is allocated. Raises ConfigError for a configuration that open_clip cannot build,
    FeatureError if a file of its text tower cannot be fetched.
    """
    for key in ("embed_dim", "vision_cfg", "text_cfg"):
        if key not in config:
            raise ConfigError(f"CLIP configuration: {key!r} is missing; give embed_dim, vision_cfg and text_cfg")
    name = f"lmmrec-{digest(dict(config), 16)}"
    if name not in open_clip.list_models():
        _register(name, config)
    try:
        with _quiet(), torch.device(device), torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "clip/init"))
            module: nn.Module = open_clip.create_model(
                name, load_weights=False, pretrained_text=False, force_image_size=image_size, device=device
            )
    except OSError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeatureError(
            f"CLIP configuration: a file of its text tower cannot be fetched ({reason}); "
            "set hf_model_name to a local folder"
        ) from None
    except (TypeError, ValueError, KeyError, AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"CLIP configuration cannot be built by open_clip: {reason}; correct config") from None
    return keep_batch_norm_still(module.eval())


def _register(name: str, config: Mapping[str, Any]) -> None:
    """Make ``config`` known to open_clip, which reads files only. The file does not stay: it may name local folders."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps(dict(config)), encoding="utf-8")
        open_clip.add_model_config(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide open_clip's warning that a model without weights is random: here that is intended."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def keep_batch_norm_still(module: nn.Module) -> nn.Module:
    """Keep the batch-norm layers of ``module`` in evaluation mode, whatever ``train()`` is called with.

    In training mode an item's vector would depend on the rest of its batch, so gradients computed in chunks would be
    wrong.
    """
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.train = MethodType(_stay, part)  # type: ignore[method-assign]
            part.eval()
    return module


def _stay(part: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(part, False)


def activation(module: nn.Module) -> str:
    """The activation of open_clip's own blocks, "quick_gelu" or "gelu"; "of the towers" if both are from elsewhere.

    Raises FeatureError if both occur.
    """
    kinds = {
        "quick_gelu" if isinstance(part, QuickGELU) else "gelu"
        for name, part in module.named_modules()
        if name.endswith(".mlp.gelu")
    }
    if len(kinds) > 1:
        raise FeatureError("the CLIP model mixes QuickGELU and GELU; build it from one configuration")
    return kinds.pop() if kinds else "of the towers"


def check_tag(model: str, tag: str) -> dict[str, Any]:
    """open_clip's entry for published weights, which must have been trained with the model's activation.

    If they were not, open_clip only warns, and every feature is wrong: QuickGELU, x · sigmoid(1.702 x), differs from
    GELU by up to 0.02 per unit in every block. Raises ConfigError for an unknown tag or another activation.
    """
    entry = get_pretrained_cfg(model, tag)
    if not entry:
        tags = open_clip.list_pretrained_tags_by_model(model)
        if not tags:
            raise ConfigError(f"open_clip has no published weights for {model!r}; set weights to a file")
        raise unknown("pretrained tag", tag, tags, f"model {model!r}")
    trained, built = bool(entry.get("quick_gelu")), bool(architecture(model).get("quick_gelu"))
    if trained != built:
        other = model.removesuffix("-quickgelu") if built else f"{model}-quickgelu"
        raise ConfigError(
            f"weights {tag!r} were trained with {'QuickGELU' if trained else 'GELU'}, model {model!r} has "
            f"{'QuickGELU' if built else 'GELU'}: the features would be wrong; use model: {other}"
        )
    return dict(entry)


def check_origin(model: str, tag: str | None) -> None:
    """Refuse a local file whose activation is unknown. The file does not state it; the model's name or the tag may.

    Raises ConfigError if open_clip has ``model`` with both activations and no ``tag`` says which one the file needs.
    """
    if tag is not None:
        check_tag(model, tag)
    elif f"{model}-quickgelu" in open_clip.list_models():
        raise ConfigError(
            f"model {model!r} also exists with QuickGELU, and a weights file does not tell which it was trained with; "
            f"add pretrained: the file's tag (for instance laion2b_s34b_b88k), or use model: {model}-quickgelu"
        )


def fetch(model: str, tag: str) -> Path:
    """The file of published weights, downloaded into open_clip's cache unless it is there.

    Raises ConfigError as :func:`check_tag` does, FeatureError if the file cannot be fetched.
    """
    entry = check_tag(model, tag)
    try:
        with _quiet():
            return Path(download_pretrained(entry))
    except Exception as error:  # two libraries raise a dozen classes, all meaning that there is no file
        source = entry.get("hf_hub") or entry.get("url")
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeatureError(
            f"weights {tag!r} of {model!r} could not be fetched from {source} ({reason}); fetch the safetensors file "
            f"on a connected machine and give its path as weights, with pretrained: {tag}"
        ) from None


def is_fetched(model: str, tag: str) -> bool:
    """Whether published weights are in a cache already, so that :func:`fetch` needs no network; fetches nothing.

    Raises ConfigError as :func:`check_tag` does.
    """
    entry = check_tag(model, tag)
    repository, _, file = str(entry.get("hf_hub") or "").rpartition("/")
    if not repository:
        return (named_path("~/.cache/clip") / Path(str(entry.get("url"))).name).is_file()
    names = (file,) if file else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file in float32, without the wrapping that open_clip's training checkpoints add.

    Raises FeatureError for a file that holds no tensors, and for OpenAI's own TorchScript files.
    """
    if path.is_file() and path.suffix != ".safetensors" and _is_script(path):
        raise FeatureError(
            f"{path}: this is a TorchScript program, not a file of tensors, and is not run; give the safetensors "
            "file of the same weights (for ViT-B-16: timm/vit_base_patch16_clip_224.openai), or save its state dict "
            f"once with torch.save, without the keys {', '.join(SCRIPT_KEYS)}"
        )
    state = read_tensors(path, unwrap=("state_dict",))
    while state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def load_weights(module: nn.Module, state: dict[str, Tensor], path: Path, resized: bool) -> None:
    """Load ``state``, every key of which must fit.

    Key names of transformers' CLIPModel are translated (``transformers_names``), those of other code bases by
    open_clip's own rules. ``resized``: interpolate the picture positions to the model's grid (bicubic). Raises
    FeatureError naming the first key that is missing, left over or misshapen.
    """
    if has_transformers_names(state):
        state = renamed(state, path)
    state = convert_state_dict(module, state)
    if "positional_embedding" in state and not hasattr(module, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    position_ids = "text.transformer.embeddings.position_ids"  # older versions of the library stored it
    if position_ids not in module.state_dict():
        state.pop(position_ids, None)
    for key in ("logit_scale", "logit_bias"):
        own = getattr(module, key, None)
        if own is not None and key in state and state[key].numel() == own.numel():
            state[key] = state[key].reshape(own.shape)
    if resized:
        with _quiet():
            resize_pos_embed(state, module)
    load_strictly(module, state, path)
