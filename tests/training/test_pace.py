"""The pace of a training: how steps become epochs, and whose defaults hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.errors import ConfigError
from lmmrec_core.training.loop import TrainingSettings
from lmmrec_core.training.pace import Pace

STUDY = {"steps": 10_000, "evaluate_steps": 60, "patience_steps": 1200}


def test_without_a_word_the_pace_is_that_of_mmrec() -> None:
    assert TrainingSettings().pace(118_551) == Pace(n_batches=58, epochs=1000, evaluate_every=1, patience=21)


def test_on_amazon_baby_the_pace_in_steps_is_about_that_of_mmrec() -> None:
    """118,551 training rows: an epoch of 58 steps is validated each time; 21 of them are 1,218 steps."""
    assert TrainingSettings(**STUDY).pace(118_551) == Pace(58, 173, 1, 21)


@pytest.mark.parametrize(
    ("rows", "batch_size", "expected"),
    [
        (20_000, 2048, Pace(10, 1000, 6, 120)),  # a small catalogue: validated every sixth epoch
        (3_302, 512, Pace(7, 1429, 9, 172)),
        (1_000, 2048, Pace(1, 10_000, 60, 1200)),
        (2_000_000, 2048, Pace(977, 11, 1, 2)),  # never within an epoch
    ],
)
def test_steps_become_whole_epochs(rows: int, batch_size: int, expected: Pace) -> None:
    assert TrainingSettings(**STUDY, batch_size=batch_size).pace(rows) == expected


@given(st.integers(1, 10**7), st.integers(1, 4096))
def test_the_last_epoch_is_validated_and_no_run_waits_shorter_than_asked(rows: int, batch_size: int) -> None:
    pace = TrainingSettings(**STUDY, batch_size=batch_size).pace(rows)
    assert pace.evaluates(pace.epochs)
    assert pace.patience * pace.n_batches >= 1200 > (pace.patience - 1) * pace.n_batches
    assert pace.epochs * pace.n_batches >= 10_000 > (pace.epochs - 1) * pace.n_batches
    distance = pace.evaluate_every * pace.n_batches
    assert distance == pace.n_batches or abs(distance - 60) <= pace.n_batches / 2


@pytest.mark.parametrize(
    "both", [("epochs", "steps"), ("evaluate_every", "evaluate_steps"), ("patience", "patience_steps")]
)
def test_one_thing_in_two_units_is_refused(both: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"{both[0]} and {both[1]} say the same in two units"):
        TrainingSettings.build(dict.fromkeys(both, 5))
