"""Figures, tables and sentences about a training run: what was built, what it was fitted on, how it went. Takes plain values and DataFrames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ferlab.data.store import weigh_classes
from ferlab.reporting.style import SPLIT_COLOURS

CHOSEN = "#000000"
OFF: tuple[Any, ...] = (0, "", "none", [])  # 0 is False too
ONES = {"crop": 1.0, "bias_lr_mult": 1.0}  # factors that change nothing
# Settings that say nothing unless another is on, or has this value.
HANGS_ON: dict[str, dict[str, str | None]] = {
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
    """Return a net's card as a reader meets it: what the paper says of its size beside what is counted.

    Args:
        name: Its key in the registry.
        card: Its card.
        built: Trainable parameters of the net of this run.
        classes: Its classes.
        options: The options of this run, over the card's own.
    """
    chosen = {**card["options"], **options}
    facts = {
        "net": f"{card['title']} ({name})",
        "paper": card["paper"],
        "layers with weights": card["depth"],
        "parameters, as stated": card["stated"],
        "parameters, with the paper's classes": f"{card['parameters']:,}",
        f"parameters, counted here ({classes} classes)": f"{built:,}",
        "input": f"{card['channels']} x {card['input_size']} x {card['input_size']}",
        "options": ", ".join(f"{key} = {value}" for key, value in chosen.items()) or "none",
    }
    return pd.DataFrame({"": list(map(str, facts.values()))}, index=pd.Index(facts, name="card"))


def card_sentence(card: Mapping[str, Any]) -> str:
    """Say what the paper leaves open; a table's cell would cut it off."""
    return f"**What the paper leaves open.** {card['notes']}"


def changes_sentence(settings: Mapping[str, Any]) -> str:
    """Say how training faces are changed.

    Args:
        settings: The `train` section of a run.
    """
    parts = ["mirrored half of the time"] if settings["flip"] else []
    parts += [f"turned by up to {settings['rotation']:g} degrees"] if settings["rotation"] else []
    parts += [f"{word} by up to {100 * settings[key]:g} %" for key, word in (("zoom", "zoomed"), ("shift", "shifted")) if settings[key]]
    changed = f"Faces are {', '.join(parts)}, either way." if parts else "Faces are not changed."
    crop = settings.get("crop", 1.0)
    return changed if crop == 1 else f"A square of {100 * crop:g} % of the side is cut out of each face, anywhere. {changed}"


def fitted_table(targets: np.ndarray, expressions: Sequence[str], *, weighted: bool) -> pd.DataFrame:
    """Return faces, share and loss weight of each expression among the faces that are fitted.

    Args:
        targets: int64 (N,), of the fitted faces.
        expressions: Names.
        weighted: Whether the loss is weighted by class, as `store.weigh_classes` has it.
    """
    counts = np.bincount(targets, minlength=len(expressions))
    weights = weigh_classes(counts) if weighted else np.ones(len(expressions))
    columns = {"faces": counts, "share, %": (100 * counts / len(targets)).round(1), "weight in the loss": weights.round(3)}
    return pd.DataFrame(columns, index=pd.Index(expressions, name="expression"))


