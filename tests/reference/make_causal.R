# Reference values for effects of a treatment given once: Rscript tests/reference/make_causal.R > tests/reference/causal.json
# Standard errors: the stacked estimating equations are differentiated numerically (numDeriv), the sandwich is formed from them.
suppressMessages({library(jsonlite); library(numDeriv); library(survival)})
set.seed(20261126)
n <- 300
x <- cbind(rnorm(n), rbinom(n, 1, 0.4), rexp(n))
a <- rbinom(n, 1, plogis(-0.3 + 0.7 * x[, 1] + 0.6 * x[, 2] - 0.3 * x[, 3]))
y <- 1 + x %*% c(1, -0.5, 0.3) + 0.8 * a + 0.5 * a * x[, 1] + rnorm(n); y <- as.vector(y)
b <- rbinom(n, 1, plogis(-0.5 + x %*% c(0.8, -0.5, 0.3) - 0.7 * a))
r <- rbinom(n, 1, plogis(1.2 + 0.5 * x[, 1] - 0.6 * a))
X <- cbind(1, x); X1 <- cbind(X, 1, 1)
tight <- glm.control(epsilon = 1e-15, maxit = 200)
sandwich_of <- function(equations, theta) {   # equations(theta): n x p
  A <- jacobian(function(t) colMeans(equations(t)), theta)
  m <- equations(theta); V <- solve(A) %*% (crossprod(m) / n) %*% t(solve(A)) / n
  V
}
contrast <- function(theta, V, at) {
  d <- rep(0, length(theta)); d[at] <- c(-1, 1)
  l <- rep(0, length(theta)); l[at] <- c(-1, 1) / theta[at]
  list(untreated = theta[at[1]], treated = theta[at[2]], difference = unname(theta[at[2]] - theta[at[1]]), se = sqrt(c(t(d) %*% V %*% d)),
       log_ratio = unname(log(theta[at[2]] / theta[at[1]])), log_ratio_se = sqrt(c(t(l) %*% V %*% l)))
}
w_of <- list(ATE = function(e) list(1 / (1 - e), 1 / e), ATT = function(e) list(e / (1 - e), rep(1, n)), ATO = function(e) list(e, 1 - e))
be <- coef(glm(a ~ x, family = binomial, control = tight))
ipw <- function(y, est, r = NULL) {
  seen <- if (is.null(r)) rep(1, n) else r
  XA <- cbind(X, a)
  br <- if (is.null(r)) NULL else coef(glm(r ~ x + a, family = binomial, control = tight))
  pi <- function(g) if (is.null(r)) rep(1, n) else plogis(as.vector(XA %*% g))
  w <- w_of[[est]](plogis(as.vector(X %*% be))); p <- pi(br)
  mu <- c(weighted.mean(y, (1 - a) * seen / p * w[[1]]), weighted.mean(y, a * seen / p * w[[2]]))
  eq <- function(t) {
    e <- plogis(as.vector(X %*% t[1:4])); w <- w_of[[est]](e)
    g <- if (is.null(r)) NULL else t[7:11]; p <- pi(g)
    m <- cbind(X * (a - e), (1 - a) * seen / p * w[[1]] * (y - t[5]), a * seen / p * w[[2]] * (y - t[6]))
    if (!is.null(r)) m <- cbind(m, XA * (r - p))
    m
  }
  th <- c(be, mu, br); contrast(th, sandwich_of(eq, th), 5:6)
}
gf <- function(y, fam, est) {
  link <- if (fam == "binomial") plogis else identity
  f0 <- coef(glm(y[a == 0] ~ x[a == 0, ], family = fam, control = tight)); f1 <- coef(glm(y[a == 1] ~ x[a == 1, ], family = fam, control = tight))
  tg <- if (est == "ATE") rep(1, n) else a
  mu <- c(weighted.mean(link(as.vector(X %*% f0)), tg), weighted.mean(link(as.vector(X %*% f1)), tg))
  eq <- function(t) {
    m0 <- link(as.vector(X %*% t[1:4])); m1 <- link(as.vector(X %*% t[5:8]))
    cbind(X * (1 - a) * (y - m0), X * a * (y - m1), tg * (m0 - t[9]), tg * (m1 - t[10]))
  }
  th <- c(f0, f1, mu); contrast(th, sandwich_of(eq, th), 9:10)
}
e <- plogis(as.vector(X %*% be))
f0 <- as.vector(X %*% coef(lm(y ~ x, subset = a == 0))); f1 <- as.vector(X %*% coef(lm(y ~ x, subset = a == 1)))
phi1 <- f1 + a / e * (y - f1); phi0 <- f0 + (1 - a) / (1 - e) * (y - f0)
smd <- function(v, w) { m <- function(k) weighted.mean(v[a == k], w[a == k]); (m(1) - m(0)) / sqrt((var(v[a == 1]) + var(v[a == 0])) / 2) }
wate <- ifelse(a == 1, mean(a) / e, (1 - mean(a)) / (1 - e))
# Clone, censor, weight: periods 0..5, grace of 3 periods, horizon 6
long <- do.call(rbind, lapply(seq_len(n), function(i) data.frame(i = i, k = 0:5, x1 = x[i, 1], x2 = x[i, 2])))
set.seed(7); start <- rep(-1L, n); end <- rep(5L, n); event <- rep(0L, n)
for (i in seq_len(n)) for (k in 0:5) {
  if (start[i] < 0 && k < 4 && runif(1) < plogis(-0.8 + 0.6 * x[i, 1] + 0.2 * k)) start[i] <- k
  if (runif(1) < plogis(-2 + 0.7 * x[i, 1] - 0.8 * (start[i] >= 0))) { end[i] <- k; event[i] <- 1L; break }
  if (runif(1) < 0.03) { end[i] <- k; break }
}
long$start <- start[long$i]; long$end <- end[long$i]; long$event <- event[long$i]
long <- subset(long, k <= end)
risk <- subset(long, k < 3 & (start < 0 | start >= k))
risk$begins <- as.integer(risk$start == risk$k)
h <- glm(begins ~ factor(k) + x1 + x2, family = binomial, data = risk, control = tight)
long$h <- predict(h, newdata = transform(long, k = pmin(k, 2)), type = "response")
never <- subset(long, start < 0 | start > k | start >= 3)               # uncensored person-periods of "do not begin"
never$f <- ifelse(never$k < 3, 1 / (1 - never$h), 1); never$w <- ave(never$f, never$i, FUN = cumprod)
begin <- subset(long, k < 2 | (start >= 0 & start < 3))                 # of "begin in the grace period"
begin$f <- ifelse(begin$k == 2 & begin$start == 2, 1 / begin$h, 1); begin$w <- ave(begin$f, begin$i, FUN = cumprod)
risk_of <- function(d) {
  s <- survfit(Surv(k, k + 1, event == 1 & end == k) ~ 1, data = d, weights = w); 1 - summary(s, times = 6)$surv
}
g <- 1 / (e * (1 - e)); o <- sort(g); trim <- which.min(cumsum(o) / seq_len(n)^2)
cat(toJSON(list(
  versions = list(R = as.character(getRversion()), numDeriv = as.character(packageVersion("numDeriv")), survival = as.character(packageVersion("survival"))),
  x = x, a = a, y = y, b = b, r = r, propensity = e,
  ipw = list(ATE = ipw(y, "ATE"), ATT = ipw(y, "ATT"), ATO = ipw(y, "ATO")), ipw_binary = ipw(b, "ATE"), ipw_missing = ipw(y, "ATE", r),
  g = list(ATE = gf(y, "gaussian", "ATE"), ATT = gf(y, "gaussian", "ATT")), g_binary = gf(b, "binomial", "ATE"),
  aipw = list(difference = mean(phi1 - phi0), se = sqrt(mean((phi1 - phi0 - mean(phi1 - phi0))^2) / n)),
  smd = apply(x, 2, smd, w = rep(1, n)), smd_weighted = apply(x, 2, smd, w = wate), kept = trim,
  ccw = list(start = start, end = end, event = event, risk_never = risk_of(never), risk_begin = risk_of(begin))
), digits = I(16), auto_unbox = TRUE, matrix = "rowmajor"))
