"""The sections of params.yaml: one frozen pydantic model each, named as its stage is."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

LONGEST = 100  # characters of a name: file names end at 255 bytes


class Section(BaseModel):
    """A section of params.yaml: frozen, unknown keys forbidden, no type coerced (a quoted number is not a number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=(), allow_inf_nan=False)


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


class Prepare(Source):
    """One set: its dataset or sources, and how faces are prepared and split."""

    dataset: str = ""  # or sources
    raw: str = "data/raw"
    sources: dict[Name, Source] = {}
    exclusions: Below = ""  # a csv below raw: face_id, why, who
    unreadable: Literal["stop", "exclude"] = "stop"
    face: Face = Face()
    size: int | None = Field(None, ge=8, le=1024)  # side of a face in pixels; null: as delivered
    colour: Literal["as_is", "grey", "rgb"] = "as_is"
    equalise: Literal["none", "histogram", "clahe"] = "none"
    blur: int = Field(0, ge=0, le=31)  # side of the Gaussian kernel; cs231a: 5
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

    @property
    def all_sources(self) -> dict[str, dict[str, Any]]:
        """The sources as plain values by name; a single dataset has its own name."""
        if self.dataset:
            return {self.dataset: {**self.model_dump(include=set(Source.model_fields)), "raw": ""}}
        return {name: source.model_dump() for name, source in self.sources.items()}


class Audit(Section):
    """What the leak audit shows."""

    shown: int = Field(8, ge=1, le=24)


class Train(Section):
    """How a run is trained; params.yaml and the studies cite the source of each value."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    optimizer: Literal["sgd", "adam", "adamw"]
    lr: float = Field(gt=0)
    lr_decay: float = Field(0.0, ge=0)  # the rate of step t is divided by 1 + t times this, as Keras's `decay` has it
    bias_lr_mult: float = Field(1.0, gt=0)  # the learning rate of biases is this times lr; Caffe's models: 2
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(ge=0)
    decay: Literal["all", "weights"] = "all"  # weights: not biases, nor the scales and shifts of normalisation
    loss: Literal["cross_entropy", "l2_svm", "multi_label"] = "cross_entropy"
    regress: list[Literal["valence", "arousal", "intensity"]] = []  # values predicted beside the expression
    regress_weight: float = Field(1.0, gt=0)  # of 1 - CCC, their loss, beside the expressions'
    schedule: Literal["constant", "one_cycle", "cosine", "plateau"]
    warmup: float = Field(0.2, ge=0, lt=1)  # fraction of the steps in which the learning rate rises
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    ferplus_weight: float = Field(0.0, ge=0, le=1)  # of FER+'s vote distribution in the soft target, where a face has votes
    class_weights: bool = False
    scaling: Literal["standardised", "unit", "mean_image"] = "standardised"  # of the input, see ferlab.models.inputs
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    channels_last: bool = True
    threads: int = Field(2, ge=1)
    flip: bool = True
    rotation: float = Field(0.0, ge=0, le=180)  # degrees, either way
    zoom: float = Field(0.0, ge=0, lt=1)  # fraction of the side, either way
    shift: float = Field(0.0, ge=0, lt=1)  # fraction of the side, either way
    crop: float = Field(1.0, ge=0.5, le=1)  # side of a random square crop, as a fraction of the face's; see evaluate.tta: ten_crop
    brightness: float = Field(0.0, ge=0, lt=1)  # fraction of the full scale, either way
    contrast: float = Field(0.0, ge=0, lt=1)  # factor 1 +- this
    erasing: float = Field(0.0, ge=0, le=1)  # probability of a rectangle filled with the face's mean
    mixup: float = Field(0.0, ge=0)  # alpha of the Beta distribution; 0: none
    cutmix: float = Field(0.0, ge=0)  # likewise; with both, half of the batches each
    mixing_ends: float = Field(1.0, gt=0, le=1)  # fraction of the epochs with mixed faces
    teachers: list[str] = []  # runs above this one whose probabilities are mixed into the targets; dvc does not see when they change
    teacher_weight: float = Field(0.7, gt=0, le=1)  # of the teachers' probabilities in the target
    averaging: Literal["none", "ema", "swa"] = "none"  # which weights are scored on val and kept
    ema_decay: float = Field(0.999, gt=0, lt=1)  # by step
    swa_start: float = Field(0.75, ge=0, lt=1)  # fraction of the epochs before averaging begins
    patience: int = Field(0, ge=0)  # epochs without improvement before stopping; 0: never stop early
    monitor: Literal["val/accuracy", "val/loss"] = "val/accuracy"
    gradient_clip: float = Field(0.0, ge=0)  # norm; 0: none
    select: Literal["val", "test", "none"] = "val"  # the split that selects the epoch; test: to measure that; none: train on val too, keep the last
    compile: bool = False  # torch.compile, for long runs on a GPU: half a minute for ResNet-18; the gain was not measured
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where PyTorch has one
    devices: int = Field(1, ge=1)  # per machine, one process each, which share every batch; see ferlab.training.distributed
    num_nodes: int = Field(1, ge=1)  # machines
    sync_batchnorm: bool = False  # batch normalisation over the whole batch, not per process; cuda only
    pretrained: str = ""  # published: what the card names; else a path, hf:owner/name/file or an address; "": random
    pretrained_layout: Literal["", "ferlab", "torchvision", "vggface2", "vgg_dag"] = ""  # of that file; "": the card's
    pretrained_sha256: str = ""  # of that file; "": the card's, or unchecked
    pretrained_grey: Literal["refuse", "sum"] = "refuse"  # for a first layer of three channels in a model of one
    refit: bool = False  # select the epoch on val, then train anew on train and val for that many

    @model_validator(mode="after")
    def _settings_go_together(self) -> Train:
        if self.select != "val" and self.refit:
            raise ValueError(f"refit needs select: val, got select: {self.select}")
        if self.select == "none" and (self.patience or self.schedule == "plateau"):
            raise ValueError("select: none scores no split, so patience must be 0 and schedule must not be plateau")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ValueError(f"label_smoothing needs cross_entropy: expected 0.0 with loss: {self.loss}")
        if self.teachers and self.loss == "multi_label":
            raise ValueError("teachers predict expressions that exclude each other, so loss must not be multi_label")
        if self.teachers and self.teacher_weight == 1 and (self.ferplus_weight or self.label_smoothing):
            raise ValueError("teacher_weight: 1 ignores the labels, so ferplus_weight and label_smoothing must be 0")
        return self


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


class Explain(Section):
    """Which faces are explained, and cs230's occlusion (8x8 window, stride 4, grey .5)."""

    split: Literal["train", "val", "test"] = "val"
    faces_per_class: int = Field(24, ge=1)
    window: int = Field(8, ge=1)
    stride: int = Field(4, ge=1)
    batch_size: int = Field(1024, ge=1)
    seed: int = Field(0, ge=0)


