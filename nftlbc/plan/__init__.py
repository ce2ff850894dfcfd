"""What ``apply`` would change, and doing it.

``planning.plan`` reads the kernel's table and works out the transaction; ``view`` sees both tables
as farms, ``changes`` tells what differs, ``drift`` what was not our doing, ``telling`` says it.
"""
