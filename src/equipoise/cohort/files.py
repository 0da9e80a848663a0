"""A cohort from files: any number of evidences, labels, roles, clusters, sites and published scores, joined by subject and prediction time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from equipoise.cohort.clusters import join_subjects
from equipoise.cohort.draft import Draft, GenotypeStore
from equipoise.cohort.evidence import Asked, Delivery, EvidenceSource, Input
from equipoise.cohort.ids import ID_TYPES
from equipoise.cohort.kinship import Kinship, unknown_kinship
from equipoise.cohort.labels import Labelled, Labels, Unlabelled
from equipoise.cohort.lookup import Lookup, Relatives
from equipoise.cohort.reading import check_name, file_hash
from equipoise.cohort.roles import check_disjoint
from equipoise.cohort.source import Source
from equipoise.cohort.split import Split
from equipoise.cohort.splits import UNPLACED, Folds, Roles
from equipoise.contract.errors import UserError

log = logging.getLogger(__name__)


class Files(Source):
    """Reads a cohort from files.

    Args:
        id_type: "str" or "int": the declared type of subject ids; '007' is not 7.
        evidence: evidence name -> where it comes from.
        labels: which rows there are, and their outcomes.
        roles: which role each row serves; None for people to predict only.
        folds: given or random folds for cross-validation, or None.
        clusters: the family, household or provider of each subject; None: every subject is its own cluster. A subject whose rows lie in several
            joins them to one.
        relatives: pairs of relatives, whose clusters are joined, or None.
        kinship: where neither clusters nor relatives are given, relatives are found from the genotypes by this rule; None: they are not looked for.
        site: the site of each row, or None.
        scores: published scores by name, to compare with; never inputs.
        predict_only: people to predict for: only subjects and prediction times are read of the labels, and roles, folds and scores are left alone.
        where: a sentence that says where to get the files, for the error when one is missing; or None.
    """

    def __init__(
        self,
        *,
        id_type: str,
        evidence: Mapping[str, EvidenceSource],
        labels: Labels,
        roles: Roles | None,
        folds: Folds | None,
        clusters: Lookup | None,
        relatives: Relatives | None,
        kinship: Kinship | None,
        site: Lookup | None,
        scores: Mapping[str, Lookup],
        predict_only: bool,
        where: str | None,
    ) -> None:
        self.predict_only = predict_only or isinstance(labels, Unlabelled)
        self.id_type, self.evidence, self.labels, self.where = id_type, dict(evidence), labels, where
        self.clusters, self.relatives, self.site = clusters, relatives, site
        self.roles, self.folds, self.scores = (None, None, {}) if self.predict_only else (roles, folds, dict(scores or {}))
        if id_type not in ID_TYPES:
            raise UserError(f"Config key cohort.id_type is {id_type!r}", expected="str or int", mend="declare the type of the subject ids")
        kinds = {"evidence": EvidenceSource, "labels": Labels, "roles": Roles, "folds": Folds, "clusters": Lookup, "scores": Lookup, "site": Lookup}
        for key, part in self._parts():
            if getattr(part, "path", "") is None:
                mend = f"give cohort.{key}.path=FILE, or new=FILE where the experiment takes its files from `new`"
                raise UserError(f"Config key cohort.{key}.path is null", expected="a path", mend=mend)
            kind = kinds.get(key.split(".")[0], Relatives)
            if not isinstance(part, kind):
                raise UserError(f"Config key cohort.{key} is {type(part).__name__}", expected=f"a part of kind {kind.__name__}", mend="correct its _target_")
        for name in (*self.evidence, *self.scores):
            check_name(name)
        if not self.evidence:
            raise UserError("Config key cohort.evidence is empty", expected="at least one evidence", mend="name one, with its files")
        if kinship is not None and not isinstance(kinship, Kinship):
            raise UserError(f"Config key cohort.kinship is {type(kinship).__name__}", expected="a part of kind Kinship", mend="correct its _target_")
        # Whoever is only predicted for serves no role: nothing can leak, and nothing need be known.
        looked_for = clusters is None and relatives is None and not self.predict_only
        self._genotyped = [name for name, part in self.evidence.items() if part.genotypes and looked_for]
        self.kinship = kinship if self._genotyped else None

    def _parts(self) -> Iterator[tuple[str, Input]]:
        """Every part with its config key."""
        yield "labels", self.labels
        yield from ((f"evidence.{name}", part) for name, part in self.evidence.items())
        yield from ((f"scores.{name}", part) for name, part in self.scores.items())
        rest = {"roles": self.roles, "folds": self.folds, "clusters": self.clusters, "relatives": self.relatives, "site": self.site}
        yield from ((key, part) for key, part in rest.items() if part is not None)

    def fingerprint(self) -> dict[str, Any]:
        self._all_there()
        parts = {key: {**part.settings(), "inputs": {n: file_hash(p) for n, p in part.inputs().items()}} for key, part in self._parts()}
        # What changes rows of some cohorts only is named for these only: the others keep their hash.
        rules: dict[str, Any] = {"clusters_joined_by_subject": True} if self.clusters is not None and self.clusters.time is not None else {}
        if self.kinship is not None:
            rules["kinship"] = self.kinship.settings()
        return {"source": "files", "id_type": self.id_type, "predict_only": self.predict_only, **parts, **rules}

    def _all_there(self) -> None:
        for key, part in self._parts():
            for path in part.inputs().values():
                if not path.is_file():
                    raise UserError(
                        f"Config key cohort.{key}.path names {path}, and there is no such file",
                        expected="a file that exists (paths.data is the folder of data sets)",
                        mend=self.where or "correct the path, or put the file there",
                    )

    def draft(self) -> Draft:
        self._all_there()
        labelled = self.labels.read(self.id_type, predict_only=self.predict_only)
        flow = [_line("labels" if not labelled.predict_only else "people to predict for", labelled.subject_id)]
        everyone = self._asked(labelled)
        counts: dict[str, Any] = {"labels": labelled.counts, "evidence": {}}
        read: dict[str, Delivery] = {}
        cluster = self._cluster(everyone, counts, read)
        role, included = self._roles(everyone, cluster, labelled, flow, counts)
        asked = self._asked(labelled, included)
        cluster, role = cluster[included], role[included]
        targets = {name: _taken(target, included) for name, target in labelled.targets.items()}
        stores, present = {}, []
        for name, source in self.evidence.items():
            delivery = read[name] if name in read and included.size == everyone.size else source.read(asked)
            stores[name], counts["evidence"][name] = delivery.store, {**delivery.counts, "notes": delivery.notes}
            present.append(delivery.present)
            flow.append({**_line(f"rows with {name}", asked.subject_id.filter(pl.Series(delivery.present))), "note": _join_note(delivery.counts)})
            for note in delivery.notes:
                log.warning("evidence %s: %s", name, note)
        nothing = int((~np.stack(present, 1).any(1)).sum())
        if nothing:
            flow.append({**_line("rows with nothing present", asked.subject_id.filter(pl.Series(~np.stack(present, 1).any(1)))), "note": "kept"})
        folds = None
        if self.folds is not None:
            folds, counts["folds"] = self.folds.lay(asked, cluster, targets)
        scores = {name: lookup.numbers(asked, f"cohort.scores.{name}") for name, lookup in self.scores.items()}
        counts["scores"] = {name: {"rows_without": int(np.isnan(score).sum())} for name, score in scores.items()}
        flow.append(_line("included", asked.subject_id))
        return Draft(
            rows=self._rows(asked, cluster, role),
            present=np.stack(present, 1),
            stores=stores,
            targets=targets,
            scores=scores,
            folds=folds,
            flow=flow,
            sources=self._sources(),
            counts=counts,
        )

    def _asked(self, labelled: Labelled, rows: np.ndarray | None = None) -> Asked:
        refused: dict[Path, frozenset[str]] = {}
        reserved: dict[Path, frozenset[str]] = {}
        for key, part in self._parts():
            if (claim := part.claims()) is not None:
                outcomes = claim.columns if key.startswith("scores.") else claim.outcomes
                refused[claim.path] = refused.get(claim.path, frozenset()) | outcomes
                reserved[claim.path] = reserved.get(claim.path, frozenset()) | claim.columns
        subject, time = labelled.subject_id, labelled.time
        if rows is not None:
            subject, time = subject.gather(rows), time.gather(rows)
        labels = self.labels.claims()
        return Asked(subject, time, self.id_type, labelled.predict_only, refused, reserved, None if labels is None else labels.path)

    def _cluster(self, asked: Asked, counts: dict[str, Any], read: dict[str, Delivery]) -> np.ndarray:
        """The cluster of every row, (n,) of str; evidences that had to be read for it are put into ``read``."""
        cluster = asked.subject_id
        if self.clusters is not None:
            found = self.clusters.texts(asked, "cohort.clusters")
            counts["clusters"] = {"rows_without": int(found.null_count())}
            cluster = found.fill_null("subject " + asked.subject_id)
        names = cluster.to_numpy().astype(str)
        if self.clusters is not None:
            names, moved = join_subjects(names, asked.subject_id.to_numpy().astype(str))
            if moved:
                counts["clusters"]["subjects_in_several"] = moved
        if self.relatives is not None:
            names, pairs = self.relatives.join(names, asked)
            counts["relatives"] = {"pairs": pairs}
        notes: list[str] = []
        for name in self._genotyped:
            if self.kinship is None:
                notes.append(unknown_kinship())
                break
            read[name] = self.evidence[name].read(asked)
            store = read[name].store
            if isinstance(store, GenotypeStore):
                names, count, said = self.kinship.join(names, store)
                counts.setdefault("kinship", {})[name] = count
                notes += said
        # Said before rows are divided: a division that fails for one large family would not say why it is one.
        for note in notes:
            log.warning("clusters: %s", note)
        if notes:
            counts["notes"] = notes
        return names

    def _roles(
        self, asked: Asked, cluster: np.ndarray, labelled: Labelled, flow: list[dict[str, Any]], counts: dict[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Role of every row, and the rows that are included."""
        everyone = np.arange(asked.size)
        if self.roles is None:
            return np.full(asked.size, UNPLACED), everyone
        role, counts["roles"] = self.roles.assign(asked, cluster, labelled.targets)
        included = np.flatnonzero(role != UNPLACED)
        if not included.size:
            raise UserError("No row has a role", found=f"{asked.size} rows, none in the given splits", mend="check cohort.roles")
        if included.size < asked.size:
            flow.append(_line("left out: in no split", asked.subject_id.filter(pl.Series(role == UNPLACED))))
        check_disjoint(cluster, Split.from_roles(role))
        return role, included

    def _rows(self, asked: Asked, cluster: np.ndarray, role: np.ndarray) -> pl.DataFrame:
        site = pl.Series([None] * asked.size, dtype=pl.String) if self.site is None else self.site.texts(asked, "cohort.site")
        roles = pl.Series(role)
        return pl.DataFrame(
            {
                "row_id": np.arange(asked.size),
                "subject_id": asked.subject_id,
                "prediction_time": asked.time,
                "cluster": cluster,
                "site": site,
                "role": roles.set(roles == UNPLACED, None),
            }
        )

    def _sources(self) -> list[dict[str, Any]]:
        return [
            {"name": f"{key}: {name}", "sha256": file_hash(path), "bytes": path.stat().st_size}
            for key, part in self._parts()
            for name, path in part.inputs().items()
        ]


def _taken(target: Any, rows: np.ndarray) -> Any:
    return type(target)(target.kind, target.table[rows], target.classes, target.unit)


def _line(step: str, subject_id: pl.Series) -> dict[str, Any]:
    return {"step": step, "n_rows": subject_id.len(), "n_subjects": subject_id.n_unique()}


def _join_note(counts: Mapping[str, Any]) -> str:
    ids = counts["ids"]
    further = {"of the rows' subjects not in the source": ids["without"], "on more than one line": ids["duplicated"]}
    said = "".join(f", {count} {what}" for what, count in further.items() if count)
    return f"{ids['matched']} of {ids['in_source']} subjects of the source matched, {ids['unmatched']} unmatched{said}"
