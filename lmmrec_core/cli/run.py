"""``lmmrec run``: one case on the user's own catalogue, with what it must be held against beside it."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

import pandas as pd

from lmmrec_core.cli.own_catalogue import encoder_name, user_track, user_workspace
from lmmrec_core.cli.reading import asked_modalities, content_asked, content_used, what_was_used
from lmmrec_core.config import parse_assignments
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.flow import Result
from lmmrec_core.names import BASELINE, CONTROLS, MODEL_TITLES, PARADIGMS, SEEDLESS_MODELS
from lmmrec_core.study.cases import Case
from lmmrec_core.study.workspace import Workspace, check_device

if TYPE_CHECKING:  # they load torch, which a misspelt name must not wait for
    from lmmrec_core.study.own.beside import Reference


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate, store, and print the outcome beside cheap recommenders and the content-free twin."""
    from lmmrec_core.results.store import MODEL
    from lmmrec_core.study.declared.settings import resolve
    from lmmrec_core.study.energy import energy_told, require_meter
    from lmmrec_core.study.inputs import prepare_weights
    from lmmrec_core.study.joint.attach import encoder_file, why_not_kept
    from lmmrec_core.study.memory.plans import memory_told
    from lmmrec_core.study.own.beside import runs_beside, twin_of
    from lmmrec_core.study.own.kept import check_keepable
    from lmmrec_core.study.run import folder_of, plan, run_case

    overrides = parse_assignments(arguments.set)
    own = {key: value for key, value in overrides.items() if not key.startswith("end_to_end.")}
    resolve(Workspace.open("user"), arguments.model, own)  # refuse a misspelt name before anything is read
    if arguments.keep_model:
        check_keepable(arguments.model)
    if arguments.energy:
        require_meter()
    if arguments.twin and twin_of(arguments.model) is None:
        raise ConfigError(f"--twin has no effect: model {arguments.model!r} reads no content; leave it out")
    _check_tune(arguments)
    track = user_track(arguments)
    content = content_asked(arguments, track, encoder_name(arguments.encoder or BASELINE))
    workspace, name = user_workspace(arguments, arguments.data, content)
    workspace = workspace.quiet() if arguments.quiet else workspace
    workspace = workspace.keeping_encoders(arguments.keep_encoder).measuring_energy(arguments.energy)
    cell = {"track": workspace.track.name, "dataset": name, "model": arguments.model, "seed": arguments.seed}
    case = Case.build({**cell, **(_content_fields(workspace, arguments) if content.modalities else {})}, "lmmrec run")
    told = sys.stderr if arguments.json else sys.stdout
    if not (arguments.json and arguments.quiet):
        _tell_what_was_used(case, workspace, told)
    prepare_weights([case], workspace)
    if arguments.tune:
        overrides |= _tuned(case, workspace, arguments, own, told)
    todo = plan(case, workspace, overrides)
    if "device" in overrides:  # also where a stored result needs none
        check_device(todo.training.device)
    if arguments.keep_encoder is not None and (why := why_not_kept(case, todo.end_to_end, workspace.track)):
        option = "--keep-encoder" if arguments.keep_encoder else "--no-keep-encoder"
        raise ConfigError(f"{option} has no effect: {why}; leave it out")
    if not (arguments.json and arguments.quiet):
        print(f"{'memory':>16}  {memory_told(todo, workspace)}", file=told, flush=True)
    result = run_case(todo, workspace, arguments.keep_model)
    beside = runs_beside(case, workspace, overrides, arguments.twin)
    folder = folder_of(todo, workspace)
    kept = str(folder / MODEL) if arguments.keep_model else None
    encoder = encoder_file(workspace, result)
    _warn_below_popularity(result, beside)
    if left := workspace.left_checkpoints():
        print(f"note: {left}", file=sys.stderr)
    if arguments.json:
        more = {
            "folder": str(folder),
            "model_file": kept,
            "encoder_file": str(encoder) if encoder else None,
            "beside": [_as_json(result, other) for other in beside],
        }
        print(json.dumps({**result.record, **more}, indent=1))
        return 0
    if result.record["training"]:
        print(f"{'trained':>16}  {training_told(result.record)}")
    means = pd.Series(result.record["metrics"]["test"])
    print(f"{case.model} on {name}, seed {case.seed}: test metrics, mean over {len(result.per_user)} users")
    print(means.to_string(float_format="{:.4f}".format))
    _print_beside(result, beside)
    print(f"\nresult  {folder}\nkey     {todo.key}")
    if arguments.energy:
        print(f"energy  {energy_told(result.record['cost'])}")
    if kept:
        print(f"model   {kept}\n        lmmrec recommend --model {todo.key}")
    if encoder:
        print(f"encoder {encoder}\n        lmmrec encode --run {todo.key} --items FOLDER --out NEW")
    return 0


