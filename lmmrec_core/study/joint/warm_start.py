"""A warm start of joint training: first the recommender alone, on the features that ETE starts from, until it stops."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lmmrec_core import checkpoints
from lmmrec_core.flow import Split
from lmmrec_core.roles import Recommender, Scorer, TrainableRecommender, TrainingData
from lmmrec_core.seeds import derive
from lmmrec_core.training.joint.hooks import FeatureTraining
from lmmrec_core.training.loop import Training, TrainingSettings, train


def train_warm(
    build: Callable[[], Recommender],
    data: TrainingData,
    split: Split,
    settings: TrainingSettings,
    *,
    seed: int,
    validate: Callable[[Scorer], float],
    checkpoint: Path,
    identity: str,
    progress: bool,
    features: FeatureTraining,
) -> tuple[Recommender, Training]:
    """Two trainings with the same ``settings``, each to its own stop; the second goes on from the first one's best.

    The first is the run of paradigm PT with this seed and these settings; of FT, where the encoder starts fine-tuned
    (``EndToEndSettings.weights``). The second trains the encoder too; its recommender starts from the first one's
    weights, with an optimiser, batches and negatives of its own. ``notes`` of the result say how the first went
    (``warm_start``), ``seconds`` are of both.

    An interrupted training goes on in either phase and ends as an uninterrupted one: the end of the first is kept
    beside ``checkpoint`` (:func:`end_of_first_phase`); the caller deletes all (``checkpoints.remove``). Raises as
    ``loop.train``.
    """
    kept = end_of_first_phase(checkpoint)
    state = checkpoints.load(kept, identity)
    if state is None:
        model, under_way = build(), checkpoint.with_suffix(".first.pt")
        done = train(
            model, data, split, settings, seed=seed, validate=validate, checkpoint=under_way, identity=identity,
            progress=progress,
        )  # fmt: skip
        assert isinstance(model, TrainableRecommender)  # attach_encoder would have refused another
        state = {"model": model.state_dict(), "phase": _described(done)}
        if checkpoints.save_if_possible(kept, identity, state):
            under_way.unlink(missing_ok=True)
    second = build()  # so that nothing but the weights goes on, as after an interruption
    assert isinstance(second, TrainableRecommender)
    second.load_state_dict(state["model"])
    trained = train(
        second, data, split, settings, seed=derive(seed, "joint"), validate=validate, checkpoint=checkpoint,
        identity=identity, progress=progress, features=features,
    )  # fmt: skip
    phase = state["phase"]
    notes = {**trained.notes, "warm_start": phase}
    return second, replace(trained, notes=notes, seconds=trained.seconds + phase["seconds"])


def end_of_first_phase(checkpoint: Path) -> Path:
    """Where the recommender that joint training starts from is kept, while a run is under way."""
    return checkpoint.with_suffix(".warm.pt")


def _described(done: Training) -> dict[str, Any]:
    scores = [epoch.valid for epoch in done.history if epoch.number == done.best_epoch]
    return {
        "best_epoch": done.best_epoch, "epochs": len(done.history), "stopped": done.stopped, "valid": scores[0],
        "seconds": done.seconds,
    }  # fmt: skip
