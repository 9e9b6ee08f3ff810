"""Numbers that no one means, in every numeric setting of every recommender: done or refused, never a crash."""

from typing import get_args

import numpy as np
import pytest

from lmmrec_core.errors import LmmrecError
from lmmrec_core.flow import Features
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.cases import Case
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.run import Plan, fit, training_data
from lmmrec_core.study.search.validation import recall_20
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.loop import TrainingSettings
from tests.study.pinning import made_up_dataset

DATASET = made_up_dataset("absurd")
ABSURD = {int: (-1, 0, 10**5, 10**9, 2**63 - 1, 10**30), float: (-1.0, 0.0, 1e-300, 1e30, 1e300, 2.0**63)}


def numbers(settings_class) -> dict[str, type]:
    """Setting → int or float."""
    found = {}
    for name, field in settings_class.model_fields.items():
        kinds = {field.annotation, *get_args(field.annotation)} & {int, float}
        if kinds:
            found[name] = min(kinds, key=str)
    return found


def features() -> Features:
    rng = np.random.default_rng(3)
    matrices = {m: rng.standard_normal((40, width)).astype(np.float32) for m, width in (("visual", 9), ("textual", 7))}
    return Features(matrices, {m: np.ones(40, dtype=bool) for m in matrices}, {}, "absurd")


def attempt(workspace, model, given, tmp_path) -> str:
    """Train one epoch with a setting; "" or the refusal. Anything but a refusal is raised."""
    reads = RECOMMENDERS[model].uses_features
    content = {"encoder": "baseline", "modalities": "V&T"} if reads else {}
    case = Case.build({"track": "user", "dataset": "absurd", "model": model, **content}, "absurd")
    pace = {} if {"steps", "evaluate_steps", "patience_steps"} & set(given) else {"epochs": 1}
    try:
        settings, training = resolve(workspace, model, {**pace, "batch_size": 128, **given})
        if not pace or training.epochs != 1:
            return ""  # would train for years, as it was told to
        todo = Plan(case, settings, training, "", "0" * 16)
        data = training_data(DATASET.split, features() if reads else None)
        fitted, _ = fit(todo, DATASET.split, data, tmp_path / "checkpoint.pt", progress=False)
        assert 0 <= recall_20(fitted.scorer(), DATASET.split, "valid") <= 1
    except LmmrecError as error:
        assert len(str(error)) < 1000
        return str(error)
    return ""


@pytest.mark.parametrize("model", sorted(RECOMMENDERS))
def test_absurd_numbers_are_done_or_refused(model, tmp_path):
    workspace = Workspace.open("user", home=tmp_path)
    asked = {**numbers(TrainingSettings), **numbers(RECOMMENDERS[model].Settings)}
    if model not in ("popularity", "itemknn", "ease"):
        assert {"embedding_dim", "threads", "learning_rate"} <= asked.keys()
    for name, kind in asked.items():
        for value in ABSURD[kind]:
            attempt(workspace, model, {name: value}, tmp_path)


@pytest.mark.parametrize(("setting", "value"), [("threads", 100_000), ("embedding_dim", 10**9), ("n_layers", 10**9)])
def test_what_no_machine_has_is_refused_by_name(setting, value, tmp_path):
    workspace = Workspace.open("user", home=tmp_path)
    assert f"{setting} = {value} is not valid" in attempt(workspace, "lightgcn", {setting: value}, tmp_path)