def _check_tune(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for a search that cannot be, or would change nothing."""
    from lmmrec_core.study.search.grids import read_grid

    if arguments.tune is None:
        return
    if arguments.tune < 1:
        raise ConfigError(f"--tune {arguments.tune}: at least one training; write for instance --tune 8")
    if arguments.model not in read_grid("study").models:
        raise ConfigError(f"--tune has no effect: no settings of model {arguments.model!r} are listed to be searched")


def _tuned(
    case: Case, workspace: Workspace, arguments: argparse.Namespace, own: Mapping[str, Any], told: TextIO
) -> dict[str, Any]:
    """The settings with the best validation score of ``--tune`` trainings, the track's own among them."""
    from lmmrec_core.study.search.search import search_settings

    found = search_settings(
        workspace, case.model, case.dataset, encoder=case.encoder, modalities=case.modalities, trials=arguments.tune,
        settings=own, from_declared=True,
    )  # fmt: skip
    chosen = " ".join(f"{name}={json.dumps(value)}" for name, value in found.best.items())
    own_settings = " (the defaults)" if found.best == dict(found.summary["trials"][0]["settings"]) else ""
    print(
        f"{'tuned':>16}  {chosen}{own_settings}: best of {len(found.trials)} by {found.summary['objective']}, "
        f"{found.score:.4f}",
        file=told, flush=True,
    )  # fmt: skip
    return dict(found.best)


def _tell_what_was_used(case: Case, workspace: Workspace, stream: TextIO) -> None:
    """Print, before anything is trained, what a run reads."""
    settings = workspace.track.dataset(case.dataset)
    used = what_was_used(workspace.dataset(case.dataset), settings) | content_used(case.model_dump(), workspace.track)
    if case.model in SEEDLESS_MODELS:
        used["seed"] = f"{case.seed}, but {case.model} draws nothing: every seed gives the same lists"
    for key, value in used.items():
        print(f"{key:>16}  {value}", file=stream, flush=True)


def _content_fields(workspace: Workspace, arguments: argparse.Namespace) -> dict[str, str]:
    """The fields of a case that say what content it reads."""
    encoder = encoder_name(arguments.encoder or BASELINE)
    paradigms = workspace.track.paradigms(encoder)
    if arguments.paradigm and paradigms == ("none",):
        raise ConfigError(
            f"--paradigm {arguments.paradigm} needs one encoder of both modalities; {encoder} names one for each"
        )
    for option, kind in (("paradigm", PARADIGMS), ("control", ("none", *CONTROLS))):
        if (asked := getattr(arguments, option)) and asked not in kind:
            raise unknown(option, asked, kind, f"--{option}")
    return {
        "encoder": encoder,
        "paradigm": arguments.paradigm or paradigms[0],
        "modalities": asked_modalities(arguments),
        "control": arguments.control or "none",
    }


def _warn_below_popularity(result: Result, beside: "list[Reference]") -> None:
    from lmmrec_core.study.own.beside import below_popularity

    model = str(result.case["model"])
    for metric in below_popularity(result, beside):
        floor = next(other.result for other in beside if other.result is not None).mean(metric)
        print(
            f"warning: {model} is below popularity in {metric}: {result.mean(metric):.4f} against {floor:.4f}; its "
            "settings may not suit this catalogue: --tune 8 searches some on the validation part",
            file=sys.stderr,
        )


def training_told(record: Mapping[str, Any]) -> str:
    """How long a recommender was trained, which state was kept, and why training ended there."""
    training = record["training"]
    metric = training.get("validated_by", "recall@20")
    length = "epochs" if record["settings"]["training"]["steps"] is None else "steps"
    ended = (
        "none was better after it"
        if training["stopped"] == "patience"
        else f"those are all it may take: --set {length}=N allows more"
    )
    return (
        f"{training['steps']} steps in {record['cost']['seconds']:.0f} s; kept is step {training['best_step']}, with "
        f"{metric} {record['metrics']['valid'][metric]:.4f} on validation; {ended}"
    )


def _as_json(result: Result, other: "Reference") -> dict[str, Any]:
    from lmmrec_core.study.own.beside import NOT_TESTED, SHOWN

    entry: dict[str, Any] = {"model": other.model, "key": None, "why": other.why, "metrics": {}}
    if other.result is None:
        return entry
    entry["key"] = other.result.record["key"]
    for metric in SHOWN:
        found = other.compared(result, metric)
        if found is None:
            entry["why"] = NOT_TESTED
            entry["metrics"][metric] = {"mean": other.result.mean(metric)}
            continue
        entry["metrics"][metric] = {
            "mean": found.mean_b, "difference": found.difference, "ci_low": found.ci_low, "ci_high": found.ci_high,
            "p": found.p, "share_gained": found.share_gained, "over": "users",
        }  # fmt: skip
    return entry


def _print_beside(result: Result, beside: "list[Reference]") -> None:
    """Means of the model and of what is beside it, and the tests over users."""
    from lmmrec_core.study.own.beside import NOT_TESTED, SHOWN

    model = str(result.case["model"])
    print("\nbeside it, on the same split; the model minus each, with a 95 % interval:")
    for metric in SHOWN:
        print(f"  {metric:<12} {result.mean(metric):.4f}  {MODEL_TITLES.get(model, model)}")
        for other in beside:
            if other.result is None:
                continue
            found = other.compared(result, metric)
            if found is None:
                title = MODEL_TITLES.get(other.model, other.model)
                print(f"  {'':<12} {other.result.mean(metric):.4f}  {title:<11} {NOT_TESTED}")
                continue
            gained = (
                "nobody differs"
                if found.share_gained is None
                else f"better for {found.share_gained:.0%} of those that differ"
            )
            print(
                f"  {'':<12} {found.mean_b:.4f}  {MODEL_TITLES.get(other.model, other.model):<11} "
                f"{found.difference:+.4f} [{found.ci_low:+.4f}, {found.ci_high:+.4f}], {p_told(found.p)}, {gained}"
            )
    for other in beside:
        if other.result is None:
            print(f"  {MODEL_TITLES.get(other.model, other.model)}: {other.why}")
    if model in SEEDLESS_MODELS:
        return
    print(
        f"  p is over users: whether this trained {model} differs from each. Whether {model} of another seed would is "
        "not testable\n  with one seed; run others with --seed, and compare their keys: lmmrec compare KEY,KEY KEY,KEY"
    )


def p_told(p: float) -> str:
    """A p-value as it is printed: not below what a test of users can tell."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
