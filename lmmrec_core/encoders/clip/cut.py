"""A CLIP cut below its last blocks: what is frozen runs once, and its states are kept."""

import re
from collections.abc import Mapping
from typing import Any

from open_clip.transformer import VisionTransformer
from torch import Tensor

from lmmrec_core.encoders.clip.settings import CLIPVector
from lmmrec_core.encoders.clip.towers import cuts_padding, finished_image, finished_text, text_tower
from lmmrec_core.errors import ConfigError


def blocks_above(module: Any, part: str) -> int | None:
    """K of part "top-K" if both towers can be cut below their last K blocks; None for another part or other towers.

    They can be if they are open_clip's own transformers, with a causal one for texts. Raises ConfigError for more
    blocks than a tower has.
    """
    top, visual, tower = re.fullmatch(r"top-([1-9]\d*)", part), module.visual, text_tower(module)
    if top is None or not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
        return None
    if not cuts_padding(module) or not (visual.transformer.batch_first and tower.transformer.batch_first):
        return None
    fewest = min(len(transformer.resblocks) for transformer in (visual.transformer, tower.transformer))
    if int(top[1]) > fewest:
        raise ConfigError(f"part {part!r}: a tower has {fewest} blocks; give at most top-{fewest}")
    return int(top[1])


def image_states(module: Any, pixels: Tensor, above: int) -> dict[str, Tensor]:
    """What enters the last ``above`` blocks of the vision transformer: ``rows`` [item, row, width]."""
    visual = module.visual
    return {"rows": _through(visual.transformer, visual._embeds(pixels), slice(None, -above), None)}


def text_states(module: Any, ids: Tensor, above: int) -> dict[str, Tensor]:
    """The same for texts, and ``end``: the row of the end token [item]."""
    tower, length = text_tower(module), ids.shape[1]
    rows = tower.token_embedding(ids) + tower.positional_embedding[:length]
    rows = _through(tower.transformer, rows, slice(None, -above), tower.attn_mask[:length, :length])
    return {"rows": rows, "end": ids.argmax(dim=1)}


def image_above(module: Any, states: Mapping[str, Tensor], above: int, vector: CLIPVector) -> Tensor:
    """From :func:`image_states` to the vectors [item, dim]."""
    rows = _through(module.visual.transformer, states["rows"], slice(-above, None), None)
    return finished_image(module, rows, vector)


def text_above(module: Any, states: Mapping[str, Tensor], above: int, vector: CLIPVector) -> Tensor:
    """From :func:`text_states` to the vectors [item, dim]."""
    tower, length = text_tower(module), states["rows"].shape[1]
    rows = _through(tower.transformer, states["rows"], slice(-above, None), tower.attn_mask[:length, :length])
    return finished_text(module, rows, states["end"], vector)


def _through(transformer: Any, rows: Tensor, blocks: slice, mask: Tensor | None) -> Tensor:
    for block in transformer.resblocks[blocks]:
        rows = block(rows, attn_mask=mask)
    return rows
