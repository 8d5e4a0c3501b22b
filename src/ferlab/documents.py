"""What docs/ says of the code, written from it: docs/api.md from docstrings, the table of docs/studies.md from the studies.

    python -m ferlab.documents     writes both anew (`make docs`)

Both are kept in the repository, so that they read without a build and the report does not depend on the code that they describe; a test compares
them with it. Docstrings are read from the source, which is not imported.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from ferlab.paths import ROOT, write_whole
from ferlab.studies import recipe_and_cost, studies, study_params, wanted_data

API, STUDIES = Path("docs", "api.md"), Path("docs", "studies.md")
# Section -> module below `ferlab` and what is shown of it: a function, a class, or a class with the methods after the dot.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Predict": (
        "deployment.predictor:Predictor.load,predict_image,read_image,predict_faces",
        "deployment.predictor:ReadFace.likeliest",
        "deployment.predictor:ReadPicture",
        "deployment.video:read_clip",
    ),
    "Params": ("params:load_params", "params:stage_params"),
    "Faces": ("data.store:open_store", "data.store:Store", "data.readers.reading:read_source"),
    "Control faces": (
        "control.specs:sample_spec",
        "control.drawing.picture:draw_face",
        "control.drawing.picture:DrawnFace",
        "control.truth:carrying_mask",
    ),
    "Models": (
        "models.create:create_model",
        "models.create:model_card",
        "models.create:count_parameters",
        "models.weights:load_model",
        "models.weights:save_model",
        "models.weights:LoadedModel.normalise",
    ),
    "Evaluation": (
        "evaluation.proportions:wilson",
        "evaluation.proportions:newcombe",
        "evaluation.kept:read_kept",
        "evaluation.kept:rescore",
        "evaluation.comparison:compare_pairs",
    ),
    "Attribution": ("explanation.attributions:explain_faces",),
    "Live": ("live.model:LiveModel.load", "live.camera:Camera.on_still,on_frames"),
}
HEAD = """# API

<!-- written by python -m ferlab.documents -->

What notebooks and scripts import, from its docstrings. Whatever is not listed here may change without notice. Bad input raises
`ferlab.paths.InputError`, whose text is one line for people.

