"""Pictures by their links: each link asked once, each picture decoded before it is kept, dead links remembered.

A picture is at ``<item>.jpg`` whatever its format, because readers go by content; items with one link share one file
where the disk can do that. ``not_there.csv`` lists the items whose link is dead, and why; they are not asked again.
"""

import csv
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from PIL import Image
from tqdm import tqdm

from lmmrec_core.disk import put_in_place, whole_file, write_file
from lmmrec_core.errors import DataError, LmmrecError
from lmmrec_core.fetching.checks import is_page
from lmmrec_core.fetching.client import Gone, Interrupted, PoliteClient, Unreachable
from lmmrec_core.fetching.sources import PictureLinks

DEAD_LINKS = "not_there.csv"
LARGEST = 32 * 2**20  # bytes of a picture file
SHORTEST_SIDE = 224  # pixels that the paper's encoders read: no shrinking goes below
_PATIENCE = 4  # times the stall of the client: a server that drips is given up too
_GIVE_UP = 40  # links in a row that could not be asked: the network or the host is away
_BLANK, _NO_ADDRESS, _STRANGE_HOST = "the shop's sign for no picture", "no address", "of a host that is not asked"
_SURE = ("status 404", "status 410", _BLANK, _NO_ADDRESS, _STRANGE_HOST)  # whoever answers, and however often
_HEADER = ("item_id", "link", "why")

Decode = Callable[[Path, str], Image.Image]  # a file and its item → RGB; raises LmmrecError for what is no picture


@dataclass
class PictureOutcome:
    """What became of the items of a catalogue, counted."""

    fetched: int = 0
    there: int = 0  # before
    without_link: int = 0
    dead: Counter[str] = field(default_factory=Counter)  # by reason
    postponed: int = 0  # not answered for now

    @property
    def pictures(self) -> int:
        """Items that have a picture now."""
        return self.fetched + self.there

    def told(self) -> str:
        """The counts in one line."""
        dead = ", ".join(f"{why} {number:,}" for why, number in self.dead.most_common())
        parts = [f"{self.pictures:,} pictures ({self.fetched:,} new)", f"{self.without_link:,} items without a link"]
        parts += [f"dead links: {dead or 'none'}"]
        return "; ".join(parts + ([f"{self.postponed:,} to be asked again"] if self.postponed else []))


class PictureFolder:
    """The pictures of one catalogue: ``folder`` is filled with ``<item>.jpg``.

    ``longest_side``: larger pictures are shrunk to this many pixels, though never below ``SHORTEST_SIDE`` on the
    shorter one, and saved as JPEG; none: kept byte for byte as they came.
    """

    def __init__(
        self, folder: Path, rules: PictureLinks, decode: Decode, longest_side: int | None = None, again: bool = False
    ) -> None:
        self.folder, self.rules, self.decode, self.longest_side = folder, rules, decode, longest_side
        self.coming = folder.with_name(f"{folder.name}.part")
        self.dead_file = folder.parent / DEAD_LINKS
        self.dead = {} if again else self._read_dead()
        if again:
            self.dead_file.unlink(missing_ok=True)

    def fetch(self, links: Mapping[str, str], client: PoliteClient, progress: bool = False) -> PictureOutcome:
        """Ask for every picture that is not there. ``links``: item → link, "" for an item without one.

        Raises Unreachable when 40 links in a row could not be asked; what has come stays.
        """
        outcome, by_link = PictureOutcome(), dict[str, list[str]]()
        for item, link in links.items():
            if self._file(item).is_file():
                outcome.there += 1
            elif not link:
                outcome.without_link += 1
            elif (known := self.dead.get(item)) and known[0] == link:
                outcome.dead[known[1]] += 1
            else:
                by_link.setdefault(link, []).append(item)
        with self._open():
            self._asked(by_link, client, outcome, progress)
        return outcome

    def take(self, found: Mapping[str, Path]) -> int:
        """Take copies of pictures that someone has, item → file; those that cannot be decoded are left. How many."""
        taken = 0
        with self._open():
            for item, file in found.items():
                if not self._file(item).is_file():
                    with suppress(Gone):
                        self._keep(item, file.read_bytes())
                        taken += 1
        return taken

    def _asked(
        self, by_link: Mapping[str, list[str]], client: PoliteClient, outcome: PictureOutcome, progress: bool
    ) -> None:
        bar = tqdm(total=len(by_link), desc="pictures", unit="picture", disable=not progress)
        workers = client.manners.connections
        with bar, self._noting() as note, ThreadPoolExecutor(workers) as pool:
            streak = _Streak(note)
            try:
                jobs = _in_hand(pool, by_link, lambda link: self._one(link, by_link[link][0], client), 4 * workers)
                for link, job in jobs:
                    items = by_link[link]
                    try:
                        job.result()
                        for other in items[1:]:
                            self._share(items[0], other)
                        outcome.fetched += len(items)
                        streak.end()
                    except Unreachable as error:
                        outcome.postponed += len(items)
                        streak.add(str(error))
                    except Gone as error:
                        outcome.dead[str(error)] += len(items)
                        streak.add(str(error), [(item, link, str(error)) for item in items])
                    bar.update()
                streak.end()
            except BaseException:  # an interrupt too: threads that wait for a server wait no longer
                client.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, link: str, item: str, client: PoliteClient) -> None:
        """Raises Gone with a reason of few words, Unreachable for now."""
        if any(mark in link for mark in self.rules.blanks):
            raise Gone(_BLANK)
        try:
            address = httpx.URL(link)
        except httpx.InvalidURL:
            raise Gone(_NO_ADDRESS) from None
        if address.scheme not in ("http", "https") or address.netloc.decode() not in self.rules.hosts:
            raise Gone(_STRANGE_HOST)
        try:
            content = client.persistently(link, lambda: _content(link, client))
        except Gone as error:
            raise Gone(str(error).removeprefix(f"{link}: ")) from None
        self._keep(item, content)

    def _keep(self, item: str, content: bytes) -> None:
        """A picture at its place, once it was decoded. Raises Gone for what is none; DataError for a full disk.

        It is written in a folder of its own first: among a hundred thousand others, beginnings would be hard to find.
        """
        raw = self.coming / item
        try:
            with raw.open("wb") as file:
                file.write(content)
            picture = self.decode(raw, item)
            if (smaller := self._size(picture)) is not None:
                with raw.open("wb") as file:
                    shrunk = picture.resize(smaller, Image.Resampling.LANCZOS)
                    shrunk.save(file, format="JPEG", quality=95, subsampling=0)
        except LmmrecError:
            raise Gone("no picture that can be decoded") from None
        except OSError as error:
            raise DataError(f"{raw}: could not be written ({error.strerror or error}); free space there") from None
        put_in_place(raw, self._file(item), DataError)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """The folder, and an empty one beside it for what is being written; a killed process may have left it."""
        shutil.rmtree(self.coming, ignore_errors=True)
        for folder in (self.folder, self.coming):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            yield
        finally:
            shutil.rmtree(self.coming, ignore_errors=True)

    def _size(self, picture: Image.Image) -> tuple[int, int] | None:
        """What a picture is shrunk to; None if it stays as it is."""
        if self.longest_side is None:
            return None
        scale = max(self.longest_side / max(picture.size), SHORTEST_SIDE / min(picture.size))
        return None if scale >= 1 else (round(picture.width * scale), round(picture.height * scale))

    def _share(self, item: str, other: str) -> None:
        """The picture of ``item`` for ``other`` too, as one file if the disk can do that."""
        target = self._file(other)
        try:
            os.link(self._file(item), target)
        except FileExistsError:
            return
        except OSError:
            with whole_file(target, DataError) as partial:
                shutil.copyfile(self._file(item), partial)

    def _file(self, item: str) -> Path:
        return self.folder / f"{item}.jpg"

    def _read_dead(self) -> dict[str, tuple[str, str]]:
        """Item → its dead link and why; a line that was being written when a process was killed is passed over."""
        if not self.dead_file.is_file():
            return {}
        with self.dead_file.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == len(_HEADER)]
        return {item: (link, why) for item, link, why in rows if item != _HEADER[0]}

    @contextmanager
    def _noting(self) -> Iterator[Callable[[Iterable[str]], None]]:
        """The list of dead links, whole lines alone, and a function that adds one, on disk at once."""
        rows = [_HEADER, *((item, link, why) for item, (link, why) in self.dead.items())]
        write_file(self.dead_file, "".join(map(_csv_line, rows)), DataError)
        with self.dead_file.open("a", encoding="utf-8", newline="") as file:

            def note(row: Iterable[str]) -> None:
                file.write(_csv_line(row))
                file.flush()

            yield note


