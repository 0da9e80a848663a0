"""A model starts from a pretrained encoder: equal tokens for equal events, what does not fit is refused, and so are people who are held out."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from equipoise.assemble import assemble, fit_views
from equipoise.batches import at_rows
from equipoise.cli import main
from equipoise.cohort.draft import EventStore
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.encoder import Encoder
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.fit import fit_split, train_ensemble
from equipoise.init_from import of_split, refuse_leak, with_content
from equipoise.learner.estimate import Trainings
from equipoise.learner.pretrain import pretrain
from equipoise.model import Model, save_plain
from equipoise.pretrained import People, Pretrained, hashed
from equipoise.record import config_hash
from equipoise.testing.cohorts import tiny_cohort, tiny_draft
from equipoise.testing.discovery import options
from small_config import small_config

pytestmark = pytest.mark.usefixtures("one_thread")
EVENT_ENCODERS = ("gru", "grud", "set_transformer", "state_space", "transformer")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("pretrained") / "cohort", n=160)


def config(encoder: str = "transformer", **values: Any) -> dict[str, Any]:
    made = small_config(views=("ehr", "clinical"), **{"learner__max_epochs": 1, **values})
    made["modality"]["ehr"] |= {"encoder": options("encoder")[encoder], "min_count": 3}
    return made


def pretrained(cohort: Cohort, folder: Path, made: dict[str, Any] | None = None, split: Split | None = None) -> Path:
    alone = Trainings(folds=1, grid=0, inner_folds=0, members=1)
    return pretrain(made or config(), cohort, split or Split.of(cohort), seed=0, folder=folder, trainings=alone, loggers=[])


@pytest.fixture(scope="module")
def file(one_thread: None, cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(cohort, tmp_path_factory.mktemp("file") / "run")


def started(found: Pretrained, made: dict[str, Any], cohort: Cohort) -> tuple[Any, Encoder]:
    """A model's view and encoder as `train_member` starts them."""
    rows = cohort.rows_in("train")
    views = fit_views(made, cohort, rows)
    found.start_view(views["ehr"])
    network = assemble(made, views, {"risk": at_rows(cohort.target("outcome"), rows)}, seed=7)
    found.start_encoder(network.encoders["ehr"])
    encoder = network.encoders["ehr"].eval()
    assert isinstance(encoder, Encoder)
    return views["ehr"], encoder


@pytest.mark.parametrize("name", EVENT_ENCODERS)
def test_the_same_raw_events_give_the_tokens_that_pretraining_gave_them(cohort: Cohort, tmp_path: Path, name: str) -> None:
    """Also where the model's cohort has other scales, another order of codes and codes of its own."""
    found = Pretrained.load(pretrained(cohort, tmp_path / "run", config(name)))
    view, encoder = started(found, config(name), cohort)
    rows = np.flatnonzero(cohort.present_in("ehr"))
    before = encoder(view.open(cohort)(rows)).h
    draft = tiny_draft(n=160, seed=5)
    store = draft.stores["ehr"]
    assert isinstance(store, EventStore)
    store.codes, store.value = ("a//new", *store.codes[1:]), store.value * 5
    other = freeze(draft, tmp_path / "other", "other", {})
    wider, its_encoder = started(found, config(name), other)
    assert wider.spec.n_codes == view.spec.n_codes + 1
    after = its_encoder(wider.open(cohort)(rows)).h
    assert torch.equal(after, before)
    assert not torch.equal(
        before, started(replace(found, weights={k: v * 1.01 for k, v in found.weights.items()}), config(name), cohort)[1](view.open(cohort)(rows)).h
    )


