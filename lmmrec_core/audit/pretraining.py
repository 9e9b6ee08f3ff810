"""Claims of the paper's section 4.2: pre-trained multi-modal encoders against the modality-specific ones (Table 3)."""

import pandas as pd

from lmmrec_core.audit.cells import mean_change, moves, where
from lmmrec_core.audit.claim import Claim, Reading, aside, counted, percent, share, stated
from lmmrec_core.names import MODEL_TITLES, PAPER_MODELS

OTHERS = tuple(model for model in PAPER_MODELS if model != "lattice")


def claims_of_pretraining(cells: pd.DataFrame) -> list[Claim]:
    """The claims of RQ1, from the frame of :func:`~lmmrec_core.audit.cells.paper_cells`."""
    makers = (_significant, _everywhere, _lattice, _generally, _alike, _best_baselines)
    return [make(cells) for make in makers]


def _significant(cells: pd.DataFrame) -> Claim:
    others = where(cells, model=OTHERS)
    readings: list[Reading] = []
    for words, part in (("all five models", cells), ("without LATTICE", others)):
        risen = part["PT"] > part["none"]
        encoders = risen.groupby([part[name] for name in ("model", "dataset", "metric")])
        runs = part.assign(rise=risen, sure=risen & part["star"]).groupby(["model", "encoder", "dataset"])
        readings += [
            counted(f"{words}: improved and starred", int((risen & part["star"]).sum()), len(part), 79),
            counted(f"{words}: improved", int(risen.sum()), len(part), 79),
            counted(f"{words}: runs with all four improved", int(runs["rise"].all().sum()), runs.ngroups, 79),
            counted(
                f"{words}: runs with all four improved and starred", int(runs["sure"].all().sum()), runs.ngroups, 79
            ),
            counted(f"{words}: one encoder improves", int(encoders.any().sum()), encoders.ngroups, 79),
            counted(f"{words}: both encoders improve", int(encoders.all().sum()), encoders.ngroups, 79),
            aside(f"{words}: starred in either direction", share(int(part["star"].sum()), len(part))),
        ]
    fallen, risen = cells["PT"] < cells["none"], cells["PT"] > cells["none"]
    starred = int(cells["star"].sum())
    lost = int((fallen & cells["star"]).sum())
    lost_others = int((fallen & cells["star"])[others.index].sum())
    readings += [
        aside("starred without LATTICE, over all starred", share(int(others["star"].sum()), starred)),
        aside("improved and starred, over all starred", share(int((risen & cells["star"]).sum()), starred)),
        aside(
            "a star has no direction: cells that fell and are starred",
            f"{lost} of {int(fallen.sum())}, {lost_others} of them not of LATTICE",
        ),
    ]
    return Claim(
        "significant", "Pre-trained LMM encoders significantly beat modality-specific ones in 79 % of 120 cases",
        "1, 4.2, RQ1", "79 %", tuple(readings),
    )  # fmt: skip


def _everywhere(cells: pd.DataFrame) -> Claim:
    readings = []
    for words, part in (("without LATTICE", where(cells, model=OTHERS)), ("all five models", cells)):
        for dataset, group in part.groupby("dataset", sort=False):
            change = mean_change(group, "PT", "none")
            found = f"{share(moves(group, 'PT', 'none')[0], len(group))} rise, mean {percent(change)}"
            readings.append(stated(f"{words}, {dataset}: the mean rises", found, change > 0))
        readings.append(aside(f"{words}, all data sets", f"mean {percent(mean_change(part, 'PT', 'none'))}"))
    return Claim("everywhere", "The gain is seen on all three data sets", "abstract, 4.2", "all", tuple(readings))


def _lattice(cells: pd.DataFrame) -> Claim:
    part = where(cells, model="lattice")
    fell, change = moves(part, "PT", "none")[2], mean_change(part, "PT", "none")
    by_encoder = (
        f"{name} {percent(mean_change(group, 'PT', 'none'))}" for name, group in part.groupby("encoder", sort=False)
    )
    reading = stated(
        "cells that fall", f"{share(fell, len(part))}, {int(part['star'].sum())} starred", fell > len(part) / 2
    )
    return Claim(
        "lattice", "LATTICE is generally better with its own encoders", "4.2", "generally",
        (reading, aside("mean change", f"{percent(change)} ({', '.join(by_encoder)})")),
    )  # fmt: skip


def _generally(cells: pd.DataFrame) -> Claim:
    part = where(cells, model=OTHERS)
    rise = moves(part, "PT", "none")[0]
    readings = [stated("more than half of the cells rise", share(rise, len(part)), rise > len(part) / 2)]
    for (model, encoder, dataset), run in part.groupby(["model", "encoder", "dataset"], sort=False):
        if moves(run, "PT", "none")[2] == len(run):
            found = f"{percent(mean_change(run, 'PT', 'none'))}, {int(run['star'].sum())} of {len(run)} starred"
            readings.append(aside(f"{MODEL_TITLES[str(model)]} with {encoder} on {dataset} falls in every cell", found))
    return Claim("generally", "CLIP and VLMo generally improve the other four", "4.2", "generally", tuple(readings))


def _alike(cells: pd.DataFrame) -> Claim:
    wide = cells.pivot(index=["model", "dataset", "metric"], columns="encoder", values="PT")
    lead = wide["clip"] / wide["vlmo"] - 1
    by_dataset = lead.groupby("dataset").mean()
    by_model = lead.groupby(["model", "dataset"]).mean().rename(index="lead").reset_index().to_dict("records")
    elsewhere = {(row["model"], row["dataset"]): row["lead"] for row in by_model if row["dataset"] != "clothing"}

    def higher(name: str) -> str:
        part = lead[lead.index.get_level_values("dataset") == name]
        return f"higher in {int((part > 0).sum())} of {len(part)} cells, mean {percent(part.mean())}"

    model, dataset = max(elsewhere, key=lambda place: abs(elsewhere[place]))
    readings = (
        stated("CLIP leads on Clothing", higher("clothing"), by_dataset["clothing"] > 0),
        stated(
            "the mean lead is smaller on the others",
            f"sports {higher('sports')}; baby {higher('baby')}",
            max(abs(by_dataset["sports"]), abs(by_dataset["baby"])) < by_dataset["clothing"],
        ),
        stated(
            "so it is for every model",
            f"{MODEL_TITLES[model]} on {dataset} {percent(elsewhere[model, dataset])}",
            abs(elsewhere[model, dataset]) < by_dataset["clothing"],
        ),
    )
    return Claim("alike", "CLIP and VLMo perform alike, CLIP better on Clothing", "4.2", "alike", readings)


def _best_baselines(cells: pd.DataFrame) -> Claim:
    wide = where(cells, encoder="clip").pivot(index=["dataset", "metric"], columns="model", values="none")
    first_two = [set(row.nlargest(2).index) for _, row in wide.iterrows()]
    both = sum(names == {"mmgcl", "lattice"} for names in first_two)
    ahead = int((wide["slmrec"] > wide["mmgcl"]).sum())
    readings = (
        stated("both are the first two in every column", f"{both} of {len(wide)}", both == len(wide)),
        stated("in most columns", f"{both} of {len(wide)}", both > len(wide) / 2),
        aside("SLMRec is ahead of MMGCL", f"{ahead} of {len(wide)}"),
    )
    return Claim("baselines", "MMGCL and LATTICE are the two most effective baselines", "4.4", "first two", readings)
