"""Takes a track and gives its results, comparisons and statistics; the only place that knows all stages."""

from lmmrec_core.study.study import Study

__all__ = ["Study"]
