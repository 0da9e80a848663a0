# Makes effects.json: seeded data and what the definitions, lm and sandwich say of them. Run: Rscript make_effects.R > effects.json
# Needs: sandwich, jsonlite (Debian: r-cran-sandwich r-cran-jsonlite). Debian has no grf, so its definitions are written out here.
suppressPackageStartupMessages({
  library(sandwich); library(jsonlite)
})
RNGversion("4.2.0"); set.seed(20261125)

n <- 240
x <- rnorm(n); e <- plogis(0.4 * x); a <- rbinom(n, 1, e); y <- x + a * (1 + 0.5 * x) + rnorm(n)
mu0 <- 0.8 * x; mu1 <- 1 + 1.2 * x
score0 <- mu0 + (1 - a) / (1 - e) * (y - mu0); score1 <- mu1 + a / e * (y - mu1); score <- score1 - score0
effect <- mu1 - mu0 + rnorm(n, 0, 0.3)
tied <- round(effect, 1)
weight <- runif(n, 0.3, 2)
cluster <- sample(1:60, n, replace = TRUE)
fold <- rep(1:5, length.out = n)

# ---- targeting operator characteristic: mean score of the share q with the highest priority, ties treated together in proportion, minus the mean ----
toc <- function(q, score, priority, w) {
  levels <- sort(unique(priority), decreasing = TRUE)
  mass <- sapply(levels, function(v) sum(w[priority == v])) / sum(w)
  mean_of <- sapply(levels, function(v) weighted.mean(score[priority == v], w[priority == v]))
  sapply(q, function(one) {
    taken <- pmin(mass, pmax(0, one - c(0, cumsum(mass)[-length(mass)])))
    sum(taken * mean_of) / one - weighted.mean(score, w)
  })
}
# The integrals, piece by piece between the shares at which a group of ties ends.
area <- function(score, priority, w, factor) {
  levels <- sort(unique(priority), decreasing = TRUE)
  ends <- c(0, cumsum(sapply(levels, function(v) sum(w[priority == v]))) / sum(w)); ends[length(ends)] <- 1
  sum(mapply(function(from, to) integrate(function(q) factor(q) * toc(q, score, priority, w), from, to, rel.tol = 1e-13, abs.tol = 1e-15)$value,
    ends[-length(ends)], ends[-1]))
}
one <- function(q) rep(1, length(q)); itself <- function(q) q
areas <- function(priority, w) c(area(score, priority, w, one), area(score, priority, w, itself))
shares <- c(0.1, 0.25, 0.5, 0.77, 1)
# The sum over rows that grf's rank_average_treatment_effect computes (no ties, no weights).
down <- order(effect, decreasing = TRUE)
by_row <- cumsum(score[down]) / seq_len(n) - mean(score)
sums <- c(mean(by_row), mean(by_row * seq_len(n) / n))

# ---- best linear predictor ----------------------------------------------------------------------------------------------------
centred <- effect - ave(effect, fold)
fit <- lm(score ~ effect); fit_w <- lm(score ~ effect, weights = weight); fit_fold <- lm(score ~ effect + factor(fold))
leave_out <- function(w) {
  every <- coef(lm(score ~ effect, weights = w))[2]
  without <- sapply(sort(unique(cluster)), function(g) coef(lm(score ~ effect, weights = w, subset = cluster != g))[2])
  sqrt((length(without) - 1) / length(without) * sum((without - every)^2))
}

# ---- policies -----------------------------------------------------------------------------------------------------------------
rule <- as.numeric(effect > 0.9); guideline <- as.numeric(x > 0.2)
value_of <- function(p) score0 + p * (score1 - score0)
clustered <- function(s, w) {
  psi <- rowsum(w * (s - weighted.mean(s, w)), cluster) / sum(w); g <- nrow(psi)
  sqrt(g / (g - 1) * sum(psi^2))
}
line <- function(s) list(value = mean(s), se = sd(s) / sqrt(n), weighted = weighted.mean(s, weight), clustered_se = clustered(s, weight))

out <- list(
  versions = c(list(R = R.version$version.string), lapply(setNames(nm = c("sandwich")), function(p) as.character(packageVersion(p)))),
  outcome = y, treatment = a, mu0 = mu0, mu1 = mu1, propensity = e, effect = effect, tied = tied, weight = weight, cluster = cluster, fold = fold,
  score = score, shares = shares, toc = toc(shares, score, effect, rep(1, n)), toc_tied = toc(shares, score, tied, weight),
  areas = areas(effect, rep(1, n)), areas_tied = areas(tied, weight), sums_over_rows = sums,
  slope = unname(coef(fit)[2]), intercept_at_mean = unname(coef(fit)[1] + coef(fit)[2] * mean(effect)),
  hc3 = sqrt(vcovHC(fit, type = "HC3")[2, 2]), slope_weighted = unname(coef(fit_w)[2]), cv3 = leave_out(rep(1, n)), cv3_weighted = leave_out(weight),
  vcov_cl_hc3 = sqrt(vcovCL(fit, cluster = cluster, type = "HC3", cadjust = FALSE)[2, 2]),
  slope_folds = unname(coef(fit_fold)[2]), ranks_within = ave(effect, fold, FUN = function(v) (rank(v) - 0.5) / length(v)),
  rule = rule, guideline = guideline, policy = line(value_of(rule)), treat_all = line(score1), treat_none = line(score0),
  over_all = line(value_of(rule) - score1), over_guideline = line(value_of(rule) - value_of(guideline))
)
cat(toJSON(out, digits = I(17), auto_unbox = TRUE))
