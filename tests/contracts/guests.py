"""A package of a stranger's own, as pip would leave it in a folder: one module, and its entry points beside it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LMMREC = ("-c", "import sys; from lmmrec_core.cli import main; sys.exit(main(sys.argv[1:]))")  # the command line


def install(site: Path, module: str, source: str, points: Mapping[str, Mapping[str, str]]) -> Path:
    """Write ``module`` with its ``source`` and entry points (group → name → attribute) into the folder ``site``."""
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(source, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        line
        for group, members in points.items()
        for line in (f"[{group}]", *(f"{name} = {module}:{attribute}" for name, attribute in members.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return site


def run(site: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new Python with ``site`` on its path, started in the repository: ``run(site, "-m", "pytest", …)``."""
    path = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
