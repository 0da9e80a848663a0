"""Ridge regression and ridge logistic regression of one piece on a standardised design."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from equipoise.comparator.reduction import Piece


def ridge(piece: Piece, penalty: float) -> RidgeRegression | RidgeLogistic:
    """The one that the piece's outcome asks for; it minimises weighted ``mean loss + penalty / 2 * |b|^2`` with a free intercept."""
    return RidgeLogistic(piece, penalty) if piece.n_classes else RidgeRegression(piece, penalty)


class RidgeRegression:
    """Weighted ridge regression; the Gram matrix is diagonalised once for all penalties."""

    def __init__(self, piece: Piece, penalty: float) -> None:
        self._piece, self.penalty = piece, penalty
        self._spectrum: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def fit(self, z: np.ndarray) -> None:
        w = self._piece.weight / self._piece.weight.sum()
        if self._spectrum is None:
            self._mean = w @ z
            self._base = float(w @ self._piece.outcome)
            root = np.sqrt(w)[:, None] * (z - self._mean)
            y = np.sqrt(w) * (self._piece.outcome - self._base)
            if root.shape[1] <= root.shape[0]:
                value, vector = np.linalg.eigh(root.T @ root)
                self._spectrum = value, vector, vector.T @ (root.T @ y)
            else:  # more columns than rows: the dual problem
                value, vector = np.linalg.eigh(root @ root.T)
                self._spectrum = value, root.T @ vector, vector.T @ y
        value, vector, right = self._spectrum
        self._b = vector @ (right / (np.maximum(value, 0.0) + self.penalty))

    def predict(self, z: np.ndarray) -> np.ndarray:
        return (self._base + (z - self._mean) @ self._b)[:, None]


class RidgeLogistic:
    """Weighted (multinomial) ridge logistic regression, started from the previous penalty's solution; classes without a row get their base share."""

    def __init__(self, piece: Piece, penalty: float) -> None:
        self._piece, self.penalty = piece, penalty
        self._classes = np.unique(piece.outcome.astype(np.int64))
        self._fitter = LogisticRegression(max_iter=300, tol=1e-4, warm_start=True)

    def fit(self, z: np.ndarray) -> None:
        self._constant = len(self._classes) < 2 or not z.shape[1]
        if self._constant:
            return
        self._fitter.set_params(C=1.0 / (len(z) * self.penalty))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # weak penalties far down the path; the folds judge them as they are
            self._fitter.fit(z, self._piece.outcome.astype(np.int64), sample_weight=self._piece.weight)

    def predict(self, z: np.ndarray) -> np.ndarray:
        out = np.tile(self._piece.base(), (len(z), 1))
        if not self._constant and len(z):
            out[:, self._classes] = self._fitter.predict_proba(z) * out[:, self._classes].sum(axis=1, keepdims=True)
        return out
