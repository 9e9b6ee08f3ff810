"""The three VLMo encoders: the published one, a small one of MiniLM's size, a tiny one for controls and tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lmmrec_core.config import Settings
from lmmrec_core.encoders.fine_tuning.outside import outside_pairs
from lmmrec_core.encoders.vlmo.closed_form import align_vlmo
from lmmrec_core.encoders.vlmo.encoder import Built, VLMo
from lmmrec_core.encoders.vlmo.from_minilm import start_from_minilm
from lmmrec_core.encoders.vlmo.initial import build_network
from lmmrec_core.encoders.vlmo.loading import load_checkpoint
from lmmrec_core.encoders.vlmo.settings import VLMoSettings, VLMoVector
from lmmrec_core.encoders.vlmo.tokens import WholeWords, WordPiece
from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import Catalogue
from lmmrec_core.seeds import torch_stream

PUBLISHED = "vlmo_base_plus_patch16_224.pt"


class BasePlusSettings(Settings):
    """Settings of :class:`VLMoBasePlus`."""

    weights: Path | None = None  # the published file, or its safetensors form; required
    trust_pickle: bool = False  # read a file that also names classes; needs sha256
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")  # pins the file
    tokeniser: Path | None = None  # folder with BERT uncased's tokenizer.json; None: the MiniLM package's
    vector: VLMoVector = "cls"
    image_size: int = 224  # 384 for the retrieval checkpoints; positions are resized to it
    max_text_length: int = 40
    checkpoint_blocks: bool = False


class VLMoBasePlus(VLMo):
    """VLMo Base Plus with published weights: 24 blocks, 544 wide, 166,863,840 weights without heads."""

    name = "vlmo-base-plus"
    Settings = BasePlusSettings

    def _build(self, settings: BasePlusSettings) -> Built:
        if settings.weights is None:
            raise FeatureError(
                f"encoder {self.name!r} needs the published weights: set weights to the path of {PUBLISHED} "
                "(for addresses see the README of microsoft/unilm, folder vlmo)"
            )
        shape = VLMoSettings.base_plus(
            image_size=settings.image_size, max_text_length=settings.max_text_length, vector=settings.vector,
            checkpoint_blocks=settings.checkpoint_blocks,
        )  # fmt: skip
        network = build_network(
            shape, torch_stream(0, "vlmo/base-plus")
        )  # these weights stay in heads that the file lacks
        loaded = load_checkpoint(
            network, shape, settings.weights, trust_pickle=settings.trust_pickle, sha256=settings.sha256
        )
        source = {"source": "published file", **loaded.spec()}
        return Built(shape, network, WordPiece(settings.tokeniser), source, loaded.absent)


class SmallSettings(Settings):
    """Settings of :class:`VLMoSmall`."""

    seed: int = 0  # of the weights that have no counterpart in MiniLM
    minilm: Path | None = None  # folder of MiniLM; None: the package's
    stem: Literal["grid", "conv"] = "grid"
    image_size: int = 128
    max_text_length: int = 64
    vector: VLMoVector = "cls"
    checkpoint_blocks: bool = False


class VLMoSmall(VLMo):
    """MiniLM with experts, not yet trained on pairs; ``load`` reads one that was.

    With the grid stem ``preprocess_images`` returns maps of a frozen lite0; call ``fit_stem`` before anything else.
    """

    name = "vlmo-small"
    Settings = SmallSettings

    def _build(self, settings: SmallSettings) -> Built:
        shape = VLMoSettings.small(
            stem=settings.stem, image_size=settings.image_size, max_text_length=settings.max_text_length,
            vector=settings.vector, checkpoint_blocks=settings.checkpoint_blocks,
        )  # fmt: skip
        network = build_network(shape, torch_stream(settings.seed, "vlmo/small"))
        digest = start_from_minilm(network, shape, settings.minilm)
        source = {"source": "MiniLM, not yet trained on pairs", "minilm_sha256": digest, "seed": settings.seed}
        return Built(shape, network, WordPiece(settings.minilm), source)

    def align(self, pairs: Catalogue, progress: bool = True) -> Mapping[str, Any]:
        """Set stem and projections from the pairs of a catalogue, see :func:`~.closed_form.align_vlmo`."""
        return align_vlmo(self, outside_pairs(pairs), progress)


class TinySettings(Settings):
    """Settings of :class:`VLMoTiny`."""

    seed: int = 0
    words: tuple[str, ...] | None = None  # the vocabulary, see light.networks.build_vocabulary; None: hashed words
    hashed: int = Field(default=1024, ge=6)  # ids when words are hashed
    image_size: int = 32
    patch: int = 8
    width: int = 64
    depth: int = 4
    heads: int = 4
    first_vl: int = 3
    max_text_length: int = 24
    drop_path: float = 0.0
    text_dropout: float = 0.0
    vector: VLMoVector = "cls"
    checkpoint_blocks: bool = False


class VLMoTiny(VLMo):
    """Base Plus in miniature with random weights; texts are whole words, as for the light encoders."""

    name = "vlmo-tiny"
    WORDS = "words"
    Settings = TinySettings

    def _build(self, settings: TinySettings) -> Built:
        tokeniser = WholeWords(settings.words, settings.hashed)
        sizes = settings.model_dump(exclude={"seed", "words", "hashed"})
        shape = VLMoSettings.tiny(**sizes, vocabulary=tokeniser.vocabulary_size)
        network = build_network(shape, torch_stream(settings.seed, "vlmo/tiny"))
        return Built(shape, network, tokeniser, {"source": "random", "seed": settings.seed})
