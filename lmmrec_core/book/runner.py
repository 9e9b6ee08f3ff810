"""One notebook: its parameters checked, executed aside, published only when every cell has run.

papermill executes it. We check parameters and completeness ourselves, because papermill accepts parameters that the
notebook does not have and marks an interrupted run as complete; and its ``inspect_notebook`` (version 2.7) leaves out
parameters annotated like ``str | None``. The old result stays until a whole new one replaces it in one step.
"""

import ast
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lmmrec_core.disk import write_file
from lmmrec_core.errors import ConfigError, ResultError, unknown
from lmmrec_core.home import checkout

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Parameter:
    """One line of the cell tagged ``parameters``; ``kind`` is its annotation, None without one."""

    name: str
    kind: ast.expr | None
    default: str  # as written


def read_notebook(path: Path) -> NotebookNode:
    """The notebook at ``path``. Raises ConfigError if there is none or it is not a notebook."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such notebook")
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises many kinds, none of them ours
        raise ConfigError(f"{path}: not a Jupyter notebook ({type(error).__name__}); restore it") from None


def parameters_of(notebook: NotebookNode, where: str) -> dict[str, Parameter]:
    """The parameters a notebook declares. Raises ConfigError unless exactly one cell is tagged ``parameters``."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ConfigError(f"{where}: {len(cells)} cells are tagged 'parameters'; there must be one")
    declared = {}
    for line in ast.parse(cells[0].source).body:
        match line:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
                declared[name] = Parameter(name, kind, ast.unparse(value))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                declared[name] = Parameter(name, None, ast.unparse(value))
    return declared


def checked(values: Mapping[str, object], declared: Mapping[str, Parameter], where: str) -> dict[str, object]:
    """``values``, each of the declared type; 3 and "1e-3" become floats if a float is wanted.

    Raises ConfigError naming the notebook, the parameter, the value seen and the type wanted.
    """
    result = {}
    for name, value in values.items():
        if name not in declared:
            raise unknown("parameter", name, declared, where)
        kind = declared[name].kind
        if kind is not None:
            value = _as_float(value, kind)
            if not _fits(value, kind):
                raise ConfigError(
                    f"{where}: parameter {name} = {value!r} is not {ast.unparse(kind)};"
                    f" write it like its default, {declared[name].default}"
                )
        result[name] = value
    return result


def _as_float(value: object, kind: ast.expr) -> object:
    names = {node.id for node in ast.walk(kind) if isinstance(node, ast.Name)}
    if "float" in names and "str" not in names and isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            return value
    return value


def _fits(value: object, kind: ast.expr) -> bool:
    """Whether ``value`` is of the annotated type; an annotation of another form accepts everything."""
    match kind:
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Name(id="bool" | "str" | "float" | "dict" as name):
            return isinstance(value, {"bool": bool, "str": str, "float": float, "dict": dict}[name])
        case ast.Name(id="int"):
            return isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id="list" | "tuple"):
            return isinstance(value, list | tuple)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return isinstance(value, list) and all(_fits(entry, inner) for entry in value)
    return True


def faults(notebook: NotebookNode) -> list[str]:
    """Why an executed notebook is not whole. Empty if every cell ran, none raised and none wrote to stderr."""
    found = []
    for number, cell in enumerate(notebook.cells, start=1):
        tags = cell.metadata.get("tags", [])
        if "papermill-error-cell-tag" in tags:
            continue  # papermill's banner; the cell that raised is reported itself
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        place = f"cell In[{cell.execution_count}]" if cell.execution_count else f"cell {number}"
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{place} raised {output.ename}: {output.evalue}")
            elif output.output_type == "stream" and output.name == "stderr" and "allow-stderr" not in tags:
                first = output.text.strip().splitlines()[:1]
                found.append(f"{place} wrote to stderr: {first[0] if first else '(blank)'}")
        if cell.execution_count is None:
            found.append(f"{place} was not run")
    return found


def tidy(notebook: NotebookNode) -> None:
    """Drop what differs from run to run: times, paths, random ids, memory addresses."""
    record = notebook.metadata.get("papermill", {})
    notebook.metadata["papermill"] = {key: record[key] for key in ("parameters", "version") if key in record}
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"
            cell.metadata["tags"] = ["injected-parameters", "hide-input"]  # folded, as what it changes
            cell.metadata["mystnb"] = {"code_prompt_show": "Set for this page"}
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = _ADDRESS.sub("", output["text"])
            for mime, text in output.get("data", {}).items():
                if mime.startswith("text/") and isinstance(text, str):
                    output["data"][mime] = _ADDRESS.sub("", text)


def publish(notebook: NotebookNode, target: Path) -> None:
    """Write a valid notebook to ``target`` in one step."""
    nbformat.validate(notebook)
    write_file(target, nbformat.writes(notebook) + "\n")


def run_notebook(
    source: Path,
    target: Path,
    values: Mapping[str, object],
    *,
    cwd: Path | None = None,
    timeout: int | None = None,
    scratch: Path | None = None,
    finish: Callable[[NotebookNode], None] = lambda notebook: None,
) -> None:
    """Execute ``source`` with ``values`` and publish it at ``target``.

    The kernel works in ``cwd`` (default: the notebook's folder, as in JupyterLab); ``timeout`` is in seconds per cell.
    A run that is not whole is left in ``scratch`` (default: ``_build/partial``). ``finish`` may still change the whole
    notebook before it is written.

    Raises ConfigError for a wrong parameter and ResultError when the run is not whole; ``target`` is then untouched.
    """
    # imported late: checking a notebook needs no kernel
    import papermill
    from traitlets.config import Config

    where = source.name
    values = checked(values, parameters_of(read_notebook(source), where), where)
    partial = (scratch or (checkout() or Path.cwd()) / "_build" / "partial") / f"{target.parent.name}-{target.name}"
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(f"{partial.parent}: cannot be made ({error.strerror}); allow writing there") from None
    importable = [str(checkout() or ""), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, importable))
    os.environ.setdefault("PYTHONHASHSEED", "0")  # the kernel inherits both; sets print in one order
    failure = ""
    with tempfile.TemporaryDirectory(prefix="lmmrec-") as sockets:
        try:
            papermill.execute_notebook(
                source,
                partial,
                parameters=values,
                kernel_name="python3",
                language="python",
                progress_bar=sys.stderr.isatty(),
                start_timeout=120,
                execution_timeout=timeout,
                cwd=cwd or source.resolve().parent,
                # sockets in files no other user can reach, instead of open ports; a folder of their own,
                # because kernels that run at the same time would else share names
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
            )
        except Exception as error:  # of the cells or of the kernel; the notebook tells which
            failure = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    if not partial.is_file():
        raise ResultError(f"{source}: not run: {failure}; is ipykernel installed in this environment?")
    notebook = read_notebook(partial)
    problems = faults(notebook) or ([failure] if failure else [])
    if problems:
        raise ResultError(f"{source}: {problems[0]}\n  as far as it came: {partial}; {target} is unchanged")
    tidy(notebook)
    finish(notebook)
    publish(notebook, target)
    partial.unlink()
