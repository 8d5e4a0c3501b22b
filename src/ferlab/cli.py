"""The `ferlab` command: what a researcher types beside `dvc`.

    ferlab study                       the studies at hand: recipe, paper, cost, and what lies in data/raw
    ferlab study cs230                 write params.yaml for that study, and say what must lie in data/raw; --diff: what would change
    ferlab runs                        the runs of params.yaml with their accuracy, and whether it still holds
    ferlab status                      per stage: fresh, page only, or stale and why; and what `dvc repro` would cost
    ferlab repro -j 2                  as `dvc repro`, with independent stages side by side; --slurm: as arrays of a cluster
    ferlab changes HEAD~1              a page of what changed since a commit or a DVC experiment: params, metrics with paired tests, figures
    ferlab predict photo.jpg clip.mp4  the expression of each face of pictures, folders, videos and addresses
    ferlab evaluate MODEL --set NAME   any model on a prepared set, or on --folder PHOTOS, with a page
    ferlab audit FOLDER                duplicates, conflicting labels and blank pictures of any folder of faces
    ferlab submit RUN                  predictions for FER2013's PrivateTest, whose labels are held elsewhere
    ferlab serve                       answer other programs, over HTTP and a WebSocket of this machine
    ferlab ship compact --cost TEXT    put a trained run's model into the package
    ferlab draw ckplus                 control faces as CK+'s files, for a study whose data cannot be had
    ferlab forget                      after consent was withdrawn: remove every earlier state of faces
    ferlab forget p-7k3q               erase that person's pictures, rows and all that was computed from them, and prove it
    ferlab completion bash             a script that completes these commands in bash, zsh or fish

Studies, runs, shipping, submissions, drawing and forgetting belong to a clone; predicting and auditing need none, and no torch.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path
from typing import Any

from ferlab.commands import audit, changes, completion, predict, repro, runs, study
from ferlab.paths import ROOT, InputError, artefact


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status. Bad input is told in one line."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is escaped, and costs no other line
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.run(chosen)
    except (InputError, OSError) as error:
        print(f"ferlab: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "ferlab":
            raise
        print(f"ferlab: {chosen.command} needs {package}, of the whole workspace: pip install '.[workspace]' in a clone of ferlab", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ferlab: stopped", file=sys.stderr)
        return 130


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ferlab.version import ferlab_version  # Keep: metadata takes as long to read as all else that --help needs

        print(f"ferlab {ferlab_version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ferlab", description="Research on facial expression recognition.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version of ferlab")
    commands = parser.add_subparsers(dest="command", required=True)
    study.add_parser(commands)
    status = commands.add_parser("status", help="what is fresh, what is stale and why, and what dvc repro would cost")
    status.set_defaults(run=_status)
    runs.add_parser(commands)
    repro.add_parser(commands)
    changes.add_parser(commands)
    audit.add_parser(commands)
    predict.add_parser(commands)
    _add_evaluate(commands)
    _add_submit(commands)
    served = commands.add_parser("serve", help="predict for other programs, over HTTP and a WebSocket; on this machine alone unless a key is stated")
    served.add_argument("--model", metavar="NAME", help="a deployed run, or an ONNX file, instead of the model that ships")
    served.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="another than 127.0.0.1 needs a key")
    served.add_argument("--port", type=int, default=8471, metavar="N", help="0 for any that is free (8471)")
    served.add_argument("--key", metavar="KEY", help="that requests bring; other users of the machine may see it: prefer --key-file or FERLAB_KEY")
    served.add_argument("--key-file", metavar="FILE", help="a text file whose first line is the key")
    served.add_argument("--risk", type=float, metavar="RATE", help="as for predict (0.1)")
    served.set_defaults(run=_serve)
    ship = commands.add_parser("ship", help="put the model of a trained and evaluated run into the package")
    ship.add_argument("name", metavar="RUN", help="a run of params.yaml")
    ship.add_argument("--cost", required=True, metavar="TEXT", help="what training took, e.g. '6,000 CPU seconds on 2 cores'")
    ship.add_argument("--note", default="", metavar="TEXT", help="what else a user of the model should know")
    ship.add_argument("--weights", choices=("float16", "float32"), default="float16", help="how weights are stored; computed is in float32 (float16)")
    ship.set_defaults(run=_ship)
    gone = commands.add_parser("forget", help="after consent was withdrawn: erase a person, or remove earlier results from DVC's cache")
    gone.add_argument("person", nargs="?", metavar="ID", help="a pseudonym; without one, after dvc repro: remove all results but the current")
    gone.set_defaults(run=_forget)
    draw = commands.add_parser("draw", help="draw control faces as a dataset's files, to stand in for it")
    draw.add_argument("layout", help="ckplus, jaffe, affectnet, affectnet_csv, class_folders, captured, web, fer2013, fer2013_reshuffled or ferplus")
    draw.add_argument("folder", nargs="?", help="a new or empty one (data/raw/LAYOUT)")
    draw.add_argument("--subjects", type=int, metavar="N", help="people that are drawn (3 to 30, by layout)")
    draw.add_argument("--each", type=int, metavar="N", help="pictures of each expression of each of them (1 to 4, by layout)")
    draw.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other faces (0)")
    draw.set_defaults(run=_draw)
    completion.add_parser(commands, parser)
    return parser


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="score any model on a prepared set or a folder of photographs, with a page")
    evaluate.add_argument("model", metavar="MODEL", help="shipped, a run of params.yaml, or the path of an ONNX file with a card beside it")
    evaluate.add_argument("--set", metavar="NAME", default="", help="a prepared set: its test split is scored")
    evaluate.add_argument("--folder", metavar="PHOTOS", help="photographs in class folders, or labelled by --csv; faces are searched for")
    evaluate.add_argument("--csv", metavar="LABELS", help="file,expression[,person]: a row for each picture of the folder")
    evaluate.add_argument("--person", metavar="PATTERN", help="of class folders: finds the person in a file's name, e.g. '^(p[0-9]+)_'")
    evaluate.add_argument("--whole", action="store_true", help="each picture is a face already: search for none")
    evaluate.add_argument("--flip", action="store_true", help="predict the mean over a face and its mirror image")
    evaluate.add_argument("--name", default="", metavar="NAME", help="of the folder below reports/evaluations (MODEL-FACES)")
    evaluate.set_defaults(run=_evaluate)


def _add_submit(commands: Any) -> None:
    told = "predict the unlabelled faces of FER2013's PrivateTest (test.csv) with a model that reports/submissions/README.md names"
    handed = commands.add_parser("submit", help=told)
    handed.add_argument("model", metavar="MODEL", help="a trained run, ensemble, 'fitted ensemble', 'ensemble of SET', shipped, or an ONNX file")
    handed.add_argument("--tta", metavar="NAME", default="", help="that of the model's row, where evaluate.tta is another; of a file, none or flip")
    handed.set_defaults(run=_submit)


def _status(_: argparse.Namespace) -> int:
    from ferlab.status import read_status, status_lines

    states = read_status()
    *lines, total = status_lines(states)
    if sys.stdout.isatty():
        from rich import print as show
        from rich.markup import escape
        from rich.table import Table

        table, colours = Table("stage", "state", "why", box=None), {"fresh": "green", "page only": "yellow", "stale": "red"}
        for each in states:
            table.add_row(escape(each.stage), f"[{colours[each.state]}]{each.state}[/]", escape(each.why))
        show(table)
    else:
        print("\n".join(lines))
    print(total)
    return 0


def _forget(chosen: argparse.Namespace) -> int:
    from ferlab.params import load_params
    from ferlab.privacy import forget

    if chosen.person is None:
        print("\n".join(forget(ROOT, load_params())))
        return 0
    from ferlab.forgetting import forget_person

    lines, nothing_left = forget_person(ROOT, load_params(), chosen.person)
    print("\n".join(lines))
    return 0 if nothing_left else 1


def _serve(chosen: argparse.Namespace) -> int:
    from ferlab.live.serving.server import read_key, serve

    key = read_key(chosen.key, chosen.key_file, os.environ)
    serve(chosen.model, host=chosen.host, port=chosen.port, key=key, risk=chosen.risk)
    return 0


def _evaluate(chosen: argparse.Namespace) -> int:
    from ferlab.evaluations import Asked, evaluate
    from ferlab.params import load_params
    from ferlab.privacy import guard

    guard(load_params())
    folder, table = (Path(given) if given else None for given in (chosen.folder, chosen.csv))
    how = {"person": chosen.person, "whole": chosen.whole, "flip": chosen.flip, "name": chosen.name}
    asked = Asked(chosen.model, chosen.set, folder=folder, table=table, **how)
    page, lines = evaluate(asked)
    print("\n".join([*lines, f"page: {page.relative_to(ROOT)}"]))
    return 0


def _submit(chosen: argparse.Namespace) -> int:
    from ferlab.params import load_params
    from ferlab.privacy import guard
    from ferlab.submissions import submit

    guard(load_params())
    path, written, count = submit(chosen.model, tta=chosen.tta)
    told = f"predictions for {count:,} faces of PrivateTest" if written else "the same predictions lie there; nothing was written"
    print(f"{path.relative_to(ROOT)}: {told}")
    return 0


def _ship(chosen: argparse.Namespace) -> int:
    from ferlab.params import declared, load_params

    declared(load_params(), "train", chosen.name)  # names the nearest run
    for stage in ("train", "evaluate"):
        path = artefact(stage, "metrics", chosen.name)
        if not path.is_file():
            raise InputError(f"{path.relative_to(ROOT)}: not found; `dvc repro {stage}@{chosen.name}` makes it")
    from ferlab.deployment.shipping import ship
    from ferlab.reporting.site.shipped_card import write_shipped_card

    folder = ship(ROOT, chosen.name, cost=chosen.cost, note=chosen.note, weights=chosen.weights)
    write_shipped_card(ROOT)
    print(f"{chosen.name} now ships: {folder.relative_to(ROOT)}; next: git add and commit that folder")
    return 0


def _draw(chosen: argparse.Namespace) -> int:
    from ferlab.control.layouts import draw_layout

    folder = Path(chosen.folder) if chosen.folder else ROOT / "data" / "raw" / chosen.layout.removesuffix("_csv")
    count = draw_layout(chosen.layout, folder, subjects=chosen.subjects, each=chosen.each, seed=chosen.seed)
    print(f"{folder}: {count:,} files of control faces, drawn, no photographs; every page of a set that reads them says so")
    return 0


if __name__ == "__main__":
    sys.exit(main())