Two tables can be read whole: `ferlab.models.MODELS` (name of a model -> its card, `src/ferlab/models/registry.py`) and
`ferlab.explanation.methods.METHODS` (name of an attribution method -> title, sign, unit and source).
"""
PARTS = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|References):$")
ENTRY = re.compile(r"^(\*{0,2}[\w ,*]+|[\w.]+(?:\[.*\])?): (.*)$")


def api_page(root: Path) -> str:
    """Return the page of a checkout, as Markdown."""
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n")
        for name in names:
            parts += _entry(root, *name.split(":"))
    return "\n".join(parts)


def studies_table(root: Path) -> str:
    """Return a row for each study, as Markdown: what it is, its cost, and the data it reads."""
    rows = ["| study | what it is | cost | data/raw |", "|---|---|---|---|"]
    for name in studies(root):
        recipe, cost = recipe_and_cost(root, name)
        data = ", ".join(wanted_data(root, study_params(root, name))) or "nothing"
        rows.append(f"| `{name}` | {recipe} | {cost} | {data} |")
    return "\n".join(rows)


def with_table(page: str, table: str) -> str:
    """Return a page with a table between its two marks."""
    head, _, rest = page.partition("<!-- studies -->\n")
    _, mark, tail = rest.partition("<!-- end -->")
    if not mark:
        raise ValueError(f"{STUDIES}: lacks the lines <!-- studies --> and <!-- end -->")
    return f"{head}<!-- studies -->\n\n{table}\n\n{mark}{tail}"


def _entry(root: Path, module: str, shown: str) -> Iterator[str]:
    """Yield the blocks of a function, or of a class and its chosen methods."""
    name, _, methods = shown.partition(".")
    path = (root / "src" / "ferlab" / module.replace(".", "/")).with_suffix(".py")
    path = path if path.is_file() else path.with_suffix("") / "__init__.py"
    node = _find(ast.parse(path.read_text(encoding="utf-8")), name)
    yield f"### {name}\n"
    yield f"`from ferlab.{_importable(root, module, name)} import {name}`\n"
    if isinstance(node, ast.ClassDef):
        yield docstring_markdown(ast.get_docstring(node) or "")
        for method in filter(None, methods.split(",")):
            of = _find(node, method)
            yield f"**`{name}.{method}`**\n"
            yield f"```python\n{signature(of)}\n```\n"
            yield docstring_markdown(ast.get_docstring(of) or "")
    else:
        yield f"```python\n{signature(node)}\n```\n"
        yield docstring_markdown(ast.get_docstring(node) or "")


def _importable(root: Path, module: str, name: str) -> str:
    """Return the nearest package that imports a name, else its module."""
    packages = [module.rsplit(".", up)[0] for up in range(module.count("."), 0, -1)]
    texts = {package: (root / "src" / "ferlab" / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8") for package in packages}
    return next((package for package, text in texts.items() if re.search(rf"^from .* import .*\b{name}\b", text, flags=re.MULTILINE)), module)


def _find(tree: ast.Module | ast.ClassDef, name: str) -> ast.FunctionDef | ast.ClassDef:
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name]
    if not found:
        raise ValueError(f"{name} is gone; mend SECTIONS in {Path(__file__).name}")
    return found[-1]


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return a function's name, arguments and result in a line, or one line per argument where that is too long.

    >>> signature(ast.parse("def double(n: int, *, twice: bool = False) -> int: ...").body[0])
    'double(n: int, *, twice: bool = False) -> int'
    """
    if not isinstance(node, ast.FunctionDef):
        raise TypeError(f"{node.name} is no function")
    written = [text for text in _arguments(node.args) if text not in ("self", "cls")]
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({', '.join(written)}){result}"
    return line if len(line) <= 100 else "\n".join([f"{node.name}(", *(f"    {each}," for each in written), f"){result}"])


def _arguments(of: ast.arguments) -> Iterator[str]:
    """Yield each argument with its annotation and default, and the star before those that are given by name."""
    plain = of.posonlyargs + of.args
    defaults = [None] * (len(plain) - len(of.defaults)) + of.defaults
    yield from map(_argument, plain, defaults)
    if of.vararg:
        yield f"*{ast.unparse(of.vararg)}"
    elif of.kwonlyargs:
        yield "*"
    yield from map(_argument, of.kwonlyargs, of.kw_defaults)
    if of.kwarg:
        yield f"**{ast.unparse(of.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    equals = " = " if argument.annotation else "="
    return ast.unparse(argument) + (f"{equals}{ast.unparse(default)}" if default else "")


def docstring_markdown(text: str) -> str:
    """Return a docstring of Google's style as Markdown: its sections are lists."""
    blocks: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        first, _, rest = paragraph.partition("\n")
        if PARTS.match(first):
            blocks.append(f"*{first[:-1]}*\n\n" + "\n".join(_items(inspect.cleandoc(rest), named=first not in ("Returns:", "Yields:"))))
        elif first.startswith(">>>"):
            blocks.append(f"```pycon\n{paragraph}\n```")
        else:
            blocks.append(paragraph)
    return "\n\n".join(blocks) + "\n"


def _items(text: str, *, named: bool) -> Iterator[str]:
    """Yield a line for each entry of a section, `named` or one without a name; lines that go on are joined to theirs."""
    joined: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and joined:
            joined[-1] += f" {line.strip()}"
        elif not joined or (named and ENTRY.match(line)):
            joined.append(line)
        else:
            joined[-1] += f" {line}"
    for line in joined:
        found = ENTRY.match(line) if named else None
        yield f"- `{found[1]}`: {found[2]}" if found else f"- {line}"


def main() -> int:
    """Write both pages."""
    told = (ROOT / STUDIES).read_text(encoding="utf-8")
    for page, text in ((API, api_page(ROOT)), (STUDIES, with_table(told, studies_table(ROOT)))):
        write_whole(ROOT / page, text.encode())
        print(page.as_posix())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
