# Makes meta_analysis.json: seeded estimates of k sites and what metafor says of them. Run: Rscript make_meta_analysis.R > meta_analysis.json
# Needs: metafor, jsonlite (Debian: r-cran-metafor r-cran-jsonlite).
# Prediction intervals: metafor's default with test="knha" has t with k - 1 degrees of freedom; pi.type="riley" has k - 2, as in Higgins et al. (2009)
# and Partlett and Riley (2017), and is what Equipoise computes. test="knha" is plain Hartung-Knapp, test="adhoc" the modified one (never below q = 1).
suppressPackageStartupMessages({ library(metafor); library(jsonlite) })
RNGversion("4.2.0"); set.seed(20261125)

tight <- list(threshold = 1e-14, maxiter = 1000, tol = 1e-14)
described <- function(y, se) {
  made <- list(y = y, se = se)
  common <- rma(yi = y, sei = se, method = "EE")
  made$fixed <- c(common$b, common$se, common$ci.lb, common$ci.ub, common$QE, common$QEp, common$I2)
  for (method in c("REML", "DL", "PM")) for (test in c("knha", "adhoc", "z")) {
    fit <- rma(yi = y, sei = se, method = method, test = test, control = tight)
    out <- predict(fit, pi.type = "riley")
    usual <- predict(fit)
    made[[paste(method, test, sep = "_")]] <- c(fit$tau2, fit$b, fit$se, fit$ci.lb, fit$ci.ub, out$pi.lb, out$pi.ub, fit$I2, fit$QE, fit$QEp, usual$pi.lb, usual$pi.ub)
  }
  made
}

k <- 10
se <- runif(k, 0.05, 0.3)
few <- c(0.31, 0.18, 0.27)
areas <- c(0.81, 0.76, 0.84, 0.79, 0.72); area_se <- c(0.021, 0.034, 0.018, 0.027, 0.031)
logit <- escalc(measure = "GEN", yi = qlogis(areas), sei = area_se / (areas * (1 - areas)))
fit <- rma(logit, method = "REML", test = "knha", control = tight)
back <- predict(fit, transf = plogis, pi.type = "riley")
ratios <- c(0.92, 1.1, 1.31, 0.84, 1.02, 0.97); ratio_se <- c(0.08, 0.12, 0.2, 0.07, 0.1, 0.05)
log_fit <- rma(yi = log(ratios), sei = ratio_se / ratios, method = "REML", test = "knha", control = tight)
log_back <- predict(log_fit, transf = exp, pi.type = "riley")

cat(toJSON(list(
  versions = list(R = as.character(getRversion()), metafor = as.character(packageVersion("metafor"))),
  heterogeneous = described(rnorm(k, 0.2, 0.25) + rnorm(k, 0, se), se),
  homogeneous = described(rep(0.2, 8) + c(0.02, -0.03, 0.05, -0.01, 0.04, -0.06, 0.01, -0.02), runif(8, 0.05, 0.2)),
  three = described(few, c(0.05, 0.12, 0.02)),
  areas = list(value = areas, se = area_se, found = c(back$pred, back$ci.lb, back$ci.ub, back$pi.lb, back$pi.ub)),
  ratios = list(value = ratios, se = ratio_se, found = c(log_back$pred, log_back$ci.lb, log_back$ci.ub, log_back$pi.lb, log_back$pi.ub))
), digits = NA, auto_unbox = TRUE, pretty = TRUE))
