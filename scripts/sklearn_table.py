"""A predictions table written by scikit-learn alone: any tool's model can be put through the same trial, and its report verified.

    python scripts/sklearn_table.py --out cancer.parquet
    equipoise evaluate predictions=cancer.parquet trial=external columns.risk=score columns.outcome=malignant columns.subject_id=patient run_dir=runs/cancer
    equipoise verify runs/cancer

The data are the Wisconsin breast cancer measurements that come with scikit-learn (569 tumours, 30 measurements of each). Logistic regression is on
trial, boosted trees are the comparator; both are fitted on half of the tumours, and the table holds the other half. Nothing of Equipoise is imported.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def held_out_predictions(seed: int) -> pd.DataFrame:
    """One line a held-out tumour: patient, malignant (0 or 1), score (the risk on trial), comparator_boosting."""
    data = load_breast_cancer()
    malignant = 1 - data.target  # scikit-learn's 0 is malignant
    train, test = train_test_split(range(len(malignant)), test_size=0.5, random_state=seed, stratify=malignant)
    on_trial = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(data.data[train], malignant[train])
    boosting = HistGradientBoostingClassifier(max_depth=3, random_state=seed).fit(data.data[train], malignant[train])
    return pd.DataFrame(
        {
            "patient": [f"tumour {i}" for i in test],
            "malignant": malignant[test],
            "score": on_trial.predict_proba(data.data[test])[:, 1],
            "comparator_boosting": boosting.predict_proba(data.data[test])[:, 1],
        }
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--out", type=Path, required=True)
    given = words.parse_args()
    table = held_out_predictions(given.seed)
    table.to_parquet(given.out)
    print(f"{given.out}: {len(table)} held-out tumours, {table['malignant'].sum()} malignant")


if __name__ == "__main__":
    main()
