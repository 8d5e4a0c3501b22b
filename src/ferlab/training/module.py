"""The LightningModule: one model, one loss, one optimizer; logs by the epoch.

Everything an epoch draws comes from (seed, epoch), set at its start, and everything it decides from the history, which travels in
the checkpoint: so a run killed in mid-epoch goes on from the last epoch's end as if nothing had happened.

Where several processes share the batches, sums are added up over them, so that each holds the same history. Mixing draws its partners
within a process's share, with one share and one rectangle for all; a concordance is that of each share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torchmetrics.classification import MulticlassAccuracy, MulticlassStatScores
from torchmetrics.regression import ConcordanceCorrCoef

from ferlab.data.augmentation import epoch_seed
from ferlab.paths import InputError
from ferlab.training.distillation import Teachers
from ferlab.training.losses import concordance_loss, expression_loss
from ferlab.training.mixing import draw_mixing, mix
from ferlab.training.schedules import plateau_factor, step_rate


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted, in plain values; `ferlab.params.Train` says what each means.

    Attributes:
        epochs: Of the whole plan, which fixes the shape of the schedule.
        factors: On the learning rate, by epoch, where they are known beforehand; None: the plateau's, from the
            history.
    """

    run: str
    seed: int
    epochs: int
    optimizer: str
    lr: float
    lr_decay: float
    bias_lr_mult: float
    momentum: float
    nesterov: bool
    weight_decay: float
    decay: str
    schedule: str
    warmup: float
    loss: str
    regress: list[str]
    regress_weight: float
    label_smoothing: float
    mixup: float
    cutmix: float
    mixing_ends: float
    teacher_weight: float
    averaging: str
    ema_decay: float
    swa_start: float
    channels_last: bool
    compile: bool
    monitor: str
    patience: int
    factors: tuple[float, ...] | None = None


