"""The LightningModule of training.

All randomness of an epoch is seeded by (seed, epoch), and all decisions follow from the history, which is part of the checkpoint: a run killed
within an epoch resumes from the end of the last one with the same result.

With several processes, sums are reduced over all, so that each holds the same history; mixing draws its partners within a process's part of the
batch, with one coefficient and one rectangle for all, and the concordance is that of each part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torchmetrics.classification import MulticlassAccuracy, MulticlassStatScores
from torchmetrics.regression import ConcordanceCorrCoef

from ferlab.data.augmentation import epoch_seed
from ferlab.params import Train
from ferlab.paths import InputError
from ferlab.training.distillation import Teachers
from ferlab.training.losses import concordance_loss, cross_entropy, effective_weights, expression_loss, log_priors, soft_targets
from ferlab.training.mixing import draw_mixing, mix
from ferlab.training.schedules import plateau_factor, step_rate
from ferlab.training.sharpness import two_passes


class Classifier(pl.LightningModule):
    """A model in training.

    Attributes:
        net: The network.
        averaged: Mean of its weights over steps or epochs, or None.
        teachers: Models whose probabilities are mixed into the targets, or None.
        history: One dict per finished epoch: epoch (from 1), train_loss, train_accuracy, val_*, lr (of its last step), factor.
    """

    def __init__(
        self,
        net: nn.Module,
        settings: Train,
        *,
        run: str,
        seed: int,
        num_classes: int,
        factors: tuple[float, ...] | None = None,
        counts: Tensor | None = None,
        class_weights: Tensor | None = None,
        teachers: Teachers | None = None,
    ) -> None:
        """Hold the network.

        Args:
            net: From float32 (N, C, H, W) to logits (N, K), followed by R regressed values.
            settings: Those of training; `epochs` is that of the whole schedule.
            run: Its name, in errors.
            seed: Of dropout and mixing.
            num_classes: K.
            factors: On the learning rate, by epoch; None: from the history.
            counts: Training faces of each class (K,), which the losses for imbalanced classes need.
            class_weights: float32 (K,), of the training loss; None for ones, with balanced_focal for its own.
            teachers: On the device of the model.
        """
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last) if settings.channels_last else net
        self.settings, self.run, self.seed, self.factors = settings, run, seed, factors
        self.classes, self.teachers = num_classes, teachers
        self.averaged = _averaged(self.net, settings)
        self._compiled = (torch.compile(self.net),) if settings.compile else ()  # a tuple: as a module its weights would be listed twice
        if settings.loss == "balanced_focal":
            class_weights = effective_weights(counts, beta=settings.balance_beta)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.register_buffer("log_priors", log_priors(counts) if settings.loss == "logit_adjusted" else None, persistent=False)
        self.history: list[dict[str, float]] = []
        self.accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.per_class = MulticlassStatScores(num_classes, average=None)
        self.concordance = nn.ModuleDict({name: ConcordanceCorrCoef() for name in settings.regress})
        self.train_sums = self.val_sums = torch.zeros(3)  # loss, correct, faces

    @property
    def kept(self) -> nn.Module:
        """The model that is validated and returned: the averaged one, where there is one."""
        return self.net if self.averaged is None else self.averaged.module

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K), in training of the network, else of the kept model."""
        if self.settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if not self.training:
            return self.kept(images)
        return self._compiled[0](images) if self._compiled else self.net(images)

    def on_train_epoch_start(self) -> None:
        """Set every generator of this epoch from (seed, epoch)."""
        self.trainer.train_dataloader.set_epoch(self.current_epoch)
        torch.manual_seed(epoch_seed(self.seed, self.current_epoch, "dropout") + self.global_rank)
        self.train_sums = torch.zeros(3, device=self.device, dtype=torch.float64)

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Set the learning rate of this step."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._rate(batch_idx) * group["lr_mult"]

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        images, target, *soft = batch
        part = self.trainer.train_dataloader.share(batch_idx)
        images, wanted, target = self._mixed(images, soft[0] if soft else target, target, batch_idx)
        soften = self.settings.teacher_temperature
        wanted = self._distilled(images, wanted) if soften == 1 else wanted
        outputs = self(images)
        smoothing = 0.0 if self.teachers and soften == 1 else self.settings.label_smoothing
        options = {"class_weights": self.class_weights, "log_priors": self.log_priors, "label_smoothing": smoothing}
        loss = expression_loss(self.settings.loss, outputs[:, : self.classes], self._expressions(wanted), **options)
        if self.teachers and soften != 1:
            loss = torch.lerp(loss, self._softened(images, outputs[:, : self.classes]), self.settings.teacher_weight)
        if self.settings.regress:
            loss = loss + self.settings.regress_weight * concordance_loss(outputs[:, self.classes :], wanted[:, self.classes :])
        self.train_sums += part.counted * _sums(loss.detach(), outputs[:, : self.classes], target)
        return part.weight * loss

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None) -> None:
        """Take a step, with `sam` in two passes."""
        if self.settings.sam and optimizer_closure is not None:
            optimizer_closure = two_passes(optimizer_closure, partial(self._uncounted, optimizer_closure), self.net, rho=self.settings.sam)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def on_train_batch_end(self, outputs: Any, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Update the average: EMA after each step, SWA after the last of an epoch, before validation."""
        settings = self.settings
        if self.averaged is None or (settings.averaging == "swa" and batch_idx + 1 < self.trainer.num_training_batches):
            return
        if settings.averaging == "swa" and self.current_epoch < settings.swa_start * settings.epochs:
            self.averaged.module.load_state_dict(self.net.state_dict())  # until the mean begins it is the model
        else:
            self.averaged.update_parameters(self.net)
            self._estimate_statistics()

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self.val_sums = torch.zeros(3, device=self.device, dtype=torch.float64)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Add a batch to the sums. The loss is that of the plain targets, so that runs with and without smoothing or votes compare."""
        images, target, *wanted = batch
        outputs = self(images)
        logits = outputs[:, : self.classes]
        self.val_sums += _sums(expression_loss(self.settings.loss, logits, target), logits, target)
        self.accuracy.update(logits, target)
        self.per_class.update(logits, target)
        for place, name in enumerate(self.settings.regress):
            known = wanted[0][:, self.classes + place].isfinite()
            if known.any():  # the metric takes no empty batch
                self.concordance[name].update(outputs[known, self.classes + place].float(), wanted[0][known, self.classes + place])

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        sums = self.trainer.strategy.reduce(self.val_sums, reduce_op="sum")
        loss, accuracy, balanced = sums[0] / sums[2], self.accuracy.compute(), mean_recall(self.per_class.compute())
        self.log_dict({"val/loss": loss.float(), "val/accuracy": accuracy, "val/balanced_accuracy": balanced})
        self.log_dict({f"val/{name}_ccc": metric.compute() for name, metric in self.concordance.items()})
        for metric in (self.accuracy, self.per_class, *self.concordance.values()):
            metric.reset()

    def on_train_epoch_end(self) -> None:
        """Append the epoch to the history and decide whether to stop; its checkpoint is written afterwards.

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
        if is_finished(self.history, self.settings):
            self.trainer.should_stop = True

    def check_finite(self, *losses: float) -> None:
        """Stop a run whose loss is not finite; the last checkpoint stays.

        Raises:
            InputError: Naming the run and the epoch.
        """
        if not all(math.isfinite(loss) for loss in losses):
            raise InputError(
                f"run {self.run!r}: the loss is not finite in epoch {self.current_epoch + 1} of {self.settings.epochs}; "
                f"lower train.lr ({self.settings.lr:g}) or set train.gradient_clip; the last good epoch is kept"
            )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; its learning rate is set at each step."""
        settings, weights = self.settings, _groups(self.net, self.settings.decay, self.settings.bias_lr_mult)
        if settings.optimizer == "sgd":
            nesterov = settings.nesterov and settings.momentum > 0
            return torch.optim.SGD(weights, lr=settings.lr, momentum=settings.momentum, nesterov=nesterov, weight_decay=settings.weight_decay)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
        return kind(weights, lr=settings.lr, weight_decay=settings.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the history."""
        checkpoint["history"] = [dict(row) for row in self.history]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the history."""
        self.history = [dict(row) for row in checkpoint["history"]]

    def _estimate_statistics(self) -> None:
        """Estimate the running statistics of SWA's mean weights (Izmailov et al., 2018, section 3.2).

        One more pass over the epoch's training faces, augmented and not mixed. Epochs are seeded, so nothing after it depends on its draws.
        Without validation the pass of the last epoch is enough.
        """
        last = self.current_epoch + 1 == self.trainer.max_epochs
        if not (self.settings.averaging == "swa" and self.averaged and (last or self.trainer.limit_val_batches)):
            return
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        faces = (images.contiguous(memory_format=layout) for images, *_ in self.trainer.train_dataloader)
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            update_bn(faces, self.averaged.module)

    def _uncounted(self, closure: Callable[[], Any]) -> None:
        """Run a pass that loss and accuracy of the epoch do not count."""
        sums = self.train_sums.clone()
        closure()
        self.train_sums = sums

    def _expressions(self, wanted: Tensor) -> Tensor:
        """Return targets (N,) unchanged, and the soft targets of (N, K + R)."""
        return wanted[:, : self.classes] if wanted.is_floating_point() else wanted

    def _mixed(self, images: Tensor, wanted: Tensor, target: Tensor, batch_idx: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return faces and targets of a batch, mixed where the settings ask for it, and the class with the larger weight in each."""
        settings = self.settings
        if not (settings.mixup or settings.cutmix) or self.current_epoch >= settings.mixing_ends * settings.epochs:
            return images, wanted, target
        where = {"seed": self.seed, "epoch": self.current_epoch, "batch": batch_idx, "device": images.device}
        mixing = draw_mixing(len(images), images.shape[-1], mixup=settings.mixup, cutmix=settings.cutmix, **where)
        larger = target if mixing.weight >= 0.5 else target[mixing.partners]
        return *mix(images, soft_targets(wanted, self.classes), mixing), larger

    def _distilled(self, images: Tensor, wanted: Tensor) -> Tensor:
        """Return targets mixed with the teachers' probabilities for these very images; the labels alone are smoothed."""
        if self.teachers is None:
            return wanted
        data, wanted = self.trainer.datamodule, soft_targets(wanted, self.classes)
        labels = torch.lerp(wanted[:, : self.classes], torch.full((), 1 / self.classes, device=self.device), self.settings.label_smoothing)
        probs = self.teachers.probs(images, mean=data.mean, std=data.std)
        return torch.cat([torch.lerp(labels, probs, self.settings.teacher_weight), wanted[:, self.classes :]], dim=1)

    def _softened(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return the cross entropy with the teachers, both sides at the temperature, times its square: so its gradients keep their size."""
        data, soften = self.trainer.datamodule, self.settings.teacher_temperature
        probs = self.teachers.probs(images, mean=data.mean, std=data.std, temperature=soften)
        return soften**2 * cross_entropy(logits / soften, probs)

    def _rate(self, batch_idx: int) -> float:
        settings, batches = self.settings, self.trainer.num_training_batches
        step = self.current_epoch * batches + batch_idx
        rate = step_rate(step, schedule=settings.schedule, lr=settings.lr, total=settings.epochs * batches, warmup=settings.warmup)
        return self._factor() * rate / (1 + settings.lr_decay * step)

    def _factor(self) -> float:
        settings = self.settings
        if settings.schedule != "plateau":
            return 1.0
        if self.factors is not None:
            return self.factors[self.current_epoch]
        before = [row[settings.monitor.replace("/", "_")] for row in self.history[: self.current_epoch]]
        return plateau_factor(before, higher_is_better=higher_is_better(settings.monitor), lr=settings.lr)


def mean_recall(counts: Tensor) -> Tensor:
    """Return the mean recall of the classes that have faces, from counts (K, 5): true and false positives, true and false negatives, faces.

    Keep: torchmetrics' macro average counts a class without faces, once it is predicted, as recall 0.
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


def is_finished(history: list[dict[str, float]], settings: Train) -> bool:
    """Return whether patience has run out: that many epochs without a better monitored value."""
    return bool(settings.patience and history) and len(history) - best_epoch(history, settings.monitor) >= settings.patience


def _averaged(net: nn.Module, settings: Train) -> AveragedModel | None:
    if settings.averaging == "none":
        return None
    rule = get_ema_multi_avg_fn(settings.ema_decay) if settings.averaging == "ema" else None
    return AveragedModel(net, multi_avg_fn=rule, use_buffers=True).requires_grad_(False)


def _groups(net: nn.Module, decay: str, bias_lr_mult: float) -> list[dict[str, Any]]:
    """Return the trainable weights, grouped by weight decay and learning rate: biases and normalisation scales may differ."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, weight in net.named_parameters():
        if weight.requires_grad:
            exempt, mult = decay == "weights" and weight.ndim < 2, bias_lr_mult if name.endswith("bias") else 1.0
            groups.setdefault((exempt, mult), []).append(weight)
    return [{"params": held, "lr_mult": mult, **({"weight_decay": 0.0} if exempt else {})} for (exempt, mult), held in groups.items()]


def _sums(loss: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Return float64 (3,): summed loss, correct faces, faces."""
    correct = (logits.argmax(dim=1) == target).sum()
    return torch.stack([loss.double() * len(target), correct.double(), torch.full_like(correct, len(target)).double()])
