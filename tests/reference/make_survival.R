# Makes survival.json: seeded follow-up with competing causes, late entries and sites, and what R's packages say of it. Run: Rscript make_survival.R > survival.json
# Needs: survival, prodlim, riskRegression, jsonlite (Debian: r-cran-survival r-cran-prodlim r-cran-riskregression r-cran-jsonlite).
suppressPackageStartupMessages({ library(survival); library(prodlim); library(riskRegression); library(jsonlite) })
RNGversion("4.2.0"); set.seed(20261125)

N <- 240
x <- rnorm(N); z <- rnorm(N)
site <- sample(0:2, N, replace = TRUE)
t1 <- rweibull(N, 1.3, 9 * exp(-0.6 * x)); t2 <- rexp(N, 0.04); cens <- runif(N, 0.2, 12 + 6 * site)
time <- round(pmin(t1, t2, cens), 1) + 0.1            # rounded: ties
event <- ifelse(t1 <= pmin(t2, cens), 1, ifelse(t2 <= cens, 2, 0))
own <- as.integer(event == 1); any <- as.integer(event != 0)
entry <- pmax(pmin(ifelse(runif(N) < 0.4, round(runif(N) * time * 0.8, 1) + 0.03, 0), time - 0.05), 0)
horizons <- c(2.05, 4.05, 6.05, 9.05)                 # no time lies on one
# Risks that cross: z matters early, x late. Rounded: ties of risk.
risk <- sapply(horizons, function(h) round(1 - exp(-(h / 9)^1.3 * exp(0.5 * x + 0.9 * z * exp(-h / 4))), 2))
ids <- seq_len(N)

# ---- Antolini's C: survival's concordance of a risk that changes with time (counting process), read as the risk by the next horizon ------
split_rows <- function(start, stop, status, rows) do.call(rbind, lapply(rows, function(i) {
  cuts <- c(start[i], horizons[horizons > start[i] & horizons < stop[i]], stop[i])
  k <- length(cuts) - 1
  data.frame(id = i, start = cuts[-(k + 1)], stop = cuts[-1], status = c(rep(0, k - 1), status[i]),
             risk = risk[i, pmin(findInterval(cuts[-1], horizons, left.open = TRUE) + 1, length(horizons))])
}))
last <- max(horizons)
antolini <- function(start, stop, status) {
  over <- stop > last                                  # followed beyond the last horizon: no case
  d <- split_rows(start, pmin(stop, last), ifelse(over, 0, status), which(start < pmin(stop, last)))
  as.numeric(concordance(Surv(start, stop, status) ~ risk, data = d, reverse = TRUE)$concordance)
}
antolini_single <- antolini(rep(0, N), time, own)
antolini_late <- antolini(entry, time, own)
antolini_competing <- antolini(rep(0, N), ifelse(event == 2, last + 1, time), own)  # who died of something else stays free of it for ever

# ---- Brier, IPA, their integrals: riskRegression --------------------------------------------------------------------------------------
cohort <- data.frame(time = time, event = event, own = own, any = any, site = factor(site))
score <- function(formula, times, r) Score(list(m = r), formula = formula, data = cohort, cause = 1, times = times, metrics = c("auc", "brier"),
  summary = "ipa", cens.model = "km", null.model = TRUE, conf.int = FALSE)