class _Streak:
    """Links in a row without a picture. Too many are no dead links: the network is away, or a login page answers."""

    def __init__(self, note: Callable[[Iterable[str]], None]) -> None:
        self.note, self.length = note, 0
        self.doubtful: list[tuple[str, str, str]] = []  # noted once a later link gives a picture

    def add(self, why: str, rows: Sequence[tuple[str, str, str]] = ()) -> None:
        """A link gave no picture. Raises Unreachable if that has become too common."""
        if why.startswith(_SURE):
            for row in rows:
                self.note(row)
            return
        self.doubtful += rows
        self.length += 1
        if self.length >= _GIVE_UP:
            raise Unreachable(
                f"{self.length} links in a row gave no picture, the last: {why}. Is there a network, and no login "
                "page? They were not noted as dead; run the same command again"
            )

    def end(self) -> None:
        """A link gave a picture, or there are no more: what went before was dead indeed."""
        for row in self.doubtful:
            self.note(row)
        self.doubtful, self.length = [], 0


def _csv_line(row: Iterable[str]) -> str:
    return ",".join('"' + cell.replace('"', '""').replace("\n", " ") + '"' for cell in row) + "\n"


def _content(link: str, client: PoliteClient) -> bytes:
    """The whole body behind a link. Raises Interrupted, or Gone for a page and for what is too large."""
    late = time.monotonic() + _PATIENCE * client.manners.stall
    with client.answer(link) as response:
        if response.status_code != 200:
            raise Gone(f"status {response.status_code}")
        pieces, held = [], 0
        for piece in response.iter_raw():
            pieces.append(piece)
            held += len(piece)
            if held > LARGEST:
                raise Gone(f"more than {LARGEST // 2**20} MiB")
            if time.monotonic() > late:
                raise Interrupted(f"only {held:,} bytes in {_PATIENCE * client.manners.stall:.0f} seconds")
        length = response.headers.get("Content-Length", "")
    if length.isdigit() and held != int(length):
        raise Interrupted(f"broken off after {held:,} of {length} bytes")
    content = b"".join(pieces)
    if is_page(content[:512]):
        raise Gone("a web page")
    return content


def _in_hand(
    pool: ThreadPoolExecutor, links: Iterable[str], work: Callable[[str], None], at_once: int
) -> Iterator[tuple[str, Future[None]]]:
    """Jobs as they end, with few of them waiting at a time: a hundred thousand links need no memory."""
    waiting: dict[Future[None], str] = {}
    rest = iter(links)
    while True:
        for link in rest:
            waiting[pool.submit(work, link)] = link
            if len(waiting) >= at_once:
                break
        if not waiting:
            return
        ended, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for job in ended:
            yield waiting.pop(job), job
