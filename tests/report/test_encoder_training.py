"""What was trained, for how long, and what it gained, as the records say; curves that fit a phone."""

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lmmrec_core.encoders.fine_tuning.cca import choose_heads
from lmmrec_core.report import figures
from lmmrec_core.report.encoder_training import (
    NO_CURVES,
    OBJECTIVES,
    ONLY_WITHHELD,
    loss_curves,
    retrieval_listing,
    training_listing,
)
from lmmrec_core.report.html import ABSENT, Sentence, listing_or_words, plain_table
from lmmrec_core.results.plain import plain_values
from tests.encoders.fine_tuning.running import PAIRS, run
from tests.report.test_figures import overlaps, says_nothing
from tests.report.training_records import aligned, tuned


def line(record: dict[str, Any]) -> dict[str, Any]:
    listing = training_listing([record])
    assert len(listing) == 1
    return dict(listing.iloc[0])


def test_of_a_record_of_uncommitted_code_no_number_is_shown() -> None:
    withheld = {**tuned(), "withheld": True}
    assert set(line(withheld).values()) == {"ML-sparse, CLIP-FT", "uncommitted"}
    listing = retrieval_listing([withheld])
    assert set(listing[["Recall@1", "Recall@10", "Recall@50", "median rank"]].to_numpy().ravel()) == {"uncommitted"}
    assert [text.get_text() for text in loss_curves([withheld]).axes[0].texts] == [ONLY_WITHHELD]
    assert len(loss_curves([withheld, tuned(encoder="vlmo")]).axes) == 2


def test_a_tuned_encoder_on_one_line() -> None:
    assert line(tuned(objectives=("itc", "itm", "mlm"))) == {
        "encoder": "ML-sparse, CLIP-FT",
        "objectives": "ITC, ITM, MLM",
        "pairs": 400,
        "held out": 20,
        "steps": 21,
        "best epoch": "2 of 3",
        "seconds": "1,234.6",
        "candidates": 400,
        # means of 0.01 and 0.03, then of 0.03 and 0.05; by chance 1 of 400
        "Recall@1 (chance)": "0.02 → 0.04 (0.0025)",
        "Recall@10 (chance)": "0.11 → 0.31 (0.025)",
        "Recall@50 (chance)": "0.21 → 0.61 (0.125)",
        "median rank (chance)": "21.0 → 19.0 (200.5)",
    }


def test_heads_in_closed_form_have_no_epochs_and_fewer_candidates() -> None:
    found = line(aligned())
    assert found["encoder"] == "All data sets, CLIP-PT"
    assert (found["objectives"], found["pairs"], found["held out"]) == ("closed form: regularised CCA", 1785, 178)
    assert (found["candidates"], found["Recall@10 (chance)"]) == (178, "0.25 (0.0562)")
    assert {found[name] for name in ("steps", "best epoch", "seconds", "Recall@1 (chance)")} == {ABSENT}


def test_an_encoder_that_stayed_at_its_start_says_so() -> None:
    found = line(tuned(best=0))
    assert found["best epoch"] == "0 of 3" and found["Recall@10 (chance)"].startswith("0.11 → 0.11 ")


def test_chance_is_never_above_one_and_ranks_stay_readable() -> None:
    assert line(tuned(candidates=20))["Recall@50 (chance)"].endswith("(1)")
    assert line(tuned(candidates=23033))["median rank (chance)"].endswith("(11,517.0)")


def test_what_tuning_and_cca_really_leave_is_understood() -> None:
    _, done = run(objectives=("itc", "itm"), epochs=1)
    record = {"dataset": "ml-sparse", "encoder": "vlmo", "stage": "FT", "tuning": plain_values(done.plain())}
    found = line(record)
    assert (found["objectives"], found["pairs"]) == ("ITC, ITM", len(PAIRS))
    assert found["held out"] == int(PAIRS.held_out.sum()) and found["best epoch"] in ("0 of 1", "1 of 1")
    assert len(retrieval_listing([record])) == 4 and len(loss_curves([record]).axes) == 2
    generator = np.random.default_rng(0)
    visual, textual = generator.standard_normal((60, 5)), generator.standard_normal((60, 4))
    _, note = choose_heads(visual, textual, np.arange(60) < 12, grid=((1.0,), (1.0,), (2,)))
    found = line({"dataset": None, "encoder": "clip", "stage": "PT", "alignment": plain_values({**note, "pairs": 60})})
    assert (found["pairs"], found["candidates"]) == (60, 12) and found["Recall@10 (chance)"].endswith(" (0.833)")


def test_lines_keep_the_order_of_the_records() -> None:
    records = [aligned(), tuned("ml-sparse", "vlmo"), tuned("ml-dense", "clip"), tuned("ml-dense", "own", "PT")]
    assert training_listing(records)["encoder"].tolist() == [
        "All data sets, CLIP-PT", "ML-sparse, VLMo-FT", "ML-dense, CLIP-FT", "ML-dense, own-PT"
    ]  # fmt: skip


