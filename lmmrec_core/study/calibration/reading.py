"""What is stored of a calibration and counts: lines of today's settings, by code that was committed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lmmrec_core.results.provenance import allows_uncommitted, code_state
from lmmrec_core.study.calibration.files import Line, part_path, read_lines
from lmmrec_core.study.calibration.listings import Listing, listings, read_listing
from lmmrec_core.study.calibration.simulated import COVERAGE
from lmmrec_core.study.calibration.stored_runs import AGAINST_ITSELF, DETECTABLE
from lmmrec_core.study.calibration.worlds import WORLDS, DrawnWorld, groups_of
from lmmrec_core.study.track import TrackSettings, read_track

TRACK = "controls"  # whose settings the worlds have


@dataclass(frozen=True, eq=False)
class Stored:
    """The parts of a calibration: worlds with their lines, and listings by track ("" for what belongs to none)."""

    worlds: Mapping[str, tuple[tuple[DrawnWorld, Line], ...]]
    against_itself: Mapping[str, Listing]
    detectable: Mapping[str, Listing]
    coverage: Listing | None
    uncommitted: tuple[str, ...] = ()  # what is there and does not count, because nobody else has its code
    outdated: tuple[str, ...] = ()  # worlds that were run under other settings
    allowed: bool = field(default=False)  # whether results of uncommitted code count


def read_calibration(results: Path, track: TrackSettings | None = None) -> Stored:
    """All that is stored below ``results`` and counts. ``track``: whose settings count, by default the controls'.

    Raises ResultError for a damaged file, with the cure.
    """
    track, allowed = track or read_track(TRACK), allows_uncommitted()
    late: list[str] = []
    outdated: list[str] = []

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
    itself, detectable = (
        {name: one for name, one in listings(results, part).items() if counts(f"{part} {name}", one.made)}
        for part in (AGAINST_ITSELF, DETECTABLE)
    )
    coverage = read_listing(results, COVERAGE)
    if coverage is not None and not counts(COVERAGE, coverage.made):
        coverage = None
    return Stored(worlds, itself, detectable, coverage, tuple(late), tuple(outdated), allowed)


def _world_of(part: str, line: Line) -> DrawnWorld | None:
    """The world that a line is about; None for one that no group has."""
    for group in groups_of(part):
        if group.kind == line["kind"] and group.first <= line["seed"] < group.first + group.most:
            return DrawnWorld(group, int(line["seed"]))
    return None
