"""The sections of params.yaml: one frozen pydantic model each, named as its stage is."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from ferlab.params.training import Section, Train

LONGEST = 100  # characters of a name: file names end at 255 bytes


def _file_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", name) or len(name) > LONGEST:
        what = f"a name holds letters, digits, '-' and '_' only, at most {LONGEST}, and no '-' at its beginning"
        raise ValueError(f"{what} (it becomes a file name)")
    return name


def _below(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} leaves the set's raw folder, where changes are not tracked; expected a path below raw")
    return path


Name = Annotated[str, AfterValidator(_file_name)]
Below = Annotated[str, AfterValidator(_below)]


class Source(Section):
    """One dataset of a set: how it is read, and the names of its labels and usages in the set."""

    dataset: str
    raw: Below = ""
    options: dict[str, Any] = {}
    labels: dict[str, str | None] = {}  # expression -> its name in the set; null: excluded
    usages: dict[str, str | None] = {}  # likewise
    group_split: dict[str, float] = {}  # fraction per usage; a person is in one usage alone


class Face(Section):
    """How a face is detected and cropped; Haar's defaults are cs231a's."""

    detector: Literal["none", "haar", "yunet", "dataset"] = "none"  # dataset: the boxes that came with it
    file: str = ""  # of a detector that is plugged in
    sha256: str = ""  # of that file
    scale_factor: float = Field(1.1, gt=1)
    min_neighbors: int = Field(5, ge=1)
    min_size: int = Field(30, ge=1)
    retries: bool = True  # under looser parameters
    boxes: Below = ""  # a csv below raw: boxes chosen by hand, before the detector's
    margin: float = Field(0.0, gt=-0.5, le=2)  # fraction of the box's longer side, on each side
    align: Literal["none", "eyes", "landmarks"] = "none"
    not_found: Literal["exclude", "whole"] = "exclude"


Region = Literal["brows", "eyes", "nose", "mouth", "rest"]  # see ferlab.data.regions


class Prepare(Source):
    """One set: its dataset or sources, and how faces are prepared and split."""

    dataset: str = ""  # or sources
    raw: str = "data/raw"
    sources: dict[Name, Source] = {}
    exclusions: Below = ""  # a csv below raw: face_id, why, who
    corrections: Below = ""  # a csv below raw: face_id, old, new, who, why, when; labels corrected by hand
    unreadable: Literal["stop", "exclude"] = "stop"
    face: Face = Face()
    size: int | None = Field(None, ge=8, le=1024)  # side of a face in pixels; null: as delivered
    colour: Literal["as_is", "grey", "rgb"] = "as_is"
    equalise: Literal["none", "histogram", "clahe"] = "none"
    blur: int = Field(0, ge=0, le=31)  # side of the Gaussian kernel; cs231a: 5
    cover: list[Region] = []  # regions of the face filled with mid-grey in every face; rest: all but brows, eyes, nose and mouth
    copies: bool = False  # cs231a: mirrored and turned by 10 degrees either way, of train alone
    oversample: Literal["none", "smote", "adasyn"] = "none"  # of train alone
    network_input: Literal["none", "cs231a", "cs230", "cs230_224", "fers"] = "none"  # a paper's whole input, shown beside the faces
    shards: int = Field(0, ge=0)  # faces per shard; 0: one array
    split: Literal["auto", "official", "groups", "group_k_fold", "leave_one_subject_out", "random_frames"] = "auto"
    folds: int = Field(10, ge=2)
    fold: int = Field(0, ge=0)
    val_fraction: float = Field(0.1, gt=0, lt=1)
    test_fraction: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _cover_leaves_something(self) -> Prepare:
        if self.cover and self.shards:
            raise ValueError(f"cover needs one array of faces: expected shards: 0, got {self.shards}")
        if len(set(self.cover)) < len(self.cover) or len(self.cover) == len(get_args(Region)):
            raise ValueError(f"expected different regions in cover, and one of {', '.join(get_args(Region))} that is not covered")
        return self

    @property
    def all_sources(self) -> dict[str, dict[str, Any]]:
        """The sources as plain values by name; a single dataset has its own name."""
        if self.dataset:
            return {self.dataset: {**self.model_dump(include=set(Source.model_fields)), "raw": ""}}
        return {name: source.model_dump() for name, source in self.sources.items()}


class Audit(Section):
    """What the leak audit shows."""

    shown: int = Field(8, ge=1, le=24)


class Run(Section):
    """One trained model. Seeds are runs of their own that share a `group`."""

    family: str
    model: str
    data: str
    seed: int = Field(ge=0)
    group: Name
    factors: dict[str, str] = {}  # the run's place in a table of factors, factor -> level
    options: dict[str, Any] = {}
    train: Train


class Evaluate(Section):
    """How predictions are made and how sure the numbers are."""

    tta: Literal["none", "flip", "ten_crop", "seven", "two_scales", "vote"] = "flip"  # test-time augmentation; see ferlab.evaluation.tta
    crop: float = Field(0.92, ge=0.5, lt=1)  # ten_crop, two_scales: side of a crop, as a fraction of the face's
    bootstrap: int = Field(2000, ge=100)  # random draws behind each interval that needs them
    batch_size: int = Field(512, ge=1)


AttributionMethod = Literal[
    "grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "guided_grad_cam", "gradients", "smooth_grad", "integrated_gradients",
    "occlusion", "rise", "xrai",
]  # fmt: skip


class Faithfulness(Section):
    """How many of the explained faces are judged, and how often each is perturbed; see `ferlab.explanation.judged`."""

    faces: int = Field(70, ge=2)  # at most, spread over the predicted classes
    recomputed: int = Field(28, ge=2)  # of them: maps are computed again, of noisy faces, of another class and of random weights
    squares: int = Field(20, ge=2)  # removed in turn, for infidelity
    samples: int = Field(5, ge=1)  # noisy copies, for max-sensitivity
    copies: int = Field(8, ge=1)  # noisy copies that a map is averaged over while weights are randomised (smooth MPRT)
    stages: int = Field(4, ge=1)  # of the randomisation, from the output to all layers


class Explain(Section):
    """Which faces are explained and by which methods, and cs230's occlusion (8x8 window, stride 4, grey .5)."""

    split: Literal["train", "val", "test"] = "val"
    methods: list[AttributionMethod] = []  # occlusion is added; empty: grad_cam where there is a layer, hires_cam where it differs, occlusion
    steps: int = Field(50, ge=2, le=1000)  # points of the integral: integrated_gradients, xrai
    samples: int = Field(25, ge=1, le=10_000)  # noisy copies of a face: smooth_grad
    masks: int = Field(1000, ge=1, le=100_000)  # random masks: rise
    faces_per_class: int = Field(24, ge=1)
    hypothesis_faces: int = Field(24, ge=1)  # correctly classified faces per expression, at most, on which hypotheses about regions are tested
    window: int = Field(8, ge=1)
    stride: int = Field(4, ge=1)
    batch_size: int = Field(256, ge=1)  # a CPU's cache holds the maps of no more
    seed: int = Field(0, ge=0)
    faithfulness: Faithfulness = Faithfulness()


