"""The stages of dvc.yaml as DVC sees them: what each waits for, which have to run, and keeping in dvc.lock what ran.

DVC decides all three, so that stages which ran side by side leave the dvc.lock that `dvc repro` writes, byte for byte. A stage of `train` waits for
the trainings of its teachers besides, which DVC does not see and `dvc repro` runs first by the order of params.yaml.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

from ferlab.params import Params
from ferlab.paths import InputError, write_whole

LOCK = "dvc.lock"


@dataclass(frozen=True)
class Task:
    """A stage of a set or a run.

    Attributes:
        name: As dvc.yaml calls it, e.g. "train@five_layer".
        command: What a shell runs in the clone, with the name in DVC_STAGE; "" for a file that `dvc add` tracks.
        needs: The stages that have to be done before.
    """

    name: str
    command: str
    needs: frozenset[str]

    @property
    def kind(self) -> str:
        """The stage without its set or run, e.g. "train"."""
        return self.name.partition("@")[0]


class StageGraph:
    """The stages of a clone.

    Attributes:
        tasks: By name, in the order in which `dvc repro` runs them.
    """

    def __init__(self, root: Path, params: Params, *, targets: Iterable[str] = ()) -> None:
        """Read dvc.yaml.

        Args:
            root: The clone.
            params: Its params.yaml.
            targets: Stages, which are taken with all that they wait for; none: all.

        Raises:
            InputError: No such stage, or a dvc.yaml or dvc.lock that DVC refuses.
        """
        self._root = root
        logging.getLogger("dvc").setLevel(logging.CRITICAL)  # its bars and notes would stand between those of the stages
        try:
            self._repo = Repo(str(root), _wait_for_lock=True)
            graph = get_active_graph(self._repo.index.graph)
            wanted = set(plan_repro(graph, collect_stages(self._repo, list(targets) or ["dvc.yaml"])))
            stages = [stage for stage in plan_repro(graph) if stage in wanted]  # Keep: of a part of the graph alone, the order changes by chance
        except DvcException as error:
            raise _in_one_line(error) from None
        needs = {stage.addressing: {other.addressing for other in graph.successors(stage)} for stage in stages}
        for run, of in params.runs.items():
            if f"train@{run}" in needs:
                needs[f"train@{run}"] |= {f"train@{teacher}" for teacher in of.train.teachers} & needs.keys()
        commands = {stage.addressing: stage.cmd if isinstance(stage.cmd, str) else " && ".join(stage.cmd or ()) for stage in stages}
        self.tasks = {name: Task(name, commands[name], frozenset(before)) for name, before in needs.items()}
        self._listed = self._order_of_lock()

    def stale(self, names: Iterable[str]) -> set[str]:
        """Return those of some stages that `dvc repro` would run."""
        asked = set(names)
        if not asked:
            return set()
        try:
            with lock_repo(self._repo):  # Keep: Repo.status reads dvc.yaml again for each name
                return {stage.addressing for stage in self._repo.index.stages if stage.addressing in asked and stage.status()}
        except DvcException as error:
            raise _in_one_line(error) from None

    def keep(self, name: str) -> None:
        """Note in dvc.lock, and keep in DVC's cache, what a stage has written; its place there is where `dvc repro` puts it.

        Raises:
            InputError: An output is missing.
        """
        try:
            self._repo.commit(name, force=True)
        except DvcException as error:
            raise _in_one_line(error) from None
        path = self._root / LOCK
        if not path.is_file():  # a file that DVC tracks was all so far
            return
        text, order = path.read_text(encoding="utf-8"), [*self._listed, *(each for each in self.tasks if each not in self._listed)]
        if (ordered := in_order(text, {each: place for place, each in enumerate(order)})) != text:
            write_whole(path, ordered.encode())

    def _order_of_lock(self) -> list[str]:
        path = self._root / LOCK
        return [name for name, _ in _entries(path.read_text(encoding="utf-8"))[1]] if path.is_file() else []


def in_order(text: str, places: Mapping[str, int]) -> str:
    """Return the text of a dvc.lock with its stages in another order: by their places, those without one last."""
    head, entries, tail = _entries(text)
    entries.sort(key=lambda entry: places.get(entry[0], len(places)))
    return head + "".join(body for _, body in entries) + tail


def _entries(text: str) -> tuple[str, list[tuple[str, str]], str]:
    """Return what stands before the stages, the name and lines of each, and what stands after them."""
    found = re.search(r"^stages:\n((?: .*\n|\n)*)", text, flags=re.MULTILINE)
    if not found:
        return text, [], ""
    bodies = re.findall(r"^  (?! ).*\n(?:    .*\n|\n)*", found[1], flags=re.MULTILINE)
    named = [(re.match(r"  ['\"]?(.*?)['\"]?:\n", body)[1], body) for body in bodies]  # type: ignore[index]
    return text[: found.start(1)], named, text[found.end() :]


def _in_one_line(error: Exception) -> InputError:
    return InputError(" ".join(str(error).split()))
