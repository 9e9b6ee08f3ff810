"""Where a result comes from: code, packages, machine and time, without names of hosts, users or folders.

What was made while the code differed from its commit can't be made again by anybody else. Tables do not use it
(:func:`code_state`), unless the environment variable :data:`ALLOW` is 1.
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from lmmrec_core import __version__
from lmmrec_core.errors import ConfigError

PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "statsmodels", "pydantic", "safetensors", "pillow",
    "timm", "transformers", "sentence-transformers", "tokenizers", "open_clip_torch", "torch-geometric",
)  # fmt: skip
_ROOT = Path(__file__).resolve().parents[2]
COMPUTES = ("lmmrec_core", "pyproject.toml", "requirements.txt")  # what decides on a number; notebooks and prose do not
ALLOW = "LMMREC_ALLOW_UNCOMMITTED"
CodeState = Literal["committed", "uncommitted", "unknown"]


@dataclass(frozen=True)
class Code:
    """The code at one moment: its commit, and whether it differs from that (both None outside a git checkout)."""

    commit: str | None
    dirty: bool | None


def code_now() -> Code:
    """The code as it is. Work that takes long asks at its start: what it computes is of that code."""
    return Code(*_commit(_ROOT))


def provenance(device: str = "cpu", started: Code | None = None) -> dict[str, Any]:
    """Plain JSON values: ``commit`` and ``dirty`` (None outside a git checkout), ``versions``, ``machine``, ``time``.

    ``dirty``: whether anything of :data:`COMPUTES` differs from the commit, new files included.
    ``started``: the code when the work began, whose commit is named; what differed then or differs now is dirty.
    ``device`` is what the caller trained on ("cpu", "cuda: NVIDIA ..."): this stage does not ask torch.
    ``time`` is UTC, ISO 8601 with microseconds, so that later sorts after earlier.
    """
    now = code_now()
    began = now if started is None else started
    return {
        "commit": began.commit,
        "dirty": True if began.dirty else now.dirty,
        "versions": {"lmmrec": __version__, "python": platform.python_version(), **_versions()},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": _cpu_model(),
            "cpus": os.cpu_count(),
            "device": str(device),
        },
        "time": datetime.now(UTC).isoformat(timespec="microseconds"),
    }


def code_state(made: Mapping[str, Any]) -> CodeState:
    """Whether what has this provenance was made by committed code; "unknown" outside a git checkout.

    A run counts as made by uncommitted code, too, if it read encoder weights of such code (``weights``).
    """
    if made.get("dirty") or made.get("weights") == "uncommitted":
        return "uncommitted"
    return "unknown" if made.get("commit") is None or made.get("dirty") is None else "committed"


def code_state_now() -> CodeState:
    """The same for the code as it is."""
    return code_state(asdict(code_now()))


def counts_now() -> bool:
    """Whether a result that the code as it is now makes will count. Raises as :func:`allows_uncommitted`."""
    return allows_uncommitted() or code_state_now() != "uncommitted"


def allows_uncommitted() -> bool:
    """Whether :data:`ALLOW` is set to 1. Raises ConfigError for a value that is neither 0 nor 1."""
    value = os.environ.get(ALLOW, "0")
    if value not in ("", "0", "1"):
        raise ConfigError(f"{ALLOW}={value!r}: write {ALLOW}=1 to let tables use results of uncommitted code")
    return value == "1"


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
    """Commit of the checkout whose top is ``root``, and whether files of :data:`COMPUTES` differ from it."""
    if not (root / ".git").exists():  # installed, or inside somebody else's repository
        return None, None
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None, None
    changed = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *COMPUTES)
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