class AnalyzeErrors(Section):
    """Which errors are shown, and how the labels that a run was trained on are cross-validated."""

    split: Literal["train", "val", "test"] = "val"
    most: int = Field(16, ge=1, le=36)
    folds: int = Field(5, ge=2, le=20)
    folds_model: Literal["features", "run"] = "features"  # what is fitted per fold; run: the run's model is trained again for each
    seed: int = Field(0, ge=0)


class Robustness(Section):
    """Which faces are corrupted, occluded and displaced, and on which other datasets the run is scored."""

    split: Literal["train", "val", "test"] = "val"
    faces: int = Field(300, ge=2)  # of that split, at most; every expression has its share
    sets: list[str] = []  # of prepare: other datasets, all faces of that split
    batch_size: int = Field(16, ge=1)  # a GPU takes more
    seed: int = Field(0, ge=0)


class Compare(Section):
    """The soft-voting ensemble (an empty list: all runs of a set), the pairs of runs that are tested, and whose corruption error counts as 100 %."""

    ensemble: list[str] = []
    contrasts: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []  # [[run, other]]; empty: what `factors` name, else all pairs
    weights: Literal["equal", "fitted"] = "equal"  # fitted: on val alone, shown beside equal ones
    experts: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []  # [[run, expert]]; the expert's train.expressions are two
    baseline: str = ""  # the run that mean corruption errors are relative to, on its set; empty: the first run of each set


class Deploy(Section):
    """Latency of one face on one CPU thread; cs230's budget is 100 ms."""

    repeats: int = Field(200, ge=10)
    budget_ms: float = Field(100.0, gt=0)
    compared: int = Field(2000, ge=10)  # val faces, at most, on which the exported files are compared with the model
    calibration: int = Field(256, ge=8)  # training faces, at most, that set the activation ranges of the int8 file
    risk: float = Field(0.1, gt=0, lt=1)  # error rate among accepted faces: below the threshold that keeps it the model abstains


