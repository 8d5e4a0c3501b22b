"""The three findings at the top of the site: the best model, the main confusion, and the condition under which it fails most.

Each is written from metrics files alone. What concludes ("significantly", "most") is printed only where the intervals or tests of this run allow
it; otherwise the sentence says that they do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ferlab.params import Params
from ferlab.reporting.site.cards import faces_in, honest_scores
from ferlab.reporting.tables import as_difference, estimate, p_equals, percent, shown_splits
from ferlab.roles import MARKS, Exposure, listed, recorded

LEVEL = 0.05
DEDUP = "test_dedup"
USES = {"train": "to train", "val": "to validate", "test": "to test"}
Metrics = Mapping[str, Mapping[str, Any]]  # per run, what a stage wrote of it


def best_run(params: Params, evaluations: Metrics, *, data: str) -> tuple[str, str] | None:
    """Return the best run of a set and the split that chose it: val where no run was trained on it, else test; None where none is scored.

    A run whose epoch test selected is chosen only where there is no other.

    Args:
        params: Names the runs.
        evaluations: Per run, its evaluate metrics.
        data: The set.
    """
    found = _candidates(params, evaluations, data)
    if not found:
        return None
    held_out = all(recorded(evaluations[run]).role("val") != "trained" and evaluations[run].get("val") for run in found)
    split = "val" if held_out else "test"
    return max(found, key=lambda run: evaluations[run][split].get("accuracy") or 0.0), split


def _candidates(params: Params, evaluations: Metrics, data: str) -> list[str]:
    """Return the runs among which the best is sought: no experts for two expressions, and none whose epoch test selected where there are others."""
    whole = [run for run, settings in params.runs.items() if settings.data == data and not settings.train.expressions]
    scored = [run for run in whole if evaluations.get(run, {}).get("test")]
    return [run for run in scored if recorded(evaluations[run]).role("test") == "untouched"] or scored


def best_finding(run: str, chosen_on: str, *, params: Params, evaluations: Metrics, pairs: Mapping[str, Metrics]) -> str:
    """Report the accuracy of the best run on test faces that it has not met, with its interval and TTA, and its paired tests against the others.

    Args:
        run: From `best_run`.
        chosen_on: The split that chose it.
        params: Names the runs.
        evaluations: Per run, its evaluate metrics.
        pairs: compare's paired tests on test, run -> run -> test.
    """
    values, data = evaluations[run], params.runs[run].data
    split = DEDUP if DEDUP in shown_splits(values) else "test"
    scores = honest_scores(values, split)
    rivals = [each for each, of in params.runs.items() if of.data == data and each != run and evaluations.get(each)]
    among = len(_candidates(params, evaluations, data))
    chosen = f", the best of {among} models on {chosen_on}," if among > 1 else ""
    faces = f"{faces_in(values[split])} test faces of {data}" + " without a duplicate in train or val" * (split == DEDUP)
    units = f"over {scores['subjects']:,.0f} subjects" if scores.get("subjects") else "over faces"
    tta = values.get("tta", params.evaluate.tta)
    told = f"`{run}`{chosen} classifies **{estimate(scores, 'accuracy')}** of the {faces} correctly (95 % interval {units}; TTA: {tta})."
    if recorded(values).role("test") == "selected_on":
        told += " Test selected its epoch, so this is optimistically biased."
    elif among > 1 and chosen_on == "test":
        told += " Chosen on the faces that it is scored on, it is optimistically biased."
    tests = [(rival, _against(pairs, run, rival)) for rival in rivals]
    return f"{told} {_rivals_sentence([(rival, test) for rival, test in tests if test])}".strip()


def _against(pairs: Mapping[str, Metrics], run: str, rival: str) -> Mapping[str, Any] | None:
    """Return the paired test of two runs, as the first one's difference from the second; None where compare made none."""
    if test := pairs.get(run, {}).get(rival):
        return as_difference(test)
    if test := pairs.get(rival, {}).get(run):
        turned = {**test, "difference": -test["difference"], "ci_low": -test["ci_high"], "ci_high": -test["ci_low"]}
        return as_difference(turned)
    return None


