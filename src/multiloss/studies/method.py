"""How a comparison was tested, in the words of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multiloss.studies.comparison import CLAIM, listed
from multiloss.studies.costs import BATCH, ROUNDS
from multiloss.studies.evidence import diverged, measure_of
from multiloss.studies.sentences import CONFLICT_RATE, SIZE_SHARE, SMALL_SHARE, SMALLEST
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
            f"{rows['train']:,} training, {rows['validation']:,} validation and {rows['test']:,} test rows, the same "
            f"in every run; seeds 0 to {own['seeds'] - 1}, which decide start, order and dropout; at most "
            f"{training.epochs} epochs in batches of {training.batch_size}.",
        ),
        (
            "Chosen on",
            "Validation rows: the epoch that each run keeps, and the variant that is recommended. The test rows were "
            "used once, for what this page says.",
        ),
        ("Judged by", f"On test rows, {judged}: errors in percent of those of {SEPARATE}, accuracy in points."),
        (
            "Interval",
            f"{percent}, of the difference on the same seeds and rows. It covers two chances: another seed, and other "
            "rows (two-way random effects, Student's t with Satterthwaite's degrees of freedom). Intervals of single "
            "scores are over seeds alone.",
        ),
        (
            "Claim",
            f"Better or worse is said where p, corrected by Holm over all {len(compared.verdict.outputs)} comparisons, "
            f"is below {CLAIM:g}. Else no difference is claimed, and where {100 * SMALLEST:g} % (or one point) stays "
            "open, the sentence says what would tell it.",
        ),
        (
            "Size or sharing",
            f"{NARROW} are separate models so narrow that together they have as many parameters as the {SHARED} one. "
            f"Where they change in the same direction by {100 * SIZE_SHARE:g} % as much or more, it is the size.",
        ),
        (
            "Worse, and why",
            f"A conflict is named from {100 * CONFLICT_RATE:g} % of the watched steps on, a drowned gradient up to "
            f"{100 * SMALL_SHARE:g} % of those that move the trunk.",
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
    if any(count for count, _ in diverged(compared.runs).values()):
        said = "A run that diverged is counted and named; the figures are of the other seeds, which flatters them."
        found.insert(5, ("Diverged", said))
    return found