def settings_table(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the `train` section of a run, one row per key that is on, in the order of params.yaml's class."""
    off = settings_off(settings)
    kept = {key: value for key, value in settings.items() if key not in off}
    told = [", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value) for value in kept.values()]
    return pd.DataFrame({"value": told}, index=pd.Index(kept, name="train"))


def settings_off(settings: Mapping[str, Any]) -> list[str]:
    """Return the keys of the `train` section that are off (0, none, empty, false, a factor of 1), and those that hang on one that is."""
    return [key for key, value in settings.items() if value in OFF or value == ONES.get(key) or not _is_wanted(key, settings)]


def off_sentence(settings: Mapping[str, Any]) -> str:
    """Name the settings that the table leaves out."""
    return f"Left out are the settings that are off: {', '.join(f'`{key}`' for key in settings_off(settings))}."


def _is_wanted(key: str, settings: Mapping[str, Any]) -> bool:
    wanted = HANGS_ON.get(key)
    return wanted is None or any(settings.get(other) not in OFF if value is None else settings.get(other) == value for other, value in wanted.items())


def plot_learning_curves(history: pd.DataFrame, *, best_epoch: int) -> Figure:
    """Draw loss, accuracy and learning rate by epoch, the chosen one (or, without val, the kept one) marked; a second fit on train and val is dashed.

    Args:
        history: Columns epoch, phase, train_loss, train_accuracy, val_loss, val_accuracy, lr.
        best_epoch: From 1.
    """
    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    losses, accuracies, rates = figure.subplots(1, 3)
    select, refit = history[history["phase"] != "refit"], history[history["phase"] == "refit"]
    watched = ("train", "val") if select["val_loss"].notna().any() else ("train",)
    for panel, quantity in ((losses, "loss"), (accuracies, "accuracy")):
        for split in watched:
            panel.plot(select["epoch"], select[f"{split}_{quantity}"], color=SPLIT_COLOURS[split], marker=_marker(select), markersize=3, label=split)
        if len(refit):
            panel.plot(refit["epoch"], refit[f"train_{quantity}"], color=SPLIT_COLOURS["train"], linestyle="--", label="train and val, afresh")
    rates.plot(select["epoch"], select["lr"], color=SPLIT_COLOURS["train"], marker=_marker(select), markersize=3)
    for panel, title in ((losses, "Loss, nats"), (accuracies, "Accuracy"), (rates, "Learning rate")):
        _finish(panel, title, best_epoch)
    losses.set_ylim(top=_top(select))
    accuracies.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    rates.set_ylim(bottom=0)
    row = select[select["epoch"] == best_epoch].iloc[0]
    ring = {"markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8}
    accuracies.plot([best_epoch], [row[f"{watched[-1]}_accuracy"]], "o", color=SPLIT_COLOURS[watched[-1]], **ring)
    handles, labels = accuracies.get_legend_handles_labels()
    chosen = losses.axvline(best_epoch, color=CHOSEN, linewidth=1, linestyle=":")
    marked = "chosen epoch" if "val" in watched else "kept epoch"
    figure.legend([*handles, chosen], [*labels, marked], loc="outside lower center", ncols=len(handles) + 1)
    return figure


def curves_sentence(history: pd.DataFrame, *, best_epoch: int, monitor: str) -> str:
    """Say how training went, for prose and alt text.

    Args:
        history: As in `plot_learning_curves`.
        best_epoch: From 1.
        monitor: "val/accuracy" or "val/loss", by which the epoch was chosen.
    """
    select = history[history["phase"] != "refit"]
    if select["val_loss"].isna().all():
        first, end = (100 * select["train_accuracy"].iloc[at] for at in (0, -1))
        return (
            f"Train accuracy (augmented, with dropout) went from {first:.1f} % to {end:.1f} % over {len(select)} epochs. "
            "No faces were held out: their number was settled beforehand, and the last epoch is kept."
        )
    row, last = select[select["epoch"] == best_epoch].iloc[0], select.iloc[-1]
    gap = 100 * (row["train_accuracy"] - row["val_accuracy"])
    relation = f"{abs(gap):.1f} points {'below' if gap > 0 else 'above'} train's {100 * row['train_accuracy']:.1f} %"
    after = "the last" if best_epoch == len(select) else f"{len(select) - best_epoch} before the last"
    return (
        f"Val accuracy went from {100 * select['val_accuracy'].iloc[0]:.1f} % to {100 * last['val_accuracy']:.1f} % over {len(select)} epochs. "
        f"By {monitor} epoch {best_epoch} is chosen, {after}: val {100 * row['val_accuracy']:.1f} %, {relation} (augmented, with dropout)."
    )


def refit_sentence(history: pd.DataFrame, *, fitted_faces: int) -> str:
    """Say whether the kept net was fitted again on train and val."""
    refit = history[history["phase"] == "refit"]
    if (history["phase"] == "whole").all():
        seen = "It has seen val, so val says nothing about it."
        return f"The kept net is the last epoch's, fitted on the {fitted_faces:,} faces of train and val. {seen}"
    if refit.empty:
        return f"The kept net is the one of that epoch, fitted on the {fitted_faces:,} faces of train."
    return (
        f"The kept net was then trained afresh for {len(refit)} epochs on the {fitted_faces:,} faces of train and val together, and reached "
        f"{100 * refit['train_accuracy'].iloc[-1]:.1f} % on them. It has seen val, so val says nothing about it; val's numbers here "
        "are the first net's."
    )


def _marker(rows: pd.DataFrame) -> str:
    return "o" if len(rows) <= 20 else ""


def _top(select: pd.DataFrame) -> float:
    """End the loss axis above what matters: val's first epochs can lie far off while batch normalisation warms up."""
    settled = select.iloc[len(select) // 3 :][["train_loss", "val_loss"]].max(axis=None)
    return 1.1 * float(max(settled, select["train_loss"].max()))


def _finish(panel: Axes, title: str, best_epoch: int) -> None:
    panel.set_title(title, loc="left")
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    panel.axvline(best_epoch, color=CHOSEN, linewidth=1, linestyle=":", zorder=0)