class AnalyzeErrors(Section):
    """Which errors are shown."""

    split: Literal["train", "val", "test"] = "val"
    most: int = Field(16, ge=1, le=36)


class Compare(Section):
    """The soft-voting ensemble (an empty list: all runs of a set) and the pairs of runs that are tested."""

    ensemble: list[str] = []
    contrasts: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []  # [[run, other]]; empty: what `factors` name, else all pairs
    weights: Literal["equal", "fitted"] = "equal"  # fitted: on val alone, shown beside equal ones


class Deploy(Section):
    """Latency of one face on one CPU thread; cs230's budget is 100 ms."""

    repeats: int = Field(200, ge=10)
    budget_ms: float = Field(100.0, gt=0)
    compared: int = Field(2000, ge=10)  # val faces, at most, on which the exported files are compared with the model
    calibration: int = Field(256, ge=8)  # training faces, at most, that set the activation ranges of the int8 file


class ControlFaces(Section):
    """The page that shows what control faces can do."""

    size: int = Field(96, ge=48, le=224)
    seed: int = Field(0, ge=0)


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
    control_faces: ControlFaces = ControlFaces()


class StageParams(Section):
    """What one stage may see: the sections that dvc.yaml declares for it, and no others."""

    study: str
    name: str  # the set, the run, or "" for compare and control_faces
    prepare: Prepare | None = None
    run: Run | None = None
    runs: dict[str, Run] | None = None
    audit: Audit | None = None
    evaluate: Evaluate | None = None
    explain: Explain | None = None
    analyze_errors: AnalyzeErrors | None = None
    compare: Compare | None = None
    deploy: Deploy | None = None
    control_faces: ControlFaces | None = None

    @property
    def set_name(self) -> str:
        """The set this stage reads: its own name for prepare and audit, the run's `data` otherwise."""
        return self.run.data if self.run else self.name
