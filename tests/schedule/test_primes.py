from __future__ import annotations

from nftlbc.schedule import is_prime, next_prime


def test_the_primes_up_to_2000_are_those_without_a_divisor() -> None:
    expected = [n for n in range(2, 2000) if not any(n % d == 0 for d in range(2, n))]
    assert [n for n in range(-5, 2000) if is_prime(n)] == expected


def test_usual_numbers_of_slots() -> None:
    assert all(map(is_prime, (251, 1009, 4093, 65537, 1048573)))
    assert not any(map(is_prime, (255, 1024, 4095, 65535, 4093 * 4099)))


def test_the_next_prime_may_be_the_number_itself() -> None:
    assert [next_prime(n) for n in (-1, 0, 2, 3, 4, 4093, 4094, 65536)] == [
        *(2, 2, 2, 3, 5),
        *(4093, 4099, 65537),
    ]
