"""The network of VLMo: embeddings, three inference paths, heads (Bao et al. 2022, arXiv 2111.02358).

Weights are named as in the published checkpoints (microsoft/unilm, folder vlmo).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lmmrec_core.encoders.light.networks import Standardise
from lmmrec_core.encoders.vlmo.blocks import Block, ExpertKind
from lmmrec_core.encoders.vlmo.settings import GRID_CHANNELS, VLMoSettings

BERT_EPS = 1e-12  # of the layer norms in text embeddings and word head, whatever the blocks have
PADDING = 0


class PatchEmbed(nn.Module):
    """Pixels [item, 3, size, size] → [item, grid², width], one convolution, cells row by row."""

    def __init__(self, settings: VLMoSettings) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, settings.width, kernel_size=settings.patch, stride=settings.patch)

    def forward(self, pixels: Tensor) -> Tensor:
        cells: Tensor = self.proj(pixels)
        return cells.flatten(2).transpose(1, 2)


class GridEmbed(nn.Module):
    """Maps [item, 320, grid, grid] of a frozen network → [item, grid², width].

    Each channel is standardised with constants of the pre-training set; then every cell is mapped and normalised.
    """

    def __init__(self, settings: VLMoSettings) -> None:
        super().__init__()
        self.standardise = Standardise(GRID_CHANNELS)
        self.proj = nn.Linear(GRID_CHANNELS, settings.width)
        self.norm = nn.LayerNorm(settings.width, settings.eps)

    @property
    def fitted(self) -> bool:
        """Whether the constants have been set; those of real maps are never exactly zero and one."""
        constants = self.standardise
        return bool((constants.centre != 0).any() or (constants.spread != 1).any())

    def forward(self, maps: Tensor) -> Tensor:
        cells: Tensor = self.norm(self.proj(self.standardise(maps.flatten(2).transpose(1, 2))))
        return cells


class Transformer(nn.Module):
    """Image embedding, blocks, and the final norm, which is the identity in the post-norm form."""

    def __init__(self, settings: VLMoSettings) -> None:
        super().__init__()
        width = settings.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, settings.grid**2 + 1, width))
        self.patch_embed = PatchEmbed(settings) if settings.stem == "conv" else GridEmbed(settings)
        self.blocks = nn.ModuleList([Block(settings, index) for index in range(settings.depth)])
        self.norm = nn.LayerNorm(width, settings.eps) if settings.norm == "pre" else nn.Identity()


class TextEmbeddings(nn.Module):
    """Token ids [item, length] → [item, length, width], as in BERT: words, positions and token type 0, normalised."""

    def __init__(self, settings: VLMoSettings) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(settings.vocabulary, settings.width, padding_idx=PADDING)
        self.position_embeddings = nn.Embedding(settings.max_text_length, settings.width)
        self.token_type_embeddings = nn.Embedding(2, settings.width)
        self.LayerNorm = nn.LayerNorm(settings.width, BERT_EPS)
        self.dropout = nn.Dropout(settings.text_dropout)

    def forward(self, ids: Tensor) -> Tensor:
        positions = self.position_embeddings.weight[: ids.shape[1]]
        summed = self.word_embeddings(ids) + self.token_type_embeddings.weight[0] + positions
        embedded: Tensor = self.dropout(self.LayerNorm(summed))
        return embedded


class Pooler(nn.Module):
    """``tanh(dense(row 0))``: [item, row, width] → [item, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, sequence: Tensor) -> Tensor:
        return torch.tanh(self.dense(sequence[:, 0]))


