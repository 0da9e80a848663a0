# Makes groups.json: metafor's Q of independent groups, the interval score by its formula, decisions of groups by counting, net benefit with referral.
# Run: Rscript make_groups.R > groups.json     Needs: jsonlite, metafor (Debian: r-cran-jsonlite, r-cran-metafor).
suppressPackageStartupMessages({library(jsonlite); library(metafor)})
RNGversion("4.2.0"); set.seed(20261126)

q_of <- function(x, v) { m <- rma(x, v, method = "FE"); list(value = x, variance = v, q = m$QE, df = m$k - 1, p = m$QEp) }
heterogeneity <- list(
  three = q_of(c(0.02, 0.05, -0.01), c(0.0004, 0.0001, 0.0009)),
  eight = q_of(rnorm(8, 0.1, 0.3), runif(8, 0.01, 0.2)),
  alike = q_of(rep(0.4, 4) + c(1, -1, 1, -1) * 1e-3, runif(4, 0.01, 0.02))
)

groups <- lapply(1:4, function(i) rnorm(c(8, 15, 20, 11)[i], 0.2 * i, 0.5 * i))
welch <- oneway.test(y ~ g, data.frame(y = unlist(groups), g = factor(rep(1:4, lengths(groups)))), var.equal = FALSE)

n <- 40
mean <- rnorm(n, 10, 3); sd <- runif(n, 0.5, 2); y <- rnorm(n, mean, 1.5)
a <- 0.1; lo <- qnorm(a / 2, mean, sd); hi <- qnorm(1 - a / 2, mean, sd)
score <- (hi - lo) + 2 / a * (lo - y) * (y < lo) + 2 / a * (y - hi) * (y > hi)

m <- 300
risk <- plogis(rnorm(m)); event <- rbinom(m, 1, risk); group <- sample(c("a", "b", "c"), m, TRUE); t <- 0.4
by_group <- lapply(split(data.frame(risk, event), group), function(d) {
  alert <- d$risk >= t
  list(sensitivity = mean(alert[d$event == 1]), specificity = mean(!alert[d$event == 0]), ppv = mean(d$event[alert]), selection_rate = mean(alert))
})

other <- plogis(qlogis(risk) + rnorm(m)); uncertainty <- -abs(risk - 0.5)
share <- c(0, 0.1, 0.25, 0.5)
mixed <- sapply(share, function(s) {
  referred <- rank(-uncertainty) <= round(s * m)
  act <- ifelse(referred, other >= t, risk >= t)
  mean(act & event == 1) - mean(act & event == 0) * t / (1 - t) - 0.02 * s
})
kept_loss <- sapply(share, function(s) { keep <- rank(-uncertainty) > round(s * m); mean((-event * log(risk) - (1 - event) * log(1 - risk))[keep]) })

cat(toJSON(list(
  versions = list(R = as.character(getRversion()), metafor = as.character(packageVersion("metafor"))),
  heterogeneity = heterogeneity,
  welch = list(groups = groups, p = welch$p.value),
  interval = list(mean = mean, sd = sd, y = y, level = 1 - a, score = score),
  decisions = list(risk = risk, event = event, group = group, threshold = t, by_group = by_group),
  referral = list(other = other, uncertainty = uncertainty, share = share, cost = 0.02, net_benefit = mixed, kept_loss = kept_loss)
), digits = NA, auto_unbox = TRUE, pretty = TRUE), "\n")