def test_a_code_that_pretraining_did_not_know_starts_as_the_unknown_code(cohort: Cohort, file: Path, tmp_path: Path) -> None:
    draft = tiny_draft(n=160, seed=5)
    store = draft.stores["ehr"]
    assert isinstance(store, EventStore)
    store.codes = tuple("new//lab" if c == "lab//lactate" else c for c in store.codes)
    other = freeze(draft, tmp_path / "other", "other", {})
    found = Pretrained.load(file)
    view, encoder = started(found, config(), other)
    rows = np.flatnonzero(other.present_in("ehr"))
    plain = copy.deepcopy(view)
    plain.load_state(found.view_state)
    unknown = plain.open(other)(rows)
    part = view.open(other)(rows)
    new = part.code == view.spec.n_codes - 1
    assert new.any()
    assert (unknown.code[new] == 0).all()
    assert part.observed[new].any()
    assert not unknown.observed[new].any()
    assert torch.equal(encoder(part).h, encoder(unknown).h), "so a model knows no less than the pretrained encoder did"
    events = next(m for m in encoder.modules() if isinstance(m, EventEmbedding))
    encoder(part).h.sum().backward()
    assert (events.value.weight.grad[-1] != 0).any(), "and it learns"


def test_what_differs_is_named(cohort: Cohort, file: Path) -> None:
    found = Pretrained.load(file)
    found.check(config())
    free = config()
    free["modality"]["ehr"]["encoder"] |= {"dropout": 0.5, "prior_scale": 3.0}
    found.check(free)
    other = config("gru")
    with pytest.raises(UserError, match=r"encoder@modality\.ehr\.encoder differs\. Expected: Transformer\. Found: Gru"):
        found.check(other)
    deeper = config()
    deeper["modality"]["ehr"]["encoder"]["n_layers"] = 3
    with pytest.raises(UserError, match=r"modality\.ehr\.encoder\.n_layers differs\. Expected: 2\. Found: 3"):
        found.check(deeper)
    with pytest.raises(UserError, match=r"d_model differs\. Expected: 8\. Found: 16"):
        found.check(config(d_model=16))
    with pytest.raises(UserError, match="view 'ehr', which the config does not have"):
        found.check(small_config(views=("clinical",)))
    encoder = started(found, config(), cohort)[1]
    with pytest.raises(UserError, match=r"weights do not fit.*summary"):
        replace(found, weights={**found.weights, "summary": torch.zeros(3)}).start_encoder(encoder)


