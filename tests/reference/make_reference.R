# Makes reference.json: seeded data and what R's packages say of them. Run: Rscript make_reference.R > reference.json
# Needs: pROC, rms, survival, prodlim, riskRegression, jsonlite (Debian: r-cran-proc r-cran-rms r-cran-survival r-cran-prodlim r-cran-riskregression r-cran-jsonlite).
suppressPackageStartupMessages({
  library(pROC); library(rms); library(survival); library(prodlim); library(riskRegression); library(jsonlite)
})
RNGversion("4.2.0"); set.seed(20261123)

# ---- binary -------------------------------------------------------------------------------------------------------------------
n <- 400
lp <- rnorm(n, -1.5, 1.2)
y <- rbinom(n, 1, plogis(lp))
p1 <- plogis(0.7 * lp + rnorm(n, 0, 0.6) + 0.3)
p2 <- pmin(pmax(round(plogis(lp + rnorm(n, 0, 1.2)), 2), 0.01), 0.99)   # ties
cluster <- sample(1:90, n, replace = TRUE)

r1 <- roc(y, p1, quiet = TRUE, direction = "<"); r2 <- roc(y, p2, quiet = TRUE, direction = "<")
test <- roc.test(r1, r2, method = "delong", paired = TRUE)
ci1 <- as.numeric(ci.auc(r1, method = "delong"))

logit1 <- qlogis(p1)
slope <- glm(y ~ logit1, family = binomial, control = list(epsilon = 1e-14, maxit = 100))
large <- glm(y ~ 1 + offset(logit1), family = binomial, control = list(epsilon = 1e-14, maxit = 100))
val <- val.prob(p1, y, pl = FALSE)
d <- data.frame(y = y, logit1 = logit1)
robust <- robcov(lrm(y ~ logit1, data = d, x = TRUE, y = TRUE, eps = 1e-13, maxit = 100), cluster = factor(cluster))
fit <- loess(y ~ p1)
curve <- pmin(pmax(fitted(fit), 0), 1)
gap <- abs(curve - p1)
at <- as.numeric(quantile(p1, seq(0.05, 0.95, 0.1)))
w <- rpois(n, 1) + 0.25
fit_w <- loess(y ~ p1, weights = w)

net_benefit <- function(t) mean(p1 >= t & y == 1) - mean(p1 >= t & y == 0) * t / (1 - t)
wilson <- prop.test(sum(y), n, correct = FALSE)$conf.int
groups <- split(order(p1), rep(1:10, each = n / 10))
h <- sum(sapply(groups, function(g) (sum(y[g]) - sum(p1[g]))^2 / (length(g) * mean(p1[g]) * (1 - mean(p1[g])))))

binary <- list(
  y = y, p1 = p1, p2 = p2, cluster = cluster, weight = w,
  auroc = c(as.numeric(auc(r1)), as.numeric(auc(r2))), delong_variance = c(var(r1, method = "delong"), var(r2, method = "delong")),
  delong_covariance = cov(r1, r2, method = "delong"), delong_lo = ci1[1], delong_hi = ci1[3], paired_p = test$p.value, paired_z = as.numeric(test$statistic),
  somers2_c = as.numeric(Hmisc::somers2(p1, y)["C"]), val_prob_brier = as.numeric(val["Brier"]), val_prob_slope = as.numeric(val["Slope"]),
  slope = as.numeric(coef(slope)[2]), slope_se = sqrt(vcov(slope)[2, 2]), in_the_large = as.numeric(coef(large)), in_the_large_se = sqrt(vcov(large)[1, 1]),
  slope_robust_se = sqrt(vcov(robust)[2, 2]), log_score = -mean(dbinom(y, 1, p1, log = TRUE)),
  ici = mean(gap), e50 = median(gap), e90 = as.numeric(quantile(gap, 0.9)), curve_at = at, curve = as.numeric(predict(fit, at)),
  curve_weighted = as.numeric(predict(fit_w, at)),
  thresholds = c(0.05, 0.1, 0.2, 0.4), net_benefit = sapply(c(0.05, 0.1, 0.2, 0.4), net_benefit),
  wilson = as.numeric(wilson), hosmer_lemeshow = h
)

# ---- continuous ---------------------------------------------------------------------------------------------------------------
m <- rnorm(150, 20, 3); s <- runif(150, 0.5, 4); z <- m * 0.8 + 5 + rnorm(150, 0, 2)
crps_one <- function(m, s, z) integrate(function(x) (pnorm(x, m, s) - (x >= z))^2, -Inf, z, rel.tol = 1e-12, subdivisions = 2000)$value +
  integrate(function(x) (pnorm(x, m, s) - (x >= z))^2, z, Inf, rel.tol = 1e-12, subdivisions = 2000)$value