class Classifier(pl.LightningModule):
    """A model in training.

    Attributes:
        net: The model itself.
        averaged: The mean of its weights over steps or epochs, where asked for.
        teachers: Models whose word is mixed into the targets, where asked for.
        history: One dict per finished epoch, floats unrounded: epoch (from 1), train_loss, train_accuracy, val_*, lr (of its last
            step), factor.
    """

    def __init__(
        self,
        net: nn.Module,
        recipe: Recipe,
        *,
        num_classes: int,
        class_weights: Tensor | None = None,
        teachers: Teachers | None = None,
    ) -> None:
        """Hold the model.

        Args:
            net: From float32 (N, C, H, W) to logits (N, K), and R values beside them where the recipe asks for them: (N, K + R).
            recipe: How it is fitted.
            num_classes: K.
            class_weights: float32 (K,), for the training loss only; None for ones.
            teachers: On the device that the model will lie on; None for none.
        """
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last) if recipe.channels_last else net
        self.recipe, self.classes, self.teachers = recipe, num_classes, teachers
        self.averaged = _averaged(self.net, recipe)
        self._compiled = (torch.compile(self.net),) if recipe.compile else ()  # a tuple: as a module its weights would be listed twice
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.history: list[dict[str, float]] = []
        self.accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.per_class = MulticlassStatScores(num_classes, average=None)
        self.concordance = nn.ModuleDict({name: ConcordanceCorrCoef() for name in recipe.regress})
        self.train_sums = self.val_sums = torch.zeros(3)  # loss, correct, faces

    @property
    def kept(self) -> nn.Module:
        """The model that val judges and that is handed on: the averaged one, where there is one."""
        return self.net if self.averaged is None else self.averaged.module

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K): in training of the model itself, else of the one that is kept."""
        if self.recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if not self.training:
            return self.kept(images)
        return self._compiled[0](images) if self._compiled else self.net(images)

    def on_train_epoch_start(self) -> None:
        """Set every generator of this epoch from (seed, epoch)."""
        self.trainer.train_dataloader.set_epoch(self.current_epoch)
        torch.manual_seed(epoch_seed(self.recipe.seed, self.current_epoch, "dropout") + self.global_rank)
        self.train_sums = torch.zeros(3, device=self.device, dtype=torch.float64)

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Set the learning rate of this step."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._rate(batch_idx) * group["lr_mult"]

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        images, target, *shares = batch
        part = self.trainer.train_dataloader.share(batch_idx)
        images, wanted, target = self._mixed(images, shares[0] if shares else target, target, batch_idx)
        wanted = self._taught(images, wanted)
        outputs = self(images)
        options = {"class_weights": self.class_weights, "label_smoothing": 0.0 if self.teachers else self.recipe.label_smoothing}
        loss = expression_loss(self.recipe.loss, outputs[:, : self.classes], self._expressions(wanted), **options)
        if self.recipe.regress:
            loss = loss + self.recipe.regress_weight * concordance_loss(outputs[:, self.classes :], wanted[:, self.classes :])
        self.train_sums += part.counted * _sums(loss.detach(), outputs[:, : self.classes], target)
        return part.weight * loss

    def on_train_batch_end(self, outputs: Any, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Take the step into the average: EMA each step, SWA the last of an epoch, before val is scored."""
        recipe = self.recipe
        if self.averaged is None or (recipe.averaging == "swa" and batch_idx + 1 < self.trainer.num_training_batches):
            return
        if recipe.averaging == "swa" and self.current_epoch < recipe.swa_start * recipe.epochs:
            self.averaged.module.load_state_dict(self.net.state_dict())  # until the mean begins it is the model
        else:
            self.averaged.update_parameters(self.net)
            self._estimate_statistics()

    def on_validation_epoch_start(self) -> None:
        """Begin the sums afresh."""
        self.val_sums = torch.zeros(3, device=self.device, dtype=torch.float64)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Add a batch to val's sums. The loss is the plain one of the targets, so that runs with and without smoothing or votes compare."""
        images, target, *wanted = batch
        outputs = self(images)
        logits = outputs[:, : self.classes]
        self.val_sums += _sums(expression_loss(self.recipe.loss, logits, target), logits, target)
        self.accuracy.update(logits, target)
        self.per_class.update(logits, target)
        for place, name in enumerate(self.recipe.regress):
            known = wanted[0][:, self.classes + place].isfinite()
            if known.any():  # the metric takes no empty batch
                self.concordance[name].update(outputs[known, self.classes + place].float(), wanted[0][known, self.classes + place])

    def on_validation_epoch_end(self) -> None:
        """Log val's numbers."""
        sums = self.trainer.strategy.reduce(self.val_sums, reduce_op="sum")
        loss, accuracy, balanced = sums[0] / sums[2], self.accuracy.compute(), mean_recall(self.per_class.compute())
        self.log_dict({"val/loss": loss.float(), "val/accuracy": accuracy, "val/balanced_accuracy": balanced})
        self.log_dict({f"val/{name}_ccc": metric.compute() for name, metric in self.concordance.items()})
        for metric in (self.accuracy, self.per_class, *self.concordance.values()):
            metric.reset()

    def on_train_epoch_end(self) -> None:
        """Write the epoch into the history and decide whether to go on. The checkpoint of the epoch is written after this.

        Raises:
            InputError: If a loss is not finite.
        """
        loss, correct, faces = self.trainer.strategy.reduce(self.train_sums, reduce_op="sum").tolist()
        logged = {key.replace("/", "_"): value.item() for key, value in self.trainer.callback_metrics.items() if key.startswith("val/")}
        row = {"epoch": self.current_epoch + 1, "train_loss": loss / faces, "train_accuracy": correct / faces, **logged}
        row |= {"lr": self._rate(self.trainer.num_training_batches - 1), "factor": self._factor()}
        self.check_finite(row["train_loss"], row.get("val_loss", 0.0))
        self.history.append(row)
        self.log_dict({"train/loss": row["train_loss"], "train/accuracy": row["train_accuracy"], "lr": row["lr"]})
        if is_finished(self.history, self.recipe):
            self.trainer.should_stop = True

    def check_finite(self, *losses: float) -> None:
        """Stop a run whose loss is no number any more; the checkpoint of the last good epoch stays.

        Raises:
            InputError: Naming the run and the epoch.
        """
        if not all(math.isfinite(loss) for loss in losses):
            raise InputError(
                f"run {self.recipe.run!r}: the loss is not finite in epoch {self.current_epoch + 1} of {self.recipe.epochs}; "
                f"lower train.lr ({self.recipe.lr:g}) or set train.gradient_clip; the last good epoch is kept"
            )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; its learning rate is set at each step."""
        recipe, weights = self.recipe, _groups(self.net, self.recipe.decay, self.recipe.bias_lr_mult)
        if recipe.optimizer == "sgd":
            nesterov = recipe.nesterov and recipe.momentum > 0
            return torch.optim.SGD(weights, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, weight_decay=recipe.weight_decay)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
        return kind(weights, lr=recipe.lr, weight_decay=recipe.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the history into the checkpoint."""
        checkpoint["history"] = [dict(row) for row in self.history]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history out of the checkpoint."""
        self.history = [dict(row) for row in checkpoint["history"]]

    def _estimate_statistics(self) -> None:
        """Estimate the running statistics of SWA's mean weights, which are those of none of its terms (Izmailov et al., 2018, section 3.2).

        One more pass over this epoch's training faces, augmented and not mixed, in training mode as every pass that such statistics come
        from. Each epoch is set up from (seed, epoch), so nothing after it depends on what the pass draws. Where nobody watches the mean
        weights, the last epoch's pass is enough.
        """
        last = self.current_epoch + 1 == self.trainer.max_epochs
        if not (self.recipe.averaging == "swa" and self.averaged and (last or self.trainer.limit_val_batches)):
            return
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        faces = (images.contiguous(memory_format=layout) for images, *_ in self.trainer.train_dataloader)
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            update_bn(faces, self.averaged.module)

    def _expressions(self, wanted: Tensor) -> Tensor:
        """Return targets (N,) as they are, and of shares and values (N, K + R) the shares."""
        return wanted[:, : self.classes] if wanted.is_floating_point() else wanted

    def _mixed(self, images: Tensor, wanted: Tensor, target: Tensor, batch_idx: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return faces and targets of a batch, mixed where the recipe says so, and the class of the face that has the larger share in each."""
        recipe = self.recipe
        if not (recipe.mixup or recipe.cutmix) or self.current_epoch >= recipe.mixing_ends * recipe.epochs:
            return images, wanted, target
        where = {"seed": recipe.seed, "epoch": self.current_epoch, "batch": batch_idx, "device": images.device}
        mixing = draw_mixing(len(images), images.shape[-1], mixup=recipe.mixup, cutmix=recipe.cutmix, **where)
        larger = target if mixing.share >= 0.5 else target[mixing.partners]
        return *mix(images, self._shares(wanted), mixing), larger

    def _taught(self, images: Tensor, wanted: Tensor) -> Tensor:
        """Return targets with the teachers' word on these very views mixed in, where the recipe has teachers; smoothed are the labels alone."""
        if self.teachers is None:
            return wanted
        data, wanted = self.trainer.datamodule, self._shares(wanted)
        labels = torch.lerp(wanted[:, : self.classes], torch.full((), 1 / self.classes, device=self.device), self.recipe.label_smoothing)
        said = self.teachers.probs(images, mean=data.mean, std=data.std)
        return torch.cat([torch.lerp(labels, said, self.recipe.teacher_weight), wanted[:, self.classes :]], dim=1)

    def _shares(self, wanted: Tensor) -> Tensor:
        return wanted if wanted.is_floating_point() else nn.functional.one_hot(wanted, self.classes).float()

    def _rate(self, batch_idx: int) -> float:
        recipe, batches = self.recipe, self.trainer.num_training_batches
        step = self.current_epoch * batches + batch_idx
        rate = step_rate(step, schedule=recipe.schedule, lr=recipe.lr, total=recipe.epochs * batches, warmup=recipe.warmup)
        return self._factor() * rate / (1 + recipe.lr_decay * step)

    def _factor(self) -> float:
        recipe = self.recipe
        if recipe.schedule != "plateau":
            return 1.0
        if recipe.factors is not None:
            return recipe.factors[self.current_epoch]
        before = [row[recipe.monitor.replace("/", "_")] for row in self.history[: self.current_epoch]]
        return plateau_factor(before, higher_is_better=higher_is_better(recipe.monitor), lr=recipe.lr)


