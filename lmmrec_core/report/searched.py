"""What was searched → one table per data set, and a sentence with the totals."""

from collections.abc import Hashable, Iterator, Mapping

import pandas as pd

from lmmrec_core.questions import Variant
from lmmrec_core.report.labels import PAPER_LABELS, Labels

#: Where the range of a setting ends, the best value is marked with this.
EDGE = "⊣"


def searched_tables(
    rows: pd.DataFrame, titles: Mapping[str, str], labels: Labels = PAPER_LABELS
) -> Iterator[tuple[str, pd.DataFrame]]:
    """(title of the data set, its table) for each data set with a search; ``rows``: ``Study.searched``.

    One row per model and features: the settings of the best trial, those that end at an edge marked with
    :data:`EDGE`, its validation Recall@20, lowest and median of the trials of the budget, their number (and that of the
    wider ones), and minutes.
    """
    for dataset, part in rows.groupby("dataset", sort=False):
        if not (part["trials"] > 0).any():
            continue
        table = pd.DataFrame(
            {
                "model and features": [_label(row, labels) for row in part.to_dict("records")],
                "settings": [_settings(row) for row in part.to_dict("records")],
                "best": part["best"].to_numpy(),
                "median": part["median"].to_numpy(),
                "lowest": part["lowest"].to_numpy(),
                "trials": [_number(*pair) for pair in zip(part["trials"], part["wider"], strict=True)],
                "minutes": [f"{minutes:.1f}" for minutes in part["minutes"]],
            }
        )
        yield titles.get(str(dataset), str(dataset)), table


def searched_listing(rows: pd.DataFrame, titles: Mapping[str, str], labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """The tables of all data sets as one, with the data set in front; no rows where nothing was searched."""
    found = [table.assign(**{"data set": title}) for title, table in searched_tables(rows, titles, labels)]
    both = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["data set"])
    return both[["data set", *(name for name in both.columns if name != "data set")]]


def searched_words(rows: pd.DataFrame) -> str:
    """One Markdown paragraph: how much was searched, how many winners lie at an edge, what is missing."""
    if not (rows["trials"] > 0).any():
        return "**Nothing of this track has been searched.** Its settings are those of the track's file."
    done = rows[rows["state"] == "searched"]
    edges = int((done["edge"] != "").sum())
    words = [
        f"{int(rows['trials'].sum() + rows['wider'].sum())} trainings in {rows['minutes'].sum():.0f} minutes; "
        f"{len(done)} of {len(rows)} cells are searched in full; winners at the end of a range: {edges}."
    ]
    for state, text in (("uncommitted", "were searched by uncommitted code"), ("part", "are searched in part")):
        if count := int((rows["state"] == state).sum()):
            words.append(f"{count} {text} and keep the settings of the track's file.")
    if count := int(rows["state"].str.startswith("as PT").sum()):
        words.append(f"{count} have the settings found under PT.")
    return " ".join(words)


def _number(trials: int, wider: int) -> str:
    return f"{trials} + {wider}" if wider else str(trials)


def _label(row: Mapping[Hashable, object], labels: Labels) -> str:
    encoder, paradigm = str(row["encoder"]), str(row["paradigm"])
    return labels.case(str(row["model"]), Variant(encoder, paradigm, "none" if encoder == "none" else "V&T"))


def _settings(row: Mapping[Hashable, object]) -> str:
    """The settings of the winner, or in words why there is none."""
    if not row["settings"]:
        return str(row["state"])
    edge = str(row["edge"]).split(", ")
    parts = str(row["settings"]).split(", ")
    return ", ".join(f"{part} {EDGE}" if part.split(" ")[0] in edge else part for part in parts)
