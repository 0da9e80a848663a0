# Reference values for the optimism bootstrap: Rscript tests/reference/make_optimism.R > tests/reference/optimism.json
# rms::validate draws its resamples itself; they are drawn again with the same seed and written beside its table, so that the same resamples are compared.
suppressMessages({library(rms); library(jsonlite)})
set.seed(20261127)
n <- 150
x <- matrix(rnorm(n * 6), n)
y <- rbinom(n, 1, plogis(x %*% c(1, -0.7, 0.4, 0, 0, 0)))
d <- data.frame(y, x)
f <- lrm(y ~ X1 + X2 + X3 + X4 + X5 + X6, data = d, x = TRUE, y = TRUE)
B <- 40
set.seed(1); v <- rms::validate(f, B = B)
set.seed(1); index <- t(sapply(seq_len(B), function(i) sample(n, replace = TRUE)))
cat(toJSON(list(versions = list(R = as.character(getRversion()), rms = as.character(packageVersion("rms"))), x = x, y = y, index = index - 1L,
  dxy = unclass(v["Dxy", c("index.orig", "training", "test", "optimism", "index.corrected")]), brier = unclass(v["B", c("index.orig", "training", "test", "optimism", "index.corrected")]),
  slope = unclass(v["Slope", c("index.orig", "training", "test", "optimism", "index.corrected")])), digits = I(16), auto_unbox = TRUE, matrix = "rowmajor"))