trapezoid <- function(v, h) sum(diff(h) * (head(v, -1) + tail(v, -1)) / 2) / (max(h) - min(h))
of <- function(s, model, what) as.numeric(as.data.frame(s$Brier$score)[s$Brier$score$model == model, what])
single <- score(Surv(time, own) ~ 1, horizons, risk); compete <- score(Hist(time, event) ~ 1, horizons, risk)
result_of <- function(s) {
  b <- of(s, "m", "Brier"); b0 <- of(s, "Null model", "Brier")
  list(brier = b, null = b0, ipa = of(s, "m", "IPA"), integrated = trapezoid(b, horizons), integrated_ipa = 1 - trapezoid(b, horizons) / trapezoid(b0, horizons),
    auc = as.numeric(as.data.frame(s$AUC$score)$AUC))
}
# ---- cumulative/dynamic AUC by Blanche, Dartigues and Jacqmin-Gadda (2013), pair by pair, both definitions of controls -------------------
g <- prodlim(Hist(time, any) ~ 1, data = cohort, reverse = TRUE)
g_before <- function(t) sapply(t, function(one) predict(g, times = one - 1e-6))  # one by one: predict sorts its times
pairs_auc <- function(h, r, free_only) {
  case <- event == 1 & time <= h
  control <- if (free_only) time > h else time > h | (event == 2 & time <= h)
  w <- 1 / g_before(pmin(time, h))
  won <- outer(r[case], r[control], ">") + 0.5 * outer(r[case], r[control], "==")
  as.numeric(t(w[case]) %*% won %*% w[control] / (sum(w[case]) * sum(w[control])))
}
# ---- censoring by site -----------------------------------------------------------------------------------------------------------------
g_site <- prodlim(Hist(time, any) ~ site, data = cohort, reverse = TRUE)
h <- horizons[3]
kept <- sapply(ids, function(i) predict(g_site, times = pmin(time[i], h) - 1e-6, newdata = cohort[i, ])[[1]])
known <- (any == 1 & time <= h) | time > h
status <- as.numeric(own == 1 & time <= h)
brier_site <- sum(ifelse(known, (risk[, 3] - status)^2 / kept, 0)) / N
incidence_site <- sum(sapply(0:2, function(s) mean(site == s) * as.numeric(predict(prodlim(Hist(time, event) ~ 1, data = cohort[site == s, ]), times = h, cause = 1))))

# ---- pseudo-values, and the curve from them --------------------------------------------------------------------------------------------
state <- factor(event, 0:2)
fit <- survfit(Surv(time, state) ~ 1, data = cohort)
pseudo_ij <- as.numeric(pseudo(fit, times = h, type = "pstate")[, 2])
pseudo_single <- 1 - as.numeric(pseudo(survfit(Surv(time, own) ~ 1), times = h, type = "survival"))
pseudo_jackknife <- as.numeric(jackknife(prodlim(Hist(time, event) ~ 1, data = cohort), times = h, cause = 1))
curve_fit <- loess(pseudo_ij ~ risk[, 3])
curve <- pmin(pmax(fitted(curve_fit), 0), 1)
gap <- abs(curve - risk[, 3])
# ---- groups: Aalen-Johansen with late entries, robust standard error --------------------------------------------------------------------
group <- findInterval(risk[, 3], as.numeric(quantile(risk[, 3], c(1, 2) / 3)), left.open = TRUE)
by_group <- lapply(0:2, function(k) {
  d <- data.frame(entry, time, state, ids)[group == k, ]
  f <- summary(survfit(Surv(entry, time, state) ~ 1, data = d, id = ids, robust = TRUE), times = h, extend = TRUE)
  c(f$pstate[, 2], f$std.err[, 2])
})
whole_late <- summary(survfit(Surv(entry, time, state) ~ 1, id = ids, robust = TRUE), times = h, extend = TRUE)

versions <- sapply(c("survival", "prodlim", "riskRegression"), function(p) as.character(packageVersion(p)))
cat(toJSON(list(versions = c(list(R = R.version$version.string), as.list(versions)),
  data = list(time = time, event = event, entry = entry, site = site, risk = risk, horizons = horizons, group = group),
  antolini = list(single = antolini_single, late = antolini_late, competing = antolini_competing),
  single = result_of(single), competing = result_of(compete),
  auc_all = sapply(1:4, function(k) pairs_auc(horizons[k], risk[, k], FALSE)), auc_free = sapply(1:4, function(k) pairs_auc(horizons[k], risk[, k], TRUE)),
  brier_site = brier_site, incidence_site = incidence_site,
  pseudo = list(ij = pseudo_ij, single = pseudo_single, jackknife = pseudo_jackknife, ici = mean(gap), e50 = median(gap), e90 = as.numeric(quantile(gap, 0.9))),
  groups = list(incidence = sapply(by_group, `[`, 1), se = sapply(by_group, `[`, 2)),
  late = list(incidence = as.numeric(whole_late$pstate[, 2]), se = as.numeric(whole_late$std.err[, 2]))
), digits = I(17), auto_unbox = TRUE))
