"""One run: catalogue → features → recommender → run → result."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lmmrec_core import checkpoints
from lmmrec_core.config import Settings
from lmmrec_core.encoders.features.transforms import apply_control, given_twice, keep_modalities
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.flow import Features, IntArray, Result, Split
from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.names import MODALITY_SETS, TWICE
from lmmrec_core.process import enough_memory, peak_memory, reset_peak_memory
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.results.provenance import (
    ALLOW,
    allows_uncommitted,
    code_now,
    code_state,
    code_state_now,
    counts_now,
    provenance,
)
from lmmrec_core.results.store import MODEL, Record, key_of
from lmmrec_core.roles import Recommender, Scorer, TrainingData
from lmmrec_core.seeds import torch_stream
from lmmrec_core.study.cases import Case, declared_digest
from lmmrec_core.study.datasets import naming_ids
from lmmrec_core.study.declared.settings import settings_of
from lmmrec_core.study.energy import metered, whole_from_here
from lmmrec_core.study.features import features_key, load_features
from lmmrec_core.study.joint.attach import attach_encoder, check_encoder, encoder_file, keep_trained, why_not_kept
from lmmrec_core.study.joint.warm_start import train_warm
from lmmrec_core.study.memory.plans import refuse_plan_that_cannot_fit
from lmmrec_core.study.memory.room import peak_device_memory, reset_peak_device_memory
from lmmrec_core.study.own.kept import is_kept, keep_recommender, keeps_model
from lmmrec_core.study.search.validation import CUTOFF, stopping_metric, users_with, validation, warn_if_saturated
from lmmrec_core.study.track import UNIDENTIFIED, EvaluationSettings
from lmmrec_core.study.weights.records import judged_by_weights, suspect_weights
from lmmrec_core.study.workspace import Workspace, check_device
from lmmrec_core.training.joint.hooks import FeatureTraining
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.loop import Training, TrainingSettings, train
from lmmrec_core.training.recommend import top_k

NOT_AGAIN = (
    "stored results lack the encoder that is asked for, but are not made again by uncommitted code, because they would "
    f"not count any more; commit the code first, or set {ALLOW}=1"
)
MODEL_NOT_AGAIN = (
    "{folder}: stored without the model that is asked for, by committed code; uncommitted code would replace it by a "
    f"result that does not count; commit the code first, or set {ALLOW}=1"
)


@dataclass(frozen=True)
class Plan:
    """A case with its settings resolved and its identity computed; ``key`` names its result."""

    case: Case
    model: Settings
    training: TrainingSettings
    declared: str
    key: str
    end_to_end: EndToEndSettings | None = None  # how the encoder is trained too, for paradigm ETE


def plan(case: Case, workspace: Workspace, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Resolve a case and compute the key of its result; nothing is trained or extracted.

    ``overrides`` named ``end_to_end.NAME`` go to the training of the encoder. Of an arm whose settings are those that
    its cell has anyway, it is the plan of the cell: one run, trained once.

    Raises ConfigError as :func:`~lmmrec_core.study.declared.settings.settings_of`, DataError for data that
    cannot be read, FeatureError for features that have no identity yet (``weights.making.needs_shared_weights``).
    """
    settings = settings_of(case, workspace, overrides)
    model, training, joint = settings.model, settings.training, settings.end_to_end
    track, dataset = workspace.track, workspace.dataset(case.dataset, case.split)
    content = None
    if RECOMMENDERS[case.model].uses_features:
        content = {
            "features": features_key(workspace, dataset, case.encoder, start_of(case, joint), case.seed),
            "modalities": case.modalities,
            "control": case.control,
        }
    identity = {
        "model": {"name": case.model, **model.model_dump(mode="json")},
        "training": training.model_dump(mode="json", exclude=set(UNIDENTIFIED)),
        "catalogue": dataset.fingerprint,
        "split": dataset.split.fingerprint,
        "content": content,
        "evaluation": track.evaluation.model_dump(),
        "paradigm": case.paradigm,
        "seed": case.seed,
    }
    if joint is not None:
        identity["end_to_end"] = joint.identity()
    key = key_of(identity)
    if case.arm != "none" and (cell := _cell_of(case, workspace, overrides)) is not None and cell.key == key:
        return cell
    return Plan(case, model, training, declared_digest(track, case.model_dump()), key, joint)


