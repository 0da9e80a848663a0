"""What does each evidence add? Gains of content and of presence from a known truth, by population, ancestry, site, family and absence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from equipoise.report.finding import Finding
from equipoise.report.markup import Numbering
from equipoise.report.value import value
from equipoise.stats.scores import log_score
from equipoise.trial.value import AMONG, EVERYONE, POPULATION
from trial.simulated_predictions import judged, protocol, table

N = 1200
CLAIM: dict[str, Any] = {"value_of": ["g"], "placebo_repeats": 2, "delta": [-1.0, 0.0, 1.0], "subsets": "all", "endpoints": ["log_score"], "n_bootstrap": 100}


def predictions(*, content: float = 1.0, presence: float = 0.0, n: int = N, seed: int = 0, luck: float = 0.05, kind: str = "binary") -> pl.DataFrame:
    """Two evidences: ``x``, which everybody has, and ``g``, whose content adds ``content`` log odds a standard deviation and whose presence adds
    ``presence``. Every arm is the truth given what it sees, with errors of its own of size ``luck``; people come in families of two."""
    rng = np.random.default_rng(seed)
    family = np.arange(n) // 2
    age, x = rng.normal(size=n), rng.normal(size=n)
    g = rng.normal(size=n)
    has = rng.random(n) < expit(0.7 + age)
    base = -1 + 0.8 * x + 0.5 * rng.normal(size=n // 2)[family] + presence * has
    told = base + content * g * has
    unknown = lambda eta, sd: eta / np.sqrt(1 + 0.346 * sd**2)  # noqa: E731 - log odds when a normal part of this spread is not known
    without = unknown(base, content * has)
    no_presence = unknown(base - presence * (has - has.mean()), content)
    arms = {
        "equipoise": told, "equipoise|refit:x": no_presence, "equipoise|masked:g": unknown(base - presence * has, content), "linear": base,
        "equipoise|placebo:g": without, "equipoise|placebo:g@2": without, "equipoise|masked:x": -1 + content * g * has, "equipoise|masked:x+g": 0 * x - 1,
    }  # fmt: skip
    noisy = {name: eta + luck * rng.normal(size=n) for name, eta in arms.items()}
    if kind == "binary":
        risks, y = {k: expit(v) for k, v in noisy.items()}, (rng.random(n) < expit(told)).astype(float)
        spread = {}
    else:
        risks, y, spread = noisy, told + rng.normal(size=n), {"total": np.full(n, 1.0)}
    strata = np.array(["north", "south"])[rng.integers(0, 2, n // 2)[family]]
    site = np.array([f"s{i}" for i in range(6)])[rng.integers(0, 6, n // 2)[family]]
    further = {"cluster": [f"f{c}" for c in family], "site": site, "present_x": True, "present_g": has, "base_age": age, "stratum_ancestry": strata}
    return table(risks, y, **further, **spread)


def worth(found: pl.DataFrame, kind: str = "binary", **over: Any) -> dict[str, Any]:
    over = ({"endpoints": ["crps"]} if kind == "continuous" else {}) | over
    words = {k: over.pop(k) for k in ("role", "opening") if k in over}
    return judged(found, kind, protocol=protocol(**CLAIM | over), **words)["value"]


def gain(entry: dict[str, Any], population: str, of: str, endpoint: str = "log_score") -> dict[str, Any]:
    return entry["estimands"][population]["gains"][of][endpoint]


@pytest.fixture(scope="module")
def informative() -> dict[str, Any]:
    return worth(predictions(content=1.0))["evidences"]["g"]


def test_total_is_content_plus_presence_in_every_population(informative: dict[str, Any]) -> None:
    for population in (AMONG, POPULATION, EVERYONE):
        total, content, presence = (gain(informative, population, of)["gain"] for of in ("total", "content", "presence"))
        assert total == pytest.approx(content + presence, abs=1e-12)


def test_gains_are_those_of_the_scores_themselves() -> None:
    found = predictions()
    made = worth(found)["evidences"]["g"]
    by = {s: found.filter((pl.col("model") == "equipoise") & (pl.col("scenario") == s)) for s in ("all", "refit:x", "placebo:g", "placebo:g@2")}
    has = by["all"]["present_g"].to_numpy()
    score = {s: log_score(t["risk"].to_numpy(), t["outcome"].to_numpy()) for s, t in by.items()}
    placebo = (score["placebo:g"] + score["placebo:g@2"]) / 2
    assert gain(made, AMONG, "content")["gain"] == pytest.approx((placebo - score["all"])[has].mean(), rel=1e-10)
    assert gain(made, POPULATION, "total")["gain"] == pytest.approx((score["refit:x"] - score["all"]).mean(), rel=1e-10)
    assert made["estimands"][AMONG]["n"]["rows"] == has.sum()
    assert made["share"] == pytest.approx(has.mean())


def test_informative_content_is_claimed_and_presence_adds_nothing(informative: dict[str, Any]) -> None:
    assert informative["verdict"] == "demonstrated gain"
    assert "each of the 2 models" in informative["sentence"]
    assert informative["p_holm"] < 0.025
    assert gain(informative, AMONG, "content")["lo"] > 0.02
    presence = gain(informative, POPULATION, "presence")
    assert presence["lo"] < 0.005
    assert presence["hi"] < 0.01


def test_informative_presence_is_no_content() -> None:
    made = worth(predictions(content=0.0, presence=1.5))["evidences"]["g"]
    assert made["verdict"] == "no demonstrated gain"
    assert gain(made, POPULATION, "presence")["lo"] > 0.005
    content = gain(made, AMONG, "content")
    assert abs(content["gain"]) < 0.003
    # Absence by chance tells nothing: what was gained by presence as observed is lost.
    at_random = made["absence"]["at_random"]
    assert at_random["observed"]["lo"] > 0
    assert at_random["random"]["hi"] < at_random["observed"]["lo"]


def test_a_claim_asks_for_a_gain_over_every_placebo() -> None:
    found = predictions(content=0.4)
    lucky = (pl.col("model") == "equipoise") & (pl.col("scenario") == "all")
    own = found.filter(lucky).select("subject_id", own="risk")
    as_good = found.join(own, on="subject_id").with_columns(risk=pl.when(pl.col("scenario") == "placebo:g@2").then(pl.col("own")).otherwise(pl.col("risk")))
    assert worth(found)["evidences"]["g"]["verdict"] == "demonstrated gain"
    assert worth(as_good)["evidences"]["g"]["verdict"] == "no demonstrated gain"


def test_holm_is_over_the_evidences_claimed_and_select_rows_carry_none() -> None:
    found = predictions()
    x = [found.filter(pl.col("scenario") == f"placebo:g{k}").with_columns(scenario=pl.lit(f"placebo:x{k}")) for k in ("", "@2")]
    both = worth(pl.concat([found, *x]), value_of=["all"])["evidences"]
    assert set(both) == {"x", "g"}
    alone = worth(found)["evidences"]["g"]
    assert both["g"]["p_holm"] == pytest.approx(2 * alone["p_holm"], rel=0.05)
    assert "total" not in both["x"]["estimands"][AMONG]["gains"]  # it was not refitted without x
    tuning = worth(found, role="select", opening=None)["evidences"]["g"]
    assert (tuning["verdict"], tuning["sentence"]) == ("not evaluable", "The content of g: not evaluable (these are select rows).")
    assert "Exploratory" in worth(found, opening=2)["evidences"]["g"]["sentence"]


def test_the_reweighted_gain_is_the_one_at_no_shift_and_shifts_bend_it(informative: dict[str, Any]) -> None:
    shifts = informative["absence"]["delta"]["shifts"]
    assert shifts["0"]["gains"]["content"]["log_score"] == gain(informative, EVERYONE, "content")
    values = [shifts[d]["gains"]["content"]["log_score"]["gain"] for d in ("-1", "0", "1")]
    assert len(set(values)) == 3
    assert "above 0 at every shift from -1 to 1" in informative["absence"]["delta"]["sentence"]
    assert informative["estimands"][EVERYONE]["by"] == ["age", "site"]
    assert informative["estimands"][EVERYONE]["effective_rows"] < informative["estimands"][EVERYONE]["n"]["rows"]


def test_within_ancestry_and_between_relatives_the_gain_remains(informative: dict[str, Any]) -> None:
    groups = informative["within"]["ancestry"]["groups"]
    assert set(groups) == {"north", "south"}
    assert all(g["gains"]["content"]["log_score"]["gain"] > 0.01 for g in groups.values())
    families = informative["within"]["families"]
    assert families["measure"] == "AUROC among relatives"
    assert families["gains"]["content"]["gain"] > 0.02
    assert families["people"] == 2 * families["families"]
    assert informative["within"]["sites"] == {"note": "the division leaves no site out"}


def test_left_out_sites_are_pooled_with_the_site_as_the_unit() -> None:
    found = predictions().with_columns(site_unseen=pl.col("site") != "s0")
    sites = worth(found)["evidences"]["g"]["within"]["sites"]
    assert sites["sites"] == 5
    assert sites["better_at"]["content"] >= 4
    assert sites["gains"]["content"]["lo"] > 0
    two = worth(predictions().with_columns(site_unseen=pl.col("site").is_in(["s0", "s1"])))["evidences"]["g"]["within"]["sites"]
    assert "2 left-out sites" in two["note"]


def test_every_subset_is_tabled_and_the_scenarios_stay_those_of_one_evidence() -> None:
    made = judged(predictions(), protocol=protocol(**CLAIM))
    assert set(made["value"]["subsets"]) == {"masked:g", "masked:x", "masked:x+g"}
    assert made["value"]["subsets"]["masked:x+g"]["hidden"] == ["g", "x"]
    assert made["value"]["subsets"]["masked:x+g"]["change"]["hi"] < 0
    assert set(made["scenarios"]) == {"masked:g", "masked:x"}
    unclaimed = judged(predictions(), protocol=protocol())
    assert unclaimed["value"] == {}
    assert "placebo:g" in unclaimed["scenarios"]


def test_a_continuous_outcome_has_the_same_tables() -> None:
    made = worth(predictions(kind="continuous"), "continuous")["evidences"]["g"]
    assert made["verdict"] == "demonstrated gain"
    families = made["within"]["families"]
    assert families["gains"]["content"]["lo"] > 0
    assert families["slope"]["gain"] == pytest.approx(1, abs=0.2)
    assert made["absence"]["delta"]["unit"] == "standard deviations"
    assert set(made["absence"]["delta"]["shifts"]) == {"-1", "0", "1"}


def test_what_cannot_be_estimated_says_why() -> None:
    bare = predictions().drop("base_age", "stratum_ancestry", "site").with_columns(present_g=True, cluster=pl.col("subject_id"))
    made = worth(bare)["evidences"]["g"]
    assert made["estimands"][EVERYONE] == {"note": "every row has it: as among those with it"}
    assert made["absence"]["at_random"] == {"note": "every row has it"}
    assert made["within"]["ancestry"] == {"note": "no such column, and no genotypes"}
    assert made["within"]["families"]["note"].startswith("0 families")
    few = worth(predictions(n=60), min_events=40)["evidences"]["g"]
    assert few["verdict"] == "not evaluable"
    nobody = worth(predictions().filter(~pl.col("scenario").str.starts_with("placebo")))
    assert nobody["evidences"] == {}
    unweighted = predictions().drop("base_age", "site")
    assert "neither base columns nor sites" in worth(unweighted)["evidences"]["g"]["estimands"][EVERYONE]["note"]


def test_rows_in_another_order_give_the_same_results() -> None:
    found = predictions(n=400)
    assert worth(found) == worth(found.sample(fraction=1, shuffle=True, seed=1))


def test_the_section_shows_every_gain_and_a_plain_word_for_every_gap() -> None:
    def text(results: dict[str, Any]) -> str:
        return value(Finding(json.loads(json.dumps(results)), {}, Numbering()))

    claimed = judged(predictions(n=600), protocol=protocol(**CLAIM))
    for words in ("What each evidence adds", "Content gain", "Presence gain", "Everyone had it, reweighted", "Presence masked at random", "Between relatives",
                  "Every subset of missing evidences (3)", "Not adjusted for sex, site, batch or pc[0-9]*: no such column", "ancestry (2 groups)"):  # fmt: skip
        assert words in text(claimed), words
    assert text({**claimed, "value": {}}) == ""
    gaps = worth(predictions(n=100).drop("base_age", "stratum_ancestry"), min_events=80)
    assert "not evaluable" in text({**claimed, "value": gaps})
    assert "no placebo" in text({**claimed, "value": {**gaps, "evidences": {}}})