line <- lm(z ~ m)
cor_ci <- cor.test(z, m)$conf.int
continuous <- list(mean = m, sd = s, y = z, r = cor(z, m), r_interval = as.numeric(cor_ci), slope = as.numeric(coef(line)[2]), mean_residual = mean(z - m),
  rmse = sqrt(mean((z - m)^2)), r2 = 1 - sum((z - m)^2) / sum((z - mean(z))^2), crps = mapply(crps_one, m, s, z))

# ---- time to event ------------------------------------------------------------------------------------------------------------
N <- 300
risk_lp <- rnorm(N)
t1 <- rexp(N, 0.08 * exp(0.8 * risk_lp)); t2 <- rexp(N, 0.05); cens <- runif(N, 0.2, 25)
time <- round(pmin(t1, t2, cens), 2) + 0.01          # rounded: ties
event <- ifelse(t1 <= pmin(t2, cens), 1, ifelse(t2 <= cens, 2, 0))
entry <- ifelse(runif(N) < 0.4, round(runif(N, 0, 1) * time * 0.9, 2), 0)
entry <- pmax(pmin(entry, time - 0.01), 0)
risk <- round(1 - exp(-0.9 * exp(0.5 * risk_lp + rnorm(N, 0, 0.5))), 2)   # ties
horizon <- 6.005                                      # no time lies on it
places <- c(1.005, 3.005, 6.005, 10.005, 15.005)
own <- as.integer(event == 1)
any <- as.integer(event != 0)

km <- summary(survfit(Surv(time, any) ~ 1), times = places, extend = TRUE)$surv
km_late <- summary(survfit(Surv(entry, time, any) ~ 1), times = places, extend = TRUE)$surv
aj <- summary(survfit(Surv(time, factor(event, 0:2)) ~ 1), times = places, extend = TRUE)$pstate[, 2]
ids <- seq_len(N)
aj_late <- summary(survfit(Surv(entry, time, factor(event, 0:2)) ~ 1, id = ids), times = places, extend = TRUE)$pstate[, 2]
aj_prodlim <- as.numeric(predict(prodlim(Hist(time, event) ~ 1, data = data.frame(time, event)), times = places, cause = 1))
g_prodlim <- as.numeric(predict(prodlim(Hist(time, any) ~ 1, data = data.frame(time, any), reverse = TRUE), times = places))
harrell <- concordance(Surv(time, own) ~ risk, reverse = TRUE)$concordance
harrell_late <- concordance(Surv(entry, time, own) ~ risk, reverse = TRUE)$concordance
uno <- concordance(Surv(time, own) ~ risk, reverse = TRUE, timewt = "n/G2", ymax = horizon)$concordance
frame <- data.frame(time = time, event = event, own = own)
single <- Score(list(m = matrix(risk)), formula = Surv(time, own) ~ 1, data = frame, times = horizon, metrics = c("auc", "brier"), cens.model = "km",
  null.model = FALSE, conf.int = FALSE)
compete <- Score(list(m = matrix(risk)), formula = Hist(time, event) ~ 1, data = frame, cause = 1, times = horizon, metrics = c("auc", "brier"),
  cens.model = "km", null.model = FALSE, conf.int = FALSE)

survival_part <- list(time = time, event = event, entry = entry, risk = risk, horizon = horizon, places = places, km = km, km_late = km_late, aj = as.numeric(aj),
  aj_late = as.numeric(aj_late), aj_prodlim = aj_prodlim, g_prodlim = g_prodlim, harrell = as.numeric(harrell), harrell_late = as.numeric(harrell_late),
  uno = as.numeric(uno), auc_single = single$AUC$score$AUC, brier_single = single$Brier$score$Brier, auc_competing = compete$AUC$score$AUC,
  brier_competing = compete$Brier$score$Brier)

# ---- treatment ----------------------------------------------------------------------------------------------------------------
k <- 250
x <- rnorm(k); e <- plogis(0.5 * x); a <- rbinom(k, 1, e); out <- x + a * (1 + 0.5 * x) + rnorm(k)
mu0 <- 0.9 * x; mu1 <- 1.1 + 1.4 * x; tau <- mu1 - mu0
score <- mu1 - mu0 + a * (out - mu1) / e - (1 - a) * (out - mu0) / (1 - e)
treatment <- list(outcome = out, treatment = a, propensity = e, mu0 = mu0, mu1 = mu1, effect = tau, average = mean(score), se = sd(score) / sqrt(k),
  slope = as.numeric(coef(lm(score ~ tau))[2]), top_minus_bottom = mean(score[tau > median(tau)]) - mean(score[tau < median(tau)]))

versions <- sapply(c("pROC", "rms", "Hmisc", "survival", "prodlim", "riskRegression"), function(p) as.character(packageVersion(p)))
cat(toJSON(list(versions = c(list(R = R.version$version.string), as.list(versions)), binary = binary, continuous = continuous, survival = survival_part,
  treatment = treatment), digits = I(17), auto_unbox = TRUE))