def _cell_of(case: Case, workspace: Workspace, overrides: Mapping[str, Any] | None) -> Plan | None:
    """The plan of the cell that an arm repeats; None if the cell cannot be run without the arm's settings."""
    try:
        return plan(case.model_copy(update={"arm": "none"}), workspace, overrides)
    except ConfigError:
        return None


def folder_of(todo: Plan, workspace: Workspace) -> Path:
    """The folder that holds the result of a plan, or will hold it."""
    case = todo.case
    return workspace.store.path_of(todo.key, case.track, case.dataset, case.slug)


def checkpoint_of(todo: Plan, workspace: Workspace) -> Path:
    """Where the training of a plan is kept while it is under way."""
    return workspace.checkpoints / f"{todo.key}.pt"


def is_done(todo: Plan, workspace: Workspace) -> bool:
    """Whether the result of a plan is stored, and nobody need make it again.

    A result of uncommitted code, or of encoder weights that such code made, is made again once the code is committed,
    unless such results are allowed; one without the model that its track keeps, as soon as it would count; one without
    the encoder that ``workspace.keep_encoders`` asks for, unless it counts and the new one would not, which is told by
    a warning. A damaged model or encoder is none. Raises ResultError for a damaged result.
    """
    folder = folder_of(todo, workspace)
    if not workspace.store.holds(folder):
        return False
    record = workspace.store.record(folder)
    counted = allows_uncommitted() or _was_committed(record, workspace)
    lacks_model = keeps_model(todo.case, workspace.track) and not is_kept(folder)
    lacks_encoder = _lacks_encoder(todo, workspace, folder)
    if (lacks_model and counts_now()) or (lacks_encoder and (counts_now() or not counted)):
        workspace.store.load(folder)  # a damaged one is nobody's to replace
        return False
    if lacks_encoder:
        warnings.warn(NOT_AGAIN, stacklevel=1)  # from one place, so that it is told once
    return counted or code_state_now() != "committed"


def _was_committed(record: Record, workspace: Workspace) -> bool:
    """Whether a stored result, and the encoder weights it read, are not of uncommitted code."""
    judged = judged_by_weights(record, suspect_weights(workspace.track, workspace.results))
    return code_state(judged.data["provenance"]) != "uncommitted"


def _lacks_encoder(todo: Plan, workspace: Workspace, folder: Path) -> bool:
    """Whether a stored result lacks an encoder that was asked for."""
    if not workspace.keep_encoders or why_not_kept(todo.case, todo.end_to_end, workspace.track):
        return False
    return encoder_file(workspace, workspace.store.load(folder)) is None


def run_case(todo: Plan, workspace: Workspace, keep_model: bool = False) -> Result:
    """Train, rank, evaluate and store one case; a stored result that :func:`is_done` is returned as it is.

    With ``keep_model`` the trained recommender lies beside the result (``study/own/kept.py``); a result that was stored
    without is made again, together with the model. Raises TrainingError, FeatureError or ResultError; nothing is stored
    then, and a checkpoint stays. ResultError also for a stored result that counts where one of uncommitted code, with
    the model, would take its place and not count.
    """
    done = folder_of(todo, workspace)
    checkpoint = checkpoint_of(todo, workspace)
    if (finished := is_done(todo, workspace)) and keep_model and not is_kept(done):
        if not counts_now() and _was_committed(workspace.store.record(done), workspace):
            raise ResultError(MODEL_NOT_AGAIN.format(folder=done))
        finished = False
    if finished:
        stored = workspace.store.load(done)
        checkpoints.remove(checkpoint)  # of a process that was killed as soon as it had stored the result
        return stored
    check_device(todo.training.device)
    with naming_ids(workspace.dataset(todo.case.dataset, todo.case.split).catalogue):
        _run_and_store(todo, workspace, done, checkpoint, keep_model)
    return workspace.store.load(done)


