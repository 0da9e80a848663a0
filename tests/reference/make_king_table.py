"""Makes king_table.json: small families' genotypes and plink2's KING-robust table of them. Run in tests/: python -m reference.make_king_table"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from cohort.written_sources import write_plink
from families_for_tests import draw_families

CHROMOSOMES = ["1"] * 300 + ["2"] * 200 + ["X"] * 100
"""Of each variant; plink2 leaves the X out."""


def main() -> None:
    rng = np.random.default_rng(20)
    # Two populations, so that some pairs have a kinship below 0, and a twin.
    populations = rng.uniform(0.05, 0.95, (2, len(CHROMOSOMES)))
    copies = np.vstack([draw_families(2, frequency, rng, missing=0.04).copies for frequency in populations])
    copies = np.vstack([copies, copies[:1]])
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "families"
        write_plink(prefix, copies, [f"P{i}" for i in range(len(copies))])
        prefix.with_suffix(".bim").write_text("".join(f"{c}\trs{v}\t0\t{100 + v}\tA\tG\n" for v, c in enumerate(CHROMOSOMES)))
        fam = prefix.with_suffix(".fam")
        fam.write_text(fam.read_text().replace(" 0 0 0 -9", " 0 0 2 -9"))  # women: an X of unknown sex is refused
        subprocess.run(["plink2", "--bfile", prefix, "--make-king-table", "cols=id,nsnp,kinship", "--out", prefix], check=True, capture_output=True)
        table = pl.read_csv(prefix.with_suffix(".kin0"), separator="\t")
        version = subprocess.run(["plink2", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    calls = ["".join("-" if c < 0 else str(c) for c in person) for person in copies]
    pairs = table.select("#IID1", "IID2", "NSNP", "KINSHIP").rows()
    kept = {"software": version, "command": "plink2 --bfile X --make-king-table", "chromosomes": CHROMOSOMES, "calls": calls, "pairs": pairs}
    (Path(__file__).parent / "king_table.json").write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