def test_files_that_are_damaged_missing_or_something_else_are_refused(cohort: Cohort, file: Path, tmp_path: Path) -> None:
    whole = bytearray(file.read_bytes())
    place = whole.find(Pretrained.load(file).weights["norm.weight"].numpy().tobytes()[:16])
    assert place > 0
    whole[place] ^= 1
    (tmp_path / "flipped.pt").write_bytes(bytes(whole))
    (tmp_path / "half.pt").write_bytes(file.read_bytes()[:1000])
    save_plain(tmp_path / "other.pt", "equipoise.model", {})
    for name, said in (("flipped.pt", "damaged"), ("half.pt", "cannot be read"), ("other.pt", "not of kind"), ("nothing.pt", "no pretrained encoder")):
        with pytest.raises(UserError, match=said):
            with_content({**config(), "init_from": str(tmp_path / name)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pretrained encoder"):
        with_content({**config(), "init_from": str(tmp_path / "empty")})


def test_the_configs_hash_is_that_of_the_content_and_not_of_the_path(cohort: Cohort, file: Path, tmp_path: Path) -> None:
    without, own = config(), with_content({**config(), "init_from": str(file)})
    assert with_content(without) == without
    assert config_hash(own) != config_hash(without)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "pretrained.pt").write_bytes(file.read_bytes())
    assert config_hash(with_content({**config(), "init_from": str(tmp_path / "copy")})) == config_hash(own)
    replace(Pretrained.load(file), salt="another").save(tmp_path / "copy" / "pretrained.pt")
    assert config_hash(with_content({**config(), "init_from": str(tmp_path / "copy")})) != config_hash(own)


def test_every_member_starts_from_it_and_says_so(cohort: Cohort, file: Path, tmp_path: Path) -> None:
    made = with_content({**config(members=2, optimizer__lr=1e-9, calibration={"_target_": "equipoise.calibration.none.NoCalibration"}), "init_from": str(file)})
    train_ensemble(made, cohort, Split.of(cohort), tmp_path, [])
    found = Pretrained.load(file)
    members = [Model.load(tmp_path / f"member_{i}" / "model.pt") for i in range(2)]
    for member in members:
        for name, weight in member.network.encoders["ehr"].state_dict().items():
            torch.testing.assert_close(weight, found.weights[name], rtol=0, atol=1e-6)
    heads = [torch.cat([p.flatten() for p in m.network.head.parameters()]) for m in members]
    assert (heads[0] - heads[1]).abs().max() > 1e-3
    assert members[0].facts["pretrained"] == found.hash()
    with pytest.raises(UserError, match="another config, cohort or seed"):
        train_ensemble({**made, "init_from": None}, cohort, Split.of(cohort), tmp_path, [])


def _leaking(cohort: Cohort, folder: Path, **roles: np.ndarray) -> Pretrained:
    whole, nothing = Split.of(cohort), np.empty(0, np.int64)
    return Pretrained.load(
        pretrained(cohort, folder, split=Split(**{"train": whole.train, "select": whole.select, "calibrate": nothing, "held_out": nothing, **roles}))
    )


def test_people_whom_the_split_holds_out_may_neither_teach_nor_choose(cohort: Cohort, file: Path, tmp_path: Path) -> None:
    whole = Split.of(cohort)
    for role in ("held_out", "select"):
        refuse_leak(Pretrained.load(file), cohort, whole, role)  # type: ignore[arg-type]
    for name, barred in (("held_out", whole.held_out), ("calibrate", whole.calibrate)):
        # One row's person is enough.
        person = barred[cohort.present_in("ehr")[barred]][:1]
        for how in ("train", "select"):
            found = _leaking(cohort, tmp_path / f"{name}_{how}", **{how: np.sort(np.concatenate([whole.rows(how), person]))})  # type: ignore[arg-type]
            with pytest.raises(UserError, match=rf"knows 1 of the people or clusters of this split's {name} rows.*init_from_others"):
                refuse_leak(found, cohort, whole, "held_out")
    taught = _leaking(cohort, tmp_path / "select", train=np.sort(np.concatenate([whole.train, whole.select])), select=np.empty(0, np.int64))
    refuse_leak(taught, cohort, whole, "held_out")
    with pytest.raises(UserError, match="select rows"):
        refuse_leak(taught, cohort, whole, "select")


def test_relatives_of_held_out_people_are_a_leak_too(cohort: Cohort, file: Path) -> None:
    whole = Split.of(cohort)
    relative = cohort.rows["cluster"][int(whole.train[cohort.present_in("ehr")[whole.train]][0])]
    rows = cohort.rows.with_columns(
        pl.when(pl.col("row_id") == int(whole.held_out[0])).then(pl.lit(relative)).otherwise(pl.col("cluster")).alias("cluster"),
        pl.when(pl.col("row_id") == int(whole.held_out[0])).then(pl.lit("somebody")).otherwise(pl.col("subject_id")).alias("subject_id"),
    )
    with pytest.raises(UserError, match="held_out rows"):
        refuse_leak(Pretrained.load(file), replace(cohort, rows=rows), whole, "held_out")


def test_a_fit_refuses_a_leak_unless_the_user_declares_other_people(cohort: Cohort, tmp_path: Path) -> None:
    whole = Split.of(cohort)
    _leaking(cohort, tmp_path / "p", train=np.sort(np.concatenate([whole.train, whole.held_out])))
    made = {**config(), "init_from": str(tmp_path / "p")}
    with pytest.raises(UserError, match="held_out rows"):
        fit_split(made, cohort, whole, "held_out", tmp_path / "run", repeat=0, fold=0, loggers=[])
    assert not (tmp_path / "run").exists()
    assert of_split({**made, "init_from_others": True}, cohort, whole, "held_out", repeat=0, fold=0)[1] is not None


def test_an_arm_without_the_view_starts_from_nothing(cohort: Cohort, file: Path) -> None:
    arm = {**small_config(views=("clinical",)), "init_from": str(file)}
    made, found = of_split(arm, cohort, Split.of(cohort), "held_out", repeat=0, fold=0)
    assert made["init_from"] is None
    assert found is None


def test_hashes_are_salted_per_file_and_tell_people_apart() -> None:
    names = [f"S{i}" for i in range(1000)]
    assert np.unique(hashed(names, "a")).size == 1000
    assert not np.intersect1d(hashed(names, "a"), hashed(names, "b")).size
    assert hashed([], "a").size == 0
    nobody = People(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert nobody.shared_with(nobody) == 0


def test_no_identifier_stands_in_the_file_or_the_log(cohort: Cohort, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = cohort.rows["subject_id"][int(Split.of(cohort).train[5])]
    assert name.encode() not in file.read_bytes()
    assert name not in caplog.text


SYNTHETIC = ["cohort.n=240", "cohort.genome.variants=30", "cohort.genome.chromosomes=3", "cohort.genome.polygenicity=0.5", "d_model=8"]
EHR = ["modality=[ehr,clinical]", "encoder@modality.ehr.encoder=transformer"]
QUICK = ["learner.max_epochs=1", "comparator=[prevalence]", "calibration=none", "validation.masked=false", "trial.n_bootstrap=100"]


@pytest.mark.slow
def test_both_verbs_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", *SYNTHETIC, *EHR, "debug=fast", "run_dir=pre"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == f"pretrained: init_from={tmp_path / 'pre'}"
    manifest = json.loads((tmp_path / "pre" / "manifest.json").read_text())
    assert manifest["status"] == "done"
    assert main(["pretrain", *SYNTHETIC, *EHR, "debug=fast", "run_dir=pre"]) == 0, "a finished one is read"
    run = ["run", *SYNTHETIC, *EHR, *QUICK, "run_dir=run", "init_from=pre"]
    assert main(run) == 0
    said = json.loads((tmp_path / "run" / "manifest.json").read_text())["pretrained"]
    assert [s["hash"] for s in said] == [Pretrained.load(tmp_path / "pre" / "pretrained.pt").hash()]
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"TimeToCodes, on {said[0]['n_people']} people without outcomes" in page
    assert main(run) == 0, "a finished run is read"
    assert main(["verify", "run"]) == 0
    # Another content in the same place is another run.
    replace(Pretrained.load(tmp_path / "pre" / "pretrained.pt"), salt="another").save(tmp_path / "pre" / "pretrained.pt")
    assert main(run) == 2
    assert "another config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "init_from=nowhere"], "no pretrained encoder at nowhere"),
        (["pretrain", "modality=[clinical]"], "0 of the chosen views can be pretrained"),
        (["pretrain", "modality=[ehr]", "init_from=x"], "starts from nothing"),
        (["pretrain", "modality=[ehr]", "pretext=nextevent"], "did you mean next_event"),
    ],
)
def test_mistakes_leave_nothing_behind(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "run_dir=out"]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_cross_validation_starts_each_fold_from_its_own(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise import run

    monkeypatch.setattr(run, "open_source", lambda config: cohort)
    made = config()
    made["validation"] |= {"folds": "given", "repeats": [1], "select_share": 0.2, "calibrate_share": 0.1}
    run._pretrain(made, tmp_path / "pre", {}, False)
    files = sorted(str(p.relative_to(tmp_path / "pre")) for p in tmp_path.rglob("pretrained.pt"))
    assert files == [f"fold_1_{i}/pretrained.pt" for i in range(4)]
    whole = with_content({**made, "init_from": str(tmp_path / "pre")})
    splits = list(run._splits(made, cohort))
    used = [of_split(whole, cohort, split, "held_out", repeat=r, fold=f)[0]["init_from"] for r, f, split in splits]
    assert [Path(u["path"]).parent.name for u in used] == [f"fold_1_{i}" for i in range(4)]
    assert len({u["hash"] for u in used}) == 4
    with pytest.raises(UserError, match=r"knows .* of this split's (calibrate|held_out) rows"):
        refuse_leak(Pretrained.load(tmp_path / "pre" / files[0]), cohort, splits[1][2], "held_out")
    with pytest.raises(UserError, match=r"no pretraining of fold 0\.0"):
        of_split(whole, cohort, splits[0][2], "held_out", repeat=0, fold=0)
    with pytest.raises(UserError, match="no pretraining of the fixed split"):
        of_split({**whole, "validation": {**made["validation"], "folds": None}}, cohort, Split.of(cohort), "held_out", repeat=0, fold=0)
