"""How vlmo-small learns its common space in closed form, from a few thousand pairs of pictures and texts.

A start for contrastive training, which from a random picture stem soon knows so few pairs by heart. Two regressions are
enough to be well above chance. First the stem: the mean cell of a picture is mapped to the sentence vector of its text
by ridge regression, so that the blocks, MiniLM's, read rows like those of words. Then the projections of row 0, by
canonical correlation analysis (:mod:`lmmrec_core.encoders.fine_tuning.cca`).
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from lmmrec_core.encoders.fine_tuning.cca import Heads, best_scale, choose_heads, partner_recall
from lmmrec_core.encoders.fine_tuning.holdout import LEAST_SHARE, drawn_items
from lmmrec_core.encoders.fine_tuning.outside import OutsidePairs
from lmmrec_core.encoders.pictures.reading import pixels_of, read_picture
from lmmrec_core.encoders.vlmo.model import GridEmbed
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import FloatArray

if TYPE_CHECKING:
    from lmmrec_core.encoders.vlmo.encoder import VLMo

STEM_PENALTY = 10.0  # of the ridge, relative to the mean variance; 1 and 10 did equally well
_BATCH = 64


def align_vlmo(encoder: "VLMo", pairs: OutsidePairs, progress: bool = True) -> Mapping[str, Any]:
    """Set the stem's constants and map, all four projections and both scales of a VLMo with a grid stem.

    One pair in ten, those that contrastive training of the same pairs holds out too, is held out: it chooses the
    penalties and the scales, and says how well the spaces agree. Nothing is random. Returns what was chosen, for the
    record. Raises ConfigError for another stem or pre-norm blocks, FeatureError for pictures that cannot be read, or
    too few pairs.
    """
    stem = encoder.module.transformer.patch_embed
    if not isinstance(stem, GridEmbed) or encoder.settings.norm != "post":
        raise ConfigError(
            f"encoder {encoder.name!r}: only a grid stem below post-norm blocks has a closed form; write how: tune"
        )
    out = drawn_items(pairs.item_ids, LEAST_SHARE)
    inside = torch.from_numpy(~out)
    maps = _maps(encoder, pairs, progress)
    encoder.fit_stem(maps[inside])
    texts = _text_rows(encoder, pairs.texts, progress)
    fit_stem_map(stem, maps[inside], texts["mean"][inside])
    images = _image_rows(encoder, maps, progress)
    net, record = encoder.module, {}
    for path, heads, log_scale in (
        ("own", (net.itc_image_proj.fc, net.itc_text_proj.fc), net.logit_scale),
        ("continued", (net.itc_vl_image_proj.fc, net.itc_vl_text_proj.fc), net.logit_vl_scale),
    ):
        rows, unit = images[path].double(), functional.normalize(texts[path].double(), dim=1)
        found, chosen = choose_heads(rows.numpy(), unit.numpy(), out)
        set_projections(*heads, found, rows[inside].numpy())
        record[path] = {**chosen, **_standing(*heads, rows[~inside], unit[~inside])}
        with torch.no_grad():
            log_scale.fill_(float(np.log(record[path]["scale"])))
    note = {**record["own"], "stem_penalty": STEM_PENALTY, "continued": record["continued"], "pairs": len(pairs)}
    encoder.note = note
    return note


def fit_stem_map(stem: GridEmbed, maps: Tensor, wanted: Tensor) -> None:
    """Set the stem's linear map by ridge regression of ``wanted`` [pair, width] on the mean standardised cell.

    ``maps`` is [pair, 320, n, n]; the constants must be fitted. The intercept is not penalised.
    """
    with torch.no_grad():
        cells = stem.standardise(maps.flatten(2).transpose(1, 2)).mean(dim=1).double()
        wanted = wanted.double()
        centre, level = cells.mean(dim=0), wanted.mean(dim=0)
        covariance = (cells - centre).T @ (cells - centre) / len(cells)
        covariance += STEM_PENALTY * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
        weight = torch.linalg.solve(covariance, (cells - centre).T @ (wanted - level) / len(cells)).T
        stem.proj.weight.copy_(weight)
        stem.proj.bias.copy_(level - weight @ centre)


def set_projections(image: nn.Linear, text: nn.Linear, heads: Heads, rows: FloatArray) -> None:
    """Put maps into two projections without bias; outputs beyond the number of directions become zero.

    The bias b of the picture map goes into its weights, nearly: c is the ridge regression of 1 on ``rows`` [pair,
    width], those the map was fitted on, and W x + b ≈ (W + b c') x. Rows of a class token have much in common, so
    that c' x is near 1 for all of them with small weights. (Rows after a layer norm lie on a plane, and an exact c
    exists; its weights are so large that no precision holds the result.)
    """
    common = rows.mean(axis=0)
    second = rows.T @ rows / len(rows)
    second[np.diag_indices_from(second)] += rows.var(axis=0).mean()
    constant = np.linalg.solve(second, common)
    with torch.no_grad():
        for layer, weight in ((image, heads.visual + np.outer(heads.bias, constant)), (text, heads.textual)):
            layer.weight.zero_()
            layer.weight[: len(weight)] = torch.from_numpy(weight).float()


def _standing(image: nn.Linear, text: nn.Linear, rows: Tensor, texts: Tensor) -> dict[str, float]:
    """Scale and retrieval of held-out rows by the projections as they are."""
    with torch.no_grad():
        mapped = [
            functional.normalize(layer(side.float()), dim=1).double() for layer, side in ((image, rows), (text, texts))
        ]
    similarities = (mapped[0] @ mapped[1].T).numpy()
    recall = round(partner_recall(similarities, 10), 6)
    return {"scale": round(best_scale(similarities), 6), "held_out_recall@10": recall}


def _maps(encoder: "VLMo", pairs: OutsidePairs, progress: bool) -> Tensor:
    made = []
    for chunk in _chunks(len(pairs), f"pictures for {encoder.name}", progress):
        pictures = map(read_picture, pairs.images[chunk], pairs.item_ids[chunk])
        made.append(pixels_of(encoder.preprocess_images, pictures))
    return torch.cat(made)


def _text_rows(encoder: "VLMo", texts: tuple[str, ...], progress: bool) -> dict[str, Tensor]:
    """Row 0 by both paths, and the mean of the words' last rows, MiniLM's sentence vector."""
    rows: dict[str, list[Tensor]] = {"own": [], "continued": [], "mean": []}
    net = encoder.module
    with torch.inference_mode():
        for chunk in _chunks(len(texts), f"texts for {encoder.name}", progress):
            tokens = encoder.preprocess_texts(texts[chunk])
            real = tokens["attention_mask"].bool()
            last, joint = net.both(net.embed_text(tokens["input_ids"]), "text", real)
            rows["own"].append(last[:, 0])
            rows["continued"].append(joint[:, 0])
            rows["mean"].append((last * real.unsqueeze(-1)).sum(dim=1) / real.sum(dim=1, keepdim=True))
    return {name: torch.cat(parts) for name, parts in rows.items()}


def _image_rows(encoder: "VLMo", maps: Tensor, progress: bool) -> dict[str, Tensor]:
    rows: dict[str, list[Tensor]] = {"own": [], "continued": []}
    net = encoder.module
    with torch.inference_mode():
        for chunk in _chunks(len(maps), f"maps for {encoder.name}", progress):
            last, joint = net.both(net.embed_image(maps[chunk]), "imag", None)
            rows["own"].append(last[:, 0])
            rows["continued"].append(joint[:, 0])
    return {name: torch.cat(parts) for name, parts in rows.items()}


def _chunks(count: int, what: str, progress: bool) -> Iterator[slice]:
    for start in tqdm(range(0, count, _BATCH), desc=what, disable=not progress):
        yield slice(start, start + _BATCH)
