"""The research questions, and the comparisons that answer them: each pair is written here, and nowhere else.

The family of tests, the tables' arrows, the relative changes, the planted answers and the verdicts all read
:data:`QUESTIONS`. A further question is a further entry; its table goes to ``report/tables.py``, its page is a
notebook.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import (
    BASELINE,
    CONTROL_TITLES,
    ENCODER_TITLES,
    ID_TWINS,
    LMM_ENCODERS,
    MODEL_TITLES,
    PARADIGMS,
    SHUFFLED_ALONE,
    TWICE,
)

TWIN = "twin"  # a rival of every recommender: names.ID_TWINS
ALPHA = 0.05  # a difference is called significant when its adjusted p is below this
MARGIN = 0.05  # a difference within this share of the reference's mean is called none


@dataclass(frozen=True, order=True)
class Variant:
    """What distinguishes a case among those of one recommender. All "none": a recommender without content.

    ``arm`` names other settings of the track than those that all cells share, for instance raw feature rows.
    """

    encoder: str = "none"
    paradigm: str = "none"
    modalities: str = "none"
    control: str = "none"
    arm: str = "none"

    @classmethod
    def of(cls, case: Mapping[str, object]) -> "Variant":
        """The variant of a case, given as a mapping with these fields (``arm`` may be absent; others do not matter)."""
        names = ("encoder", "paradigm", "modalities", "control", "arm")
        return cls(*(str(case.get(name, "none") if name == "arm" else case[name]) for name in names))

    @property
    def whole(self) -> bool:
        """Both modalities, content and settings as they are: the normal case, which tables do not spell out."""
        return self.modalities == "V&T" and self.control == "none" and self.arm == "none"

    @property
    def label(self) -> str:
        """:meth:`named` by the titles of the paper's encoders."""
        return self.named(ENCODER_TITLES)

    def named(self, titles: Mapping[str, str]) -> str:
        """``"baseline"``, ``"CLIP-PT"``, ``"CLIP-ETE (V)"``, ``"baseline (T, noise)"``; ``"none"`` without content.

        ``titles``: encoder → the title to show.
        """
        if self.encoder == "none":
            return "none"
        name = titles.get(self.encoder, self.encoder) + ("" if self.paradigm == "none" else f"-{self.paradigm}")
        control = [CONTROL_TITLES[self.control]] if self.control != "none" else []
        extra = [self.modalities] * (self.modalities != "V&T") + control + [self.arm] * (self.arm != "none")
        return f"{name} ({', '.join(extra)})" if extra else name


@dataclass(frozen=True)
class Pair:
    """One comparison within a recommender: is it better with ``a`` than with ``b``, the reference?

    The difference is a − b, the relative change a / b − 1. ``rival`` names another recommender that ``b`` belongs to;
    :data:`TWIN` is the nearest recommender without content.
    """

    a: Variant
    b: Variant
    rival: str = ""

    def sides(self, model: str) -> tuple[tuple[str, Variant], tuple[str, Variant]]:
        """(recommender, variant) of either side, for the recommender ``model``."""
        rival = ID_TWINS.get(model, "lightgcn") if self.rival == TWIN else self.rival
        return (model, self.a), (rival or model, self.b)

    def words(self, titles: Mapping[str, str] = ENCODER_TITLES) -> tuple[str, str]:
        """In few words: ``("CLIP-PT", "baseline")``, ``("baseline V&T", "V")``, ``("baseline real", "zero")``.

        ``titles``: encoder → the title to show, by default the paper's.
        """
        a, b = self.a.named(titles), self.b.named(titles)
        if self.rival:
            return a, MODEL_TITLES.get(self.rival, self.rival)
        if self.a == replace(self.b, modalities="V&T"):
            return f"{a} V&T", self.b.modalities
        if self.a == replace(self.b, control="none"):
            return f"{a} real", CONTROL_TITLES[self.b.control]
        return a, b

    def __str__(self) -> str:
        return " / ".join(self.words())


@dataclass(frozen=True)
class Question:
    """A research question. Raises ConfigError when it claims a pair that it does not plan."""

    name: str  # on the command line and in notebooks
    title: str
    reads: Callable[[Variant], bool]  # whether the question needs the runs of this variant
    planned: tuple[Pair, ...] = ()  # tested for each of the paper's models, and corrected together
    claimed: tuple[Pair, ...] = ()  # of these, the ones whose printed change the verdict is about
    shown: tuple[Pair, ...] = ()  # of the table of relative changes

    def __post_init__(self) -> None:
        if odd := [str(pair) for pair in self.claimed if pair not in self.planned]:
            raise ConfigError(f"question {self.name!r} claims {odd}, which it does not plan; add them to planned")

    def sides(self, model: str) -> tuple[tuple[str, Variant], ...]:
        """(recommender, variant) of all that is compared for ``model``: its own variants, and its rivals."""
        pairs = (*self.planned, *self.shown)
        return tuple(dict.fromkeys(side for pair in pairs for side in pair.sides(model)))


def trained(encoder: str, paradigm: str) -> Variant:
    """A multi-modal encoder under a paradigm, with both modalities."""
    return Variant(encoder, paradigm, "V&T")


def single(variant: Variant, modality: str) -> Pair:
    """Both modalities against one alone, "V" or "T"."""
    return Pair(variant, replace(variant, modalities=modality))


