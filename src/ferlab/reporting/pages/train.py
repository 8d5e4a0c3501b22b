"""The train page: the model's card, training data, settings, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ferlab.colours import SPLIT_COLOURS
from ferlab.data.store import weigh_classes
from ferlab.reporting.tables import captioned, percent

CHOSEN = "#000000"
OFF: tuple[Any, ...] = (0, "", "none", [])  # 0 is False too
ONES = {"crop": 1.0, "bias_lr_mult": 1.0, "repeats": 1}  # factors that change nothing
# Settings without effect unless another is on, or has this value.
DEPENDS_ON: dict[str, dict[str, str | None]] = {
    "balance_beta": {"loss": "balanced_focal"},
    "momentum": {"optimizer": "sgd"},
    "nesterov": {"optimizer": "sgd"},
    "mixing_ends": {"mixup": None, "cutmix": None},
    "teacher_weight": {"teachers": None},
    "ema_decay": {"averaging": "ema"},
    "swa_start": {"averaging": "swa"},
    "regress_weight": {"regress": None},
    "pretrained_layout": {"pretrained": None},
    "pretrained_sha256": {"pretrained": None},
    "pretrained_grey": {"pretrained": None},
}


def card_table(name: str, card: Mapping[str, Any], *, built: int, classes: int, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return a model's card: its size as the paper states it beside the counted one.

    Args:
        name: Its key in the registry.
        card: Its card.
        built: Trainable parameters of this run's model.
        classes: Its classes.
        options: Of this run, merged over the card's.
    """
    chosen = {**card["options"], **options}
    facts = {
        "model": f"{card['title']} ({name})",
        "paper": card["paper"],
        "layers with weights": card["depth"],
        "parameters, as stated": card["stated"],
        "parameters, with the paper's classes": f"{card['parameters']:,}",
        f"parameters, counted here ({classes} classes)": f"{built:,}",
        "input": f"{card['channels']} x {card['input_size']} x {card['input_size']}",
        "options": ", ".join(f"{key} = {value}" for key, value in chosen.items()) or "none",
    }
    table = pd.DataFrame({"": list(map(str, facts.values()))}, index=pd.Index(facts, name="card"))
    return captioned(table, "The model as its paper states it, and as it is trained here")


def training_table(targets: np.ndarray, expressions: Sequence[str], *, weighted: bool) -> pd.DataFrame:
    """Return count, percentage and loss weight of each expression among the training faces.

    Args:
        targets: int64 (N,), of the training faces.
        expressions: Names.
        weighted: Whether the loss is weighted by class (`store.weigh_classes`).
    """
    counts = np.bincount(targets, minlength=len(expressions))
    weights = weigh_classes(counts) if weighted else np.ones(len(expressions))
    columns = {"faces": counts, "of all, %": (100 * counts / len(targets)).round(1), "weight in the loss": weights.round(3)}
    return captioned(pd.DataFrame(columns, index=pd.Index(expressions, name="expression")), f"Training faces by expression (n = {len(targets):,})")


