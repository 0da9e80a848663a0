"""What the four calls of each byte of PLINK's 2-bit code say, lowest bits first."""

from __future__ import annotations

import torch

_CALL = torch.arange(256)[:, None] >> torch.tensor([0, 2, 4, 6]) & 3

COPIES = torch.tensor([2.0, 0.0, 1.0, 0.0])[_CALL]
"""f32 (256, 4), copies of the counted allele; 0 for a missing call."""

MISSING = (_CALL == 1).to(torch.float32)
"""f32 (256, 4), 1 for a missing call."""
