"""clip-tiny: CLIPs small enough to train from random weights in tests and on the controls."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.tokens import OpenClipTokens, Tokens, WordNumbers
from lmmrec_core.errors import ConfigError, unknown


def _config(
    embed_dim: int, image: int, patch: int, width: int, head: int, layers: int, context: int, vocabulary: int
) -> dict[str, Any]:
    """An open_clip configuration with two towers of equal width and depth."""
    return {
        "embed_dim": embed_dim,
        "vision_cfg": {"image_size": image, "patch_size": patch, "width": width, "head_width": head, "layers": layers},
        "text_cfg": {
            "context_length": context, "vocab_size": vocabulary, "width": width, "heads": width // head,
            "layers": layers,
        },
    }  # fmt: skip


BYTE_PAIRS = 49408  # CLIP's own vocabulary
TINY: dict[str, dict[str, Any]] = {
    "clip-tiny-32": _config(32, 32, 8, 64, 32, 2, 24, 512),  # for tests: a step takes milliseconds
    "clip-tiny-controls": _config(64, 64, 8, 64, 32, 3, 64, 512),  # the controls: drawings of 64 px, 57 words at most
    "clip-tiny-64": _config(128, 64, 8, 192, 64, 4, 32, BYTE_PAIRS),
    "clip-tiny-96": _config(192, 96, 16, 192, 64, 6, 32, BYTE_PAIRS),
}


class ClipTiny(CLIP):
    """A CLIP with random weights; its vectors mean nothing until it is trained.

    ``model`` is one of :data:`TINY`, or ``config`` describes another. A text tower of CLIP's vocabulary size reads byte
    pairs. A smaller one reads whole words, numbered by ``vocabulary`` or by hash (:class:`~.tokens.WordNumbers`).
    """

    name = "clip-tiny"
    WORDS = "vocabulary"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "model": "clip-tiny-controls", "seed": 0, "vector": "joint", "fit": "squash", "norm": "half", "cut": "tokens",
        "vocabulary": (),
    }  # fmt: skip

    def _complete(self, settings: CLIPSettings) -> CLIPSettings:
        if settings.model is not None and settings.model not in TINY:
            raise unknown("model", settings.model, TINY, f"encoder {self.name!r}")
        if settings.pretrained is not None:
            raise ConfigError(f"encoder {self.name!r} has no published weights; leave pretrained out")
        return super()._complete(settings)

    def _config(self) -> dict[str, Any]:
        return self.settings.config if self.settings.config is not None else TINY[str(self.settings.model)]

    def _tokens(self) -> Tokens:
        text = self.config["text_cfg"]
        context, size = int(text["context_length"]), int(text["vocab_size"])
        length, vocabulary = self._length(context), self.settings.vocabulary or ()
        if size != BYTE_PAIRS:
            return WordNumbers(vocabulary, size, length, context)
        if vocabulary:
            raise ConfigError(f"encoder {self.name!r}: {self.settings.model} reads byte pairs; leave vocabulary out")
        from open_clip import SimpleTokenizer

        return OpenClipTokens(SimpleTokenizer(context_length=context), length, context)
