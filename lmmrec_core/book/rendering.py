"""The book rendered by Jupyter Book: from scratch when anything it shows has changed, every warning an error."""

import shutil
import subprocess
import sys
from pathlib import Path

from lmmrec_core.book.finishing import finish_pages
from lmmrec_core.book.pages import unfit
from lmmrec_core.digests import files_digest
from lmmrec_core.disk import write_file
from lmmrec_core.errors import ResultError


def book_digest(root: Path) -> str:
    """Digest of everything that the rendered book depends on."""
    files = [path for path in (root / "book").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files += [root / name for name in ("_config.yml", "_toc.yml", "requirements.txt") if (root / name).is_file()]
    return files_digest(files, root)


def fresh(root: Path) -> bool:
    """Whether ``_build/html`` is the rendering of what is there now."""
    stamp = root / "_build" / "html" / ".inputs"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == book_digest(root)


def render(root: Path) -> subprocess.CompletedProcess[str]:
    """Render the book in ``root`` from scratch, every warning an error; finished and stamped only if it went well."""
    html = root / "_build" / "html"
    shutil.rmtree(html, ignore_errors=True)
    flags = ["--all", "-W", "-n", "--keep-going", "-q"]
    tool = Path(sys.executable).with_name("jupyter-book")
    done = subprocess.run([tool, "build", ".", *flags], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        finish_pages(html, root)
        write_file(html / ".inputs", book_digest(root))
    return done


def build(root: Path) -> None:
    """Render unless nothing has changed, and say where to open it. Raises ResultError with the warnings."""
    problems = unfit(root)
    if problems:
        raise ResultError("\n".join(problems))
    if fresh(root):
        print("the rendered book is up to date")
    else:
        done = render(root)
        if done.returncode:
            raise ResultError(f"{done.stdout}{done.stderr}\nthe book was not built; mend the pages named above")
    print(f"open {(root / '_build' / 'html' / 'index.html').as_uri()}")
