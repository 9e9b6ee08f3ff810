"""VLMo in the encoder role: vectors for features, contrast and fused passes for training, parts to fine-tune."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional

from lmmrec_core import config
from lmmrec_core.encoders.features.unread import TokenCounts
from lmmrec_core.encoders.pictures.reading import image_spec
from lmmrec_core.encoders.pictures.rule import HALF, ImageRule
from lmmrec_core.encoders.saved import SavedNote, read_saved, restore, write_saved
from lmmrec_core.encoders.vlmo.blocks import SHORT, ExpertKind, at_least_fp32
from lmmrec_core.encoders.vlmo.initial import empty_network
from lmmrec_core.encoders.vlmo.model import GridEmbed, VLMoNetwork
from lmmrec_core.encoders.vlmo.parts import blocks_of_part, vlmo_part_names
from lmmrec_core.encoders.vlmo.settings import GRID_CHANNELS, VLMoSettings
from lmmrec_core.encoders.vlmo.stem import Lite0Maps
from lmmrec_core.encoders.vlmo.tokens import Tokeniser, rebuild_tokeniser, text_spec
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import MODALITIES, Modality

#: Raise it with every change that alters a vector beyond rounding. Since attention over more rows than ``SHORT`` is
#: fused, last bits of longer inputs differ from those of before; no stored result was made of such inputs.
VLMO_VERSION = 1
_VECTOR_HEADS = {"itc": ("itc_text_proj", "itc_image_proj"), "itc_vl": ("itc_vl_text_proj", "itc_vl_image_proj")}


@dataclass(frozen=True)
class Built:
    """What an encoder is made of."""

    settings: VLMoSettings
    network: VLMoNetwork
    tokeniser: Tokeniser
    source: Mapping[str, Any]  # where the weights come from, in plain JSON values
    absent: tuple[str, ...] = ()  # heads that the published file has no weights for
    stage: str = "pt"
    note: Mapping[str, Any] = field(default_factory=dict)  # how it was trained here, in plain JSON values


class VLMo:
    """Pictures and texts → vectors of ``settings.width`` numbers. Make one by a class of ``presets``.

    ``settings.vector`` says which vector is the feature: ``cls``, row 0 after the final norm, the paper's [CLS];
    ``itc``, its contrastive projection of length 1, which the paper group's code (GLA-IR/LMM4REC) stores; ``itc_vl``,
    the same after the vision-language continuation; ``cls_raw``, row 0 before the final norm; ``mean``, the mean over
    patch rows or word rows. Under autocast vectors are returned in float32.
    """

    name: str
    modalities: tuple[Modality, ...] = ("visual", "textual")
    Settings: ClassVar[type[config.Settings]]

    def __init__(self, settings: config.Settings | None = None, *, built: Built | None = None) -> None:
        made = built or self._build(settings or self.Settings())
        self.settings = made.settings
        self.module: VLMoNetwork = made.network
        self.tokeniser = made.tokeniser
        self.source = dict(made.source)
        self.absent = made.absent
        self.stage = made.stage
        self.note = dict(made.note)
        self.vocabulary_size = made.tokeniser.vocabulary_size
        self.mask_token = made.tokeniser.mask_token
        self.special_tokens = made.tokeniser.special_tokens
        self._maps = Lite0Maps(self.settings.image_size) if self.settings.stem == "grid" else None
        if self.vocabulary_size != self.settings.vocabulary:
            raise ConfigError(
                f"encoder {self.name!r}: the tokeniser has {self.vocabulary_size} ids, the settings say "
                f"{self.settings.vocabulary}; make them equal"
            )
        self._need(_VECTOR_HEADS.get(self.settings.vector, ()), f"vector {self.settings.vector!r}")

    def _build(self, settings: Any) -> Built:
        """Weights and tokeniser of a new encoder; ``settings`` is of the class's ``Settings``."""
        raise NotImplementedError

    # Role: Encoder

    def spec(self) -> Mapping[str, Any]:
        s = self.settings
        image = image_spec(s.image_size, mean=HALF, std=HALF)
        return {
            "weights": {
                "name": self.name, **self.source, "state_sha256": state_digest(self.module), "stage": self.stage,
                "training": dict(self.note),
            },
            "architecture": {
                "class": type(self).__name__, "version": VLMO_VERSION, "network": "VLMo", "activation": "gelu",
                "precision": "fp32", "autocast": False, **s.model_dump(mode="json", exclude={"checkpoint_blocks"}),
            },
            "image": image if self._maps is None else {**image, "stem": self._maps.spec()},
            "text": text_spec(self.tokeniser, s.max_text_length),
        }  # fmt: skip

    def dim(self, modality: Modality) -> int:
        if modality not in MODALITIES:
            raise FeatureError(f"encoder {self.name!r} has no {modality} vectors; use it for visual or textual")
        return self.settings.width

    @property
    def picture_rule(self) -> ImageRule | None:
        """How pictures are prepared; None for the grid stem, which reads maps of another network."""
        return None if self._maps is not None else ImageRule(self.settings.image_size, "squash", HALF, HALF)

    def preprocess_images(self, images: Sequence[Image]) -> Tensor:
        """Squashed pixels between -1 and 1 [item, 3, size, size]; for the grid stem lite0's maps [item, 320, n, n]."""
        if self._maps is not None:
            return self._maps.maps(images)
        return ImageRule(self.settings.image_size, "squash", HALF, HALF).pixels(images)

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """``input_ids`` and ``attention_mask``, int64 [item, length], at most ``max_text_length`` tokens."""
        return self.tokeniser.encode(texts, self.settings.max_text_length)

    def token_counts(self, texts: Sequence[str]) -> TokenCounts:
        return self.tokeniser.counts(texts, self.settings.max_text_length)

    def image_vectors(self, pixels: Tensor) -> Tensor:
        return self._vector("imag", *self._embedded(pixels))

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        return self._vector("text", *self._embedded(tokens))

    # Role: TrainableEncoder

    def contrast(self, pixels: Tensor, tokens: Mapping[str, Tensor]) -> Sequence[tuple[Tensor, Tensor, Tensor]]:
        """Two terms (image rows, text rows, scale): of the plain paths, then of the vision-language continuations.

        Rows are [pair, width] and not normalised. Both continuations pass the final norm, as in the official code
        (microsoft/unilm, folder vlmo); the paper group's port omits it for pictures. Raises FeatureError if the weights
        lack one of the four projections.
        """
        self._need((*_VECTOR_HEADS["itc"], *_VECTOR_HEADS["itc_vl"]), "the contrastive loss")
        self._need(("logit_scale", "logit_vl_scale"), "the contrastive loss")
        ids, real = self._checked_tokens(tokens)
        image, image_vl = self._both(self.module.embed_image(self._checked_pixels(pixels)), "imag", None)
        text, text_vl = self._both(self.module.embed_text(ids), "text", real)
        net = self.module
        plain = at_least_fp32(net.itc_image_proj(image)), at_least_fp32(net.itc_text_proj(text))
        joint = at_least_fp32(net.itc_vl_image_proj(image_vl)), at_least_fp32(net.itc_vl_text_proj(text_vl))
        return ((*plain, net.logit_scale.exp()), (*joint, net.logit_vl_scale.exp()))

    def part(self, name: str) -> frozenset[str]:
        """Names of the parameters in a part, see :func:`~.parts.vlmo_part_names`."""
        return vlmo_part_names(self.module, name)

    def below(self, modality: Modality, inputs: Tensor | Mapping[str, Tensor], part: str) -> Mapping[str, Tensor]:
        """What enters "heads" (for vectors itc and itc_vl), or the last K blocks."""
        net, s = self.module, self.settings
        kind: ExpertKind = "imag" if modality == "visual" else "text"
        if part == "heads" and s.vector in _VECTOR_HEADS:
            rows, real, _ = self._embedded(inputs)
            last = net.span(rows, kind, real, (0, s.depth), s.vector == "itc_vl")
            return {"cls": net.final_norm(last)[:, 0]}
        if (above := blocks_of_part(net, part)) is not None:
            rows, real, inside = self._embedded(inputs)
            rows = net.span(rows, kind, real, (0, s.depth - above), s.vector == "itc_vl")
            return {"rows": rows, "inside": inside} | ({} if real is None else {"real": real})
        raise ConfigError(
            f"encoder {self.name!r}: states are kept for parts 'top-K', and for 'heads' of the vectors itc and itc_vl; "
            "set boundary: encode"
        )

    def above(self, modality: Modality, states: Mapping[str, Tensor], part: str) -> Tensor:
        kind: ExpertKind = "imag" if modality == "visual" else "text"
        if part == "heads":
            return self._projected(at_least_fp32(states["cls"]), kind)
        depth, real = self.settings.depth, states.get("real")
        first = depth - (blocks_of_part(self.module, part) or 0)
        rows = self.module.span(states["rows"], kind, real, (first, depth), self.settings.vector == "itc_vl")
        return self._finished(rows, kind, states["inside"])

    # What the matching and masked-word losses need

    def fused(self, pixels: Tensor, tokens: Mapping[str, Tensor]) -> Tensor:
        """Pairs as one sequence [pair, text + image, width] after the final norm, the text rows first."""
        return self.module.fused(self._checked_pixels(pixels), *self._checked_tokens(tokens))

    def match_logits(self, sequence: Tensor) -> Tensor:
        """The sequence of :meth:`fused` → logits [pair, 2] of "does not match" and "matches"."""
        self._need(("itm_score",), "the matching loss")
        return at_least_fp32(self.module.itm_score(self.module.pooler(sequence)))

    def word_logits(self, sequence: Tensor, masked: Tensor) -> Tensor:
        """The sequence of :meth:`fused` and bool [pair, text] → logits [masked, vocabulary] of the ids there."""
        self._need(("mlm_score",), "the masked-word loss")
        text, (pairs, places) = sequence[:, : masked.shape[1]], masked.nonzero().to(sequence.device).unbind(1)
        if sequence.device.type == "cpu" and sequence.shape[1] <= SHORT:  # all rows, as the stored runs were made
            return at_least_fp32(self.module.mlm_score(text))[pairs, places]
        return at_least_fp32(self.module.mlm_score(text[pairs, places]))

    def word_starts(self, input_ids: Tensor) -> Tensor:
        """Ids [item, length] → bool [item, length], see :meth:`~.tokens.Tokeniser.word_starts`."""
        return self.tokeniser.word_starts(input_ids)

    # Grid stem and files

    def fit_pixels(self, pixels: Tensor) -> None:
        """Set the constants of a grid stem from the pictures of the pre-training set; other stems have none."""
        if isinstance(self.module.transformer.patch_embed, GridEmbed):
            self.fit_stem(pixels)

    def fit_stem(self, maps: Tensor) -> None:
        """Set the grid stem's constants to mean and deviation of each channel over ``maps`` [item, 320, n, n].

        Call it once, with the pre-training set; the constants stay fixed afterwards. Raises ConfigError for another
        stem.
        """
        stem = self.module.transformer.patch_embed
        if not isinstance(stem, GridEmbed):
            raise ConfigError(f"encoder {self.name!r} has no grid stem to fit; build it with stem: grid")
        with torch.no_grad():
            stem.standardise.fit(maps.movedim(1, -1).flatten(0, -2).to(stem.standardise.centre))

    def save(self, path: Path) -> None:
        """Write weights, settings, tokeniser and note to one file, see ``encoders.saved.write_saved``."""
        more = {"tokeniser": self.tokeniser.spec(), "absent": list(self.absent)}
        settings = self.settings.model_dump(mode="json")
        note = SavedNote(self.name, VLMO_VERSION, self.stage, self.note, settings, self.source, more)
        write_saved(path, self.module, note)

    @classmethod
    def load(cls, path: Path, *, folder: Path | None = None) -> Self:
        """The encoder that :meth:`save` wrote to ``path``, in evaluation mode.

        ``folder`` holds its WordPiece tokeniser; None takes the installed package's. Raises FeatureError for a file
        that is absent, damaged, or of another encoder or version.
        """
        note = read_saved(path, cls.name, VLMO_VERSION)
        settings = VLMoSettings.build(note.settings, str(path))
        network = empty_network(settings)
        restore(network, path, note)
        tokeniser = rebuild_tokeniser(note.more["tokeniser"], folder)
        built = Built(settings, network, tokeniser, note.source, tuple(note.more["absent"]), note.stage, note.training)
        return cls(built=built)

    def _embedded(self, inputs: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None, Tensor]:
        """Rows of pixels or tokens; which of them are real (None: all); which of them a mean is taken over."""
        if isinstance(inputs, Tensor):
            rows = self.module.embed_image(self._checked_pixels(inputs))
            inside = rows.new_ones(rows.shape[:2], dtype=torch.bool)
            inside[:, 0] = False
            return rows, None, inside
        ids, real = self._checked_tokens(inputs)
        return self.module.embed_text(ids), real, real & ~_among(ids, self.tokeniser.framing)

    def _vector(self, kind: ExpertKind, rows: Tensor, real: Tensor | None, inside: Tensor) -> Tensor:
        last = self.module.span(rows, kind, real, (0, self.settings.depth), self.settings.vector == "itc_vl")
        return self._finished(last, kind, inside)

    def _finished(self, last: Tensor, kind: ExpertKind, inside: Tensor) -> Tensor:
        """What the last block gives → the vector."""
        net, vector = self.module, self.settings.vector
        if vector == "cls_raw":
            return at_least_fp32(last[:, 0])
        last = at_least_fp32(net.final_norm(last))
        if vector == "cls":
            return last[:, 0]
        if vector == "mean":
            count = inside.sum(dim=1, keepdim=True).clamp(min=1)
            return (last * inside.unsqueeze(-1)).sum(dim=1) / count
        return self._projected(last[:, 0], kind)

    def _projected(self, cls: Tensor, kind: ExpertKind) -> Tensor:
        """Row 0 [item, width] → its contrastive projection of length 1."""
        head = self.module.get_submodule(_VECTOR_HEADS[self.settings.vector][kind == "imag"])
        return functional.normalize(at_least_fp32(head(cls)), dim=1)

    def _both(self, rows: Tensor, kind: ExpertKind, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Row 0 after the final norm, of the modality's own path and of its vision-language continuation."""
        own, joint = self.module.both(rows, kind, real)
        return own[:, 0], joint[:, 0]

    def _checked_pixels(self, pixels: Tensor) -> Tensor:
        grid = self.settings.stem == "grid"
        side = self.settings.grid if grid else self.settings.image_size
        expected = (GRID_CHANNELS if grid else 3, side, side)
        if tuple(pixels.shape[1:]) != expected or pixels.ndim != 4:
            raise FeatureError(
                f"encoder {self.name!r}: pictures of shape {tuple(pixels.shape)}, expected [item, "
                f"{', '.join(map(str, expected))}]; use preprocess_images"
            )
        stem = self.module.transformer.patch_embed
        if isinstance(stem, GridEmbed) and not stem.fitted:
            raise FeatureError(
                f"encoder {self.name!r}: the grid stem has no standardisation constants yet; call fit_stem with the "
                "maps of the pre-training pictures, or load trained weights"
            )
        return pixels

    def _checked_tokens(self, tokens: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        ids, real = tokens["input_ids"], tokens["attention_mask"].bool()
        if ids.ndim != 2 or ids.shape != real.shape or ids.shape[1] > self.settings.max_text_length:
            raise FeatureError(
                f"encoder {self.name!r}: token ids of shape {tuple(ids.shape)}, mask {tuple(real.shape)}, expected "
                f"both [item, length] with length up to {self.settings.max_text_length}; use preprocess_texts"
            )
        return ids, real

    def _need(self, heads: Sequence[str], purpose: str) -> None:
        lacking = sorted(set(heads) & set(self.absent))
        if lacking:
            raise FeatureError(
                f"encoder {self.name!r}: the weights file has no {', '.join(lacking)}, which {purpose} needs; use a "
                "checkpoint with these heads"
            )


def _among(ids: Tensor, numbers: frozenset[int]) -> Tensor:
    return torch.isin(ids, torch.tensor(sorted(numbers), device=ids.device))
