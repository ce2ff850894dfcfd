"""What on this machine would keep the farms from working. It looks, and changes nothing.

    for finding in examine(farms):
        print(finding.verdict.value, finding.what)

A group of checks is a file in ``checks``; what they look at comes from ``Situation``. The foreign
tables are understood in ``foreign``: a packet that is partly known walks through their chains.
"""

from nftlbc.doctor.examination import examine
from nftlbc.doctor.finding import Finding, Verdict
from nftlbc.doctor.machine import Machine

__all__ = ["Finding", "Machine", "Verdict", "examine"]
