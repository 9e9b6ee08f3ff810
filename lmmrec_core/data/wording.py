"""Texts of the controls: catalogue entries that tell four factors, and nothing else that matters.

Each factor has five levels, and each level four words of similar meaning, so equal factors are told in different
sentences. Nouns, brands, rooms, sentence forms and asides are drawn independently of the factors. No word names
anything visible: a text says something about its picture only if both show the same latent.
"""

from dataclasses import dataclass

import numpy as np

from lmmrec_core.flow import IntArray

TEXTUAL_FACTORS = ("mood", "age", "heft", "price")
LEVELS = 5

WORDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "mood": (
        ("serene", "tranquil", "hushed", "restful"),
        ("gentle", "mellow", "soothing", "peaceable"),
        ("balanced", "composed", "measured", "even-tempered"),
        ("cheerful", "jolly", "merry", "upbeat"),
        ("exuberant", "boisterous", "spirited", "rollicking"),
    ),
    "age": (
        ("ancient", "archaic", "timeworn", "primeval"),
        ("antique", "heirloom", "vintage", "bygone"),
        ("classic", "traditional", "customary", "time-tested"),
        ("contemporary", "modern", "up-to-date", "present-day"),
        ("futuristic", "avant-garde", "visionary", "pioneering"),
    ),
    "heft": (
        ("featherlight", "weightless", "airy", "gossamer"),
        ("light", "portable", "handy", "easy-to-lift"),
        ("medium-weight", "middling", "moderate", "average-weight"),
        ("weighty", "hefty", "solid", "sturdy"),
        ("massive", "ponderous", "leaden", "monumental"),
    ),
    "price": (
        ("thrifty", "low-cost", "bargain", "budget"),
        ("affordable", "economical", "inexpensive", "modestly-priced"),
        ("mid-range", "reasonable", "fair-priced", "standard"),
        ("premium", "upscale", "select", "costly"),
        ("luxurious", "lavish", "opulent", "extravagant"),
    ),
}
_SENTENCES: dict[str, tuple[str, ...]] = {
    "mood": ("Its spirit is {}.", "Owners call the feeling {}.", "It makes any table {}.", "Guests find it {}."),
    "age": ("The style is {}.", "Its lines look {}.", "The maker calls the taste {}.", "Collectors file it under {}."),
    "heft": ("In the hand it feels {}.", "On the shelf it is {}.", "The build is {}.", "Movers note that it is {}."),
    "price": ("For the purse it is {}.", "Shops list it as {}.", "Its place in our range is {}.", "We rate it {}."),
}
_NOUNS = ("vase", "jug", "pot", "urn", "pitcher", "jar", "carafe", "amphora")
_MAKERS = ("Alder", "Bramble", "Corvid", "Dunlin", "Elmwood", "Fernhill", "Gannet", "Harrow", "Isola", "Juniper")
_HOUSES = ("Works", "Studio", "Pottery", "and Daughters")
_ROOMS = ("Kitchen", "Hallway", "Garden", "Living Room", "Study", "Bedroom")
_ASIDES = (
    "Each piece is fired twice.",
    "Wash by hand and dry with a cloth.",
    "Ships in a padded box.",
    "Made in small batches by people who care.",
    "The glaze is safe for food.",
    "Returns are free within thirty days.",
    "A card with the story of the workshop comes along.",
    "Stands well on wood, stone or glass.",
)


@dataclass(frozen=True)
class Entry:
    """The text fields of one item."""

    title: str
    description: str
    brand: str
    categories: str


def draw_entries(levels: IntArray, stream: np.random.Generator) -> list[Entry]:
    """One entry per row of ``levels`` [item, 4], values 0..4 (columns :data:`TEXTUAL_FACTORS`).

    Every factor is named twice: mood and age in the title, heft and price in the categories, all four in the
    description. So none speaks louder than another.
    """
    return [_entry(row, stream) for row in levels]


def _entry(row: IntArray, stream: np.random.Generator) -> Entry:
    def pick(options: tuple[str, ...]) -> str:
        return options[int(stream.integers(len(options)))]

    def word(factor: str) -> str:
        return pick(WORDS[factor][int(row[TEXTUAL_FACTORS.index(factor)])])

    noun = pick(_NOUNS)
    title = f"{word('mood')} {word('age')} {noun}".capitalize()
    sentences = [pick(_SENTENCES[factor]).format(word(factor)) for factor in TEXTUAL_FACTORS]
    sentences += [_ASIDES[aside] for aside in stream.permutation(len(_ASIDES))[: int(stream.integers(1, 4))]]
    description = " ".join(sentences[position] for position in stream.permutation(len(sentences)))
    return Entry(
        title=title,
        description=description,
        brand=f"{pick(_MAKERS)} {pick(_HOUSES)}",
        categories=f"Home, {pick(_ROOMS)}, {word('heft').capitalize()}, {word('price').capitalize()}",
    )
