"""All quantitative claims of the paper, recomputed from its printed tables."""

from collections.abc import Mapping

import pandas as pd

from lmmrec_core.audit.cells import fusion, paper_cells
from lmmrec_core.audit.claim import Claim, aside, percent, stated
from lmmrec_core.audit.paradigms import claims_of_paradigms
from lmmrec_core.audit.pretraining import claims_of_pretraining
from lmmrec_core.names import PARADIGMS

_SIZES = "CNN+Sentence-Transformer/CLIP/VLMo Parameters (million)"
CLIP_B16, CLIP_B32 = (16, 768, 12, 512), (32, 768, 12, 512)  # patch, width and layers of the image tower, joint width


def paper_claims(tables: Mapping[int, pd.DataFrame], statistics: pd.DataFrame) -> list[Claim]:
    """Every claim with its readings.

    ``tables`` holds the frames of ``report.published.read_results`` for 1, 3, 4 and 5, ``statistics`` that of
    ``printed_statistics`` (Table 2).
    """
    cells = paper_cells(tables[3], tables[4])
    fused = fusion(tables[1], tables[5])
    return [
        *claims_of_pretraining(cells),
        *claims_of_paradigms(cells),
        _cases(cells),
        _dimensions(cells),
        _fails_to_fuse(fused),
        _fuses(fused),
        *_table2(statistics),
        Claim("bold", "Bold marks the best value (the tables as data here have no bold)", "Tables 3, 4", "bold"),
        Claim("other models", "Conclusions on the other models and metrics are similar (ablation)", "4.4", "similar"),
        Claim("cost", "Training is much faster without PyTorch Lightning, end-to-end is costly", "1, 4.1", "none"),
    ]


def clip_parameters(patch: int, width: int, layers: int, joint: int) -> int:
    """Parameters of an OpenAI CLIP with a ViT at 224 pixels and a text tower of 12 layers, as wide as the joint space.

    149,620,737 for ViT-B/16, 151,277,313 for ViT-B/32 (openai/CLIP: clip/model.py).
    """

    def block(size: int) -> int:  # attention, MLP, two layer norms
        return (4 * size**2 + 4 * size) + (8 * size**2 + 5 * size) + 4 * size

    tokens = (224 // patch) ** 2 + 1
    image = 3 * width * patch**2 + width + tokens * width + 4 * width + layers * block(width) + width * joint
    text = (49408 + 77) * joint + 12 * block(joint) + 2 * joint + joint * joint
    return image + text + 1  # the temperature


def _cases(cells: pd.DataFrame) -> Claim:
    pairs = len(cells)
    baselines = len(cells.drop_duplicates(["model", "dataset", "metric"]))
    results, comparisons = baselines + 3 * pairs, 3 * pairs
    readings = (
        stated("distinct printed results of Tables 3 and 4", str(results), results == 480),
        stated("comparisons of PT, FT and ETE, each with the step before", str(comparisons), comparisons == 480),
        stated("the text's own counts, 120 + 240 + 240", "600", 120 + 240 + 240 == 480),
        aside("Table 3's comparisons and Table 4's values", f"{pairs + 3 * pairs}, in which PT counts twice"),
    )
    return Claim("cases", "The evaluation covers 480 cases", "1", "480", readings)


def _dimensions(cells: pd.DataFrame) -> Claim:
    """Models, extractors, paradigms, data sets and metrics; one level is no dimension."""
    levels = {name: cells[name].nunique() for name in ("model", "dataset", "metric")}
    levels["extractor"] = cells["encoder"].nunique() + 1  # the baseline's
    readings = []
    for words, paradigms in (("over the whole study", len(PARADIGMS)), ("in section 4.2, with one paradigm", 1)):
        sizes = {**levels, "paradigm": paradigms}
        found = ", ".join(f"{name} {count}" for name, count in sizes.items())
        readings.append(stated(words, f"levels: {found}", sum(count > 1 for count in sizes.values()) == 5))
    return Claim("dimensions", "Five dimensions were studied", "1, 4.2", "5", tuple(readings))


def _fails_to_fuse(fused: pd.DataFrame) -> Claim:
    both, visual, text = (fused[f"old {name}"] for name in ("V&T", "V", "T"))
    below_best, below_visual = (
        int((both < pd.concat([visual, text], axis=1).max(axis=1)).sum()),
        int((both < visual).sum()),
    )
    readings = (
        stated("V&T is below text only", f"{int((both < text).sum())} of {len(fused)}", bool((both < text).all())),
        stated("V&T is below visual only", f"{below_visual} of {len(fused)}", below_visual == len(fused)),
        stated("V&T is below the better one, mostly", f"{below_best} of {len(fused)}", below_best > len(fused) / 2),
        stated("V&T is below the better one, always", f"{below_best} of {len(fused)}", below_best == len(fused)),
    )
    return Claim(
        "fails to fuse", "MMGCL and LATTICE fuse badly: V&T below one modality", "1, Table 1", "fails", readings
    )


def _fuses(fused: pd.DataFrame) -> Claim:
    single = fused[["new V", "new T"]].max(axis=1)
    margin = fused["new V&T"] / single - 1
    wins, stars = int((margin > 0).sum()), int(fused[["star V", "star T"]].to_numpy().sum())
    gains = {name: float((fused[f"new {name}"] / fused[f"old {name}"] - 1).mean()) for name in ("V&T", "V", "T")}
    readings = (
        stated("V&T is the highest", f"{wins} of {len(fused)}, mean {percent(margin.mean())}", wins == len(fused)),
        aside("starred single modalities", f"{stars} of {2 * len(fused)}"),
        aside(
            "gain from Table 1 to Table 5, which differ in encoder and paradigm at once",
            ", ".join(f"{name} {percent(gain)}" for name, gain in gains.items()),
        ),
    )
    return Claim("fuses", "With an LMM encoder V&T beats either modality", "4.4, Table 5", "6 of 6", readings)


def _table2(statistics: pd.DataFrame) -> list[Claim]:
    density = []
    for dataset in statistics.columns:
        users, items, rows = (
            int(str(statistics.loc[name, dataset]).replace(",", "")) for name in ("Users", "Items", "Interactions")
        )
        printed, real = str(statistics.loc["Interaction Density", dataset]), rows / (users * items)
        digits = len(printed.partition(".")[2])
        density.append(stated(f"{dataset}: {printed}", f"{real:.6f}", f"{real:.{digits}f}" == printed))
    b16, b32 = clip_parameters(*CLIP_B16), clip_parameters(*CLIP_B32)
    size = (
        stated("CLIP ViT-B/16, which the text names", f"{b16:,}", round(b16 / 1e6) == 151),
        aside("CLIP ViT-B/32", f"{b32:,}"),
    )
    _, clip, vlmo = (int(size) for size in str(statistics.loc[_SIZES].iloc[0]).split("/"))
    comparable = (
        stated("VLMo is less than a fifth larger, as printed", percent(vlmo / clip - 1), vlmo / clip < 1.2),
        aside("what differs more: pre-training data", "about 4 million pictures for VLMo, 400 million pairs for CLIP"),
    )
    width = (stated("text tower and joint space of ViT-B/16", str(CLIP_B16[3]), CLIP_B16[3] == 768),)
    return [
        Claim("density", "Densities of the three data sets", "Table 2", "3 values", tuple(density)),
        Claim("size", "CLIP has 151 million parameters", "4.1, Table 2", "151", size),
        Claim("comparable", "CLIP and VLMo are of comparable size", "4.1", "151, 167", comparable),
        Claim("width", "CLIP's text vectors have 768 dimensions", "Table 2", "768", width),
    ]
