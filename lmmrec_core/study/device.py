"""Where a track computes."""

from lmmrec_core.errors import ConfigError
from lmmrec_core.study.track import TrackSettings


def device_of(track: TrackSettings) -> str:
    """The track's ``device``; "auto" is the GPU where there is one. Raises ConfigError for a GPU that is not there."""
    if track.device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda" if track.device == "auto" else track.device
    if track.device != "auto":
        raise ConfigError(f"track {track.name!r}: device {track.device!r} is not there; set device: auto or cpu")
    return "cpu"
