"""What is stored of a calibration and counts: made from what is there today, by code that was committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lmmrec_core.results.provenance import allows_uncommitted, code_state
from lmmrec_core.study.calibration.files import Line, part_path, read_lines
from lmmrec_core.study.calibration.listings import Listing, listings, read_listing
from lmmrec_core.study.calibration.simulated import COVERAGE, coverage_made_from
from lmmrec_core.study.calibration.stored_runs import AGAINST_ITSELF, DETECTABLE, made_from_runs
from lmmrec_core.study.calibration.worlds import WORLDS, DrawnWorld, groups_of
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Workspace

TRACK = "controls"  # whose settings the worlds have


@dataclass(frozen=True, eq=False)
class Stored:
    """The parts of a calibration: worlds with their lines, and listings by track ("" for what belongs to none)."""

    worlds: Mapping[str, tuple[tuple[DrawnWorld, Line], ...]]
    against_itself: Mapping[str, Listing]
    detectable: Mapping[str, Listing]
    coverage: Listing | None
    uncommitted: tuple[str, ...] = ()  # what is there and does not count, because nobody else has its code
    outdated: tuple[str, ...] = ()  # worlds that were run under other settings, or are in no group
    # listing → what has changed since it was made: "code", "settings", "runs"
    outdated_listings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_compared: tuple[str, ...] = ()  # tracks of listings that count, whose runs are not there to compare with
    allowed: bool = field(default=False)  # whether results of uncommitted code count

    def remarks(self) -> tuple[str, ...]:
        """Sentences on what does not count, because it is outdated, and on what could not be compared."""
        found = []
        if self.outdated:
            found.append(
                f"{len(self.outdated)} worlds were run under other settings, or are in no group, and do not count."
            )
        for name, changed in self.outdated_listings.items():
            found.append(
                f"The listing {name} is outdated and does not count: {_listed(changed)} changed since it was made; "
                f"run `lmmrec calibrate --parts {name.split()[0]}`."
            )
        if self.not_compared:
            found.append(
                f"The runs of {' and '.join(self.not_compared)} are not stored here: listings made from them are shown "
                "as they are, and cannot be compared with them."
            )
        return tuple(found)


def read_calibration(results: Path, track: TrackSettings | None = None) -> Stored:
    """All that is stored below ``results`` and counts. ``track``: whose settings count, by default the controls'.

    Raises ResultError for a damaged file, with the cure.
    """
    track, allowed = track or read_track(TRACK), allows_uncommitted()
    late: list[str] = []
    outdated: list[str] = []

    changed: dict[str, tuple[str, ...]] = {}
    not_compared: dict[str, None] = {}  # an ordered set

    def counts(name: str, made: Mapping[str, object]) -> bool:
        if allowed or code_state(made) != "uncommitted":
            return True
        late.append(name)
        return False

    worlds = {}
    for part in WORLDS:
        found = []
        for line in read_lines(part_path(results, part)):
            world = _world_of(part, line)
            if world is None or world.declared(track) != line["declared"]:
                outdated.append(f"{part} {line['world']}")
            elif counts(f"{part} {world.name}", line["provenance"]):
                found.append((world, line))
        worlds[part] = tuple(sorted(found, key=lambda pair: pair[0].seed))
    by_part: dict[str, dict[str, Listing]] = {AGAINST_ITSELF: {}, DETECTABLE: {}}
    for part, found_listings in by_part.items():
        for name, listing in listings(results, part).items():
            now = made_from_runs(part, _study(track if name == track.name else read_track(name), results))
            if differs := listing.differs_in(now):
                changed[f"{part} {name}"] = differs
            elif counts(f"{part} {name}", listing.made):
                found_listings[name] = listing
                if "runs" not in now:
                    not_compared[name] = None
    coverage = read_listing(results, COVERAGE)
    if coverage is not None:
        if differs := coverage.differs_in(coverage_made_from()):
            changed[COVERAGE] = differs
        if differs or not counts(COVERAGE, coverage.made):
            coverage = None
    itself, detectable = by_part.values()
    return Stored(
        worlds, itself, detectable, coverage, tuple(late), tuple(outdated), changed, tuple(not_compared), allowed
    )


def _study(track: TrackSettings, results: Path) -> Study:
    """A track with its runs below ``results``, to read their records."""
    return Study(Workspace(track, results, results.parent / ".cache"), track.seeds)


def _listed(names: Sequence[str]) -> str:
    words = {"code": "the code of the tests", "settings": "what is planned or declared", "runs": "the stored runs"}
    return " and ".join(words[name] for name in names)


def _world_of(part: str, line: Line) -> DrawnWorld | None:
    """The world that a line is about; None for one that no group has."""
    for group in groups_of(part):
        if group.kind == line["kind"] and group.first <= line["seed"] < group.first + group.most:
            return DrawnWorld(group, int(line["seed"]))
    return None
