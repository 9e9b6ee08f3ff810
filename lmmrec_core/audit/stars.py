"""Stars of the paper's Table 4 that contradict each other: each marks a difference from the best of PT, FT and ETE."""

from itertools import permutations

import pandas as pd

from lmmrec_core.names import MODEL_TITLES, PARADIGMS


def odd_stars(cells: pd.DataFrame) -> pd.DataFrame:
    """Every star that another value of its group contradicts, from the frame of ``cells.paper_cells``.

    Columns: cell (``"MMGCL vlmo sports ndcg@20"``), starred and plain (paradigms), kind: "best" (the single best is
    starred, ``plain`` is empty), "equal" (of two equal values one is starred), "higher" (the higher is starred, the
    lower is not).
    """
    rows = []
    for cell in cells.to_dict("records"):
        name = f"{MODEL_TITLES[cell['model']]} {cell['encoder']} {cell['dataset']} {cell['metric']}"
        values = {paradigm: int(cell[paradigm]) for paradigm in PARADIGMS}
        starred = {paradigm for paradigm in PARADIGMS if cell[f"star_{paradigm}"]}
        best = [paradigm for paradigm in PARADIGMS if values[paradigm] == max(values.values())]
        if len(best) == 1 and best[0] in starred:
            rows.append((name, best[0], "", "best"))
        for a, b in permutations(PARADIGMS, 2):
            if a in starred and b not in starred and values[a] >= values[b]:
                rows.append((name, a, b, "equal" if values[a] == values[b] else "higher"))
    return pd.DataFrame(rows, columns=["cell", "starred", "plain", "kind"])
