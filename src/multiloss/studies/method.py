"""How a comparison was tested, in the words of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multiloss.studies.comparison import CLAIM, FEWEST_ROWS, listed
from multiloss.studies.costs import BATCH, ROUNDS
from multiloss.studies.evidence import FEWEST_LOOKS, ended, measure_of
from multiloss.studies.sentences import CONFLICT_RATE, SMALL_SHARE, SMALLEST
from multiloss.studies.variants import NARROW, SEPARATE, SHARED

if TYPE_CHECKING:
    from multiloss.studies.compared import Compared

SCORES = {
    "mae": "absolute error",
    "mse": "squared error",
    "accuracy": "share of right answers",
    "log_loss": "logarithmic loss",
}


def method(compared: Compared) -> list[tuple[str, str]]:
    """Return pairs of a question and the rule that answers it, with this comparison's numbers."""
    plan = compared.plan
    own, training = plan.settings, plan.runs[0].config.training
    rows, percent = own["rows"], f"{100 * own['level']:g} %"
    judged = listed([f"{output} by its {SCORES[measure_of(plan, output)]}" for output in own["outputs"]])
    found = [
        (
            "Same for all",
            f"{rows['train']:,} training rows, of which separate models take those with a label of their output; "
            f"{rows['validation']:,} validation and {rows['test']:,} test rows; seeds 0 to {own['seeds'] - 1}, which "
            "decide start, order and dropout; at most "
            f"{training.epochs} epochs in batches of {training.batch_size}. Nothing is tuned apart: what suits one of "
            "the variants favours it.",
        ),
        (
            "Chosen on",
            "Validation rows: the epoch that each run keeps (for each output in separate models, once in shared ones), "
            "and the variant that is recommended. The test rows were used once, for what this page says.",
        ),
        ("Judged by", f"On test rows, {judged}: errors in percent of those of {SEPARATE}, accuracy in points."),
        (
            "Interval",
            f"{percent}, of the difference on the same seeds and rows. It covers two chances: another seed, and other "
            "held-out rows (two-way random effects, each with Student's quantile of its own degrees of freedom; in "
            "percent Fieller's, and in the output's own unit where that has no bounds). It holds for models trained on "
            "these training rows: others would be a third chance. Intervals of single scores are over seeds alone.",
        ),
        (
            "Claim",
            f"Better or worse is said where p, corrected by Holm over all {len(compared.verdict.outputs)} comparisons, "
            f"is below {CLAIM:g}, on {FEWEST_ROWS} rows or more. Else no difference is claimed, and where "
            f"{100 * SMALLEST:g} % (or one point) stays open, the sentence says what would tell the difference that "
            "was seen four times in five.",
        ),
        (
            "Mean gain, Δm",
            "The mean over the outputs of the relative gain in what each is judged by (squared error where rmse was "
            "asked for; accuracy relative, not in points), above 0 better; its interval covers seeds and rows.",
        ),
        (
            "Size or sharing",
            f"{NARROW} are separate models so narrow that together they have as many parameters as the {SHARED} one. "
            f"Where they change in the same direction, the {SHARED} model is tested against them too.",
        ),
        (
            "Worse, and why",
            f"A conflict is named from {100 * CONFLICT_RATE:g} % of {FEWEST_LOOKS} or more watched steps on, a drowned "
            f"gradient up to {100 * SMALL_SHARE:g} % of an equal share of those that move the trunk.",
        ),
        (
            "Recommended",
            "The shared model that is worse on the fewest outputs, of these the one that is better on the most; "
            f"{SEPARATE}, where that is worse somewhere and better nowhere, or a run of it diverged.",
        ),
        (
            "Cost",
            f"Measured in turns in one run with one thread: the median of {ROUNDS} rounds with their quartiles, ratios "
            f"round by round; prediction of one row and of {BATCH:,}. Training in all is the time of an epoch "
            "times the epochs that each model took until it stopped, a mean over the seeds.",
        ),
    ]
    if any(count for outputs in ended(compared.runs).values() for count, _ in outputs.values()):
        said = (
            "A run that diverged is counted and named; the figures are of the other seeds, which flatters them. What "
            "has less than two seeds is not compared."
        )
        found.insert(5, ("Diverged", said))
    return found
