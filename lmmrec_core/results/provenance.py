"""Where a result comes from: code, packages, machine and time, without names of hosts, users or folders."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lmmrec_core import __version__

PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "statsmodels", "pydantic", "safetensors", "pillow",
    "timm", "transformers", "sentence-transformers", "tokenizers", "open_clip_torch", "torch-geometric",
)  # fmt: skip
_ROOT = Path(__file__).resolve().parents[2]


def provenance(device: str = "cpu") -> dict[str, Any]:
    """Plain JSON values: ``commit`` and ``dirty`` (None outside a git checkout), ``versions``, ``machine``, ``time``.

    ``device`` is what the caller trained on ("cpu", "cuda: NVIDIA ..."): this stage does not ask torch.
    ``time`` is UTC, ISO 8601 with microseconds, so that later sorts after earlier.
    """
    commit, dirty = _commit(_ROOT)
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": {"lmmrec": __version__, "python": platform.python_version(), **_versions()},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": _cpu_model(),
            "cpus": os.cpu_count(),
            "device": str(device),
        },
        "time": datetime.now(UTC).isoformat(timespec="microseconds"),
    }


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return found


def _commit(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout whose top is ``root``, and whether tracked files differ from it."""
    if not (root / ".git").exists():  # installed, or inside somebody else's repository
        return None, None
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None, None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changed is None else bool(changed)


def _git(root: Path, *arguments: str) -> str | None:
    # without optional locks: many runs may ask at once
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