def settings_table(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the `train` settings that are on, one row per key."""
    off = settings_off(settings)
    kept = {key: value for key, value in settings.items() if key not in off}
    shown = [", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value) for value in kept.values()]
    return captioned(pd.DataFrame({"value": shown}, index=pd.Index(kept, name="train")), "Training settings that are on")


def settings_off(settings: Mapping[str, Any]) -> list[str]:
    """Return the keys of the `train` settings that are off (0, none, empty, false, a factor of 1), and those that depend on one that is."""
    off = [key for key, value in settings.items() if value in OFF or value == ONES.get(key) or not _is_wanted(key, settings)]
    return [key for key in off if key != "select"]  # select: none is a choice


def _is_wanted(key: str, settings: Mapping[str, Any]) -> bool:
    wanted = DEPENDS_ON.get(key)
    return wanted is None or any(settings.get(other) not in OFF if value is None else settings.get(other) == value for other, value in wanted.items())


def watched_split(history: pd.DataFrame) -> str:
    """Return the split that was scored after each epoch: "val", "test", or "" where none was."""
    return next((split for split in ("val", "test") if f"{split}_loss" in history and history[f"{split}_loss"].notna().any()), "")


def plot_learning_curves(history: pd.DataFrame, *, best_epoch: int) -> Figure:
    """Draw loss, accuracy and learning rate by epoch, with the kept epoch marked and a refit on train and val dashed.

    Args:
        history: Columns epoch, phase, train_loss, train_accuracy, val_loss, val_accuracy (or test_loss, test_accuracy), lr.
        best_epoch: From 1.
    """
    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    losses, accuracies, rates = figure.subplots(1, 3)
    select, refit = history[history["phase"] != "refit"], history[history["phase"] == "refit"]
    watched = tuple(filter(None, ("train", watched_split(history))))
    for panel, quantity in ((losses, "loss"), (accuracies, "accuracy")):
        for split in watched:
            panel.plot(select["epoch"], select[f"{split}_{quantity}"], color=SPLIT_COLOURS[split], marker=_marker(select), markersize=3, label=split)
        if len(refit):
            panel.plot(refit["epoch"], refit[f"train_{quantity}"], color=SPLIT_COLOURS["train"], linestyle="--", label="refit on train and val")
    rates.plot(select["epoch"], select["lr"], color=SPLIT_COLOURS["train"], marker=_marker(select), markersize=3)
    for panel, title in ((losses, "Loss, nats"), (accuracies, "Accuracy"), (rates, "Learning rate")):
        _finish(panel, title, best_epoch)
    losses.set_ylim(top=_top(select, watched))
    accuracies.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    rates.set_ylim(bottom=0)
    row = select[select["epoch"] == best_epoch].iloc[0]
    ring = {"markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8}
    accuracies.plot([best_epoch], [row[f"{watched[-1]}_accuracy"]], "o", color=SPLIT_COLOURS[watched[-1]], **ring)
    handles, labels = accuracies.get_legend_handles_labels()
    chosen = losses.axvline(best_epoch, color=CHOSEN, linewidth=1, linestyle=":")
    marked = f"epoch selected on {watched[-1]}" if len(watched) > 1 else "kept epoch"
    figure.legend([*handles, chosen], [*labels, marked], loc="outside lower center", ncols=len(handles) + 1)
    return figure


def curves_sentence(history: pd.DataFrame, *, best_epoch: int, monitor: str) -> str:
    """Report accuracies by epoch and the selected one.

    Args:
        history: As in `plot_learning_curves`.
        best_epoch: From 1.
        monitor: "val/accuracy" or "val/loss", by which the epoch is selected; of test, where test selects.
    """
    select, watched = history[history["phase"] != "refit"], watched_split(history)
    if not watched:
        first, end = (percent(select["train_accuracy"].iloc[at]) for at in (0, -1))
        return f"Train accuracy (augmented, with dropout) goes from {first} to {end} over {len(select)} epochs; the last is kept without selection."
    row, last, accuracy = select[select["epoch"] == best_epoch].iloc[0], select.iloc[-1], f"{watched}_accuracy"
    gap = round(100 * (row["train_accuracy"] - row[accuracy]), 1)
    relation = f"{abs(gap):.1f} points {'below' if gap > 0 else 'above'}" if gap else "equal to"
    after = f"{len(select) - best_epoch} before the last" if best_epoch < len(select) else "the last: more epochs might help"
    epochs = f"{len(select)} epoch{'s' * (len(select) > 1)}"
    return (
        f"{watched.capitalize()} accuracy goes from {percent(select[accuracy].iloc[0])} to {percent(last[accuracy])} over {epochs}. "
        f"By {monitor.replace('val/', f'{watched} ')} epoch {best_epoch} is selected, {after}; its {watched} accuracy is "
        f"{percent(row[accuracy])}, {relation} train's {percent(row['train_accuracy'])} (augmented, with dropout)."
    )


def scaling_sentence(scaling: str, *, pretrained: bool) -> str:
    """Report the input scaling: `train.scaling`, and whether pretrained weights bring their own statistics."""
    source = "the pretrained weights" if pretrained else "the training faces"
    return {
        "standardised": f"Images are standardised by the mean and standard deviation of {source}.",
        "unit": "Images are scaled to [0, 1].",
        "mean_image": "Images are scaled to [0, 1], minus the mean image of the training faces.",
    }[scaling]


def precision_sentence(precision: str) -> str:
    """Report the arithmetic of the training, "bf16-mixed" or "32-true": `precision: auto` leaves it to the processor."""
    return "It trains in bfloat16, with weights in float32." if precision == "bf16-mixed" else "It trains in float32."


def refit_sentence(history: pd.DataFrame, *, trained_faces: int) -> str:
    """Report which phase the kept model comes from."""
    refit = history[history["phase"] == "refit"]
    if (history["phase"] == "whole").all():
        return f"The kept model is the last epoch's, trained on the {trained_faces:,} faces of train and val."
    if refit.empty:
        return f"The kept model is that of the selected epoch, trained on the {trained_faces:,} faces of train."
    return (
        f"The kept model is a refit over {len(refit)} epochs on the {trained_faces:,} faces of train and val, with a train accuracy of "
        f"{percent(refit['train_accuracy'].iloc[-1])}; the val accuracies on this page are those of the first model."
    )


def _marker(rows: pd.DataFrame) -> str:
    return "o" if len(rows) <= 20 else ""


def _top(select: pd.DataFrame, watched: Sequence[str]) -> float:
    """Return the upper end of the loss axis; validation losses of the first epochs can be outliers while batch normalisation settles."""
    settled = select.iloc[len(select) // 3 :][[f"{split}_loss" for split in watched]].max(axis=None)
    return 1.1 * float(max(settled, select["train_loss"].max()))


def _finish(panel: Axes, title: str, best_epoch: int) -> None:
    panel.set_title(title, loc="left")
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    panel.axvline(best_epoch, color=CHOSEN, linewidth=1, linestyle=":", zorder=0)
