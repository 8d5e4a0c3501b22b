"""The section `train` of params.yaml, and the model that all sections are."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A section of params.yaml: frozen, unknown keys forbidden, no type coerced (a quoted number is not a number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=(), allow_inf_nan=False)


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
    loss: Literal["cross_entropy", "l2_svm", "multi_label", "logit_adjusted", "balanced_focal"] = "cross_entropy"
    balance_beta: float = Field(0.999, ge=0, lt=1)  # balanced_focal: Cui et al.'s beta; 0: equal weights
    regress: list[Literal["valence", "arousal", "intensity", "vote_share"]] = []  # values predicted beside the expression
    regress_weight: float = Field(1.0, gt=0)  # of 1 - CCC, their loss, beside the expressions'
    schedule: Literal["constant", "one_cycle", "cosine", "plateau"]
    warmup: float = Field(0.2, ge=0, lt=1)  # fraction of the steps in which the learning rate rises
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    expressions: list[str] = []  # trained and selected on faces with these labels alone, as an expert; see compare.experts; empty: all
    most_per_expression: int = Field(0, ge=0)  # faces trained on, at random, synthetic ones last: undersampling; 0: all
    ferplus_weight: float = Field(0.0, ge=0, le=1)  # of FER+'s vote distribution in the soft target, where a face has votes
    class_weights: bool = False
    scaling: Literal["standardised", "unit", "mean_image"] = "standardised"  # of the input, see ferlab.models.inputs
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto"  # auto: bf16-mixed where the processor computes in bfloat16, else 32-true
    channels_last: bool = True
    threads: int = Field(2, ge=1)
    flip: Literal[True, False, "alternating"] = True  # alternating: each face in every other epoch, the first drawn (Jordan, 2024)
    rotation: float = Field(0.0, ge=0, le=180)  # degrees, either way
    zoom: float = Field(0.0, ge=0, lt=1)  # fraction of the side, either way
    shift: float = Field(0.0, ge=0, lt=1)  # fraction of the side, either way
    crop: float = Field(1.0, ge=0.5, le=1)  # side of a random square crop, as a fraction of the face's; see evaluate.tta: ten_crop
    brightness: float = Field(0.0, ge=0, lt=1)  # fraction of the full scale, either way
    contrast: float = Field(0.0, ge=0, lt=1)  # factor 1 +- this
    erasing: float = Field(0.0, ge=0, le=1)  # probability of a rectangle filled with the face's mean
    repeats: int = Field(1, ge=1)  # of each face in a batch, augmented anew: batch_size x repeats images a step (Hoffer et al., 2019)
    mixup: float = Field(0.0, ge=0)  # alpha of the Beta distribution; 0: none
    cutmix: float = Field(0.0, ge=0)  # likewise; with both, half of the batches each
    mixing_ends: float = Field(1.0, gt=0, le=1)  # fraction of the epochs with mixed faces
    teachers: list[str] = []  # runs above this one, or shipped: their probabilities are mixed into the targets; dvc does not see when they change
    teacher_weight: float = Field(0.7, gt=0, le=1)  # of the teachers' probabilities in the target
    teacher_temperature: float = Field(1.0, gt=0)  # other than 1: both sides of the teachers' loss are softened by it (Hinton et al., 2015)
    averaging: Literal["none", "ema", "swa"] = "none"  # which weights are scored on val and kept
    ema_decay: float = Field(0.999, gt=0, lt=1)  # by step
    swa_start: float = Field(0.75, ge=0, lt=1)  # fraction of the epochs before averaging begins
    patience: int = Field(0, ge=0)  # epochs without improvement before stopping; 0: never stop early
    monitor: Literal["val/accuracy", "val/loss"] = "val/accuracy"
    gradient_clip: float = Field(0.0, ge=0)  # norm; 0: none
    sam: float = Field(0.0, ge=0)  # rho of sharpness-aware minimisation, as 0.05 (Foret et al., 2020): two passes a step; 0: off
    select: Literal["val", "test", "none"] = "val"  # the split that selects the epoch; test: to measure that; none: train on val too, keep the last
    compile: bool = False  # torch.compile, for long runs on a GPU: half a minute for ResNet-18; the gain was not measured
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where PyTorch has one
    devices: int = Field(1, ge=1)  # per machine, one process each, which share every batch; see ferlab.training.distributed
    num_nodes: int = Field(1, ge=1)  # machines
    sync_batchnorm: bool = False  # batch normalisation over the whole batch, not per process; cuda only
    pretrained: str = ""  # published: what the card names; else a path, hf:owner/name/file, npm:package@version/file or an address; "": random
    pretrained_layout: Literal["", "ferlab", "torchvision", "timm", "vggface2", "vgg_dag", "face_api"] = ""  # of that file; "": the card's
    pretrained_sha256: str = ""  # of that file; "": the card's, or unchecked
    pretrained_grey: Literal["refuse", "sum"] = "refuse"  # for a first layer of three channels in a model of one
    refit: bool = False  # select the epoch on val, then train anew on train and val for that many

    @property
    def augments(self) -> bool:
        """Whether training faces are changed at all."""
        changes = (self.flip, self.rotation, self.zoom, self.shift, self.crop < 1, self.brightness, self.contrast, self.erasing)
        return any(changes)

    @model_validator(mode="after")
    def _settings_go_together(self) -> Train:
        if self.select != "val" and self.refit:
            raise ValueError(f"refit needs select: val, got select: {self.select}")
        if self.select == "none" and (self.patience or self.schedule == "plateau"):
            raise ValueError("select: none scores no split, so patience must be 0 and schedule must not be plateau")
        if self.label_smoothing and self.loss not in ("cross_entropy", "logit_adjusted"):
            raise ValueError(f"label_smoothing needs cross_entropy: expected 0.0 with loss: {self.loss}")
        if self.class_weights and self.loss == "balanced_focal":
            raise ValueError("balanced_focal weighs classes itself, so class_weights must be false")
        if self.repeats > 1 and not self.augments:
            raise ValueError(f"repeats: {self.repeats} shows a face several times in a batch, so some augmentation must be on, as flip or crop")
        if self.sam and self.compile:
            raise ValueError(f"sam: {self.sam} changes batch normalisation between its two passes, so compile must be false")
        if self.teachers and self.loss == "multi_label":
            raise ValueError("teachers predict expressions that exclude each other, so loss must not be multi_label")
        if self.teacher_temperature != 1 and (not self.teachers or self.loss != "cross_entropy"):
            raise ValueError(f"teacher_temperature: {self.teacher_temperature:g} needs teachers and loss: cross_entropy; expected 1.0 without them")
        if self.teachers and self.teacher_weight == 1 and (self.ferplus_weight or self.label_smoothing):
            raise ValueError("teacher_weight: 1 ignores the labels, so ferplus_weight and label_smoothing must be 0")
        return self
