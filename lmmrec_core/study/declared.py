"""What the track file declares for a case, as a digest: tells today's results from yesterday's."""

from typing import Any

from lmmrec_core.digests import digest
from lmmrec_core.study.cases import Case
from lmmrec_core.study.track import TrackSettings

_STAGES = {"fine_tune": "FT", "end_to_end": "ETE"}  # settings of an encoder's entry → the paradigm that uses them


def declared_digest(track: TrackSettings, case: Case) -> str:
    """Equal for results made under the same declared data set, encoder, model, training and protocol."""
    dataset = track.datasets.get(case.dataset)
    return digest(
        {
            "dataset": dataset.model_dump(exclude={"title", "note"}) if dataset else case.dataset,
            "encoder": _encoder(track, case),
            "missing": track.missing,
            "model": track.models.get(case.model),
            "training": track.training,
            "evaluation": track.evaluation.model_dump(),
        }
    )


def _encoder(track: TrackSettings, case: Case) -> dict[str, Any] | None:
    """What an entry declares for the case's paradigm: settings of a stage that it does not go through do not count."""
    entry = track.encoders.get(case.encoder)
    if entry is None or "encoder" not in entry:
        return entry
    unused = {stage for stage, paradigm in _STAGES.items() if paradigm != case.paradigm}
    return {name: value for name, value in entry.items() if name not in unused}
