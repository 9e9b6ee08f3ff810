"""CLIP as an encoder: what the official, small and tiny models share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import open_clip
from PIL.Image import Image
from torch import Tensor, nn

from lmmrec_core.digests import digest, file_sha256
from lmmrec_core.encoders.clip.build import (
    activation,
    architecture,
    build_module,
    check_origin,
    check_tag,
    fetch,
    load_weights,
    read_weights,
)
from lmmrec_core.encoders.clip.cut import blocks_above, image_above, image_states, text_above, text_states
from lmmrec_core.encoders.clip.settings import ARCHITECTURE, PREPROCESSING, CLIPSettings, CLIPVector
from lmmrec_core.encoders.clip.tokens import RELEASE_CHARACTERS, OpenClipTokens, Tokens
from lmmrec_core.encoders.clip.towers import (
    check_vector,
    clip_part_names,
    cuts_padding,
    image_vector,
    text_vector,
    through_head,
    vector_dim,
)
from lmmrec_core.encoders.features.unread import TokenCounts
from lmmrec_core.encoders.pictures.rule import CLIP_MEAN, CLIP_STD, HALF, Fit, ImageRule
from lmmrec_core.encoders.saved import SavedNote, read_note, read_saved, restore, write_saved
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import ConfigError, FeatureError, unknown
from lmmrec_core.flow import Modality

CLIP_VERSION = 1  # raise it with every change that alters a vector


class CLIP:
    """Pictures and texts → vectors of one space, by any CLIP that open_clip can build.

    Source: Radford et al. 2021 (arXiv 2103.00020). ``module`` holds every weight, in evaluation mode. Whoever trains it
    sets ``stage`` and ``note`` (how it was trained, in plain JSON values) and calls :meth:`save`.
    Raises ConfigError for settings that do not fit together, FeatureError for weights that cannot be used.
    """

    name = "clip"
    modalities: tuple[Modality, ...] = ("visual", "textual")
    Settings = CLIPSettings
    MODELS: ClassVar[tuple[str, ...]] = ()  # allowed names; empty: any
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"vector": "joint", "fit": "crop", "norm": "clip", "cut": "tokens"}

    module: nn.Module
    tokens: Tokens

    def __init__(self, settings: CLIPSettings | None = None) -> None:
        settings = settings or CLIPSettings()
        saved = None if settings.weights is None else read_note(settings.weights)
        if saved is not None:
            settings = self._as_saved(settings, saved)
        self.settings = self._complete(settings)
        self.stage = saved.stage if saved else "pt"
        self.note = dict(saved.training) if saved else {}
        path, found = self._locate(saved is not None)
        self.config = self._config()
        self.module = self._build(towers=saved is None)
        self.source = dict(saved.source) if saved else found or self._package_source()
        if path is not None:
            self._load(path, saved)
        self.activation = activation(self.module)
        self.tokens = self._tokens()
        self.image = self._image_rule()
        check_vector(self.module, self._vector)

    # -- what a subclass may change -------------------------------------------------------------------------------

    def _complete(self, settings: CLIPSettings) -> CLIPSettings:
        """``settings`` filled up with the defaults. Raises ConfigError for another model, or without any weights."""
        done = settings.over(self.DEFAULTS)
        if self.MODELS and (done.config is not None or done.model not in self.MODELS):
            known = " or ".join(self.MODELS)
            raise ConfigError(f"encoder {self.name!r} is {known}; for {done.model or 'a config'} use encoder own")
        if done.config is not None and done.pretrained is not None:
            raise ConfigError(
                f"encoder {self.name!r}: there are no published weights for a config of your own; give model instead"
            )
        if done.model is None and done.config is None:
            raise ConfigError(f"encoder {self.name!r}: no architecture; give model (open_clip's name) or config")
        if done.weights is None and done.pretrained is None and done.seed is None:
            if not self.MODELS:
                raise ConfigError(
                    f"encoder {self.name!r}: no weights; give weights, pretrained, or a seed for random ones"
                )
            done = done.over({"pretrained": "openai"})
        return done

    def _config(self) -> dict[str, Any]:
        """The architecture in the form of open_clip's JSON files."""
        if self.settings.config is not None:
            return self.settings.config
        assert self.settings.model is not None  # _complete saw to it
        return architecture(self.settings.model)

    def _build(self, towers: bool) -> nn.Module:
        """The module before a file of weights is loaded; ``towers``: with the weights that installed packages hold."""
        return build_module(self.config, image_size=self.settings.image_size, seed=self.settings.seed or 0)

    def _tokens(self) -> Tokens:
        context = int(self.config["text_cfg"].get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH))
        length = self._length(context)
        if self.settings.model is None:
            return OpenClipTokens(open_clip.SimpleTokenizer(context_length=context), length, context)
        return OpenClipTokens(open_clip.get_tokenizer(self.settings.model), length, context)

    def _config_spec(self) -> Mapping[str, Any]:
        """What identifies the architecture, without the name of a folder."""
        return self.config

    def _package_source(self) -> dict[str, Any]:
        """Where the weights come from if neither a file nor a tag is given."""
        return {"source": "random", "seed": self.settings.seed}

    # -- the role --------------------------------------------------------------------------------------------

    def spec(self) -> Mapping[str, Any]:
        settings, length = self.settings, self.tokens.max_length
        unit = {"cut": f"{RELEASE_CHARACTERS} characters, then tokens"} if settings.cut == "characters" else {}
        return {
            "weights": {
                "name": self.name,
                **self.source,
                "state_sha256": state_digest(self.module),
                "stage": self.stage,
                **({"training": self.note} if self.note else {}),
            },
            "architecture": {
                "class": type(self).__name__,
                "version": CLIP_VERSION,
                "network": settings.model or "own configuration",
                "config": digest(self._config_spec()),
                "activation": self.activation,
                "norm": "batch norm in evaluation mode, layer norm",
                "vector": settings.vector,
                "precision": "fp32",
                "autocast": False,
            },
            "image": self.image.spec(),
            "text": {**self.tokens.spec(), "max_length": length, "truncation": "right", "unit": "tokens", **unit},
        }

    def dim(self, modality: Modality) -> int:
        if modality not in self.modalities:
            raise unknown("modality", modality, self.modalities, f"encoder {self.name!r}")
        return vector_dim(self.module, modality, self._vector, self._width)

    @property
    def picture_rule(self) -> ImageRule:
        """How pictures are prepared."""
        return self.image

    def preprocess_images(self, images: Sequence[Image]) -> Tensor:
        return self.image.pixels(images)

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """``input_ids`` int64 [item, length], for some towers ``attention_mask``.

        Rows are cut to the longest text if the tower cannot see what follows the end token.
        """
        if self.settings.cut == "characters":
            texts = [text[:RELEASE_CHARACTERS] for text in texts]
        tokens = self.tokens(texts)
        if cuts_padding(self.module) and len(texts):
            longest = int(tokens["input_ids"].argmax(dim=1).max()) + 1  # the end token is the largest number
            tokens = {key: value[:, :longest] for key, value in tokens.items()}
        return tokens

    def token_counts(self, texts: Sequence[str]) -> TokenCounts:
        if self.settings.cut == "tokens":
            return self.tokens.counts(texts)
        whole = self.tokens.counts([text[:RELEASE_CHARACTERS] for text in texts])
        long = sum(len(text) > RELEASE_CHARACTERS for text in texts)  # cut by characters, hence not by tokens
        return replace(whole, cut_texts=long)

    def image_vectors(self, pixels: Tensor) -> Tensor:
        return image_vector(self.module, self._layout(pixels), self._vector)

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        return text_vector(self.module, tokens, self._vector)

    def contrast(self, pixels: Tensor, tokens: Mapping[str, Tensor]) -> Sequence[tuple[Tensor, Tensor, Tensor]]:
        """One term, always of joint vectors: they are what CLIP was trained to compare."""
        module: Any = self.module
        rows = image_vector(module, self._layout(pixels), "joint")
        return [(rows, text_vector(module, tokens, "joint"), module.logit_scale.exp())]

    def part(self, name: str) -> frozenset[str]:
        """Names of the parameters in a part, see :func:`~.towers.clip_part_names`."""
        return clip_part_names(self.module, name)

    def below(self, modality: Modality, inputs: Tensor | Mapping[str, Tensor], part: str) -> Mapping[str, Tensor]:
        """The pooled vectors [item, width] that enter "heads", or the rows that enter "top-K", see :mod:`.cut`."""
        above = blocks_above(self.module, part)
        if above is not None and isinstance(inputs, Tensor):
            return image_states(self.module, self._layout(inputs), above)
        if above is not None and not isinstance(inputs, Tensor):
            return text_states(self.module, inputs["input_ids"], above)
        if part != "heads" or self._vector != "joint":
            raise ConfigError(
                f"encoder {self.name!r}: states are kept for part 'heads' of joint vectors, and for 'top-K' of "
                "open_clip's own transformers; set boundary: encode"
            )
        check_vector(self.module, "pre")
        if isinstance(inputs, Tensor):
            return {"pooled": image_vector(self.module, self._layout(inputs), "pre")}
        return {"pooled": text_vector(self.module, inputs, "pre")}

    def above(self, modality: Modality, states: Mapping[str, Tensor], part: str) -> Tensor:
        above = blocks_above(self.module, part)
        if above is None:
            return through_head(self.module, modality, states["pooled"])
        rest = image_above if modality == "visual" else text_above
        return rest(self.module, states, above, self._vector)

    # -- weights we trained ----------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write weights, settings, stage and note to one file, see ``encoders.saved.write_saved``."""
        settings = self.settings.model_dump(mode="json", include={*ARCHITECTURE, *PREPROCESSING})
        note = SavedNote(self.name, CLIP_VERSION, self.stage, self.note, settings, self.source)
        write_saved(path, self.module, note)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The encoder that :meth:`save` wrote to ``path``. Raises FeatureError for any other file."""
        read_saved(path, cls.name, CLIP_VERSION)
        return cls(cls.Settings(weights=path))

    # -- inside ----------------------------------------------------------------------------------------------

    @property
    def _vector(self) -> CLIPVector:
        assert self.settings.vector is not None  # every encoder has a default
        return self.settings.vector

    @property
    def _width(self) -> int:
        return int(self.config["embed_dim"])

    def _layout(self, pixels: Tensor) -> Tensor:
        return pixels

    def _length(self, context: int) -> int:
        if (self.settings.max_length or context) > context:
            raise ConfigError(f"max_length {self.settings.max_length} is more than the model's {context}; lower it")
        return self.settings.max_length or context

    def _as_saved(self, settings: CLIPSettings, note: SavedNote) -> CLIPSettings:
        """The saved settings, except for preprocessing that ``settings`` states.

        Raises ConfigError if they state another architecture.
        """
        path, saved = settings.weights, note.settings
        assert path is not None  # the note came from there
        note.check(path, self.name, CLIP_VERSION)
        given = settings.model_dump(mode="json", include={*ARCHITECTURE}, exclude_none=True)
        for key, value in given.items():
            if value != saved.get(key):
                raise ConfigError(
                    f"{path}: saved with {key} = {saved.get(key)!r}, settings say {value!r}; leave {key} out"
                )
        return settings.over({key: value for key, value in saved.items() if value is not None})

    def _locate(self, ours: bool) -> tuple[Path | None, dict[str, Any]]:
        """The file of weights, if any, and where it comes from; called before anything large is built."""
        settings = self.settings
        if ours:
            return settings.weights, {}
        if settings.weights is not None:
            if settings.model is not None:
                check_origin(settings.model, settings.pretrained)
            path, source = settings.weights, {"source": "own file"}
        elif settings.pretrained is not None:
            assert settings.model is not None  # _complete saw to it
            path, source = fetch(settings.model, settings.pretrained), {"source": "open_clip"}
        else:
            return None, {}
        tag = {"tag": settings.pretrained} if settings.pretrained else {}
        return path, {**source, **tag, "file_sha256": file_sha256(path, FeatureError)}

    def _load(self, path: Path, saved: SavedNote | None) -> None:
        if saved is not None:
            restore(self.module, path, saved)
            return
        resized = self.settings.image_size not in (None, self.config["vision_cfg"].get("image_size"))
        load_weights(self.module, read_weights(path), path, resized)
        if resized:
            self.source["positions"] = "resized, bicubic"

    def _image_rule(self) -> ImageRule:
        """How pictures are prepared: by the settings, or for ``norm: model`` and no ``fit`` as open_clip states."""
        settings = self.settings
        stated = dict(open_clip.get_model_preprocess_cfg(self.module))
        tag = self.source.get("tag")
        if settings.model is not None and tag is not None:
            stated.update({key: value for key, value in check_tag(settings.model, tag).items()
                           if key in ("mean", "std", "resize_mode", "interpolation")})  # fmt: skip
        if settings.norm == "model" and stated["interpolation"] != "bicubic":
            raise ConfigError(
                f"model {settings.model!r} needs {stated['interpolation']} resizing, which is not offered; "
                "set norm to clip or half"
            )
        mean, std = {
            "clip": (CLIP_MEAN, CLIP_STD), "half": (HALF, HALF), "model": (stated["mean"], stated["std"]),
        }[settings.norm or "clip"]  # fmt: skip
        modes: dict[str, Fit] = {"shortest": "crop", "squash": "squash", "longest": "pad"}
        size = stated["size"] if isinstance(stated["size"], int) else stated["size"][0]
        return ImageRule(int(size), settings.fit or modes[stated["resize_mode"]], tuple(mean), tuple(std))
