"""Claims of the paper's section 4.3: fine-tuned and end-to-end trained encoders (Table 4)."""

import pandas as pd

from lmmrec_core.audit.cells import encoder_gaps, mean_change, moves, where
from lmmrec_core.audit.claim import Claim, aside, counted, percent, share, stated
from lmmrec_core.audit.pretraining import OTHERS
from lmmrec_core.names import MODEL_TITLES, PAPER_MODELS, PARADIGMS


def claims_of_paradigms(cells: pd.DataFrame) -> list[Claim]:
    """The claims of RQ2, from the frame of :func:`~lmmrec_core.audit.cells.paper_cells`."""
    makers = (
        _fine_tuning, _mmgcl_clothing, _lattice_fine_tuned, _end_to_end, _end_to_end_stars, _unified,
        _lattice_end_to_end, _all_five, _best_paradigm, _four_of_five,
    )  # fmt: skip
    return [make(cells) for make in makers]


def best_paradigms(cells: pd.DataFrame) -> pd.Series:
    """Of every cell the single best of PT, FT and ETE; "tied" where two are."""
    values = cells[list(PARADIGMS)]
    tied = values.eq(values.max(axis=1), axis=0).sum(axis=1) > 1
    return values.idxmax(axis=1).mask(tied, "tied")


def _fine_tuning(cells: pd.DataFrame) -> Claim:
    others, best = where(cells, model=OTHERS), best_paradigms(cells)
    risen = cells["FT"] > cells["PT"]
    up, tie, down = moves(cells, "FT", "PT")
    tested = int((cells["star_PT"] & (best == "FT")).sum())
    starred = int((risen & cells["star_PT"]).sum())
    readings = (
        counted(f"FT above PT ({tie} tied, {down} below)", up, len(cells), 70),
        counted("and PT starred, though the star compares with the best of three", starred, len(cells), 70),
        counted("and the star tests FT against PT (FT is the single best)", tested, len(cells), 70),
        counted("FT above PT, PT starred, FT not", int((risen & cells["star_PT"] & ~cells["star_FT"]).sum()), 120, 70),
        stated("there are 240 cases", f"{len(cells)} comparisons of two printed values each", len(cells) == 240),
        aside("FT above PT without LATTICE", share(moves(others, "FT", "PT")[0], len(others))),
        aside("single best of the three", ", ".join(f"{name} {(best == name).sum()}" for name in (*PARADIGMS, "tied"))),
    )
    return Claim(
        "fine-tuning", "Fine-tuned encoders significantly beat pre-trained ones in 70 % of 240 cases", "4.3, RQ2",
        "70 % of 240", readings,
    )  # fmt: skip


def _mmgcl_clothing(cells: pd.DataFrame) -> Claim:
    readings = []
    for encoder, part in where(cells, model="mmgcl", dataset="clothing").groupby("encoder"):
        up, _, down = moves(part, "FT", "PT")
        found = f"{down} of {len(part)} lower, mean {percent(mean_change(part, 'FT', 'PT'))}"
        readings.append(stated(f"{encoder}: no cell rises", found, up == 0))
    return Claim("mmgcl", "MMGCL gains nothing from fine-tuning on Clothing", "4.3", "none", tuple(readings))


def _lattice_fine_tuned(cells: pd.DataFrame) -> Claim:
    part = where(cells, model="lattice")
    up, tie, down = moves(part, "FT", "PT")
    changes = {str(name): mean_change(group, "FT", "PT") for name, group in part.groupby("dataset")}
    found = ", ".join(f"{name} {percent(change)}" for name, change in changes.items())
    readings = (
        stated("the mean falls on every data set", found, max(changes.values()) < 0),
        stated("every cell falls", f"{share(down, len(part))}, {tie} tied, {up} higher", down == len(part)),
        aside("mean change", percent(mean_change(part, "FT", "PT"))),
    )
    return Claim("lattice fine-tuned", "LATTICE falls with fine-tuned encoders", "4.3", "all data sets", readings)


def _end_to_end(cells: pd.DataFrame) -> Claim:
    part = where(cells, encoder="clip")
    others = where(part, model=OTHERS)
    by_model = (f"{MODEL_TITLES[m]} {moves(where(part, model=m), 'ETE', 'FT')[0]}/12" for m in PAPER_MODELS)
    readings = (
        counted("ETE above FT", moves(part, "ETE", "FT")[0], len(part), 83),
        aside("by model", ", ".join(by_model)),
        aside("without LATTICE", share(moves(others, "ETE", "FT")[0], len(others))),
    )
    return Claim("end to end", "With CLIP, end-to-end beats fine-tuned in 83 % of cases", "4.3", "83 %", readings)


