"""Faces followed through the frames of a video: searched for at intervals, followed by optical flow between, with ids that stay.

A cascade in every frame costs most of the time of a frame, and its boxes jump. Here the detector runs every `every` seconds, and at once when a
face was lost. Between searches the corners inside a box are followed by optical flow (Lucas & Kanade 1981, pyramidal), forwards and back; those that
do not return are dropped, and the median movement of the rest moves and scales the box (Kalal et al. 2010, "Forward-backward error"). A found box is
matched to a face by overlap (Hungarian assignment); a face that was out of sight for up to `PATIENCE` seconds keeps its id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np

from ferlab.data.preparation.appearance import to_grey
from ferlab.data.preparation.detection import Detector, for_reading, open_detector, overlaps
from ferlab.deployment.face_search import Box
from ferlab.opencv import one_thread

EVERY = 0.2  # seconds between two searches: the tick of cs230's app
SIDE = 640  # pixels of the longer side of the searched and followed copy
LEAST_OVERLAP = 0.3  # intersection over union from which a found box is a known face
UNSEEN = 0.7  # seconds for which a face is followed though searches do not find it
PATIENCE = 2.0  # seconds out of sight after which an id is not used again
NEAR = 0.6  # of its side: how far from where it was lost a face may come back
CORNERS, FEWEST = 40, 6  # points per face, and how many must return
RETURNED = 1.0  # pixel: forward-backward error of a point that returned
SURE = 2.0  # Haar's score from which a box starts a new face; a known face is matched below too
KEPT = 0.5  # share of the followed box where a found one is matched: found boxes jump by some pixels


@dataclass(frozen=True)
class FollowedFace:
    """One face of one frame.

    Attributes:
        id: Stays while the face is followed; counted from 0 in order of appearance.
        box: x, y, width, height in pixels of the frame; it may extend beyond it.
        score: The detector's when it was last found (`ferlab.data.preparation.detection.Detections`).
        found: Whether this frame was searched and the face found, not followed.
    """

    id: int
    box: Box
    score: float | None
    found: bool


@dataclass
class _Track:
    id: int
    box: np.ndarray  # float64 x, y, width, height in the reduced copy
    score: float | None
    found_at: float
    seen_at: float
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 2), np.float32))
    lost: bool = False


class FaceFollower:
    """Finds and follows the faces of consecutive frames.

    Args:
        detector: From `ferlab.data.preparation.detection.open_detector`; None for Haar as cs231a states it, without its looser search levels: they
            take ten times as long where no face is.
        every: Seconds between two searches; 0 for every frame.
        small: Whether frames are searched at up to 1280 pixels, for smaller faces.

    Attributes:
        searches: Frames that were searched so far.
    """

    def __init__(self, detector: Detector | None = None, *, every: float = EVERY, small: bool = False) -> None:
        self._detector = for_reading(detector or _haar_once())
        self._sure = SURE if detector is None else -np.inf
        self._every, self._side = every, SIDE * (2 if small else 1)
        self._tracks: list[_Track] = []
        self._grey: np.ndarray | None = None
        self._searched_at = -np.inf
        self._next_id = 0
        self.searches = 0

    def update(self, time: float, picture: np.ndarray) -> list[FollowedFace]:
        """Return the faces of the next frame, from left to right.

        Args:
            time: Seconds, ascending.
            picture: uint8 (H, W) or (H, W, 3) in RGB.
        """
        scale = min(1.0, self._side / max(picture.shape[:2]))
        with one_thread():
            reduced = picture if scale == 1 else cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            grey = to_grey(reduced)
            if self._grey is not None and self._grey.shape != grey.shape:
                self._tracks, self._searched_at = [], -np.inf  # the size changed: another scene
            failed = self._follow(grey)
            if failed or self._every <= 0 or time - self._searched_at >= self._every - 1e-6:
                self._search(time, reduced)
            for track in self._visible():
                track.seen_at = time
                track.points = _corners(grey, track.box)
        self._grey = grey
        self._tracks = [track for track in self._tracks if time - track.seen_at <= PATIENCE]
        faces = [self._face(track, time, scale) for track in self._visible()]
        return sorted(faces, key=lambda face: face.box)

    def _visible(self) -> list[_Track]:
        return [track for track in self._tracks if not track.lost]

    def _follow(self, grey: np.ndarray) -> bool:
        """Move the boxes by optical flow; return whether a face was lost."""
        failed = False
        for track in self._visible():
            moved = None if self._grey is None else _flow(self._grey, grey, track)
            high, wide = grey.shape
            if moved is None or not (0 <= moved[0] + moved[2] / 2 < wide and 0 <= moved[1] + moved[3] / 2 < high):
                track.lost = failed = True
            else:
                track.box = moved
        return failed

    def _search(self, time: float, reduced: np.ndarray) -> None:
        """Search a frame and match what is found to the known faces; what is new gets the next id."""
        self._searched_at, self.searches = time, self.searches + 1
        found = self._detector(reduced)
        scores = np.full(len(found.boxes), np.inf) if found.scores is None else found.scores
        kept = np.sort(drop_overlapping(found.boxes.astype(np.float64), scores))  # Keep: from left to right, so that new ids are
        boxes, scores = found.boxes[kept].astype(np.float64), scores[kept]
        for place, track in match_boxes(boxes, [(track.box, track.lost) for track in self._tracks]).items():
            if track is None and (scores[place] < self._sure or self._covers_known(boxes[place])):
                continue
            known = self._tracks[track] if track is not None else self._start(boxes[place], time)
            known.box = boxes[place] if known.lost else KEPT * known.box + (1 - KEPT) * boxes[place]
            known.score, known.found_at, known.lost = float(scores[place]) if np.isfinite(scores[place]) else None, time, False
        for track in self._visible():
            track.lost = time - track.found_at > UNSEEN

    def _covers_known(self, box: np.ndarray) -> bool:
        boxes = np.array([box, *(track.box for track in self._visible())])
        return 0 not in drop_overlapping(boxes, np.array([-1.0, *np.zeros(len(boxes) - 1)]))

    def _start(self, box: np.ndarray, time: float) -> _Track:
        track = _Track(self._next_id, box, None, time, time, lost=True)
        self._next_id += 1
        self._tracks.append(track)
        return track

    def _face(self, track: _Track, time: float, scale: float) -> FollowedFace:
        x, y, width, height = (round(float(value) / scale) for value in track.box)
        return FollowedFace(track.id, (x, y, max(width, 1), max(height, 1)), track.score, found=track.found_at == time)


def drop_overlapping(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the indices of the boxes (n, 4) of distinct faces, by falling score: of two, one of whose centres lies in the other, the better.

    >>> drop_overlapping(np.array([[0, 0, 100, 100], [40, 60, 30, 30], [90, 0, 90, 90]]), np.array([2.0, 6.0, 3.0])).tolist()
    [1, 2]
    """
    kept: list[int] = []
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    inside = ((boxes[None, :, :2] <= centres[:, None]) & (centres[:, None] <= boxes[None, :, :2] + boxes[None, :, 2:])).all(axis=2)
    for place in np.argsort(-scores, kind="stable").tolist():
        if not any(inside[place, other] or inside[other, place] for other in kept):
            kept.append(place)
    return np.array(kept, np.int64)


