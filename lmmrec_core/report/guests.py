"""Recommenders and encoders of other packages: which of them occur in results, so that tables show them too.

A guest is whatever ``names.py`` has no title for. It is shown under its own key, after what the tables plan.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lmmrec_core.flow import Result, Results
from lmmrec_core.names import ENCODER_TITLES, LMM_ENCODERS, MODEL_TITLES
from lmmrec_core.questions import Variant

Fits = Callable[[Variant], bool]  # whether a table has a place for this variant


@dataclass(frozen=True)
class Guests:
    """What was run, recommender → its variants, in the order of the results."""

    ran: Mapping[str, tuple[Variant, ...]]

    def after(self, models: Sequence[str], fits: Fits) -> tuple[str, ...]:
        """``models``, then the guests among the recommenders that have a variant which fits."""
        guests = [model for model in self.ran if model not in MODEL_TITLES and model not in models]
        return (*models, *(model for model in guests if any(map(fits, self.ran[model]))))

    def variants(self, model: str, fits: Fits) -> tuple[Variant, ...]:
        """The variants of a recommender, with a guest as encoder, that fit."""
        return tuple(variant for variant in self._fitting(model, fits) if variant.encoder not in ENCODER_TITLES)

    def known_encoders(self, model: str, fits: Fits) -> tuple[str, ...]:
        """The multi-modal encoders of the study with which a recommender has a variant that fits."""
        ran = {variant.encoder for variant in self._fitting(model, fits)}
        return tuple(encoder for encoder in LMM_ENCODERS if encoder in ran)

    def _fitting(self, model: str, fits: Fits) -> tuple[Variant, ...]:
        content = [variant for variant in self.ran.get(model, ()) if variant.encoder != "none"]
        return tuple(variant for variant in content if fits(variant))


NOBODY = Guests({})  # the printed tables have no guests


def guests_in(results: Iterable[Result], datasets: Sequence[str]) -> Guests:
    """What was run on ``datasets``, by committed code or not."""
    ran: dict[str, dict[Variant, None]] = {}
    for result in (*results, *(results.withheld if isinstance(results, Results) else ())):
        if result.case["dataset"] in datasets:
            ran.setdefault(str(result.case["model"]), {})[Variant.of(result.case)] = None
    return Guests({model: tuple(variants) for model, variants in ran.items()})
