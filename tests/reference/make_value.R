# Reference values for the worth of evidences: Rscript tests/reference/make_value.R > tests/reference/value.json
suppressMessages({library(survival); library(jsonlite)})
set.seed(20261125)
n <- 240
family <- rep(seq_len(80), each = 3)
x <- cbind(rnorm(n), rnorm(n) > 0.3, rexp(n))
present <- rbinom(n, 1, plogis(0.4 + 0.8 * x[, 1] - 0.7 * x[, 2] + 0.2 * x[, 3]))
score <- round(rnorm(n) + rep(rnorm(80), each = 3), 1)
event <- rbinom(n, 1, plogis(0.8 * score + rep(rnorm(80), each = 3)))
y <- 1.3 * score + rep(rnorm(80, sd = 2), each = 3) + rnorm(n)
fit <- glm(present ~ x, family = binomial, control = glm.control(epsilon = 1e-14, maxit = 100))
w <- 1 / fitted(fit)[present == 1]
among <- concordance(event ~ score + strata(family))
within <- lm(y ~ score + factor(family))
ry <- resid(lm(y ~ factor(family))); rp <- resid(lm(score ~ factor(family)))
cat(toJSON(list(
  versions = list(R = as.character(getRversion()), survival = as.character(packageVersion("survival"))),
  x = x, present = present, family = family, score = score, event = event, y = y,
  coefficients = unname(coef(fit)), fitted = unname(fitted(fit)), effective_rows = sum(w)^2 / sum(w^2), weighted_mean = weighted.mean(y[present == 1], w),
  concordance = unname(among$concordance), pairs = sum(rbind(among$count)[, c("concordant", "discordant", "tied.x")]),
  slope = unname(coef(within)["score"]), correlation = cor(ry, rp)
), digits = 16, auto_unbox = TRUE, matrix = "rowmajor"))