def _rivals_sentence(tests: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    if not tests:
        return ""
    if len(tests) == 1:
        rival, test = tests[0]
        sure = test["p_holm"] < LEVEL
        verdict = "is significant" if sure else "is not significant"
        return f"Its difference from `{rival}`, {estimate(test, 'difference', unit='points')}, {verdict} (paired, Holm p {p_equals(test['p_holm'])})."
    better = sum(test["p_holm"] < LEVEL and test["difference"] > 0 for _, test in tests)
    return f"It is significantly better than {better} of the {len(tests)} that it was tested against (paired tests, Holm, 5 % level)."


def confusion_finding(errors: Mapping[str, Any], seen: Exposure) -> str:
    """Report the most frequent confusion, and whether its rate is significantly the higher one; "" without errors.

    Args:
        errors: A run's analyze_errors metrics.
        seen: What the run has seen.
    """
    pairs = [pair for pair in errors.get("confused_pairs", []) if pair["count"]]
    if not pairs:
        return ""
    first = pairs[0]
    told = f"{_confusion(first)}: {first['count']} of {first['support']} {_faces(errors, seen)}, **{estimate(first, 'rate')}**."
    if len(pairs) == 1:
        return told
    second = pairs[1]
    following = f"{_confusion(second)}, {second['count']} of {second['support']}, {estimate(second, 'rate')}"
    if None in (first["rate_ci_low"], second["rate_ci_low"]):
        return f"{told} The next: {following}. One has no interval, since its faces are of one subject, so the order of the two is not established."
    if first["rate_ci_low"] > second["rate_ci_high"]:
        return f"{told} The next is significantly rarer: {following}."
    if first["rate_ci_high"] < second["rate_ci_low"]:
        return f"{told} The next by count is significantly more frequent among the faces of its expression: {following}."
    return f"{told} The next: {following}. Their intervals overlap, so the order of the two is not established."


def _confusion(pair: Mapping[str, Any]) -> str:
    return f"{pair['target']} predicted as {pair['pred']}"


def _faces(of: Mapping[str, Any], seen: Exposure) -> str:
    """Name the faces of a stage's split, marked where the run was trained on them."""
    return f"{of['split']} faces" + f" ({MARKS['trained']})" * (seen.role(of["split"]) == "trained")


def condition_finding(errors: Mapping[str, Any], robustness: Mapping[str, Any], seen: Exposure) -> str:
    """Report the group of faces with the highest error rate, and the corruption that costs most; "" where nothing was measured.

    A group is named only where error rates differ significantly under its condition, and its interval lies above the rate of all faces.

    Args:
        errors: A run's analyze_errors metrics.
        robustness: Its robustness metrics.
        seen: What the run has seen.
    """
    return " ".join(filter(None, [_group_sentence(errors, seen), _corruption_sentence(robustness, seen)]))


def _group_sentence(errors: Mapping[str, Any], seen: Exposure) -> str:
    tests = {test["condition"]: test for test in errors.get("slice_tests", [])}
    if not tests or not errors.get("n"):
        return ""
    whole, sure = errors["errors"] / errors["n"], {name for name, test in tests.items() if test["p_holm"] is not None and test["p_holm"] < LEVEL}
    groups = [group for group in errors["slices"] if group["condition"] in sure and group["ci_low"] is not None and group["ci_low"] > whole]
    if not groups:
        return f"In none of {len(tests)} conditions does a group of {_faces(errors, seen)} have a significantly higher error rate."
    worst = max(groups, key=lambda group: group["error_rate"])
    bounds = {"rate": worst["error_rate"], "rate_ci_low": worst["ci_low"], "rate_ci_high": worst["ci_high"]}
    named = f"{worst['condition']} {worst['group']}"
    p = p_equals(tests[worst["condition"]]["p_holm"])
    return (
        f"**{estimate(bounds, 'rate')}** of the {worst['n']} {_faces(errors, seen)} with {named} are misclassified ({percent(whole)} of all "
        f"{errors['n']:,}); error rates differ by {worst['condition']} (permutation test, Holm p {p})."
    )


def _corruption_sentence(robustness: Mapping[str, Any], seen: Exposure) -> str:
    found = {name: of for name, of in robustness.get("corruptions", {}).items() if name != "mean"}
    costly = {name: of for name, of in found.items() if of["p_holm"] is not None and of["p_holm"] < LEVEL and of["rise"] > 0}
    if not found:
        return ""
    if not costly:
        return f"None of {len(found)} corruptions raises the error on {_faces(robustness, seen)} significantly."
    worst = max(costly, key=lambda name: costly[name]["rise"])
    return (
        f"{len(costly)} of {len(found)} corruptions raise the error on {_faces(robustness, seen)} significantly; the largest rise: "
        f"{worst.replace('_', ' ')}, **{estimate(costly[worst], 'rise', unit='points')}**."
    )


def findings(
    params: Params, *, evaluations: Metrics, errors: Metrics, robustness: Metrics, pairs: Mapping[str, Metrics], links: Mapping[str, str]
) -> str:
    """Return the findings as a numbered list: the best run of each set, and the confusion and condition of the first of them; "" without scores.

    Args:
        params: Names the runs.
        evaluations: Per run, its evaluate metrics.
        errors: Per run, its analyze_errors metrics.
        robustness: Per run, its robustness metrics.
        pairs: compare's paired tests, run -> run -> test.
        links: Stage -> template of the page that holds its details, `{run}` being the run; of the stages that have run.
    """
    sets = dict.fromkeys(settings.data for settings in params.runs.values())
    best = [found for data in sets if (found := best_run(params, evaluations, data=data))]
    if not best:
        return ""
    run = best[0][0]
    told = {
        ("Best model", "evaluate"): " ".join(best_finding(name, split, params=params, evaluations=evaluations, pairs=pairs) for name, split in best),
        ("Main confusion", "analyze_errors"): confusion_finding(errors.get(run, {}), recorded(evaluations[run])),
        ("Where it fails most", "robustness"): condition_finding(errors.get(run, {}), robustness.get(run, {}), recorded(evaluations[run])),
    }
    lines = [f"{_headed(title, links.get(stage, '').format(run=run))} {text}" for (title, stage), text in told.items() if text]
    return "\n".join(f"{place}. {line}" for place, line in enumerate(lines, start=1))


def _headed(title: str, link: str) -> str:
    return f"[{title}]({link}):" if link else f"{title}:"


def trained_sentence(params: Params, prepared: Metrics, *, drawn: Sequence[str]) -> str:
    """Say in one sentence what was trained on which faces, and on how many it was tested.

    Args:
        params: Names the sets and runs.
        prepared: Per set, its prepare metrics.
        drawn: The sets of control faces.
    """
    sets = list(dict.fromkeys(settings.data for settings in params.runs.values()))
    groups = len({settings.group for settings in params.runs.values()})
    models = f"{len(params.runs)} model{'s' * (len(params.runs) != 1)}"
    models += f" ({groups} recipe{'s' * (groups != 1)}, several seeds)" * (groups < len(params.runs))
    counts = []
    for name in sets:
        splits = prepared.get(name, {}).get("splits", {})
        kind = "control faces" if name in drawn else "faces"
        sizes = [f"{splits[split]:,} {word}" for split, word in USES.items() if splits.get(split)]
        counts.append(f"`{name}` ({kind}: {listed(sizes)})" if sizes else f"`{name}`")
    return f"Study `{params.study}` trains and tests {models} on {listed(counts)}." if sets else f"Study `{params.study}` trains no model."