class ControlFaces(Section):
    """The page that shows what control faces can do."""

    size: int = Field(96, ge=48, le=224)
    seed: int = Field(0, ge=0)


class Frame(Section):
    """Models of any origin on the same sets; the first model is what the others are tested against."""

    models: list[str] = []  # shipped, a run, or the path of an ONNX file or its folder; empty: no comparison
    sets: list[str] = []  # of prepare
    tta: Literal["none", "flip"] = "none"

    @model_validator(mode="after")
    def _both_or_none(self) -> Frame:
        if bool(self.models) != bool(self.sets):
            raise ValueError("expected models and sets, or neither")
        if repeated := [name for name in (*self.models, *self.sets) if (*self.models, *self.sets).count(name) > 1]:
            raise ValueError(f"{repeated[0]!r} is named twice")
        return self


class Claims(Section):
    """Control sequences on which one model is trained under a random split of frames and under a split by subject."""

    draws: int = Field(5, ge=2)  # each with its own subjects, sequences and division
    subjects: int = Field(40, ge=8)
    sequences: int = Field(80, ge=8)
    frames: int = Field(9, ge=5)  # of a sequence; its first two and its last third are labelled
    size: int = Field(48, ge=24, le=224)
    seed: int = Field(0, ge=0)  # of the first draw


class Roar(Section):
    """Retraining without the pixels that a method ranks highest; none: off."""

    methods: list[str] = []  # of explanation.methods.METHODS
    fractions: list[Annotated[float, Field(gt=0, lt=1)]] = []  # of the pixels


class Worlds(Section):
    """Models trained on control faces whose evidence is known, by which attribution methods are ranked."""

    family: str = "cs230"
    model: str = "five_layer"
    options: dict[str, Any] = {"dropout": 0.0}
    region: Literal["mouth", "brows", "eyes", "nose"] = "mouth"  # decides the label of the world one_region
    rho: float = Field(0.95, ge=0, le=1)  # probability that the mark of the world shortcut agrees with the label in training
    faces: int = Field(640, ge=100)  # drawn per world, train and test together
    subjects: int = Field(200, ge=10)
    size: int = Field(48, ge=24, le=224)
    intensity: float = Field(3.0, ge=0, le=4)  # least intensity of an expression
    epochs: int = Field(12, ge=1)
    batch_size: int = Field(16, ge=2)
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)  # each draws and trains anew
    per_class: int = Field(3, ge=1)  # explained test faces per expression and world, at most
    chimeras: int = Field(20, ge=2)  # faces of two expressions; as many for the hand-wired network
    methods: list[str] = []  # of explanation.methods.METHODS; empty: all
    window: int = Field(8, ge=1)  # occlusion
    stride: int = Field(6, ge=1)
    masks: int = Field(64, ge=10)  # RISE
    steps: int = Field(16, ge=2)  # integrated gradients, XRAI
    samples: int = Field(12, ge=2)  # SmoothGrad
    roar: Roar = Roar()


class Params(Section):
    """All of params.yaml, runs merged over the `train` defaults."""

    study: Name
    prepare: dict[Name, Prepare]
    audit: Audit
    train: dict[str, Any]
    runs: dict[Name, Run]
    evaluate: Evaluate
    explain: Explain
    analyze_errors: AnalyzeErrors
    compare: Compare
    deploy: Deploy
    robustness: Robustness = Robustness()
    control_faces: ControlFaces = ControlFaces()
    frame: Frame = Frame()
    claims: Claims = Claims()
    worlds: Worlds = Worlds()


class StageParams(Section):
    """What one stage may see: the sections that dvc.yaml declares for it, and no others."""

    study: str
    name: str  # the set, the run, or "" for stages that have neither
    prepare: Prepare | None = None
    run: Run | None = None
    runs: dict[str, Run] | None = None
    audit: Audit | None = None
    evaluate: Evaluate | None = None
    explain: Explain | None = None
    analyze_errors: AnalyzeErrors | None = None
    compare: Compare | None = None
    deploy: Deploy | None = None
    robustness: Robustness | None = None
    control_faces: ControlFaces | None = None
    frame: Frame | None = None
    claims: Claims | None = None
    worlds: Worlds | None = None

    @property
    def set_name(self) -> str:
        """The set this stage reads: its own name for prepare and audit, the run's `data` otherwise."""
        return self.run.data if self.run else self.name
