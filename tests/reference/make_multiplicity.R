# Makes multiplicity.json: p.adjust and t.test of R's stats package on seeded values. Run: Rscript make_multiplicity.R > multiplicity.json
# Needs: jsonlite (Debian: r-cran-jsonlite).
suppressPackageStartupMessages(library(jsonlite))
RNGversion("4.2.0"); set.seed(20261125)

sets <- list(
  mixture = c(runif(12), rbeta(8, 0.2, 6)),
  ties = round(runif(15, 0, 0.2), 2),
  missing = c(0.01, NA, 0.04, 0.04, NA, 0.2, 1, 0),
  single = 0.03
)
adjusted <- lapply(sets, function(p) list(p = p, holm = p.adjust(p, "holm"), benjamini_hochberg = p.adjust(p, "BH")))

a <- rnorm(5, 0.7, 0.01); b <- rnorm(3, 0.69, 0.03)
one <- t.test(a, conf.level = 0.95); two <- t.test(a, b, conf.level = 0.9)
means <- list(a = a, b = b, mean = as.numeric(one$estimate), se = one$stderr, interval = as.numeric(one$conf.int), p = one$p.value,
  welch_se = two$stderr, welch_interval = as.numeric(two$conf.int), welch_p = two$p.value)

cat(toJSON(list(versions = list(R = as.character(getRversion()), stats = as.character(packageVersion("stats"))), adjusted = adjusted, means = means),
  digits = NA, na = "null", auto_unbox = TRUE, pretty = TRUE), "\n")
