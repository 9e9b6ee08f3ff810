"""What the track file declares for a case, as a digest: tells today's results from yesterday's."""

from lmmrec_core.config import digest
from lmmrec_core.study.cases import Case
from lmmrec_core.study.track import TrackSettings


def declared_digest(track: TrackSettings, case: Case) -> str:
    """Equal for results made under the same declared data set, encoder, model, training and protocol."""
    dataset = track.datasets.get(case.dataset)
    return digest(
        {
            "dataset": dataset.model_dump(exclude={"title", "note"}) if dataset else case.dataset,
            "encoder": track.encoders.get(case.encoder),
            "missing": track.missing,
            "model": track.models.get(case.model),
            "training": track.training,
            "evaluation": track.evaluation.model_dump(),
        }
    )
