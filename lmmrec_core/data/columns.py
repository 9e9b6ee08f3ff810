"""Names of columns: which are read, which are near misses of those, and what else a column is often called."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

CLOSE = 0.8  # names this alike are near misses: ratings, time_stamp, splt
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'", ",": "','"}

#: What others call a column that we read. A hint names it. For the column of parts it is a near miss: that would be
#: too dear to pass over.
ALSO_CALLED: Mapping[str, tuple[str, ...]] = {
    "user_id": ("user", "userid", "uid", "reviewerid", "customer", "customerid", "session", "sessionid"),
    "item_id": ("item", "itemid", "iid", "asin", "parentasin", "product", "productid", "movieid", "sku", "id"),
    "rating": ("overall", "stars", "score", "rate"),
    "timestamp": ("time", "date", "unixreviewtime", "ts"),
    "split": (
        "xlabel", "label", "part", "partition", "fold", "set", "subset", "splitlabel", "traintest", "heldout", "isval",
    ),
    "x_label": ("split", "label", "part", "partition", "fold", "set", "subset", "heldout", "isval"),
    "image": ("picture", "img", "photo", "imagepath", "imagefile", "filename", "file", "path", "poster"),
    "title": ("name", "productname", "itemname"),
    "description": ("text", "desc", "plot", "summary"),
    "categories": ("category", "genre", "genres", "tags"),
    "brand": ("maker", "manufacturer", "store"),
}  # fmt: skip
_PARTS = ("split", "x_label")
# words inside the name of a column of parts: data_split, fold_id, isTest, train_valid_test
_OF_PARTS = frozenset(
    {"split", "splits", "fold", "folds", "partition", "subset", "train", "valid", "test", "tvt", "training"}
    | {"validation", "testing", "eval", "evaluation", "holdout", "heldout"}
)
#: What cells of a column of parts say, whatever its name is.
_PART_WORDS = frozenset(
    {
        "train",
        "training",
        "tr",
        "valid",
        "validation",
        "val",
        "va",
        "dev",
        "test",
        "testing",
        "te",
        "eval",
        "evaluation",
    }
    | {"holdout", "trn", "tst", "vld"}
)
_BESIDE = frozenset({"set", "data", "split", "part", "is", "in"})  # words beside them: train_set, isTest
# Words of a name under which numbers can hardly be anything but codes of parts
_OF_CODES = frozenset(
    {"part", "parts", "set", "sets", "dataset", "phase", "stage", "usage", "role", "portion", "kfold", "cv", "hold"}
    | {"assignment", "xlabel", "isval"}
)
_CODES = (("0", "1", "2"), ("1", "2", "3"))  # of train, valid and test, as toolboxes number them
_OF_ONE = frozenset({"0", "1"})  # held out or not


def plain(column: str) -> str:
    """A name without what people vary: case, blanks, underscores, hyphens, quotes."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


def near_misses(header: Sequence[str], read: Iterable[str], optional: Iterable[str]) -> dict[str, str]:
    """Column of the header that would be passed over → the optional column that it may be meant for."""
    known = {*read, *optional}
    missed = {}
    for column in header:
        for wanted in optional:
            if column in known or wanted in header:
                continue
            if _near(column, wanted):
                missed[column] = wanted
                break
    return missed


def _near(name: str, wanted: str) -> bool:
    alike = SequenceMatcher(None, plain(name), plain(wanted)).ratio() >= CLOSE
    return alike or (
        wanted in _PARTS and (plain(name) in ALSO_CALLED[wanted] or not _OF_PARTS.isdisjoint(words_of(name)))
    )


def _part_in(cell: str) -> str | None:
    """The part that a cell names, in its own word: ``test`` of "2-test", "Test set" and "testset"; None for others."""
    words = words_of(cell) - _BESIDE
    word = words.pop().removesuffix("set") if len(words) == 1 else ""
    return word if word in _PART_WORDS else None


def words_of(name: str) -> set[str]:
    """The words of a name: ``{"visual", "embeddings"}`` of visualEmbeddings_1."""
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))


