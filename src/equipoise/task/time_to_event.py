"""Time to the first of several competing events: a discrete hazard for each interval and cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws, Target
from equipoise.task.follow_up import FollowUp
from equipoise.task.hazards import base_logits, hazard_nll, incidence
from equipoise.task.intervals import IntervalTask, edges_of


@final
class TimeToEventTask(IntervalTask):
    """Risk of cause 1 by each horizon in the presence of C - 1 competing causes.

    Interval j is (t_{j-1}, t_j], t_0 = 0, the others quantiles of the train rows' event times, so that each holds as many events. Given survival
    to t_{j-1}, cause c happens in it with hazard h_jc = exp(l_jc) / (1 + sum_c' exp(l_jc')): C + 1 outcomes, "none" with logit 0. The parameters
    are l, interval by interval (K = J C).

    Likelihood of a row with an event of cause c in interval k: h_kc prod_{j<k} (1 - h_j)^e_j; of a censored row: prod_j (1 - h_j)^e_j, where
    h_j = sum_c h_jc and e_j in [0, 1] is the share of interval j between entry and censoring. So an interval in which a row is censored counts
    as far as it was lived through (the actuarial estimate gives everybody one half), and intervals before entry contribute nothing. Follow-up
    beyond t_J, the last train event, is cut off there.

    Cumulative incidence of cause 1: F(t_k) = sum_{j<=k} h_j1 prod_{i<j} (1 - h_i), linear between the edges, constant beyond the last.

    Args:
        target: a time-to-event target: time_days, event (0 censored, 1..C), entry_days.
        n_intervals: J >= 1; fewer where event times are tied.
        horizons_days: horizons > 0, or None for the quartile and the median of the train rows' times of cause 1, in whole days from 10 days on;
            None serves a single fit only, see `refuse_open_horizons`.

    Source: Tutz and Schmid (2016), chapter 8 (multinomial discrete hazard); Cutler and Ederer (1958) for the exposure of the censored.
    """

    def learn(self, train: FollowUp) -> None:
        self.edges = edges_of(train, self.n_intervals)
        self.base = tuple(base_logits(train, self.edges, self.n_causes).tolist())

    def loss(self, draws: Draws, target: Target) -> Tensor:
        """Negative log likelihood of the discrete hazards, (B,)."""
        follow_up = self.follow_up(target)
        return hazard_nll(draws.value, follow_up, self.edges, self.n_causes).mean(0) * follow_up.weight

    def cumulative_incidence(self, draws: Draws) -> Tensor:
        """Cumulative incidence of cause 1 at every horizon, f64 (S, B, H)."""
        return incidence(draws.value, self.edges, self.n_causes, self.horizons_days)


def refuse_open_horizons(config: Mapping[str, Any]) -> None:
    """Refuses default horizons where several fits must answer one question: each would take them from its own train rows, and they would differ.

    Asked before anything is trained. Several fits are the folds of a cross-validation, and members that rotate their select rows.

    Args:
        config: a resolved config.

    Raises:
        UserError: a task has ``horizons_days: null`` there.
    """
    validation = config["validation"]
    rotating = bool(validation["rotate_select"]) and int(config["members"]) > 1
    if not (validation["folds"] or rotating):
        return
    for name, node in config["task"].items():
        if "horizons_days" in node and node["horizons_days"] is None:
            raise UserError(
                f"Task {name} has no horizons, and {'each fold' if validation['folds'] else 'each member'} would choose its own",
                expected="the days by which the risk is asked, the same for all",
                mend=f"set task.{name}.horizons_days, e.g. [30,365]",
            )
