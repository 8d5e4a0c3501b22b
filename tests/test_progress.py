from __future__ import annotations

from ferlab.progress import Interruption, follow, progress_line


def test_a_line_says_what_is_done_and_how_much_is_left():
    line = progress_line("train five_layer", {"done": 7, "total": 14, "note": "epoch 7 of 14"}, 12.0)
    assert line == "train five_layer  [##########..........]  50%  about 12 s left  epoch 7 of 14"


def test_a_line_without_a_total_does_not_divide_by_zero():
    assert "just started" in progress_line("train x", {}, 3.0)


def test_more_done_than_planned_stays_at_all():
    assert "100%" in progress_line("train x", {"done": 9, "total": 3}, 3.0)


def test_a_stage_is_announced_and_its_end_said(tmp_path, capsys):
    with follow(tmp_path / "none.jsonl", title="prepare control"):
        pass
    assert capsys.readouterr().out.splitlines()[-1].startswith("prepare control: done in ")


def test_what_a_person_should_read_is_printed_whole_and_garbled_lines_are_passed_over(tmp_path, capsys):
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(b'{"done": 1, "total": 4, "note": "epoch 1 of 4"}\n\xff[[\n[]\n{"say": "last.ckpt is dropped"}\n{"done": 2')
    with follow(lines, title="train a"):
        pass
    assert "train a: last.ckpt is dropped" in capsys.readouterr().out.splitlines()
    stopped = Interruption("train a")
    stopped.lines, stopped.kept = lines, tmp_path
    assert stopped.line() == "train a: stopped in epoch 1 of 4; `dvc repro` goes on there"
