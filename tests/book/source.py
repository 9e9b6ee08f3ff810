"""The chapters and notebooks of the book as written, for tests of what they say."""

from pathlib import Path

from lmmrec_core.book.runner import read_notebook

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
QUESTION_PAGES = [path for path in NOTEBOOKS if "rq" in path.stem or "motivation" in path.stem]


SHOWING = ("13_recommendations", "14_speed", "15_cards")  # pages of lists and costs, without a claim


def chapter(name: str) -> str:
    return (ROOT / "book" / "chapters" / f"{name}.md").read_text(encoding="utf-8")


def cells(path: Path, kind: str) -> str:
    return "\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == kind)


def table_under(text: str, heading: str) -> list[list[str]]:
    """The cells of the Markdown table whose header begins with ``heading``, without the header."""
    lines = text[text.index(f"| {heading} |") :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
