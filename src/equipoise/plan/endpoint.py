"""The endpoint of a two-arm trial: two means with a standard deviation, or two shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

from equipoise.contract.errors import UserError


@dataclass(frozen=True)
class Endpoint:
    """Control and AI-supported arm, with the standard deviation of a person; ``share`` where both are proportions.

    Args:
        control: mean or share under control.
        treated: mean or share in the AI-supported arm.
        sd: of one person; for shares the root of the arms' mean variance p (1 - p).
        share: both are proportions.
    """

    control: float
    treated: float
    sd: float
    share: bool

    @property
    def difference(self) -> float:
        return self.treated - self.control

    def sentence(self) -> str:
        """The endpoint as it stands in a protocol."""
        if self.share:
            return f"a share of {self.treated:.4g} in the AI-supported arm against {self.control:.4g} under control (difference {self.difference:+.4g})"
        return f"a mean of {self.treated:.6g} in the AI-supported arm against {self.control:.6g} under control, standard deviation {self.sd:.6g}"


def endpoint_of(control: float, treated: float, sd: float | None) -> Endpoint:
    """An endpoint from the settings.

    Raises:
        UserError: no difference, or a share outside (0, 1).
    """
    if control == treated:
        raise UserError("control and treated are equal", expected="the difference that the trial is to show", found=f"{control:g}")
    if sd is not None:
        return Endpoint(control, treated, sd, share=False)
    for name, value in (("control", control), ("treated", treated)):
        if not 0 < value < 1:
            raise UserError(f"{name} is no share", expected="above 0 and below 1", found=f"{value:g}", mend="give sd= for means")
    return Endpoint(control, treated, math.sqrt((control * (1 - control) + treated * (1 - treated)) / 2), share=True)
