"""Video files, good and bad: what is read, and what is said."""

from __future__ import annotations

import os
import struct

import cv2
import numpy as np
import pytest

from ferlab.control.clips import write_clip
from ferlab.deployment.clip_files import MOST_SIDE, is_clip, open_clip
from ferlab.paths import InputError


def pictures(count: int, size=(64, 48)):
    for number in range(count):
        picture = np.full((size[1], size[0], 3), 20, np.uint8)
        picture[:, : (number + 1) * size[0] // count] = (200, 40, 40)
        yield picture


def written(path, count=20, **options):
    write_clip(path, pictures(count), **options)
    return path


def boxes_of(data: bytes, path: list[bytes], start: int = 0, end: int | None = None):
    """Return the places (start, size) of nested MP4 boxes."""
    place, end = start, len(data) if end is None else end
    while place < end:
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == path[0]:
            return [(place, size), *(boxes_of(data, path[1:], place + 8, place + size) if path[1:] else [])]
        place += size
    raise AssertionError(path)


def with_durations(data: bytes, durations: list[tuple[int, int]]) -> bytes:
    """Return an MP4 whose frames have these durations: (frames, ticks) each, the index being its last box."""
    data = data.replace(b"edts", b"free")  # the edit list, which states the length
    nested = boxes_of(data, [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"])
    place, size = nested[-1]
    table = struct.pack(">I4sII", 16 + 8 * len(durations), b"stts", 0, len(durations)) + b"".join(struct.pack(">II", *each) for each in durations)
    grown, changed = len(table) - size, bytearray(data[:place] + table + data[place + size :])
    for at, before in nested[:-1]:
        struct.pack_into(">I", changed, at, before + grown)
    return bytes(changed)


@pytest.mark.parametrize("ending", [".mp4", ".avi", ".mkv", ".mov"])
def test_frames_come_upright_in_rgb_with_their_times(tmp_path, ending) -> None:
    clip = open_clip(written(tmp_path / f"a{ending}", fps=10))
    frames = list(clip.frames())
    assert [frame.number for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 10, atol=1e-6)
    assert frames[0].picture.shape == (48, 64, 3)
    assert frames[-1].picture[24, 32, 0] > 150 > frames[-1].picture[24, 32, 2]  # red comes first
    assert (clip.expected, clip.read, clip.problems) == (20, 20, [])
    assert clip.rate == pytest.approx(10)


def test_every_nth_frame_keeps_its_number_and_time(tmp_path) -> None:
    frames = list(open_clip(written(tmp_path / "a.mp4", fps=10)).frames(every=7))
    assert [(frame.number, round(frame.time, 6)) for frame in frames] == [(0, 0.0), (7, 0.7), (14, 1.4)]


def test_a_variable_frame_rate_is_read_from_the_files_own_time_stamps(tmp_path) -> None:
    path = written(tmp_path / "a.mp4", fps=25)
    data = path.read_bytes()
    assert b"moov" in data[len(data) // 2 :]
    path.write_bytes(with_durations(data, [(10, 512), (10, 2048)]))  # 12,800 ticks a second: 40 ms, then 160 ms
    clip = open_clip(path)
    times = [frame.time for frame in clip.frames()]
    np.testing.assert_allclose(np.diff(times), [0.04] * 10 + [0.16] * 9, atol=2e-3)
    assert clip.gaps == (pytest.approx(0.04, abs=2e-3), pytest.approx(0.16, abs=2e-3))
    assert clip.problems == []


def test_a_phones_rotation_is_undone(tmp_path) -> None:
    path = written(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    place, size = boxes_of(bytes(data), [b"moov", b"trak", b"tkhd"])[-1]
    struct.pack_into(">9i", data, place + size - 44, 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # a quarter turn
    path.write_bytes(data)
    (frame, *_) = open_clip(path).frames()
    assert frame.picture.shape == (64, 48, 3)


@pytest.mark.parametrize("ending", [".avi", ".mkv"])
def test_a_cut_file_is_read_as_far_as_it_goes_and_says_where_it_ends(tmp_path, ending) -> None:
    path = written(tmp_path / f"a{ending}", 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = open_clip(path)
    count = len(list(clip.frames()))
    assert 5 < count < 55
    (line,) = clip.problems
    assert f"ends at frame {count} of 60" in line
    assert f"of {60 / 25:.2f} s" in line


def test_damaged_frames_are_counted_and_passed_over(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0)
    write_clip(path, (noise.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(40)))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 4000] = bytes(range(250)) * 16
    path.write_bytes(data)
    clip = open_clip(path)
    count = len(list(clip.frames()))
    assert count + clip.damaged == 40 or count == 40  # FFmpeg conceals some damage
    assert count > 25


def test_a_video_without_frames_is_said(tmp_path) -> None:
    path = written(tmp_path / "a.avi")
    cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48)).release()
    with pytest.raises(InputError, match="has no frame that can be read"):
        list(open_clip(path).frames())


def test_a_frame_of_20_000_pixels_is_refused(tmp_path) -> None:
    write_clip(tmp_path / "a.avi", [np.zeros((16, 20_000, 3), np.uint8)])
    with pytest.raises(InputError, match=f"20,000 x 16 pixels; expected at most {MOST_SIDE:,}"):
        open_clip(tmp_path / "a.avi")


def bad_files(folder):
    cut = written(folder / "cut.mp4").read_bytes()
    return {
        "empty.mp4": (b"", "is empty (0 bytes)"),
        "cut.mp4": (cut[: len(cut) // 2], "cut before its index"),
        "text.mp4": (b"hello " * 100, "is no video"),
        "playlist.mp4": (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\nhttp://127.0.0.1:9/a.ts\n", "is no video"),
        "picture.mp4": (cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes(), "is PNG"),
        "noise.mp4": (b"\0\0\0\x20ftypisom" + os.urandom(5000), "damaged"),
        "noise.mkv": (b"\x1aE\xdf\xa3" + os.urandom(5000), "damaged"),
        "stream.ts": (b"G" * 5000, ""),
    }


def test_every_bad_file_is_one_line_that_names_it(tmp_path, capfd) -> None:
    for name, (content, said) in bad_files(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as error:
            list(open_clip(tmp_path / name).frames())
        assert name in str(error.value)
        assert "\n" not in str(error.value)
        assert said in str(error.value), name
    for name, said in (("none.mp4", "is missing"), (".", "is a folder")):
        with pytest.raises(InputError, match=said):
            open_clip(tmp_path / name)
    assert capfd.readouterr() == ("", "")  # FFmpeg's and OpenCV's own messages stay away


def test_content_decides_what_is_a_video_and_the_name_where_it_is_neither(tmp_path) -> None:
    written(tmp_path / "a.mp4").rename(tmp_path / "a.jpg")
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "b.png").rename(tmp_path / "b.mp4")
    (tmp_path / "c.mp4").write_bytes(b"")
    (tmp_path / "c.jpg").write_bytes(b"")
    assert [is_clip(tmp_path / name) for name in ("a.jpg", "b.mp4", "c.mp4", "c.jpg", "none.mov", "none.png")] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
