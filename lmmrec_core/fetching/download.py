"""One file from its addresses into its place: bit by bit, resumed where the last call ended, checked, then named.

What has come is in ``NAME.part`` beside its place, and ``NAME.part.json`` says of which file it is the beginning: a
server that has another one by now sends it from its start (``If-Range``).
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx

from lmmrec_core.disk import put_in_place, read_sealed, write_sealed
from lmmrec_core.errors import DataError
from lmmrec_core.fetching.checks import check_file, is_page
from lmmrec_core.fetching.client import Gone, Interrupted, PoliteClient, Unreachable
from lmmrec_core.fetching.sources import SourceFile

Moved = Callable[[int, int | None], None]  # told after each piece: bytes that are there, and of how many
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_CURE = "if the publisher has changed it, give a good copy with --from FOLDER"


class Download:
    """The file of one source on its way to ``target``; :meth:`run` brings it there."""

    def __init__(
        self, source: SourceFile, target: Path, client: PoliteClient, moved: Moved = lambda there, total: None
    ) -> None:
        self.source, self.target, self.client, self.moved = source, target, client, moved
        self.part = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")

    def run(self) -> str:
        """The SHA-256 of the file, now at its place. Each address is tried until one has it.

        Raises Gone if none has it, or what came is another file than published; Unreachable if an address may have it
        later: what has come stays, and the next call goes on. DataError for a full disk.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        gone: list[str] = []
        unreachable: list[str] = []
        for address in self.source.addresses:
            try:
                self.client.persistently(address, lambda address=address: self._attempt(address))  # type: ignore[misc]
                digest = self._checked(address)
            except Gone as error:
                gone.append(str(error))
                continue
            except Unreachable as error:
                unreachable.append(str(error))
                if self.part.is_file():  # another address would begin anew
                    break
                continue
            put_in_place(self.part, self.target, DataError)
            self.note.unlink(missing_ok=True)
            return digest
        told = "\n  ".join([f"{self.source.path}: no address has given it", *gone, *unreachable])
        if unreachable:
            raise Unreachable(f"{told}\n  run the same command again: it goes on from what has come")
        raise Gone(f"{told}\n  get it elsewhere (see the publisher's page) and give its folder with --from FOLDER")

    def _checked(self, address: str) -> str:
        try:
            return check_file(self.part, self.source, _CURE)
        except DataError as error:
            self._forget()
            told = str(error).replace(str(self.part), address)
            raise Gone(f"{told}; nothing of it was kept") from None

    def _attempt(self, address: str) -> None:
        """Everything that is still missing from one answer. Raises Interrupted if it ends before that."""
        have, kept = self._beginning(address)
        headers = {}
        if have:
            headers["Range"] = f"bytes={have}-"
            if validator := kept.get("etag") or kept.get("last_modified"):
                headers["If-Range"] = str(validator)
        with self.client.answer(address, headers) as response:
            if response.status_code == 416 and have:
                self._settle_unsatisfied(response, have)
                return
            have, total = self._start(response, address, have)
            self._take(response, have, total)

    def _beginning(self, address: str) -> tuple[int, dict[str, object]]:
        """How many bytes have come from this address, and of what; nothing of what cannot be gone on with."""
        try:
            kept = read_sealed(self.note, DataError)
            if kept["address"] == address and (kept["etag"] or kept["last_modified"]) and self.part.is_file():
                return self.part.stat().st_size, kept
        except (DataError, KeyError):
            pass  # there is none, or it cannot be read: from the start then
        self._forget()
        return 0, {}

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _settle_unsatisfied(self, response: httpx.Response, have: int) -> None:
        """A server without bytes after ours: it has no more, or another file."""
        if response.headers.get("Content-Range") != f"bytes */{have}":
            self._forget()
            raise Interrupted("the file has changed meanwhile; from the start")

    def _start(self, response: httpx.Response, address: str, have: int) -> tuple[int, int | None]:
        """Where the answer begins, and how long the whole file is, if it says so."""
        if response.status_code == 206:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != have:
                self._forget()
                raise Interrupted("another part was sent than asked for; from the start")
            total = None if found[3] == "*" else int(found[3])
        elif response.status_code == 200:
            length = response.headers.get("Content-Length", "")
            have, total = 0, int(length) if length.isdigit() else None
            self._forget()
            etag = response.headers.get("ETag", "")
            write_sealed(
                self.note,
                {
                    "address": address,
                    "etag": "" if etag.startswith("W/") else etag,  # a weak one may stand for other bytes
                    "last_modified": response.headers.get("Last-Modified", ""),
                },
                DataError,
            )
        else:
            raise Gone(f"{address}: status {response.status_code}, which brings no file")
        expected = self.source.size
        if total is not None and expected is not None and total != expected:
            self._forget()
            raise Gone(f"{address}: {total:,} bytes, published are {expected:,}; {_CURE}")
        if total is not None:
            self._require_room(total - have)
        return have, total

    def _require_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.target.parent).free
        if needed > free:
            raise DataError(
                f"{self.target}: needs {needed:,} more bytes, the disk has {free:,}; free some, or give another folder"
            )

    def _take(self, response: httpx.Response, have: int, total: int | None) -> None:
        before = have
        try:
            with self.part.open("ab" if have else "wb") as file:
                for piece in response.iter_raw():
                    if not have and is_page(piece):
                        self._refuse_page(response)
                    try:
                        file.write(piece)
                        file.flush()
                    except OSError as error:
                        raise DataError(
                            f"{self.part}: could not be written ({error.strerror}); free space, then run the same "
                            "command again: it goes on from here"
                        ) from None
                    have += len(piece)
                    self.moved(have, total)
        except httpx.TransportError as error:
            raise Interrupted(str(error) or type(error).__name__, gained=have > before) from None
        if total is not None and have < total:
            raise Interrupted(f"broken off after {have:,} of {total:,} bytes", gained=have > before)

    def _refuse_page(self, response: httpx.Response) -> None:
        self._forget()
        raise Gone(f"{response.url}: a web page came in the place of {self.source.path}: moved, or it asks to log in")
