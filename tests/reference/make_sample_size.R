# Makes sample_size.json: bounds, powers and sample sizes by other people's code. Run: PMSAMPSIZE=DIR PMVALSAMPSIZE=DIR Rscript make_sample_size.R > sample_size.json
# Needs: rpact, nlme, pROC, jsonlite (Debian: r-cran-rpact r-cran-nlme r-cran-proc r-cran-jsonlite), and the unpacked sources of pmsampsize 1.1.3 and pmvalsampsize 0.1.0 (CRAN).
suppressPackageStartupMessages({ library(rpact); library(nlme); library(pROC); library(jsonlite) })
RNGversion("4.2.0"); set.seed(20261207)
for (top in Sys.getenv(c("PMSAMPSIZE", "PMVALSAMPSIZE"))) for (f in list.files(file.path(top, "R"), full.names = TRUE)) source(f)
quiet <- function(x) { sink(nullfile()); on.exit(sink()); suppressMessages(x) }
version_of <- function(top) unname(read.dcf(file.path(top, "DESCRIPTION"), "Version")[1, 1])

# ---- development: pmsampsize --------------------------------------------------------------------------------------------------
size <- function(r) unname(r$results_table[, 1])
binary <- function(...) size(quiet(pmsampsize(type = "b", ...)))
development <- list(
  example = binary(csrsquared = 0.288, parameters = 24, prevalence = 0.174),
  rare = binary(csrsquared = 0.02, parameters = 12, prevalence = 0.03, shrinkage = 0.95),
  common = binary(csrsquared = 0.4, parameters = 40, prevalence = 0.6),
  r2_of_c = list(cstat2rsq(0.89, 0.174)$R2.coxsnell, cstat2rsq(0.7, 0.05)$R2.coxsnell, cstat2rsq(0.75, 0.4)$R2.coxsnell),
  linear_example = size(quiet(pmsampsize(type = "c", rsquared = 0.2, parameters = 25, intercept = 1.9, sd = 0.6))),
  linear_other = size(quiet(pmsampsize(type = "c", rsquared = 0.6, parameters = 8, intercept = 100, sd = 15, shrinkage = 0.95))),
  survival_example = size(quiet(pmsampsize(type = "s", csrsquared = 0.051, parameters = 30, rate = 0.065, timepoint = 2, meanfup = 2.07))),
  survival_other = size(quiet(pmsampsize(type = "s", csrsquared = 0.12, parameters = 15, rate = 0.2, timepoint = 1, meanfup = 1.5, shrinkage = 0.85))),
  upper_risk = quiet(pmsampsize(type = "s", csrsquared = 0.051, parameters = 30, rate = 0.065, timepoint = 2, meanfup = 2.07))$int_uci
)

# ---- validation: pmvalsampsize ------------------------------------------------------------------------------------------------
valid <- function(...) quiet(pmvalsampsize(type = "b", seed = 1, simobs = 1000000, ...))$results_table[, 1]
validation <- list(
  normal = valid(prevalence = 0.018, cstatistic = 0.8, lpnorm = c(-5, 2.5), oeciwidth = 1, sensitivity = 0.5, specificity = 0.5, threshold = 0.08),
  binormal = valid(prevalence = 0.3, cstatistic = 0.75, lpcstat = -1.307, tolerance = 0.0005, increment = 0.01, oeciwidth = 0.2, threshold = 0.2)
)

# ---- parallel trials ----------------------------------------------------------------------------------------------------------
prop <- power.prop.test(p1 = 0.5, p2 = 0.75, power = 0.9, tol = 1e-12)
means <- power.t.test(delta = 4, sd = 15, power = 0.9, tol = 1e-12)
survival <- getSampleSizeSurvival(sided = 1, alpha = 0.025, beta = 0.1, lambda2 = -log(0.7) / 2, hazardRatio = 0.7, accrualTime = c(0, 1.5), followUpTime = 2,
  dropoutRate1 = 0.05, dropoutRate2 = 0.05, dropoutTime = 1)
