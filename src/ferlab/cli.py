"""The `ferlab` command: what a researcher types beside `dvc`.

    ferlab study                       the studies at hand: recipe, cost, and what must lie in data/raw
    ferlab study cs230                 write params.yaml for that study, and say what must lie in data/raw
    ferlab status                      per stage: fresh, page only, or stale and why; and what `dvc repro` would cost
    ferlab predict photo.jpg           the expression of each face, from any folder
    ferlab ship compact --cost TEXT    put a trained run's model into the package
    ferlab draw ckplus                 control faces as CK+'s files, for a study whose data cannot be had
    ferlab forget                      after consent was withdrawn: remove every earlier state of faces

Studies, shipping, drawing and forgetting belong to a clone; predicting needs none, and no torch.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from ferlab.params import load_params
from ferlab.paths import ROOT, InputError
from ferlab.privacy import forget
from ferlab.studies import study_lines, write_study


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
    except KeyboardInterrupt:
        print("ferlab: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ferlab", description="Research on facial expression recognition.")
    commands = parser.add_subparsers(dest="command", required=True)
    study = commands.add_parser("study", help="write params.yaml for a study of conf/study/")
    study.add_argument("name", nargs="?", help="leave it out to see what there is")
    study.set_defaults(run=_study)
    status = commands.add_parser("status", help="what is fresh, what is stale and why, and what dvc repro would cost")
    status.set_defaults(run=_status)
    predict = commands.add_parser("predict", help="print the expression of each face in some pictures")
    predict.add_argument("pictures", nargs="+", metavar="PICTURE", help="PNG, JPEG, TIFF, BMP, PPM, PGM, WebP or GIF")
    predict.add_argument("--model", metavar="ONNX", help="another model than the one that ships, e.g. models/RUN/model.onnx")
    predict.add_argument("--top", type=int, default=3, metavar="N", help="expressions on a line, the likeliest first (3)")
    predict.add_argument("--csv", metavar="FILE", help="write a row for each face to a new .csv as well, with all probabilities")
    predict.add_argument("--small", action="store_true", help="search large pictures for small faces too: slower, and more boxes that are no faces")
    predict.add_argument("--whole", action="store_true", help="each picture is a face already: search for none")
    predict.set_defaults(run=_predict)
    ship = commands.add_parser("ship", help="put the model of a trained and evaluated run into the package")
    ship.add_argument("name", metavar="RUN", help="a run of params.yaml")
    ship.add_argument("--cost", required=True, metavar="TEXT", help="what training took, e.g. '6,000 CPU seconds on 2 cores'")
    ship.add_argument("--note", default="", metavar="TEXT", help="what else a user of the model should know")
    ship.add_argument("--weights", choices=("float16", "float32"), default="float16", help="how weights are stored; computed is in float32 (float16)")
    ship.set_defaults(run=_ship)
    gone = commands.add_parser("forget", help="after consent was withdrawn and dvc repro has run: remove earlier results, from DVC's cache too")
    gone.set_defaults(run=_forget)
    draw = commands.add_parser("draw", help="draw control faces as a dataset's files, to stand in for it")
    draw.add_argument("layout", help="ckplus, jaffe, affectnet, affectnet_csv, class_folders, captured, fer2013, fer2013_reshuffled or ferplus")
    draw.add_argument("folder", nargs="?", help="a new or empty one (data/raw/LAYOUT)")
    draw.add_argument("--subjects", type=int, metavar="N", help="people that are drawn (3 to 30, by layout)")
    draw.add_argument("--each", type=int, metavar="N", help="pictures of each expression of each of them (1 to 4, by layout)")
    draw.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other faces (0)")
    draw.set_defaults(run=_draw)
    return parser


def _study(chosen: argparse.Namespace) -> int:
    if chosen.name is None:
        print("\n".join(study_lines(ROOT)))
    else:
        write_study(ROOT, chosen.name)
    return 0


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
    print("\n".join(forget(ROOT, load_params())))
    return 0


def _predict(chosen: argparse.Namespace) -> int:
    from ferlab.deployment.listing import predict_pictures

    told = {"model": chosen.model, "top": chosen.top, "table": chosen.csv, "whole": chosen.whole, "small": chosen.small}
    unread = predict_pictures(chosen.pictures, **told)
    for line in unread:
        print(f"ferlab: {' '.join(line.split())}", file=sys.stderr)
    return 1 if unread else 0


def _ship(chosen: argparse.Namespace) -> int:
    from ferlab.deployment.shipping import ship

    folder = ship(ROOT, chosen.name, cost=chosen.cost, note=chosen.note, weights=chosen.weights)
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