class PartWords:
    """Looks for a column of parts among those that are not read: its cells give it away, whatever its name is."""

    def __init__(self, header: Sequence[str], read: Iterable[str], optional: Iterable[str]) -> None:
        self.wanted = next((column for column in optional if column in _PARTS and column not in header), None)
        known = {*read, *optional}
        self._seen: dict[str, set[str]] = {c: set() for c in header if c not in known} if self.wanted else {}
        self._codes: dict[str, Counter[str]] = {column: Counter() for column in self._seen}

    def look(self, cells: Mapping[str, str]) -> None:
        """A row of the table."""
        for column in list(self._seen):
            word = _part_in(cells[column]) if cells[column] else ""
            if word is None:
                del self._seen[column]
            else:
                self._seen[column].add(word)
        for column, counts in list(self._codes.items()):
            code = cells[column].removesuffix(".0")
            if code in _CODES[0] or code in _CODES[1]:
                counts[code] += 1
            else:
                del self._codes[column]

    def found(self) -> list[str]:
        """Columns whose cells, of all rows seen, are parts; an empty cell counts as one among others.

        Codes, as 0, 1 and 2, are parts where the column's name says so too.
        """
        coded = [
            column
            for column, counts in self._codes.items()
            if len(counts) > 1 and _OF_CODES & words_of(column) and (set(counts) == _OF_ONE or _are_codes(counts))
        ]
        return [column for column, words in self._seen.items() if len(words) > 1] + coded

    def perhaps(self) -> list[str]:
        """Columns of other names whose cells may be codes of parts: three in a row, one of them in half of the rows."""
        return [column for column, counts in self._codes.items() if _are_codes(counts) and column not in self.found()]

    @property
    def cure(self) -> str:
        """How a column of parts is written in a table that has one."""
        parts = "train, valid or test" if self.wanted == "split" else "0, 1 or 2"
        return f"rename it {self.wanted!r} and write {parts}"

    def warn(self, path: Path, cure: str = "") -> None:
        """Warn of each column that may hold parts, none of which is used."""
        for column in self.perhaps():
            codes = ", ".join(sorted(self._codes[column]))
            warnings.warn(
                f"{path}: column {column!r} is not read; if its {codes} are parts of a split, {cure or self.cure}",
                stacklevel=2,
            )


def _are_codes(counts: Mapping[str, int]) -> bool:
    return tuple(sorted(counts)) in _CODES and 2 * max(counts.values()) >= sum(counts.values())


def meant_for(wanted: str, header: Sequence[str], read: Iterable[str], least: float = 0.5) -> str | None:
    """The column of the header that may be meant for ``wanted``, none of those that are read themselves.

    A name that is often given to it goes first; then the one that is most like it, if by ``least`` or more.
    """
    others = {column: plain(column) for column in header if column and column not in set(read)}
    for column, name in others.items():
        if name == plain(wanted) or name in ALSO_CALLED.get(wanted, ()):
            return column
    likeness = {c: SequenceMatcher(None, name, plain(wanted)).ratio() for c, name in others.items()}
    best = max(likeness, key=lambda column: likeness[column], default=None)
    return best if best is not None and likeness[best] >= least else None


def other_separator(first_line: str, required: Sequence[str], separator: str) -> str | None:
    """In words, the separator that this header has in the place of ``separator``; None if it is that one."""
    wanted = {plain(column) for column in required}
    for other, words in _SEPARATORS.items():
        cells = [plain(cell) for cell in first_line.split(other)]
        if other != separator and len(cells) > 1 and (wanted & set(cells) or separator not in first_line):
            return words
    cells = [plain(cell) for cell in first_line.split()]
    return "blanks" if len(cells) > 1 and separator not in first_line and wanted & set(cells) else None


def no_header(first_line: str) -> str:
    """What the first line of a table is in the place of its header, with the cure; "" if it may be one."""
    line = first_line.strip()
    if not line:
        return "blank; remove the blank lines, so that the first line names the columns"
    if line.startswith(("{", "[{")):
        return "JSON, not a table; write the rows below a line that names the columns"
    if line.startswith(("#", "//")):
        return "a comment; remove it, so that the first line names the columns"
    if re.fullmatch(r'"?sep=.{0,3}', line, re.IGNORECASE):
        return f"{line!r} is a note for a spreadsheet; remove it, so that the first line names the columns"
    return ""


def in_words(separator: str) -> str:
    """A separator as a message names it."""
    return _SEPARATORS.get(separator, repr(separator))