parallel <- list(
  proportions_n = prop$n, proportions_power = sapply(c(20, 50, 200), function(n) power.prop.test(n = n, p1 = 0.2, p2 = 0.3)$power),
  means_n = means$n, means_power = sapply(c(3, 20, 200), function(n) power.t.test(n = n, delta = 0.5, sd = 1)$power),
  survival_events = survival$eventsFixed, survival_n = survival$nFixed
)

# ---- group sequential ---------------------------------------------------------------------------------------------------------
types <- c(obrien_fleming_spending = "asOF", pocock_spending = "asP", obrien_fleming = "OF", pocock = "P")
sequential <- function(type, information, beta) {
  d <- getDesignGroupSequential(typeOfDesign = type, alpha = 0.025, beta = beta, sided = 1, informationRates = information, tolerance = 1e-10)
  x <- getDesignCharacteristics(d)
  n <- getSampleSizeMeans(d, alternative = 0.3, stDev = 1, normalApproximation = TRUE)
  list(information = information, power = 1 - beta, bounds = d$criticalValues, spent = d$alphaSpent, inflation = x$inflationFactor, stops = as.numeric(x$rejectionProbabilities),
    expected = x$averageSampleNumber1, expected_half = x$averageSampleNumber01, expected_null = x$averageSampleNumber0, n_max = n$maxNumberOfSubjects, n_fixed = n$nFixed)
}
group <- lapply(types, function(type) list(sequential(type, c(1, 2, 3) / 3, 0.1), sequential(type, c(0.3, 0.45, 0.8, 1), 0.2), sequential(type, c(0.5, 1), 0.2)))
rates <- getSampleSizeRates(getDesignGroupSequential(typeOfDesign = "asOF", alpha = 0.025, beta = 0.1, sided = 1, informationRates = c(1, 2, 3) / 3), pi1 = 0.3, pi2 = 0.4)

# ---- clusters: the variance by matrices, and trials simulated and analysed by nlme ----------------------------------------------
wedge <- function(clusters, steps) outer(rep(seq_len(steps), each = clusters / steps), 0:steps, function(crossing, period) as.numeric(period >= crossing))
gls_by_matrices <- function(x, within, between, autocorrelated = 1) {   # all cells at once, clusters as blocks
  i <- nrow(x); t <- ncol(x); cells <- i * t
  v <- kronecker(diag(i), within * diag(t) + between * matrix(1, t, t))
  design <- cbind(kronecker(rep(1, i), diag(t)), as.numeric(t(x)))
  solve(t(design) %*% solve(v, design))[t + 1, t + 1]
}
simulate_wedge <- function(sets, clusters, steps, m, effect, icc) {
  x <- wedge(clusters, steps); t <- steps + 1
  d <- data.frame(cluster = rep(seq_len(clusters), each = t * m), period = rep(rep(seq_len(t), each = m), clusters))
  d$treated <- x[cbind(d$cluster, d$period)]; d$f <- factor(d$period)
  mean(replicate(sets, {
    d$y <- 0.2 * d$period + effect * d$treated + rnorm(clusters, 0, sqrt(icc))[d$cluster] + rnorm(nrow(d), 0, sqrt(1 - icc))
    fit <- lme(y ~ f + treated, random = ~1 | cluster, data = d)
    fixef(fit)[["treated"]] / sqrt(vcov(fit)["treated", "treated"]) > qnorm(0.975)
  }))
}
sets <- 1000
stepped <- list(
  variances = list(gls_by_matrices(wedge(12, 4), 0.1, 0.02), gls_by_matrices(wedge(24, 3), 0.05, 0.05), gls_by_matrices(wedge(6, 6), 0.2, 0)),
  sets = sets, simulated = simulate_wedge(sets, 24, 4, 6, 0.28, 0.05)
)

out <- list(versions = list(R = as.character(getRversion()), rpact = as.character(packageVersion("rpact")), nlme = as.character(packageVersion("nlme")),
  pmsampsize = version_of(Sys.getenv("PMSAMPSIZE")), pmvalsampsize = version_of(Sys.getenv("PMVALSAMPSIZE"))),
  development = development, validation = validation, parallel = parallel, group_sequential = group, rates_n_max = rates$maxNumberOfSubjects, stepped_wedge = stepped)
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "\n")