def controlled(variant: Variant, control: str) -> Pair:
    """The content as it is against its control, one of :data:`~lmmrec_core.names.CONTROLS`."""
    return Pair(variant, replace(variant, control=control))


MODALITY_SPECIFIC = Variant(BASELINE, modalities="V&T")
_SINGLE = PICTURES_ALONE, TEXTS_ALONE = single(MODALITY_SPECIFIC, "V"), single(MODALITY_SPECIFIC, "T")
SHUFFLED = controlled(MODALITY_SPECIFIC, "shuffled")
_SINGLE_ETE = tuple(single(trained("clip", "ETE"), modality) for modality in ("V", "T"))
# V&T against V mixes what T says with the weights that T brings; against V and a T of other items it does not
PICTURES_AND_NOISE, TEXTS_AND_NOISE = (controlled(MODALITY_SPECIFIC, name) for name in ("shuffled-T", "shuffled-V"))
_EQUAL_SIZE_ETE = tuple(controlled(trained("clip", "ETE"), name) for name in ("shuffled-T", "shuffled-V"))
# what weights alone do: the pictures once more in the place of the texts; asked of fresh worlds only
PICTURES_TWICE = Pair(replace(MODALITY_SPECIFIC, modalities=TWICE), PICTURES_ALONE.b)
AGAINST_TWIN = Pair(MODALITY_SPECIFIC, Variant(), rival=TWIN)
_REFERENCES = (AGAINST_TWIN, controlled(MODALITY_SPECIFIC, "zero"))
_CONTROLLED = tuple(controlled(MODALITY_SPECIFIC, control) for control in ("shuffled", "noise", "projected"))
_PRETRAINED = tuple(Pair(trained(encoder, "PT"), MODALITY_SPECIFIC) for encoder in LMM_ENCODERS)
# one pair for each multi-modal encoder
FINE_TUNED = tuple(Pair(trained(encoder, "FT"), trained(encoder, "PT")) for encoder in LMM_ENCODERS)
END_TO_END = tuple(Pair(trained(encoder, "ETE"), trained(encoder, "FT")) for encoder in LMM_ENCODERS)
_END_TO_END_ALONE = tuple(Pair(trained(encoder, "ETE"), MODALITY_SPECIFIC) for encoder in LMM_ENCODERS)
_TRAINING = tuple(pair for pairs in zip(FINE_TUNED, END_TO_END, _END_TO_END_ALONE, strict=True) for pair in pairs)
_AGAINST_BASELINE = tuple(
    Pair(trained(encoder, paradigm), MODALITY_SPECIFIC) for encoder in LMM_ENCODERS for paradigm in PARADIGMS
)


def _without_content(variant: Variant) -> bool:
    return variant.encoder == "none"


#: Every question by name, in the order of the book. Recommenders without content are the floor of them all.
QUESTIONS: dict[str, Question] = {
    question.name: question
    for question in (
        Question("data", "The data sets, counted", lambda variant: False),
        Question(
            "motivation",
            "Which modality helps, with the modality-specific encoders",
            lambda variant: (
                _without_content(variant)
                or (
                    variant.encoder == BASELINE
                    and variant.control in ("none", *SHUFFLED_ALONE)
                    and variant.arm == "none"
                )
            ),
            planned=(*_SINGLE, PICTURES_AND_NOISE, TEXTS_AND_NOISE),
            claimed=_SINGLE,
            shown=_SINGLE,
        ),
        Question(
            "rq1",
            "Pre-trained multi-modal encoders against the modality-specific ones",
            lambda variant: (
                _without_content(variant)
                or (replace(variant, arm="none").whole and variant.paradigm in ("none", "PT"))
                or variant == replace(MODALITY_SPECIFIC, control="zero")
            ),
            planned=(*_REFERENCES, *_PRETRAINED),
            claimed=_PRETRAINED,
            shown=_PRETRAINED,
        ),
        Question(
            "rq2",
            "Pre-trained (PT), fine-tuned (FT) and end-to-end (ETE) encoders",
            lambda variant: (
                _without_content(variant)
                or variant.whole
                or (variant.arm != "none" and variant.paradigm not in ("none", "PT"))
            ),
            planned=_TRAINING,
            claimed=_TRAINING,
            shown=_AGAINST_BASELINE,
        ),
        Question(
            "rq3",
            "What each modality contributes",
            lambda variant: (
                variant.arm == "none"
                and (not variant.whole or variant.encoder == BASELINE or variant.paradigm == "ETE")
            ),
            planned=(*_CONTROLLED, *_SINGLE_ETE, *_EQUAL_SIZE_ETE),
            claimed=_SINGLE_ETE,
            shown=_SINGLE_ETE,
        ),
    )
}


def question_of(name: str) -> Question:
    """The question of this name. Raises ConfigError for an unknown one, with the nearest."""
    if name not in QUESTIONS:
        raise unknown("research question", name, QUESTIONS)
    return QUESTIONS[name]


def parse_question(text: str | int | None) -> str | None:
    """``2``, ``"2"``, ``"RQ2"``, ``"motivation"`` → the question's name; None or "" → None (all of them).

    Raises ConfigError for an unknown question.
    """
    if text is None or str(text).strip() == "":
        return None
    name = str(text).strip().lower()
    name = f"rq{name}" if name.isdigit() else name
    if name not in QUESTIONS:
        numbers = [known.removeprefix("rq") for known in QUESTIONS if known.startswith("rq")]
        raise unknown("research question", text, [*QUESTIONS, *numbers], "RQ")
    return name