def mean_recall(counts: Tensor) -> Tensor:
    """Return the mean recall of the classes that have faces, as `evaluation.metrics` has balanced accuracy.

    Keep: torchmetrics' macro average counts a class without faces, once it is predicted, as recall 0.

    Args:
        counts: (K, 5): true positives, false positives, true negatives, false negatives, faces.
    """
    present = counts[:, 4] > 0
    return (counts[present, 0] / counts[present, 4]).float().mean()


def higher_is_better(monitor: str) -> bool:
    """Return whether a higher value of "val/accuracy" or "val/loss" is better."""
    return monitor != "val/loss"


def best_epoch(history: list[dict[str, float]], monitor: str) -> int:
    """Return the epoch (from 1) with the best monitored value, the first of equals."""
    sign = 1 if higher_is_better(monitor) else -1
    return int(max(history, key=lambda row: (sign * row[monitor.replace("/", "_")], -row["epoch"]))["epoch"])


def is_finished(history: list[dict[str, float]], recipe: Recipe) -> bool:
    """Return whether patience has run out: so many epochs in a row without a better monitored value."""
    return bool(recipe.patience and history) and len(history) - best_epoch(history, recipe.monitor) >= recipe.patience


def _averaged(net: nn.Module, recipe: Recipe) -> AveragedModel | None:
    if recipe.averaging == "none":
        return None
    rule = get_ema_multi_avg_fn(recipe.ema_decay) if recipe.averaging == "ema" else None
    return AveragedModel(net, multi_avg_fn=rule, use_buffers=True).requires_grad_(False)


def _groups(net: nn.Module, decay: str, bias_lr_mult: float) -> list[dict[str, Any]]:
    """Return the trainable weights, apart where they decay or learn otherwise: biases, and what normalisation scales by."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, weight in net.named_parameters():
        if weight.requires_grad:
            spared, mult = decay == "weights" and weight.ndim < 2, bias_lr_mult if name.endswith("bias") else 1.0
            groups.setdefault((spared, mult), []).append(weight)
    return [{"params": held, "lr_mult": mult, **({"weight_decay": 0.0} if spared else {})} for (spared, mult), held in groups.items()]


def _sums(loss: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Return float64 (3,): summed loss, correct faces, faces."""
    correct = (logits.argmax(dim=1) == target).sum()
    return torch.stack([loss.double() * len(target), correct.double(), torch.full_like(correct, len(target)).double()])
