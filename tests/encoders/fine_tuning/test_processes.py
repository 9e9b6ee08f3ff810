"""Two processes on the CPU (gloo) tune one encoder as one process does."""

import os
import signal
import socket
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing

from lmmrec_core.encoders.fine_tuning import loop
from lmmrec_core.encoders.fine_tuning.processes import Processes, together
from lmmrec_core.errors import TrainingError
from tests.encoders.fine_tuning.running import ALL, PAIRS, run, same, state, unmeasured
from tests.encoders.fine_tuning.test_members import build, folder, pairs_of  # noqa: F401  (folder is a fixture)
from tests.encoders.fine_tuning.test_members import settings_of as member_settings
from tests.encoders.fine_tuning.toys import FusingToy

CURVE = WEIGHTS = 1e-5  # in float32, three epochs; measured 4e-7 and 1.3e-6
EXACT = 1e-10  # in float64
MEMBERS = {"clip-tiny": ("itc",), "vlmo-tiny": ALL}


class Exact(FusingToy):
    """The toy in float64: what is left of a difference is a fault, not rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.module.double()

    def image_rows(self, pixels: Tensor) -> Tensor:
        return super().image_rows(pixels.double())

    def text_rows(self, tokens: Mapping[str, Tensor]) -> Tensor:
        mask = tokens["attention_mask"].unsqueeze(-1).double()
        summed = (self.module.words(tokens["input_ids"]) * mask).sum(dim=1)
        return self.module.drop(summed / mask.sum(dim=1) + self.module.position)


def in_processes(work: Any, count: int, out: Path, *given: Any) -> list[Any]:
    """What ``work`` returns in each of ``count`` processes, started as a launcher would. Errors are returned too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=_enter, args=(work, rank, count, port, out, given)) for rank in range(count)]
    for process in started:
        process.start()
    for process in started:
        process.join(240)
    found = [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(count)]
    assert all(process.exitcode == 0 for process in started), found
    return found


def _enter(work: Any, rank: int, count: int, port: int, out: Path, given: Any) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(number) for name, number in numbers.items()}, MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)
    try:
        with together() as processes:
            found = work(processes, *given)
    except (Exception, KeyboardInterrupt) as error:
        found = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    torch.save(found, out / f"{rank}.pt")


def outcome(encoder: Any, tuning: Any) -> dict[str, Any]:
    curve = [[epoch.loss, *epoch.losses.values()] for epoch in tuning.history]
    stood = [tuning.before.plain(), *(epoch.standing.plain() for epoch in tuning.history)]
    return {"curve": curve, "stood": stood, "weights": state(encoder), "best": tuning.best_epoch,
            "processes": tuning.processes}  # fmt: skip


def tune_exact(processes: Processes, changes: dict[str, Any]) -> dict[str, Any]:
    return outcome(*run(Exact(), **changes))


def tune_member(name: str, pictures: Path) -> dict[str, Any]:
    encoder = build(name)
    settings = member_settings(objectives=MEMBERS[name], micro_batch=5, epochs=3)
    return outcome(encoder, loop.fine_tune(encoder, pairs_of(encoder, pictures), settings, progress=False))


def assert_close(found: dict[str, Any], expected: dict[str, Any], curve: float, weights: float) -> None:
    np.testing.assert_allclose(found["curve"], expected["curve"], rtol=0, atol=curve)
    for name, value in expected["weights"].items():
        torch.testing.assert_close(
            found["weights"][name], value, rtol=0, atol=weights, msg=lambda m, n=name: f"{n}: {m}"
        )


FEWER = next(size for size in range(20, 60) if len(PAIRS.train_rows) % size == 2)  # the last batch has two pairs


@pytest.mark.parametrize(
    "changes", [{"objectives": ALL, "micro_batch": 7, "batch_size": FEWER}, {"objectives": ("itm",), "augment": "crop"}]
)
def test_three_processes_make_the_updates_of_one(tmp_path, changes):
    alone = tune_exact(Processes(), {**changes})
    found = in_processes(tune_exact, 3, tmp_path, changes)
    for each in found:
        assert_close(each, alone, curve=EXACT, weights=EXACT)
        assert (each["processes"], each["best"]) == (3, alone["best"])
        assert same(each["weights"], found[0]["weights"]) and each["stood"] == found[0]["stood"]
    assert alone["processes"] == 1


def stop_and_go_on(processes: Processes, path: Path) -> dict[str, Any]:
    """With dropout: a tuning at one go; one that the second process is asked to stop after an epoch, gone on with."""
    changes: dict[str, Any] = {"objectives": ALL, "augment": "crop", "epochs": 3, "micro_batch": 9}
    straight, reference = run(FusingToy(dropout=0.2), **changes)
    epoch = loop._Loop.epoch

    def asked(self: Any, number: int, bar: Any) -> None:
        epoch(self, number, bar)
        if processes.rank == 1:
            os.kill(os.getpid(), signal.SIGINT)

    loop._Loop.epoch = asked  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(FusingToy(dropout=0.2), path=path, **changes)
    loop._Loop.epoch = epoch  # type: ignore[method-assign]
    saved = len(torch.load(path, weights_only=True)["state"]["history"])
    resumed, tuning = run(FusingToy(dropout=0.2), path=path, **changes)
    with pytest.raises(TrainingError, match="another encoder, pairs or settings: start them all with one command"):
        run(seed=processes.rank)
    return {
        "epochs saved": saved, "files": len(list(path.parent.glob("*tuning*"))),
        "as at one go": same(state(resumed), state(straight)), "weights": tuning.weights,
        "history": unmeasured(tuning.history) == unmeasured(reference.history),
    }  # fmt: skip


def test_a_stop_of_one_stops_all_and_the_next_call_goes_on_exactly(tmp_path):
    first, second = in_processes(stop_and_go_on, 2, tmp_path, tmp_path / "tuning.pt")
    assert first == second
    assert (first["epochs saved"], first["files"], first["as at one go"], first["history"]) == (1, 1, True, True)


def tune_members(processes: Processes, pictures: Path) -> dict[str, Any]:
    return {name: tune_member(name, pictures) for name in MEMBERS}


@pytest.mark.slow
def test_clip_and_vlmo_learn_in_two_processes_what_they_learn_in_one(tmp_path, folder):  # noqa: F811
    alone = tune_members(Processes(), folder)
    for found in in_processes(tune_members, 2, tmp_path, folder):
        for name in MEMBERS:
            assert_close(found[name], alone[name], curve=CURVE, weights=WEIGHTS)


def test_one_process_sends_nothing():
    alone = Processes()
    rows = torch.arange(6.0).reshape(3, 2)
    assert alone.whole(rows, 3) is rows and alone.told(rows) is rows and alone.any_of(15) == 15
    assert alone.share(5).tolist() == [0, 1, 2, 3, 4]
    shares = [Processes(rank, 3).share(7).tolist() for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(7)) and max(map(len, shares)) == 3
    with together() as processes:
        assert processes == alone


def test_the_book_states_these_tolerances(root):
    text = " ".join((root / "book/chapters/run.md").read_text(encoding="utf-8").split())
    assert f"they differ by less than {CURVE:.0e} in float32, after three epochs".replace("e-0", "e-") in text
    assert f"and by less than {EXACT:.0e} in float64" in text