class Head(nn.Module):
    """One linear map, named ``fc``."""

    def __init__(self, width: int, out: int, bias: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(width, out, bias=bias)

    def forward(self, rows: Tensor) -> Tensor:
        mapped: Tensor = self.fc(rows)
        return mapped


class WordTransform(nn.Module):
    """A linear map, the exact GELU, a layer norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, BERT_EPS)

    def forward(self, rows: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(functional.gelu(self.dense(rows)))
        return normed


class WordHead(nn.Module):
    """Rows [..., width] → logits [..., vocabulary]; the decoder is not tied to the word table."""

    def __init__(self, settings: VLMoSettings) -> None:
        super().__init__()
        self.transform = WordTransform(settings.width)
        self.decoder = nn.Linear(settings.width, settings.vocabulary, bias=False)
        self.bias = nn.Parameter(torch.empty(settings.vocabulary))

    def forward(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.transform(rows))
        return logits + self.bias


class VLMoNetwork(nn.Module):
    """All weights, and the three paths. Sequences are [item, row, width]; row 0 is the class row ([CLS] in a text).

    ``real`` is bool [item, row], False on padding. A new network holds whatever torch left in memory: set its weights
    with ``initial.initialise`` or a loader.
    """

    def __init__(self, settings: VLMoSettings) -> None:
        super().__init__()
        width = settings.width
        self.depth, self.first_vl = settings.depth, settings.first_vl
        self.checkpoint_blocks = settings.checkpoint_blocks
        self.transformer = Transformer(settings)
        self.text_embeddings = TextEmbeddings(settings)
        self.token_type_embeddings = nn.Embedding(2, width)  # row 0 text, row 1 image
        self.pooler = Pooler(width)
        self.itc_text_proj = Head(width, width, bias=False)
        self.itc_image_proj = Head(width, width, bias=False)
        self.itc_vl_text_proj = Head(width, width, bias=False)
        self.itc_vl_image_proj = Head(width, width, bias=False)
        self.itm_score = Head(width, 2, bias=True)
        self.mlm_score = WordHead(settings)
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.logit_vl_scale = nn.Parameter(torch.empty(()))

    def embed_text(self, ids: Tensor) -> Tensor:
        """Token ids [item, length] → a sequence of ``length`` rows."""
        embedded: Tensor = self.text_embeddings(ids)
        return embedded + self.token_type_embeddings.weight[0]

    def embed_image(self, pixels: Tensor) -> Tensor:
        """What the stem reads → a sequence of grid² + 1 rows, the class row first."""
        cells = self.transformer.patch_embed(pixels)
        rows = torch.cat([self.transformer.cls_token.expand(len(cells), -1, -1), cells], dim=1)
        return rows + self.transformer.pos_embed + self.token_type_embeddings.weight[1]

    def lower(self, rows: Tensor, kind: ExpertKind, real: Tensor | None = None) -> Tensor:
        """Embedded rows through the blocks without a vision-language expert."""
        return self._run(self._blocks()[: self.first_vl], rows, kind, real)

    def upper(self, rows: Tensor, kind: ExpertKind, real: Tensor | None = None) -> Tensor:
        """The output of :meth:`lower` through the last blocks, before the final norm.

        With kind "vl" this is the vision-language continuation of one modality. It starts after the last block
        *without* such an expert, not at the end of the modality's own path.
        """
        return self._run(self._blocks()[self.first_vl :], rows, kind, real)

    def span(
        self, rows: Tensor, kind: ExpertKind, real: Tensor | None, blocks: tuple[int, int], continued: bool = False
    ) -> Tensor:
        """Rows through the blocks from the first number to before the second.

        ``continued``: those with a vision-language expert use it, as in :meth:`upper` with kind "vl".
        """
        first, last = blocks
        below = min(last, self.first_vl) if continued else last
        rows = self._run(self._blocks()[first:below], rows, kind, real)
        return self._run(self._blocks()[max(first, below) : last], rows, "vl", real)

    def both(self, rows: Tensor, kind: ExpertKind, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Embedded rows through the modality's own path and through its vision-language continuation, normed.

        The blocks that the two share are run once.
        """
        boundary = self.lower(rows, kind, real)
        own, joint = (self.final_norm(self.upper(boundary, way, real)) for way in (kind, "vl"))
        return own, joint

    def final_norm(self, rows: Tensor) -> Tensor:
        """The norm after the last block, in every path of every modality."""
        normed: Tensor = self.transformer.norm(rows)
        return normed

    def fused(self, pixels: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        """Pictures and texts as one sequence after the final norm, the text's ``ids.shape[1]`` rows first."""
        text, image = self.embed_text(ids), self.embed_image(pixels)
        seen = torch.cat([real, real.new_ones(image.shape[:2])], dim=1)
        rows = self._run(self._blocks(), torch.cat([text, image], dim=1), "vl", seen, text.shape[1])
        return self.final_norm(rows)

    def _blocks(self) -> list[Block]:
        return [block for block in self.transformer.blocks if isinstance(block, Block)]

    def _run(
        self, blocks: Sequence[Block], rows: Tensor, kind: ExpertKind, real: Tensor | None, text_length: int = 0
    ) -> Tensor:
        for block in blocks:
            if self.checkpoint_blocks and torch.is_grad_enabled():
                rows = checkpoint(block, rows, kind, real, text_length, use_reentrant=False)
            else:
                rows = block(rows, kind, real, text_length)
        return rows
