"""What a file is that should be text or a picture, told by how it begins."""

# how a file begins that was saved in another encoding
_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK": "a zip archive or a workbook",
    b"\x1f\x8b": "gzip",
    b"\xd0\xcf\x11\xe0": "a workbook",
    b"PAR1": "Parquet",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "PDF",
    b"SQLite format 3": "a data base",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x89HDF": "HDF5",
}
# how a text begins that stands in the place of the file, with the cure
_IN_ITS_PLACE = {
    "version https://git-lfs": ("a pointer of Git LFS, not the file", "fetch the file with `git lfs pull`"),
    "<!doctype html": ("a page of HTML, not the file", "fetch the file again"),
    "<html": ("a page of HTML, not the file", "fetch the file again"),
}
_START = 200  # characters that tell what a text is


def other_format(content: bytes) -> str | None:
    """In words, what these bytes are in the place of UTF-8 text; None if they may be that."""
    found = next((words for mark, words in _MARKS.items() if content.startswith(mark)), None)
    if found is None and b"\x00" in content[:2]:  # its first letter, which takes one byte in UTF-8
        return "UTF-16 or UTF-32"
    return found


def in_its_place(text: str) -> tuple[str, str] | None:
    """What a text is that stands in the place of the file asked for, and the cure; None if it is no such text."""
    start = text[:_START].lstrip().lower()
    return next((told for mark, told in _IN_ITS_PLACE.items() if start.startswith(mark)), None)


def no_table(text: str) -> str:
    """What is wrong with a text as a whole, with the cure, to follow the name of its file; "" if nothing is."""
    if found := in_its_place(text):
        return f": {'; '.join(found)}"
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        return f" line {line}: damaged (a null character); fetch or write the file again"
    return ""
