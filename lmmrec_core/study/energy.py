"""Energy of a run, where it is asked for: an estimate of codecarbon, an extra that nothing else needs.

codecarbon reads the counters of processor and GPU where the machine has them. Where it has none, it takes the
processor's rated power times its load, and a fixed power for memory: then the number is an estimate from a table. It
works offline here: nothing is asked or sent, and nothing is written but the run's own record. Carbon is not recorded,
because it depends on where and when the electricity was made, which nobody asks.
"""

import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lmmrec_core.errors import ConfigError

TOOL = "codecarbon"
_EVERY = 5  # seconds between two readings
#: No output of its own: no file, no service, no words.
_QUIET: dict[str, Any] = {"output_methods": [], "log_level": "critical", "allow_multiple_runs": True}


def require_meter() -> None:
    """Raises ConfigError, with the cure, where energy cannot be measured."""
    if find_spec(TOOL) is None:
        raise ConfigError(f"--energy needs {TOOL}: python -m pip install 'lmmrec[energy]'; or leave --energy out")


def energy_told(cost: Mapping[str, Any]) -> str:
    """The energy of a run in words; ``cost``: that part of its record."""
    if energy := cost.get("energy"):
        return f"{1000 * energy['kwh']:.3g} Wh, an estimate of {energy['tool']}"
    return "not measured: the result was stored before without, or there was no reading"


def whole_from_here(checkpoint: Path) -> bool:
    """Whether a training starts anew; if it goes on from a checkpoint, warns that its energy will not be recorded.

    ``checkpoint`` is that of the training; those of its phases count too (``checkpoints.saved_files``).
    """
    from lmmrec_core import checkpoints  # loads torch

    if checkpoints.saved_files(checkpoint):
        told = "the training goes on from a checkpoint, and what it took before was not measured"
        warnings.warn(f"energy is not recorded: {told}", stacklevel=3)
        return False
    return True


@contextmanager
def metered(asked: bool) -> Iterator[dict[str, Any]]:
    """A note that is filled when the block ends well; it stays empty unless ``asked``.

    In kWh: ``kwh`` in all, ``processor_kwh``, ``memory_kwh``, ``gpu_kwh``; ``seconds`` it was measured for, ``tool``
    with its version, ``mode``: of this process and its children, as far as counters tell processes apart. Warns if
    there is no reading. Raises ConfigError as :func:`require_meter`.
    """
    note: dict[str, Any] = {}
    if not asked:
        yield note
        return
    require_meter()
    tracker = importlib.import_module(TOOL).OfflineEmissionsTracker
    logger = logging.getLogger(TOOL)
    logger.disabled = True  # it speaks before it reads its log level
    meter = tracker(measure_power_secs=_EVERY, tracking_mode="process", **_QUIET)
    meter.start()
    try:
        yield note
    finally:
        meter.stop()
        logger.disabled = False
    reading = getattr(meter, "final_emissions_data", None)
    if reading is None:
        warnings.warn(f"energy is not recorded: {TOOL} gave no reading on this machine", stacklevel=3)
        return
    note.update(
        kwh=float(reading.energy_consumed),
        processor_kwh=float(reading.cpu_energy),
        memory_kwh=float(reading.ram_energy),
        gpu_kwh=float(reading.gpu_energy),
        seconds=float(reading.duration),
        tool=f"{TOOL} {reading.codecarbon_version}",
        mode="process",
    )
