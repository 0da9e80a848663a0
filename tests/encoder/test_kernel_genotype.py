"""The kernel encoder against closed-form kernel ridge regression on train and new people."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import GenotypesSpec
from equipoise.encoder.kernel_genotype import KernelGenotype
from equipoise.encoder.known_people import KnownPeople
from genotypes_for_tests import drawn_copies, moments, packed, part_of, standardised

N, NEW, V = 60, 25, 101
COPIES = drawn_copies(N + NEW, V, seed=5)
TRAIN, TEST = COPIES[:N], COPIES[N:]
SPEC = GenotypesSpec(V, *moments(TRAIN), landmarks=packed(TRAIN))
Y = standardised(TRAIN, SPEC)[:, :9].sum(1) / 3 + 0.5 * np.random.default_rng(1).normal(size=N)
NOISE, SCALE = 0.5, 0.8


def _encoder(spec: GenotypesSpec = SPEC, **changed: Any) -> KernelGenotype:
    torch.manual_seed(0)
    values = {"kernel": "gaussian", "bandwidth": 0.8, "n_scores": 1, "prior_scale": SCALE, "lr_scale": 1.0, "d_model": 1} | changed
    return KernelGenotype(spec=spec, **values)


def _gram(kernel: str, x: np.ndarray, z: np.ndarray, landmarks: np.ndarray, bandwidth: float = 0.8) -> np.ndarray:
    """The kernel as its docstring says, centred and scaled over the landmarks, f64."""

    def raw(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if kernel == "linear":
            return a @ b.T
        distance = ((a[:, None] - b[None]) ** 2).sum(2)
        pairs = ((landmarks[:, None] - landmarks[None]) ** 2).sum(2)[np.triu_indices(len(landmarks), 1)]
        return np.exp(-distance / (bandwidth**2 * np.median(pairs)))

    inner = raw(landmarks, landmarks)
    unit = (np.diag(inner) - 2 * inner.mean(0) + inner.mean()).mean()
    return (raw(x, z) - raw(x, landmarks).mean(1)[:, None] - raw(landmarks, z).mean(0) + inner.mean()) / unit


def _trained(encoder: KernelGenotype, free_intercept: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Scores, with the intercept, of train and new people at the optimum of squared error and penalty."""
    part, target = part_of(TRAIN), torch.from_numpy(Y).float()
    bias = torch.nn.Parameter(torch.zeros(()), requires_grad=free_intercept)
    weights = [p for p in [*encoder.parameters(), bias] if p.requires_grad]
    optimizer = torch.optim.LBFGS(weights, max_iter=300, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (encoder(part).h[:, 0] + bias - target).square().sum() / (2 * NOISE**2) + encoder.penalty()
        value.backward()
        return value

    optimizer.step(loss)
    return tuple((encoder(part_of(c)).h[:, 0] + bias).detach().numpy() for c in (TRAIN, TEST))


@pytest.mark.parametrize(("kernel", "bandwidths"), [("gaussian", [0.8]), ("gaussian", [0.5, 1.0, 2.0]), ("linear", [0.8])])
def test_trained_to_the_end_it_is_closed_form_kernel_ridge_regression_on_train_and_new_people(kernel: str, bandwidths: list[float]) -> None:
    x, new = standardised(TRAIN, SPEC), standardised(TEST, SPEC)
    inner, outer = (np.mean([_gram(kernel, a, x, x, b) for b in bandwidths], 0) for a in (x, new))
    alpha = np.linalg.solve(inner + (NOISE / SCALE) ** 2 * np.eye(N), Y)
    fitted, predicted = _trained(_encoder(kernel=kernel, bandwidth=bandwidths))
    np.testing.assert_allclose(fitted, inner @ alpha, atol=1e-3)
    np.testing.assert_allclose(predicted, outer @ alpha, atol=1e-3)
    assert np.std(predicted) > 0.1


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_landmarks_that_are_all_alike_teach_nothing(kernel: str) -> None:
    alike = np.repeat(TRAIN[:1], N, 0)
    encoder = _encoder(GenotypesSpec(V, *moments(TRAIN), landmarks=packed(alike)), kernel=kernel, bandwidth=[0.5, 1.0, 2.0])
    assert torch.equal(encoder(part_of(TEST)).h, torch.zeros(len(TEST), 1))


def test_beside_a_free_intercept_it_is_scikit_learns_gaussian_process_whose_kernel_is_not_centred() -> None:
    x, new = standardised(TRAIN, SPEC), standardised(TEST, SPEC)
    pairs = ((x[:, None] - x[None]) ** 2).sum(2)
    raw = np.exp(-pairs / (0.64 * np.median(pairs[np.triu_indices(N, 1)])))
    unit = np.diag(raw - raw.mean(0) - raw.mean(1)[:, None] + raw.mean()).mean()
    length = 0.8 * np.sqrt(np.median(pairs[np.triu_indices(N, 1)]) / 2)
    # A wide constant kernel is scikit-learn's flat prior of the intercept.
    kernel = ConstantKernel(SCALE**2 / unit, "fixed") * RBF(length, "fixed") + ConstantKernel(1e5, "fixed")
    reference = GaussianProcessRegressor(kernel, alpha=NOISE**2, optimizer=None).fit(x, Y)
    fitted, predicted = _trained(_encoder(), free_intercept=True)
    np.testing.assert_allclose(fitted, reference.predict(x), atol=1e-3)
    np.testing.assert_allclose(predicted, reference.predict(new), atol=1e-3)


def test_with_few_landmarks_the_covariance_is_nystroems() -> None:
    few = TRAIN[:20]
    encoder = _encoder(replace(SPEC, landmarks=packed(few)), d_model=20, n_scores=20, prior_scale=1.0)
    with torch.no_grad():
        encoder.u.copy_(torch.eye(20))
    phi = encoder(part_of(COPIES)).h.detach().double().numpy()
    x, z = standardised(COPIES, SPEC), standardised(few, SPEC)
    across, inner = _gram("gaussian", x, z, z), _gram("gaussian", z, z, z)
    np.testing.assert_allclose(phi @ phi.T, across @ np.linalg.pinv(inner, rcond=1e-6) @ across.T, atol=1e-4)
    np.testing.assert_allclose(phi[:20] @ phi[:20].T, inner, atol=1e-5)


def test_landmarks_are_recognised_and_others_are_compared_to_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, part = _encoder(), part_of(COPIES)
    place = encoder.known.places(part.packed)
    assert place.tolist() == [*range(N), *[-1] * NEW]
    read = encoder.kernel(part.packed)
    monkeypatch.setattr(KnownPeople, "places", lambda self, packed: torch.full((packed.shape[0],), -1))
    torch.testing.assert_close(encoder.kernel(part.packed), read, rtol=0, atol=3e-6)


def test_bits_behind_the_last_variant_hide_nobody() -> None:
    encoder, part = _encoder(), part_of(TRAIN)
    other = part.packed.clone()
    other[:, -1] |= 0b11111100
    assert not torch.equal(other, part.packed)
    assert encoder.known.places(other).tolist() == list(range(N))


def test_a_score_has_the_prior_standard_deviation_that_the_yaml_says() -> None:
    encoder = _encoder(d_model=400, n_scores=400, prior_scale=0.6)
    torch.nn.init.normal_(encoder.u, generator=torch.Generator().manual_seed(1))
    assert encoder(part_of(TRAIN)).h.square().mean().sqrt().item() == pytest.approx(0.6, rel=0.03)


def test_twins_among_the_landmarks_do_no_harm() -> None:
    twins = _encoder(replace(SPEC, landmarks=np.concatenate([packed(TRAIN), packed(TRAIN[:5])])))
    assert twins.basis.isfinite().all()
    fitted, predicted = _trained(twins)
    once = _trained(_encoder())
    # Twins weigh double in the centring and the median, and nowhere else.
    assert np.corrcoef(fitted, once[0])[0, 1] > 0.999
    assert np.corrcoef(predicted, once[1])[0, 1] > 0.999


def test_adam_comes_near_the_closed_form_within_few_hundred_steps() -> None:
    encoder = _encoder()
    part, target = part_of(TRAIN), torch.from_numpy(Y).float()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.02)
    for _ in range(300):
        loss = (encoder(part).h[:, 0] - target).square().sum() / (2 * NOISE**2) + encoder.penalty()
        optimizer.zero_grad()
        (loss / N).backward()
        optimizer.step()
    np.testing.assert_allclose(encoder(part).h[:, 0].detach().numpy(), _trained(_encoder())[0], atol=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_scores": 2}, "n_scores"),
        ({"kernel": "cubic"}, "gaussian or linear"),
        ({"bandwidth": 0.0}, "bandwidth"),
        ({"bandwidth": [1.0, -1.0]}, "bandwidth"),
        ({"bandwidth": []}, "bandwidth"),
        ({"spec": None}, "landmarks=10000"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], said: str) -> None:
    if "spec" in change:
        change = {"spec": replace(SPEC, landmarks=None)}
    with pytest.raises(UserError, match=said):
        _encoder(**change)