def _run_and_store(todo: Plan, workspace: Workspace, done: Path, checkpoint: Path, keep_model: bool) -> None:
    case, store = todo.case, workspace.store
    started, again = code_now(), store.holds(done)
    keep_model = keep_model or (done / MODEL).is_file()  # one that was asked for before goes with the old result
    reset_peak_memory()
    reset_peak_device_memory(todo.training.device)
    dataset = workspace.dataset(case.dataset, case.split)
    split = dataset.split
    if todo.end_to_end:
        check_encoder(workspace, case, todo.end_to_end)
    features = features_of(case, workspace, todo.end_to_end)
    content = {} if features is None else features.matrices
    refuse_plan_that_cannot_fit(todo, split, content, workspace.track)
    joint = attach_encoder(workspace, case, todo.end_to_end, features) if todo.end_to_end else None
    training = joint.features if joint else None
    with metered(workspace.energy and whole_from_here(checkpoint)) as energy:
        model, trained = fit(todo, split, training_data(split, features), checkpoint, workspace.progress, training)
        with enough_memory(f"{case.model}, ranking the items", "filter the catalogue"):
            record, per_user, top_items = _measure(todo, model.scorer(), split, workspace.track.evaluation, trained)
    if energy:
        record["cost"]["energy"] = energy
    record["data"] = {
        "name": dataset.name, "catalogue": dataset.fingerprint, "split": split.fingerprint, "rule": split.rule,
        "seed": split.seed, "users": split.n_users, "items": split.n_items, "train": len(split.train),
        "valid": len(split.valid), "test": len(split.test),
    }  # fmt: skip
    record["features"] = None if features is None else {"digest": features.digest, "card": dict(features.card)}
    if joint and features is not None:
        record["features"]["trained"] = keep_trained(workspace, todo.key, case, model, features, joint.encoder)
    record["provenance"] = provenance(todo.training.device, started)
    store.save(case.track, case.dataset, case.slug, todo.key, record, per_user, top_items, again)
    if keep_model or keeps_model(case, workspace.track):
        keep_recommender(done, model, case, todo.key, workspace, features)
    checkpoints.remove(checkpoint)


def fit(
    todo: Plan,
    split: Split,
    data: TrainingData,
    checkpoint: Path,
    progress: bool,
    features: FeatureTraining | None = None,
) -> tuple[Recommender, Training | None]:
    """Build the recommender of a plan and train it; no Training if nothing is learnt by epochs.

    ``features`` trains the item features too, from scratch or from a recommender trained without it
    (``EndToEndSettings.start``). Continues from ``checkpoint`` if that is of the same plan.
    Raises TrainingError, also for a module that lacks a part of its role, and where memory does not suffice.
    """
    seed = todo.case.seed

    def build() -> Recommender:
        made: Recommender = RECOMMENDERS[todo.case.model](data, todo.model, torch_stream(seed, "init"))
        return made

    given: dict[str, Any] = {
        "seed": seed, "validate": validation(split), "checkpoint": checkpoint, "identity": todo.key,
        "progress": progress, "features": features,
    }  # fmt: skip
    cures = ["lower embedding_dim or batch_size"]
    if todo.end_to_end is not None and todo.end_to_end.reading != "e1":
        cures.insert(0, f"lower end_to_end.chunk (now {todo.end_to_end.chunk}; the gradient stays the same)")
    with enough_memory(todo.case.model, ", ".join(cures)):
        if features is not None and todo.end_to_end is not None and todo.end_to_end.start == "warm":
            model, trained = train_warm(build, data, split, todo.training, **given)
        else:
            model = build()
            trained = train(model, data, split, todo.training, **given)
    warn_if_saturated([epoch.valid for epoch in trained.history if epoch.valid is not None], todo.case.model)
    return model, trained if trained.history else None