def _end_to_end_stars(cells: pd.DataFrame) -> Claim:
    part = where(cells, encoder="clip")
    risen = part[part["ETE"] > part["FT"]]
    plain = risen[~risen["star_FT"]]
    names = ", ".join(f"{MODEL_TITLES[m]} {d} {k}" for m, d, k in plain[["model", "dataset", "metric"]].to_numpy())
    starred = int(risen["star_FT"].sum())
    readings = (
        counted("of the cells that rise, FT starred", starred, len(risen), 98),
        aside("over all cells with CLIP", share(starred, len(part))),
        aside("risen without a star", names),
    )
    return Claim("end-to-end stars", "98 % of these gains are significant", "4.3", "98 %", readings)


def _unified(cells: pd.DataFrame) -> Claim:
    part = where(cells, encoder="vlmo")
    others = where(part, model=OTHERS)
    up, tie, down = moves(part, "ETE", "FT")
    change, change_others = mean_change(part, "ETE", "FT"), mean_change(others, "ETE", "FT")
    fall = [m for m in PAPER_MODELS if mean_change(where(part, model=m), "ETE", "FT") < 0]
    by_model = (f"{MODEL_TITLES[m]} {percent(mean_change(where(part, model=m), 'ETE', 'FT'))}" for m in PAPER_MODELS)
    readings = (
        stated("more cells fall than rise", f"{share(up, len(part))} rise, {tie} tied, {down} fall", down > up),
        stated("the mean falls", percent(change), change < 0),
        stated(
            "the mean falls without LATTICE",
            f"{percent(change_others)}, {share(moves(others, 'ETE', 'FT')[0], len(others))} rise",
            change_others < 0,
        ),
        stated("every model falls", f"{len(fall)} of 5: {', '.join(by_model)}", len(fall) == len(PAPER_MODELS)),
    )
    return Claim("unified", "With VLMo, end-to-end brings a decline", "1, 4.3, 5", "decline", readings)


def _lattice_end_to_end(cells: pd.DataFrame) -> Claim:
    part = where(cells, model="lattice")
    up, (_, widest, equal) = moves(part, "ETE", "FT")[0], encoder_gaps(cells, "ETE").T["lattice"].tolist()
    readings = (
        stated(
            "every cell rises",
            f"{share(up, len(part))}, mean {percent(mean_change(part, 'ETE', 'FT'))}",
            up == len(part),
        ),
        aside(
            "against the baseline",
            f"{share(moves(part, 'ETE', 'none')[0], len(part))}, mean {percent(mean_change(part, 'ETE', 'none'))}",
        ),
        aside(
            "but CLIP and VLMo end in the same system",
            f"at most {widest:.4f} apart, {equal:.0f} of 12 cells equal",
        ),
    )
    return Claim("lattice end to end", "LATTICE end-to-end beats fine-tuned in all cases", "4.3", "all", readings)


def _all_five(cells: pd.DataFrame) -> Claim:
    part = where(cells, encoder="clip")
    readings = []
    for old, words in (("FT", "fine-tuned"), ("PT", "pre-trained"), ("none", "the baseline")):
        rises = {m: moves(where(part, model=m), "ETE", old)[0] for m in PAPER_MODELS}
        means = {m: mean_change(where(part, model=m), "ETE", old) for m in PAPER_MODELS}
        found = ", ".join(f"{MODEL_TITLES[m]} {rises[m]}/12 ({percent(means[m])})" for m in PAPER_MODELS)
        readings.append(stated(f"over {words}, by the mean", found, min(means.values()) > 0))
        readings.append(stated(f"over {words}, in most cells", found, min(rises.values()) > 6))
    return Claim(
        "all five", "All five models gain from end-to-end training with CLIP", "RQ2", "5 of 5", tuple(readings)
    )


def _best_paradigm(cells: pd.DataFrame) -> Claim:
    best = cells.assign(best=best_paradigms(cells)).groupby("encoder")["best"].value_counts()
    clip, vlmo = (", ".join(f"{p} {best.get((e, p), 0)}" for p in PARADIGMS) + " of 60" for e in ("clip", "vlmo"))
    readings = (
        stated("ETE is the single best of three in most cells with CLIP", clip, best["clip", "ETE"] > 30),
        aside("with VLMo", vlmo),
        aside("architectures tested", "one dual-stream and one unified encoder, which differ in much else"),
    )
    return Claim("best paradigm", "End-to-end is best for dual-stream encoders", "abstract, 5", "best", readings)


def _four_of_five(cells: pd.DataFrame) -> Claim:
    most, always, words = 0, 0, []
    for model in PAPER_MODELS:
        part = where(cells, model=model)
        sure = int(((part["PT"] > part["none"]) & part["star"]).sum())
        tuned = moves(part, "FT", "none")[0]
        most += min(sure, tuned) > len(part) / 2
        always += min(sure, tuned) == len(part)
        words.append(f"{MODEL_TITLES[model]} PT {sure}, FT {tuned} of {len(part)}")
    readings = (
        stated("in more than half of the cells", f"{most} of 5", most == 4),
        stated("in every cell", f"{always} of 5", always == 4),
        aside("PT improved and starred; FT improved (never tested against the baseline)", "; ".join(words)),
    )
    return Claim("four of five", "PT and FT significantly improve four of five models", "5", "4 of 5", readings)
