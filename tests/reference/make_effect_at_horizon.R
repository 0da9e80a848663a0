# Makes effect_at_horizon.json: censored follow-up under two treatments, and what riskRegression and survival say of the difference of risks.
# Run: Rscript make_effect_at_horizon.R > effect_at_horizon.json
# Needs: survival, riskRegression, jsonlite (Debian: r-cran-survival r-cran-riskregression r-cran-jsonlite).
suppressPackageStartupMessages({ library(survival); library(riskRegression); library(jsonlite) })
RNGversion("4.2.0"); set.seed(20261127)

n <- 400; h <- 1
x <- rnorm(n); a <- rbinom(n, 1, plogis(x))
time <- rexp(n, exp(0.5 * x - 0.7 * a)); left <- rexp(n, ifelse(a == 1, 1, 1/3))
d <- data.frame(x = x, a = factor(a), time = pmin(time, left), event = as.integer(time <= left))

# ---- Kaplan-Meier of censoring within arms, just before the status is known ----
at <- pmin(d$time, h); g <- numeric(n)
for (arm in 0:1) {
  own <- a == arm
  km <- survfit(Surv(time, event == 0) ~ 1, data = d[own, ])
  g[own] <- sapply(at[own], function(u) { k <- sum(km$time < u); if (k == 0) 1 else km$surv[k] })
}
known <- d$event == 1 | d$time >= h; y <- as.integer(d$event == 1 & d$time <= h); w <- ifelse(known, 1 / g, 0)
e <- fitted(glm(a ~ x, family = binomial))

# ---- AIPW with weights for censoring, outcome models logistic with those weights ----
mu <- sapply(0:1, function(arm) predict(suppressWarnings(glm(y ~ x, family = binomial, weights = w, subset = a == arm)), data.frame(x = x), type = "response"))
muA <- mu[cbind(seq_len(n), a + 1)]
score <- mu[, 2] - mu[, 1] + (a - e) / (e * (1 - e)) * w * (y - muA)

# ---- weighting alone: riskRegression ----
ipw <- ate(event = Surv(time, event) ~ a + x, treatment = glm(a ~ x, data = d, family = binomial), censor = coxph(Surv(time, event == 0) ~ strata(a), data = d, x = TRUE, y = TRUE),
  data = d, times = h, estimator = "IPTW", se = FALSE, verbose = FALSE, product.limit = TRUE)
cat(toJSON(list(
  versions = list(R = paste(R.version$major, R.version$minor, sep = "."), survival = as.character(packageVersion("survival")), riskRegression = as.character(packageVersion("riskRegression"))),
  x = x, a = a, time = d$time, event = d$event, horizon = h, propensity = e, mu0 = mu[, 1], mu1 = mu[, 2], weight = w, score = score,
  ate_iptw = as.numeric(ipw$diffRisk$estimate), hand_iptw = mean((a - e) / (e * (1 - e)) * w * y)
), digits = I(15), auto_unbox = TRUE))
