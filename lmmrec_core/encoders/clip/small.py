"""clip-small: a CLIP whose towers are EfficientNet-Lite0 and MiniLM, from installed packages, without a download.

The small baseline (lite0 beside minilm) has the same towers, so the two differ in the learned alignment alone. That is
a cleaner comparison than the paper's, where network, training data and alignment change together. The converse holds
too: while the towers are frozen, these vectors are linear functions of the baseline's features.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from lmmrec_core.digests import file_sha256
from lmmrec_core.encoders import minilm
from lmmrec_core.encoders.clip.build import build_module
from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.tokens import Tokens, WordPieces
from lmmrec_core.encoders.clip.towers import image_vector, text_vector
from lmmrec_core.encoders.fine_tuning.cca import Heads, choose_heads
from lmmrec_core.encoders.fine_tuning.holdout import LEAST_SHARE, drawn_items
from lmmrec_core.encoders.fine_tuning.outside import outside_pairs
from lmmrec_core.encoders.lite0 import EfficientNetLite0, Lite0Settings
from lmmrec_core.encoders.pictures.reading import pixels_of, read_picture
from lmmrec_core.encoders.weights import package_file
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import Catalogue, FloatArray

EMBED_DIM = 256
IMAGE_SIZE = 128
_MAX_LENGTH = 64  # nine in ten texts of the MovieLens posters have at most 67 word pieces
POSITIONS = 512  # MiniLM's position table


class ClipSmall(CLIP):
    """EfficientNet-Lite0 and MiniLM, each followed by a linear map into 256 dimensions.

    Without ``weights`` the maps are random, drawn with ``seed``; :func:`align_heads` sets them in closed form.
    Pictures are squashed to 128 × 128, since a centre crop would lose a third of every poster.
    """

    name = "clip-small"
    MODELS = ("clip-small",)
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "model": "clip-small", "seed": 0, "vector": "joint", "image_size": IMAGE_SIZE, "fit": "squash", "norm": "half",
        "cut": "tokens", "max_length": _MAX_LENGTH,
    }  # fmt: skip

    def _complete(self, settings: CLIPSettings) -> CLIPSettings:
        if settings.pretrained is not None:
            raise ConfigError(f"encoder {self.name!r} has no published weights; leave pretrained out")
        return super()._complete(settings)

    def _config(self) -> dict[str, Any]:
        self.folder = package_file(minilm.PACKAGE, lambda package: package.get_model_path())
        return {
            "embed_dim": EMBED_DIM,
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": "tf_efficientnet_lite0", "timm_model_pretrained": False, "timm_pool": "avg",
                "timm_proj": "linear", "timm_proj_bias": True, "image_size": self.settings.image_size,
            },
            "text_cfg": {
                "hf_model_name": str(self.folder), "hf_tokenizer_name": str(self.folder), "hf_proj_type": "linear",
                "hf_pooler_type": "mean_pooler", "hf_model_pretrained": True, "context_length": _MAX_LENGTH,
            },
        }  # fmt: skip

    def align(self, pairs: Catalogue, progress: bool = True) -> Mapping[str, Any]:
        """Set the heads from the pairs of a catalogue, see :func:`align_heads`; returns the note on what was chosen."""
        found = outside_pairs(pairs)
        align_heads(self, found.item_ids, found.images, found.texts, progress=progress)
        return self.note

    def _build(self, towers: bool) -> nn.Module:
        module: Any = build_module(self.config, seed=self.settings.seed or 0)
        if towers:
            lite0 = EfficientNetLite0(Lite0Settings(image_size=self.settings.image_size or IMAGE_SIZE))
            text = minilm.MiniLM()
            self._packages = {"visual_sha256": lite0.file_sha256, "textual_sha256": text.file_sha256}
            module.visual.trunk.load_state_dict(lite0.module.state_dict(), strict=True)
            module.text.transformer.load_state_dict(text.module.state_dict(), strict=True)
        # Channels-last takes about a third off the CPU time of this trunk.
        module.visual.to(memory_format=torch.channels_last)
        built: nn.Module = module
        return built

    def _tokens(self) -> Tokens:
        return WordPieces(self.folder, self._length(POSITIONS))

    def _config_spec(self) -> Mapping[str, Any]:
        text = {key: value for key, value in self.config["text_cfg"].items() if not key.endswith("_name")}
        written = file_sha256(self.folder / "config.json", FeatureError)
        return {**self.config, "text_cfg": {**text, "config_sha256": written}}

    def _package_source(self) -> dict[str, Any]:
        return {"source": "packages", **self._packages, "heads": f"random, seed {self.settings.seed}"}

    def _layout(self, pixels: Tensor) -> Tensor:
        return pixels.contiguous(memory_format=torch.channels_last)


def set_heads(encoder: ClipSmall, heads: Heads, training: Mapping[str, Any]) -> None:
    """Put maps and scale into ``encoder``; joint dimensions beyond the number of directions become zero.

    ``training``: how they were found, for ``encoder.note``. Raises FeatureError for maps of another width, or with more
    directions than the joint space has.
    """
    module: Any = encoder.module
    maps = {"visual": module.visual.head.proj, "textual": module.text.proj}
    given = {"visual": heads.visual, "textual": heads.textual}
    for modality, layer in maps.items():
        rows, width = given[modality].shape
        if rows > layer.out_features or width != layer.in_features:
            raise FeatureError(
                f"{modality} head of shape {(rows, width)} does not fit {encoder.name!r}, which maps "
                f"{layer.in_features} numbers to at most {layer.out_features}; fit it on this encoder's features"
            )
    with torch.no_grad():
        for modality, layer in maps.items():
            layer.weight.zero_()
            layer.weight[: len(given[modality])] = torch.from_numpy(given[modality]).float()
        maps["visual"].bias.zero_()
        maps["visual"].bias[: len(heads.bias)] = torch.from_numpy(heads.bias).float()
        module.logit_scale.fill_(float(np.log(heads.scale)))
    encoder.note = dict(training)


def align_heads(
    encoder: ClipSmall,
    item_ids: Sequence[str],
    images: Sequence[Path],
    texts: Sequence[str],
    *,
    batch_size: int = 32,
    progress: bool = True,
) -> Heads:
    """Set the heads of clip-small by regularised CCA on pairs of pictures and texts (``fine_tuning/cca.py``).

    One pair in ten, those that contrastive training of the same pairs holds out too, is held out of the fit and used to
    choose the penalties, the number of directions and the scale. This takes about 6 CPU-seconds per 100 pairs, all
    spent in the frozen towers.
    ``encoder.note`` records the choice. Raises FeatureError for pictures that cannot be read, or too few pairs.
    """
    visual, textual = pooled_pairs(encoder, item_ids, images, texts, batch_size=batch_size, progress=progress)
    heads, training = choose_heads(visual, textual, drawn_items(item_ids, LEAST_SHARE), max_directions=EMBED_DIM)
    set_heads(encoder, heads, {**training, "pairs": len(item_ids)})
    return heads


def pooled_pairs(
    encoder: ClipSmall,
    item_ids: Sequence[str],
    images: Sequence[Path],
    texts: Sequence[str],
    *,
    batch_size: int = 32,
    progress: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """What the heads map, in float64: picture vectors [pair, 1280] and sentence vectors of length 1 [pair, 384]."""
    visual, textual = [], []
    starts = tqdm(range(0, len(item_ids), batch_size), desc=f"pairs by {encoder.name}", disable=not progress)
    with torch.inference_mode():
        for start in starts:
            chunk = slice(start, start + batch_size)
            pictures = map(read_picture, images[chunk], item_ids[chunk])
            pixels = encoder._layout(pixels_of(encoder.preprocess_images, pictures))
            visual.append(image_vector(encoder.module, pixels, "pre"))
            pooled = text_vector(encoder.module, encoder.preprocess_texts(texts[chunk]), "pre")
            textual.append(functional.normalize(pooled, dim=1))
    return torch.cat(visual).double().numpy(), torch.cat(textual).double().numpy()
