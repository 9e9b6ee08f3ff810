"""Runs of a track: what they take is told before they start, and refused where it is not there."""

import pytest

from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.study import features as making_features
from lmmrec_core.study import run as running
from lmmrec_core.study import schedule
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import store_statistics
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.features import load_features
from lmmrec_core.study.memory import plans as memory_plans
from lmmrec_core.study.memory.demand import GIB
from lmmrec_core.study.memory.plans import WIDTHS, demands_of, demands_of_cases, expected_widths, memory_told
from lmmrec_core.study.memory.room import Room
from lmmrec_core.study.preview.costs import known_sizes
from lmmrec_core.study.run import fit, plan, run_case
from lmmrec_core.study.workspace import Workspace


def case_of(**fields):
    cell = {"track": "controls", "dataset": "complementary", "model": "bpr", "seed": 1}
    return Case.build({**cell, **fields}, "case")


def paper_case(**fields):
    cell = {"track": "paper", "dataset": "baby", "model": "vbpr", "encoder": "baseline", "modalities": "V&T", "seed": 1}
    return Case.build({**cell, **fields}, "case")


@pytest.fixture
def paper(tmp_path):
    return Workspace(read_track("paper"), tmp_path / "results", tmp_path / "cache", None, progress=False)


@pytest.fixture
def small(monkeypatch):
    """A machine with a tenth of a GiB."""
    for module in (memory_plans, schedule, making_features):
        monkeypatch.setattr(module, "room", lambda device: Room(GIB // 10))


def test_a_run_that_cannot_fit_is_refused_before_it_is_built(workspace, small, monkeypatch):
    monkeypatch.setattr(running, "fit", None)  # is not reached
    with pytest.raises(
        TrainingError, match=r"bpr on complementary: it needs about .* 0\.1 GiB of memory are free here"
    ):
        run_case(plan(case_of(), workspace), workspace)
    assert not workspace.store.find_records()


def test_of_a_track_only_the_cases_that_cannot_fit_fail(workspace, monkeypatch):
    rooms = iter([Room(GIB // 10), *[Room(100 * GIB)] * 9])
    monkeypatch.setattr(memory_plans, "room", lambda device: next(rooms))
    plans = [plan(case_of(model=model), workspace) for model in ("bpr", "lightgcn")]
    with pytest.raises(TrainingError):
        run_case(plans[0], workspace)
    assert run_case(plans[1], workspace).case["model"] == "lightgcn"


def test_too_many_jobs_are_refused_and_none_is_started(workspace, monkeypatch):
    # two fit, three do not
    cases = [case_of(model=model) for model in ("bpr", "lightgcn", "popularity")]
    store_statistics(workspace.dataset("complementary"), workspace.track, workspace.results)
    needs = sorted(d.host_bytes for d in demands_of([plan(case, workspace) for case in cases], workspace))
    monkeypatch.setattr(schedule, "room", lambda device: Room(sum(needs[-2:]) + 1))
    monkeypatch.setattr(schedule, "_run_parallel", lambda *given: [])
    with pytest.raises(ConfigError, match=r"JOBS=3: .* JOBS=2 fits"):
        schedule.run_cases(cases, workspace, 3)
    assert schedule.run_cases(cases, workspace, 2).computed == 3


def test_features_that_cannot_fit_are_refused_before_a_picture_is_read(workspace, small, tmp_path):
    elsewhere = Workspace(workspace.track, workspace.results, tmp_path / "cache", None, progress=False)
    elsewhere.encoders.parent.mkdir(parents=True, exist_ok=True)
    elsewhere.encoders.symlink_to(workspace.encoders)
    with pytest.raises(TrainingError, match=r"features of complementary by .*: it needs about .* are free here"):
        load_features(elsewhere, elsewhere.dataset("complementary"), "baseline")


def test_a_step_that_meets_the_end_of_memory_says_what_to_lower(workspace, monkeypatch):
    def full(*given, **more):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    todo = plan(case_of(model="vbpr", encoder="clip", paradigm="ETE", modalities="V&T"), workspace)
    monkeypatch.setattr(running, "train", full)
    chunk = todo.end_to_end.chunk
    with pytest.raises(TrainingError, match=rf"vbpr: memory does not suffice .*lower end_to_end.chunk \(now {chunk};"):
        run_case(todo, workspace)
    monkeypatch.undo()
    monkeypatch.setattr(running, "top_k", full)
    with pytest.raises(TrainingError, match=r"bpr, ranking the items: memory does not suffice"):
        run_case(plan(case_of(), workspace), workspace)
    assert fit is running.fit


def test_a_dry_run_knows_the_paper_s_sizes_without_its_data(paper):
    small, large = demands_of_cases([paper_case(dataset=name) for name in ("baby", "clothing")], paper, "cpu")
    assert large.host_bytes > small.host_bytes
    items = int(known_sizes(paper)["baby"].items)
    features = 4 * items * (4096 + 384)
    assert small.host["features"] > 2 * features
    (on_gpu,) = demands_of_cases([paper_case(encoder="vlmo", paradigm="ETE")], paper, "cuda")
    assert on_gpu.device["encoder"] > 4 * 4 * 160_000_000
    assert "activations of 64 items" in on_gpu.device and on_gpu.host["pictures"] == items * 3 * 224 * 224
    assert any("end_to_end.chunk (now 64)" in cure for cure in on_gpu.cures)


def test_rows_are_as_long_as_the_encoders_make_them(paper):
    from lmmrec_core.encoders.clip.build import architecture
    from lmmrec_core.encoders.vlmo.settings import VLMoSettings

    assert WIDTHS["clip-b16"] == architecture("ViT-B-16")["embed_dim"]
    assert WIDTHS["clip-l14"] == architecture("ViT-L-14")["embed_dim"]
    assert WIDTHS["vlmo-base-plus"] == VLMoSettings.base_plus().width
    assert expected_widths(paper.track, paper_case()) == {"visual": 4096, "textual": 384}
    assert expected_widths(paper.track, paper_case(encoder="vlmo", paradigm="PT", modalities="V")) == {"visual": 544}
    assert expected_widths(paper.track, paper_case(encoder="none", modalities="none", model="bpr")) == {}


def test_a_run_tells_what_it_takes_and_what_is_free(workspace):
    told = memory_told(plan(case_of(), workspace), workspace)
    assert told.startswith("about 0.") and " GiB (program" in told and told.endswith("GiB are free")
