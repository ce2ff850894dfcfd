"""What is known of a backend: the record in the kernel, and the worst of what is said counts."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from nftlbc import states
from nftlbc.nft import words
from nftlbc.states import NOTHING, ByCheck, ByHand, Measured, Remembered

SECONDS = st.integers(0, 10**10 - 1)
PLAIN = st.text("abcXYZ019_.+-", min_size=1)
RECORDS = st.builds(
    Remembered,
    st.none() | st.builds(ByHand, st.sampled_from(["drain", "let-go", "disable"]), PLAIN, SECONDS),
    st.none()
    | st.builds(
        ByCheck,
        st.sampled_from(["up", "down"]),
        SECONDS,
        st.integers(0, 999),
        st.integers(0, 99),
        st.just("") | PLAIN,
    ),
    st.none()
    | st.builds(
        Measured,
        st.floats(1e-9, 1e6, exclude_max=True),
        st.floats(0, 1e12, exclude_max=True),
        st.integers(0, 99),
    ),
    st.none() | SECONDS,
)


@given(RECORDS)
def test_a_record_is_a_note_and_is_read_back(record: Remembered) -> None:
    text = states.text(record)
    if not text:
        assert record == NOTHING
        return
    assert words.note(text) == text
    read = states.of_text(text)
    # What is cut is cut once.
    assert states.text(read) == text
    assert read.cut == record.cut
    assert all(read.standing(filed) == record.standing(filed) for filed in ("up", "drain", "down"))
    assert (read.hand is None, read.check is None) == (record.hand is None, record.check is None)
    if record.hand and read.hand:
        assert (read.hand.state, read.hand.since) == (record.hand.state, record.hand.since)
        assert record.hand.by.startswith(read.hand.by)
        assert len(read.hand.by) >= min(len(record.hand.by), 14)
    if record.check and read.check:
        assert read.check.row == record.check.row
        assert record.check.why.startswith(read.check.why)
    if record.measured and read.measured:
        assert abs(read.measured.weight / record.measured.weight - 1) < 0.001
    assert read.filed == record.filed


@given(st.text())
def test_any_name_becomes_a_word(name: str) -> None:
    record = Remembered(ByHand("drain", name, 1))
    text = states.text(record)
    assert words.note(text) == text
    read = states.of_text(text)
    assert read.hand is not None
    assert (read.hand.state, read.hand.since) == ("drain", 1)


@given(RECORDS, st.text() | st.sampled_from(["hand=drain", "new=1/2", "hand=fly/x/1", "check=up"]))
def test_what_is_not_understood_counts_as_not_there(record: Remembered, odd: str) -> None:
    # A word of another version, or of somebody's hand, does no harm to the others.
    text = states.text(record)
    foreign = "zz=" + "".join(odd.split())
    assert states.of_text(f"{foreign} {text}") == states.of_text(text)
    states.of_text(odd)


def test_the_worst_counts() -> None:
    order = {"up": 0, "drain": 1, "let-go": 2, "down": 2, "disable": 2}
    names = ("up", "drain", "down")
    for filed, hand, check in product(names, (None, "drain", "let-go", "disable"), (None, *names)):
        if check == "drain":
            continue
        record = Remembered(
            ByHand(hand, "root", 1) if hand else None, ByCheck(check, 1) if check else None
        )
        worst = max(order[filed], order[hand or "up"], order[check or "up"])
        assert record.standing(filed) == names[worst]
        assert record.cut == (hand == "disable")
