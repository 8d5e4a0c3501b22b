"""Simulated people and attacks before the expression check: writes reports/published/expression_check.csv, which the notebook verify reports.

Run: python tests/bench/expression_check.py [people] (60: some minutes). The people, challenges and media are those of
`ferlab.live.verification.attacks`.

Plan of the held-out run, committed before it was computed. The rules of the check (`Rules.least` 0.4, `Rules.rise` 0.25, the frames between rest and
apex) and the ending of a check by failed parts were chosen while looking at 60 people of seed 1 (reports/published/expression_check_tuning.csv), so
error rates on that seed are not held out. This run takes 60 people of seed 2 with their own challenges, once; no rule, threshold, medium or
expression is changed for it, and its outcome is published whatever it is. The expressions that are asked for are chosen as before, from the
apexes of 40 other people of the seed. Only the noise of the landmarks is drawn from the same streams.
"""

from __future__ import annotations

import sys

from ferlab.deployment import Predictor
from ferlab.live.verification.attacks import KEPT, KEPT_SEED, apex_answers, apex_confusions, keep_apexes, presentations
from ferlab.live.verification.check import Rules, choose_expressions
from ferlab.live.verification.recalls import Recalls

if __name__ == "__main__":
    model, people = Predictor.load(), int(sys.argv[1]) if len(sys.argv) > 1 else 60
    drawn = Recalls(apex_confusions(model, subjects=40, seed=KEPT_SEED), model.expressions, "control faces")
    asked = choose_expressions(drawn.by_expression())
    keep_apexes(drawn, apex_answers(model, asked, rules=Rules(), subjects=people, seed=KEPT_SEED), asked)
    found = presentations(model, asked, rules=Rules(), subjects=people, seed=KEPT_SEED)
    found.round({"intensity": 4, "score": 4, "seconds": 2}).to_csv(KEPT, index=False, lineterminator="\n")
    print(", ".join(asked), found.groupby("species", sort=False)["flag"].value_counts().unstack(fill_value=0), sep="\n")
