"""The report: executed notebooks and metrics of the sets and runs in params.yaml, as a site that reads offline.

    python -m ferlab.reporting.site.build [folder]     (default reports/site)

Sphinx builds into a folder beside the site, and only a whole site takes the place of the last one. Two builds give the same
bytes; the Git commit stands on the overview alone.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
from functools import partial
from pathlib import Path

from ferlab import paths
from ferlab.evaluation.ledger import LEDGER, read_scorings
from ferlab.imports import without
from ferlab.locks import held, lock_of
from ferlab.params import Params, load_params
from ferlab.paths import InputError
from ferlab.reporting.markup import disarm
from ferlab.reporting.site import bench_page
from ferlab.reporting.site.drawings import inline_drawings
from ferlab.reporting.site.entries import collect
from ferlab.reporting.site.faces_page import add_scripts, write_files
from ferlab.reporting.site.git import git
from ferlab.reporting.site.html import mend_page, missing_alt_text, missing_captions
from ferlab.reporting.site.overview import Commit
from ferlab.reporting.site.preliminary import preliminary_box, stale_results, uncommitted_code
from ferlab.reporting.site.sources import write_sources


def render(source: Path, target: Path, *, conf: Path) -> list[str]:
    """Build the site with Sphinx; return its warnings.

    Args:
        source: The folder of pages.
        target: The folder for the site; its parent gets Sphinx's working files.
        conf: The folder of conf.py, `_static` and `_templates`.
    """
    with without("rfc3987_syntax"):  # jsonschema's IRI grammars cost 1.4 of the build's 4 CPU seconds
        import nbformat  # noqa: F401 (MyST-NB's, while it is cheap)
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    warnings = io.StringIO()
    with patch_docutils(str(conf)), docutils_namespace():
        app = Sphinx(source, conf, target, target.parent / "doctrees", "html", status=None, warning=warnings, freshenv=True, parallel=1)
        app.connect("doctree-read", disarm, priority=100)  # before Sphinx takes the headings from the page
        app.connect("html-page-context", add_scripts)
        app.build()
    for leftover in (".buildinfo", ".buildinfo.bak", "objects.inv", "_static/.gitignore", "_static/webpack-macros.html"):  # of no use to a reader
        (target / leftover).unlink(missing_ok=True)
    shutil.rmtree(target / "_sources", ignore_errors=True)
    for sourcemap in target.rglob("*.map"):  # for the theme's developers; a third of the site's bytes
        sourcemap.unlink()
    for page in target.rglob("*.html"):
        page.write_text(inline_drawings(mend_page(page.read_text(encoding="utf-8")), page.parent), encoding="utf-8")
    for drawing in target.glob("_images/*.svg"):  # stands in its page
        drawing.unlink()
    told = re.sub(r"\x1b\[[0-9;]*m", "", warnings.getvalue()).replace(f"{source}/", "")
    return [line for line in told.splitlines() if line.strip()]


def build_site(params: Params, output: Path, *, conf: Path | None = None) -> list[str]:
    """Build the site of these params and put it in place of the last one.

    Args:
        params: Names the sets and runs.
        output: The site's folder; it stays as it was if anything fails.
        conf: The folder of Sphinx's conf.py; by default ROOT/reports.

    Returns:
        Sphinx's warnings, figures without alt text and tables without caption, one line each.

    Raises:
        InputError: Nothing has run yet, an input is broken, or the folder holds what is no site.
    """
    _check_place(output)
    entries = collect(params)
    work = output.parent / f".{output.name}.work"
    with held(lock_of(work), what="the report"):
        shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir(mode=0o700)  # pages may show faces of people
            (work / "pages").mkdir()
            scorings = read_scorings(paths.ROOT / "reports" / LEDGER.name)
            box = partial(preliminary_box, params, stale=stale_results(params, entries), uncommitted=uncommitted_code())
            write_sources(params, entries, work / "pages", scorings=scorings, commit=git_commit(), box=box)
            warnings = render(work / "pages", work / "site", conf=conf or paths.ROOT / "reports")
            write_files(params, work / "site")
            bench_page.complete_page(params, work / "site")
            _swap(work / "site", output, aside=work / "last")
        finally:
            shutil.rmtree(work, ignore_errors=True)
    silent = [
        f"{entry.page}: cell {cell} shows {what}"
        for entry in entries
        if entry.notebook
        for what, missing in (("a figure without alt text of its own", missing_alt_text), ("a table without a caption", missing_captions))
        for cell in missing(entry.notebook)
    ]
    return warnings + silent


def _check_place(output: Path) -> None:
    """Refuse to put the site in place of a folder that it was not built into: whatever lies there would be gone."""
    ours = all((output / name).is_file() for name in ("index.html", "searchindex.js"))
    if output.exists() and not ours and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} holds what is no report site; expected a new folder, an empty one, or that of an earlier site. Name another.")


def git_commit() -> Commit | None:
    """Return the commit of the checkout, or None outside Git or where there is no git."""
    answer = git("show", "-s", "--format=%H %cs", "HEAD")
    return Commit(*answer.split()) if answer else None


def _swap(new: Path, place: Path, *, aside: Path) -> None:
    if place.exists():
        new.chmod(new.stat().st_mode & place.stat().st_mode & 0o777)  # with captured faces its owner alone reads it
        place.rename(aside)
    try:
        new.rename(place)
    except OSError:
        if aside.exists():
            aside.rename(place)
        raise


def main(arguments: list[str] | None = None) -> int:
    """Build the site; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ferlab.reporting.site.build", description="Build the report site.")
    parser.add_argument("output", nargs="?", type=Path, default=paths.ROOT / "reports" / "site")
    output = parser.parse_args(arguments).output.resolve()
    try:
        for warning in build_site(load_params(), output):
            print(f"report: {warning}", file=sys.stderr)
    except (InputError, OSError) as error:
        print(f"report: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"report: {output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
