from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ferlab.colours import SPLIT_COLOURS
from ferlab.models import MODELS
from ferlab.reporting.pages.train import (
    card_table,
    curves_sentence,
    plot_learning_curves,
    precision_sentence,
    refit_sentence,
    settings_off,
    settings_table,
    training_table,
)
from ferlab.reporting.style import use_style


def history(*, refit: int = 0) -> pd.DataFrame:
    select = pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4],
            "phase": "select",
            "train_loss": [1.9, 1.5, 1.2, 1.0],
            "train_accuracy": [0.2, 0.4, 0.5, 0.6],
            "val_loss": [20.0, 1.6, 1.4, 1.5],
            "val_accuracy": [0.15, 0.35, 0.45, 0.44],
            "lr": [0.02, 0.1, 0.05, 0.0],
        }
    )
    again = select.iloc[:refit].assign(phase="refit", val_loss=np.nan, val_accuracy=np.nan)
    return pd.concat([select, again], ignore_index=True)


def lines_of(figure: Figure, panel: int) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in figure.axes[panel].get_lines()}


def test_curves_show_train_and_val_in_their_colours_and_mark_the_chosen_epoch() -> None:
    figure = plot_learning_curves(history(), best_epoch=3)
    losses, accuracies, _ = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Loss, nats", "Accuracy", "Learning rate"]
    assert lines_of(figure, 1)["val"] == [0.15, 0.35, 0.45, 0.44]
    assert {line.get_label(): line.get_color() for line in losses.get_lines()}["val"] == SPLIT_COLOURS["val"]
    assert all(any(list(line.get_xdata()) == [3, 3] for line in axes.get_lines()) for axes in figure.axes)
    assert [list(line.get_ydata()) for line in accuracies.get_lines() if list(line.get_xdata()) == [3]] == [[0.45]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "val", "epoch selected on val"]


def test_without_val_the_last_epoch_is_kept_and_not_chosen() -> None:
    figure = plot_learning_curves(history().assign(val_loss=np.nan, val_accuracy=np.nan), best_epoch=4)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "kept epoch"]


def test_a_val_loss_far_off_in_the_first_epoch_does_not_squash_the_rest() -> None:
    assert plot_learning_curves(history(), best_epoch=3).axes[0].get_ylim()[1] < 3


def test_a_second_fit_is_drawn_dashed() -> None:
    figure = plot_learning_curves(history(refit=3), best_epoch=3)
    dashed = [line for line in figure.axes[1].get_lines() if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in dashed] == [[0.2, 0.4, 0.5]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "val", "refit on train and val", "epoch selected on val"]


def test_one_epoch_can_be_drawn() -> None:
    plot_learning_curves(history().iloc[:1], best_epoch=1).canvas.draw()


def test_sentences_say_the_histories_numbers() -> None:
    text = curves_sentence(history(), best_epoch=3, monitor="val/loss")
    assert "from 15.0 % to 44.0 % over 4 epochs" in text
    assert "By val loss epoch 3 is selected, 1 before the last; its val accuracy is 45.0 %, 5.0 points below train's 50.0 %" in text
    assert "trained on the 2,100 faces of train" in refit_sentence(history(), trained_faces=2100)
    assert "a refit over 3 epochs on the 2,400 faces" in refit_sentence(history(refit=3), trained_faces=2400)


def test_card_sets_the_stated_size_beside_the_counted_one() -> None:
    table = card_table("five_layer", MODELS["five_layer"], built=2_437_288, classes=8, options={"pool": "3x3same"})[""]
    assert table["parameters, as stated"] == "2.4M"
    assert table["parameters, with the paper's classes"] == "2,436,263"
    assert table["parameters, counted here (8 classes)"] == "2,437,288"
    assert table["options"] == "pool = 3x3same, dropout = 0.3"


def test_weights_in_the_loss_are_those_of_the_training() -> None:
    table = training_table(np.array([0, 0, 0, 1]), ("angry", "happy"), weighted=True)
    assert table["faces"].tolist() == [3, 1]
    assert table["of all, %"].tolist() == [75.0, 25.0]
    assert table["weight in the loss"].tolist() == pytest.approx([0.667, 2.0])
    absent = training_table(np.array([0, 0, 0, 2]), ("angry", "happy", "sad"), weighted=True)["weight in the loss"]
    assert absent.tolist() == pytest.approx([0.667, 0.0, 2.0])
    assert set(training_table(np.array([0, 1]), ("angry", "happy"), weighted=False)["weight in the loss"]) == {1.0}


def test_settings_keep_their_order_and_lists_are_told_in_words() -> None:
    settings = {"epochs": 3, "lr": 0.1, "teachers": ["one", "two"]}
    assert settings_table(settings)["value"].to_dict() == {"epochs": "3", "lr": "0.1", "teachers": "one, two"}


def test_long_cells_and_tables_are_shown_whole() -> None:
    teachers = [f"teacher_{n}" for n in range(12)]
    use_style()
    assert ", ".join(teachers) in settings_table({"teachers": teachers})._repr_html_()
    assert "..." not in settings_table({f"key_{n}": n + 2 for n in range(100)})._repr_html_()


def test_settings_that_are_off_or_depend_on_one_that_is_are_not_in_the_table():
    settings = {"epochs": 3, "optimizer": "adamw", "momentum": 0.9, "mixup": 0.0, "cutmix": 1.0, "mixing_ends": 0.9, "averaging": "none"}
    settings |= {"ema_decay": 0.999, "regress": [], "refit": False}
    assert list(settings_table(settings).index) == ["epochs", "optimizer", "cutmix", "mixing_ends"]
    assert settings_off(settings) == ["momentum", "mixup", "averaging", "ema_decay", "regress", "refit"]


def test_the_page_says_in_what_it_was_trained() -> None:
    assert precision_sentence("bf16-mixed") == "It trains in bfloat16, with weights in float32."
    assert precision_sentence("32-true") == "It trains in float32."
