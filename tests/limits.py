"""Running code in a process that may take only so much more memory than it has once everything is imported."""

import os
import subprocess
import sys
from pathlib import Path

_LIMITED = """
import resource, sys
from pathlib import Path
{imports}
import torch  # its threads and tables, before the limit is set
torch.set_num_threads(1)
torch.ones(64, 64) @ torch.ones(64, 64)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + {mebibytes} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
{code}
"""


def run_within(mebibytes: int, imports: str, code: str, *arguments: object) -> str:
    """What ``code`` prints; ``arguments`` are its ``sys.argv[1:]``. Fails with the traceback if it raises."""
    script = _LIMITED.format(imports=imports, mebibytes=mebibytes, code=code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    root = Path(__file__).resolve().parents[1]
    environment["PYTHONPATH"] = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