def test_both_directions_held_out_and_in_sample() -> None:
    listing = retrieval_listing([aligned(), tuned()])
    assert listing["encoder"].unique().tolist() == ["ML-sparse, CLIP-FT"]
    cells = listing.set_index(["direction", "queries"])
    assert len(cells) == 4
    assert cells.loc[("picture to text", "held out"), "Recall@10"] == "0.1 → 0.3"
    assert cells.loc[("text to picture", "held out"), "Recall@10"] == "0.12 → 0.32"
    assert cells.loc[("picture to text", "all pairs, in-sample"), "Recall@10"] == "0.2 → 0.4"
    assert cells.loc[("text to picture", "all pairs, in-sample"), "median rank"] == "17.0 → 15.0"


def test_listings_can_be_shown_or_say_what_is_missing() -> None:
    shown = listing_or_words(training_listing([aligned(), tuned()]), "training", "nothing yet")
    assert "0.11 → 0.31 (0.025)" in shown.to_html() and "nan" not in shown.to_html()
    assert plain_table(retrieval_listing([tuned()]), "retrieval").to_html().count("<tr") == 5
    for empty in (training_listing([]), retrieval_listing([]), retrieval_listing([aligned()])):
        assert len(empty.columns) >= 7
        assert listing_or_words(empty, "training", "nothing yet") == Sentence("nothing yet")


# --- curves


def texts_out_of_the_picture(figure: Figure) -> list[str]:
    """Titles, axis labels and legend entries that leave the figure, or meet those of the panel beside."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, frame = canvas.get_renderer(), figure.bbox
    texts = [t for axes in figure.axes for t in (axes._left_title, axes.xaxis.label, axes.yaxis.label)]
    texts += [t for legend in figure.legends for t in legend.get_texts()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text()]
    found = [name for name, box in boxes if not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0)]
    return found + [a for i, (a, box) in enumerate(boxes) for _, other in boxes[i + 1 :] if box.overlaps(other)]


def curve(axes: Any, label: str) -> list[tuple[float, float]]:
    (found,) = [drawn for drawn in axes.lines if drawn.get_label() == label]
    return list(zip(found.get_xdata(), found.get_ydata(), strict=True))


def test_losses_and_held_out_retrieval_of_one_encoder() -> None:
    left, right = loss_curves([aligned(), tuned(objectives=("itc", "mlm"))]).axes
    assert left.get_title(loc="left") == "ML-sparse, CLIP-FT"
    assert curve(left, "ITC") == [(1, 4.0), (2, 2.0), (3, pytest.approx(4 / 3))]
    assert curve(left, "MLM")[0] == (1, 5.0)
    assert curve(right, "held-out Recall@10") == [(n, pytest.approx(v)) for n, v in enumerate((0.11, 0.21, 0.31, 0.06))]
    assert curve(right, "epoch kept") == [(2, pytest.approx(0.31))]
    assert curve(right, "chance")[0][1] == pytest.approx(10 / 400)
    assert (left.get_ylabel(), right.get_ylabel()) == ("training loss", "Recall@10")
    assert left.get_xlabel() == right.get_xlabel() == "epoch"


@pytest.mark.parametrize("n", range(1, 9))
def test_one_to_eight_encoders_fit_a_narrow_page(n: int) -> None:
    names = ("complementary", "clothing", "null", None)
    every = [tuned(name, encoder, objectives=tuple(OBJECTIVES)) for name in names for encoder in ("clip", "vlmo")]
    figure = loss_curves(every[:n])
    assert len(figure.axes) == 2 * n
    assert figure.get_figwidth() <= 6 and figure.get_figheight() <= 2.2 * n + 1
    assert overlaps(figure) == [] and texts_out_of_the_picture(figure) == []
    names_shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names_shown == ["ITC", "ITM", "MLM", "chance", "held-out Recall@10", "epoch kept"]


def test_objectives_are_told_apart_without_colour() -> None:
    axes = loss_curves([tuned(objectives=tuple(OBJECTIVES))]).axes[0]
    assert len({drawn.get_marker() for drawn in axes.lines}) == 3


def test_a_single_epoch_is_visible() -> None:
    axes = loss_curves([tuned(epochs=1, best=1)]).axes[0]
    assert curve(axes, "ITC") == [(1, 4.0)] and axes.lines[0].get_marker() == "o"
    assert [tick for tick in axes.get_xticks() if tick != int(tick)] == []


def test_nothing_to_draw_is_said_in_words() -> None:
    assert says_nothing(loss_curves([]))
    closed = loss_curves([aligned()])
    assert [text.get_text() for axes in closed.axes for text in axes.texts] == [NO_CURVES]
    assert closed.get_figwidth() == figures.WIDTH
