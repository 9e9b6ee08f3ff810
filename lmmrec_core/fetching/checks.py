"""Is a file what it should be? Size and digest where they are published, and its content by its kind."""

import gzip
import re
import zlib
from pathlib import Path

from lmmrec_core.digests import file_sha256
from lmmrec_core.errors import DataError
from lmmrec_core.fetching.sources import SourceFile

VECTOR_RECORD = 10 + 4 * 4096  # bytes: an ASIN and a row of float32
_BLOCK = 1 << 20
_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|\?xml|error)", re.IGNORECASE | re.DOTALL)
_ASIN = re.compile(rb"[0-9A-Z]{10}")
_TORCH = (b"PK\x03\x04", b"\x80\x02")  # as torch writes it: a zip archive, or before version 1.6 a pickle


def is_page(start: bytes) -> bool:
    """Whether something begins as a web page does, and not as any file that is fetched here."""
    return bool(_PAGE.match(start.removeprefix(b"\xef\xbb\xbf")))


def check_file(file: Path, source: SourceFile, cure: str) -> str:
    """The SHA-256 of a file that is what ``source`` says.

    Raises DataError naming the file, what is wrong and the ``cure``.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(512)
    if is_page(start):
        raise DataError(f"{file}: a web page, not {source.path}; {cure}")
    if size == 0:
        raise DataError(f"{file}: empty; {cure}")
    if source.size is not None and size != source.size:
        raise DataError(f"{file}: {size:,} bytes, published are {source.size:,}; {cure}")
    digest = file_sha256(file)
    if source.sha256 is not None and digest != source.sha256:
        raise DataError(f"{file}: SHA-256 {digest[:16]}…, published is {source.sha256[:16]}…; {cure}")
    if fault := _fault(file, start, size, source.content):
        raise DataError(f"{file}: {fault}; {cure}")
    return digest


def _fault(file: Path, start: bytes, size: int, content: str) -> str:
    """What is wrong with the content; "" if nothing is."""
    if content == "gzip":
        return _gzip_fault(file)
    if content == "vectors":
        if size % VECTOR_RECORD:
            return f"{size:,} bytes are not a whole number of records of {VECTOR_RECORD:,} bytes: broken off"
        return "" if _ASIN.fullmatch(start[:10]) else "does not begin with an ASIN: not the file of vectors"
    if content == "torch":
        return "" if start.startswith(_TORCH) else "not a file of weights as torch writes it"
    return ""


def _gzip_fault(file: Path) -> str:
    """A gzip file has a checksum at its end, so one that was broken off or changed is noticed without a digest."""
    try:
        with gzip.open(file) as opened:
            while opened.read(_BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        return f"not a whole gzip file ({error})"
    return ""