def match_boxes(boxes: np.ndarray, known: list[tuple[np.ndarray, bool]]) -> dict[int, int | None]:
    """Return for each found box the place of its face among the known ones, or None for a new face.

    Args:
        boxes: (n, 4) x, y, width, height.
        known: Box of each known face, and whether it is out of sight: it may then have moved by up to `NEAR` of its side.
    """
    places: dict[int, int | None] = dict.fromkeys(range(len(boxes)))
    if not len(boxes) or not known:
        return places
    others = np.array([box for box, _ in known])
    lost = np.array([gone for _, gone in known])
    overlap = overlaps(boxes, others)
    centres, theirs = boxes[:, :2] + boxes[:, 2:] / 2, others[:, :2] + others[:, 2:] / 2
    away = np.linalg.norm(centres[:, None] - theirs[None], axis=2) / others[:, 2]
    ratio = boxes[:, None, 2] / others[None, :, 2]
    near = lost & (away < NEAR) & (ratio > 0.6) & (ratio < 1.7)
    worth = np.where(overlap >= LEAST_OVERLAP, 1 + overlap, np.where(near, 1 - away, 0))
    return places | {place: track for place, track in assign(worth) if worth[place, track] > 0}


def assign(worth: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of rows and columns of `worth` (n, m) with the largest sum, each row and column in one pair at most.

    Keep: SciPy's `linear_sum_assignment`, with which a test compares it, costs half a second and 100 MB where only a prediction is wanted.

    References:
        Kuhn (1955), The Hungarian method; Jonker & Volgenant (1987), shortest augmenting paths.
    """
    if worth.shape[0] > worth.shape[1]:
        return sorted((row, column) for column, row in assign(worth.T))
    rows, columns = worth.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    owner = np.full(columns + 1, -1)  # the row of each column; the last column is where each row starts
    for row in range(rows):
        owner[columns], place = row, columns
        least, before, free = np.full(columns, np.inf), np.full(columns, columns), np.ones(columns + 1, bool)
        while owner[place] >= 0:
            free[place] = False
            reduced = -worth[owner[place]] - row_price[owner[place]] - column_price[:-1]
            shorter = free[:-1] & (reduced < least)
            least[shorter], before[shorter] = reduced[shorter], place
            nearest = int(np.where(free[:-1], least, np.inf).argmin())
            step = least[nearest]
            row_price[owner[~free]] += step
            column_price[~free] -= step
            least[free[:-1]] -= step
            place = nearest
        while place != columns:
            owner[place], place = owner[before[place]], before[place]
    return sorted((int(owner[column]), column) for column in range(columns) if owner[column] >= 0)


@cache
def _haar_once() -> Detector:
    return open_detector("haar", retries=False)


def _corners(grey: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return points (n, 1, 2) of the inner part of a box that optical flow can follow."""
    x, y, width, height = box
    left, top = max(int(x + 0.15 * width), 0), max(int(y + 0.15 * height), 0)
    inner = np.ascontiguousarray(grey[top : max(int(y + 0.85 * height), 0), left : max(int(x + 0.85 * width), 0)])
    if min(inner.shape, default=0) < 8:
        return np.zeros((0, 1, 2), np.float32)
    points = cv2.goodFeaturesToTrack(inner, CORNERS, 0.02, max(width / 20, 2))
    return np.zeros((0, 1, 2), np.float32) if points is None else points + np.array([left, top], np.float32)


def _flow(before: np.ndarray, after: np.ndarray, track: _Track) -> np.ndarray | None:
    """Return the box of a face in the next frame, or None if too few points return."""
    if len(track.points) < FEWEST:
        return None
    options = {"winSize": (15, 15), "maxLevel": 3}
    there, one, _ = cv2.calcOpticalFlowPyrLK(before, after, track.points, None, **options)
    back, two, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **options)
    start, end = track.points[:, 0], there[:, 0]
    good = (np.linalg.norm(back[:, 0] - start, axis=1) < RETURNED) & (one.ravel() == 1) & (two.ravel() == 1)
    if good.sum() < max(FEWEST, 0.4 * len(start)):
        return None
    start, end = start[good], end[good]
    grown = _growth(start, end)
    x, y, width, height = track.box
    centre = np.array([x + width / 2, y + height / 2]) + np.median(end - start, axis=0)
    return np.array([*(centre - grown * np.array([width, height]) / 2), grown * width, grown * height])


def _growth(start: np.ndarray, end: np.ndarray) -> float:
    """Return the median ratio of distances between points after and before, of at most 10 % a frame."""
    one, other = np.triu_indices(len(start), 1)
    before = np.linalg.norm(start[one] - start[other], axis=1)
    after = np.linalg.norm(end[one] - end[other], axis=1)
    far = before > 3
    return float(np.clip(np.median(after[far] / before[far]), 0.9, 1.1)) if far.any() else 1.0
