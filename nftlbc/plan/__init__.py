"""What ``apply`` would change, in the farms' words.

``view.of_kernel`` and ``view.of_table`` see two tables the same way, ``changes.between`` tells
what differs, ``telling.lines`` says it.
"""
