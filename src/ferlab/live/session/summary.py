"""What a prompted session shows in its panel: feedback on one prompt, and the summary at its end."""

from __future__ import annotations

import pandas as pd

from ferlab.live import panels
from ferlab.live.collection.storage import counted
from ferlab.live.session.files import SCORED, SessionFacts, session_path
from ferlab.live.session.prompting import Attempt
from ferlab.live.session.scores import score_attempts, tally
from ferlab.paths import ROOT


def feedback(attempt: Attempt, facts: SessionFacts) -> str:
    """Return what is said after an attempt: the prediction only where the person chose so."""
    if attempt.probs is None:
        return panels.note(f"No face was seen for {attempt.prompt}; that is not scored. Face the camera, with light from the front.", "warning")
    if facts.feedback == "end":
        return panels.quiet(f"Prompt {attempt.number} of {facts.planned} is scored.")
    predicted = facts.expressions[int(attempt.probs.argmax())]
    kind = "done" if predicted == attempt.prompt else "warning"
    return panels.note(f"Prompted {attempt.prompt}, predicted {predicted}.", kind) + panels.bars(attempt.probs, facts.expressions, ordered=True)


def summary(table: pd.DataFrame, facts: SessionFacts) -> str:
    """Return correct of n with its interval, chance, ranks, and what n prompts can show."""
    found = score_attempts(table)
    if not found["n"]:
        return panels.note(f"No face was seen in {counted(found['no_face'], 'attempt')}: nothing was scored.", "warning")
    least = found["detectable"]
    least_words = "none" if least != least else f"{100 * least:.0f} %"
    lines = {
        "95 % interval (Wilson)": f"{100 * found['accuracy_ci_low']:.1f} to {100 * found['accuracy_ci_high']:.1f} %",
        "a guesser": f"{100 * found['chance']:.1f} %; as many correct with p {_p(found['p_chance'])}",
        "rank of the prompted expression": f"{found['mean_rank']:.2f} on average (a guesser: {found['chance_rank']:.2f})",
        "among the first three": f"{100 * found['top3_accuracy']:.1f} %",
        "no face": f"{counted(found['no_face'], 'attempt')}, not scored",
        "least accuracy detected": f"{least_words} (against chance, 80 % power)",
        "condition, model": f"{facts.condition}, {facts.model}",
        "kept": session_path(facts.session).relative_to(ROOT).as_posix() if facts.kept else "nothing",
    }
    head = panels.large(f"{found['correct']} of {found['n']} correct, {100 * found['accuracy']:.1f} %")
    return f'{head}<div class="fl-row">{panels.facts(lines)}{prompts_tables(table)}</div>'


def prompts_tables(table: pd.DataFrame) -> str:
    """Return the prompts of a session with their predictions, then correct of n per expression."""
    words = ["yes" if hit else "no" for hit in table["prompt"] == table["predicted"]]
    prompts = pd.DataFrame(
        {
            "prompt": [f"{number}. {prompt}" for number, prompt in zip(table["number"], table["prompt"], strict=True)],
            "predicted": table["predicted"].where(table["outcome"] == SCORED, "no face"),
            "correct": [word if outcome == SCORED else "not scored" for word, outcome in zip(words, table["outcome"], strict=True)],
            "rank": ["" if rank != rank else f"{rank:.0f}" for rank in table["rank"]],
        }
    )
    counts = tally(table, "prompt")
    per_expression = pd.DataFrame({"expression": counts.index, "correct": [f"{row.correct:.0f} of {row.n:.0f}" for row in counts.itertuples()]})
    return panels.table(prompts, caption="Prompts and predictions") + panels.table(per_expression, caption="Correct per expression")


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