def training_data(split: Split, features: Features | None) -> TrainingData:
    """What the recommender may see of a split and its features."""
    matrices = {} if features is None else {m: torch.from_numpy(x.copy()) for m, x in features.matrices.items()}
    return TrainingData(
        split.n_users, split.n_items, torch.from_numpy(split.train.user.copy()),
        torch.from_numpy(split.train.item.copy()), matrices,
    )  # fmt: skip


def start_of(case: Case, joint: EndToEndSettings | None) -> str:
    """The paradigm whose features a case reads, or starts from."""
    return case.paradigm if joint is None else joint.features_from(case.paradigm)


def features_of(case: Case, workspace: Workspace, joint: EndToEndSettings | None = None) -> Features | None:
    """The features a case reads, its modalities and control applied; None for a model without content.

    ``joint``: its settings under ETE, which say what features it starts from. Warns of a modality whose features are
    all zero, unless the control makes them so.
    """
    if not RECOMMENDERS[case.model].uses_features:
        return None
    modalities = MODALITY_SETS["V&T" if case.modalities == TWICE else case.modalities]
    dataset = workspace.dataset(case.dataset)
    whole = load_features(workspace, dataset, case.encoder, start_of(case, joint), case.seed)
    twice = case.modalities == TWICE
    features = given_twice(whole, "visual") if twice else keep_modalities(whole, modalities)
    for modality, matrix in features.matrices.items():
        if case.control != "zero" and not matrix.any():
            warnings.warn(
                f"dataset {case.dataset!r}: all {modality} features of encoder {case.encoder!r} are zero, so they say "
                "nothing of any item; compute them again, or leave the modality out",
                stacklevel=2,
            )
    return apply_control(features, case.control, case.seed, modalities)


def _measure(
    todo: Plan, scorer: Scorer, split: Split, protocol: EvaluationSettings, trained: Training | None
) -> tuple[dict[str, Any], pd.DataFrame, IntArray]:
    """Rank and evaluate on validation and test; the first half of the run record."""
    valid_users, test_users = users_with(split, "valid"), users_with(split, "test")
    valid, _ = evaluate_lists(top_k(scorer, valid_users, split, k=protocol.k), valid_users, split, "valid")
    top_items = top_k(scorer, test_users, split, k=protocol.k, mask_valid=protocol.mask_valid)
    per_user, overall = evaluate_lists(top_items, test_users, split, "test")
    case = todo.case.model_dump()
    record: dict[str, Any] = {
        "case": case,
        "declared": todo.declared,
        "settings": {
            "model": todo.model.model_dump(mode="json"),
            "training": todo.training.model_dump(mode="json"),
            "evaluation": protocol.model_dump(),
        },
        "training": None,
        "metrics": {"test": _means(per_user), "valid": _means(valid)},
        "overall": dict(overall),
        "cost": {"seconds": trained.seconds if trained else 0.0, "peak_memory_bytes": peak_memory()}
        | peak_device_memory(todo.training.device),
    }
    if trained:
        record["cost"]["threads"] = trained.threads
        record["training"] = {
            "best_epoch": trained.best_epoch,
            "best_step": trained.best_step,
            "epochs": len(trained.history),
            "steps": len(trained.history) * trained.steps_per_epoch,
            "stopped": trained.stopped,
            "history": [asdict(epoch) for epoch in trained.history],
        } | ({"features": dict(trained.notes)} if trained.notes else {})
        if (metric := stopping_metric(split)) != "recall":  # of all other runs it is Recall@20
            record["training"]["validated_by"] = f"{metric}@{CUTOFF}"
    return record, per_user, top_items


def _means(per_user: pd.DataFrame) -> dict[str, float]:
    return {name: float(per_user[name].mean()) for name in per_user.columns if "@" in name}
